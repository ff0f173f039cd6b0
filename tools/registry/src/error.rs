//! What can go wrong between a tool and a registry, and what it means for the exit code.

use slipway_release::{Code, Failure};
use slipway_untrusted::{TooLarge, Untrusted};

use crate::Fault;

/// A failed call to a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers there.
    #[error("the registry {registry} cannot be reached: {why}")]
    Unreachable {
        /// Host and port.
        registry: Untrusted,
        /// The system's reason.
        why: Untrusted,
    },
    /// Its certificate is not trusted, or it speaks no TLS.
    #[error("no TLS with the registry {registry}: {why}")]
    Tls {
        /// Host and port.
        registry: Untrusted,
        /// What was wrong.
        why: Untrusted,
    },
    /// The connection broke.
    #[error("the connection to the registry {registry} broke: {why}")]
    Interrupted {
        /// Host and port.
        registry: Untrusted,
        /// The transport's reason.
        why: Untrusted,
    },
    /// It refused, or failed inside.
    #[error("the registry {registry} refused {action}: {message}")]
    Refused {
        /// Host and port.
        registry: Untrusted,
        /// What kind of refusal it was.
        fault: Fault,
        /// What was asked for.
        action: Untrusted,
        /// The registry's words.
        message: Untrusted,
    },
    /// It gave up an upload of which more than the last part was sent.
    #[error("the registry {registry} has lost a part of an upload")]
    UploadLost {
        /// Host and port.
        registry: Untrusted,
    },
    /// The tag under which clients list a manifest's referrers names something else.
    #[error("the tag {tag}, which is for the list of referrers, names something else")]
    NoList {
        /// The tag.
        tag: Untrusted,
    },
    /// Others put the list of referrers at the same time.
    #[error("the list of referrers {tag} was put by others again and again")]
    ListContended {
        /// Its tag.
        tag: Untrusted,
    },
    /// It names another place, to which this request does not go.
    #[error("the registry {registry} sends {what} to {to}{why}")]
    Elsewhere {
        /// Host and port.
        registry: Untrusted,
        /// What it sends there.
        what: Untrusted,
        /// The place, without what may be a secret in it.
        to: Untrusted,
        /// Why it is not gone there.
        detour: Detour,
        /// The same in words, with their comma.
        why: &'static str,
    },
    /// It redirects a request that is for the registry itself.
    #[error("the registry {registry} refused {action}: it redirects to {to}")]
    Redirected {
        /// Host and port.
        registry: Untrusted,
        /// What was asked for.
        action: Untrusted,
        /// The place, without what may be a secret in it.
        to: Untrusted,
    },
    /// It names a place that is further inside a network than it is itself.
    #[error("the registry {registry} sends its clients to {to}, which has {reach}")]
    Inside {
        /// Host and port.
        registry: Untrusted,
        /// The place: host and port.
        to: Untrusted,
        /// What address that is.
        reach: &'static str,
    },
    /// An answer is larger than what is taken.
    #[error("{source} ({registry})")]
    TooLarge {
        /// Host and port.
        registry: Untrusted,
        /// The limit.
        source: TooLarge,
    },
    /// The answer is not what the distribution specification describes.
    #[error("the registry's answer does not fit the distribution specification: {what}")]
    Protocol {
        /// What did not fit.
        what: Untrusted,
    },
}

impl Error {
    /// Whether the same call may succeed a moment later without a change.
    #[must_use]
    pub fn transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Interrupted { .. }
            | Self::UploadLost { .. }
            | Self::ListContended { .. } => true,
            Self::Refused { fault, .. } => fault.transient() || *fault == Fault::UploadUnknown,
            Self::Tls { .. }
            | Self::NoList { .. }
            | Self::Elsewhere { .. }
            | Self::Redirected { .. }
            | Self::Inside { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// Whether it sends its clients where no client should go: another one must not be sent in the
    /// place of this one.
    #[must_use]
    pub fn is_trap(&self) -> bool {
        let trap = |detour: &Detour| matches!(detour, Detour::Login | Detour::Plain);
        matches!(self, Self::Elsewhere { detour, .. } if trap(detour))
            || matches!(self, Self::Inside { .. })
    }

    /// The kind of refusal, if it is one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    /// The code of the error for the document.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Tls { .. } | Self::Interrupted { .. } => {
                Code::RegistryUnreachable
            }
            Self::Refused { fault, .. } => match fault {
                Fault::Unauthorized | Fault::Denied => Code::RegistryDenied,
                Fault::RepositoryNotFound => Code::RepositoryNotFound,
                Fault::TagImmutable => Code::TagConflict,
                Fault::NotFound => Code::ManifestNotFound,
                Fault::Quota => Code::RegistryQuota,
                Fault::TooLarge => Code::BodyTooLarge,
                Fault::DiskFull => Code::RegistryDiskFull,
                _ => Code::RegistryError,
            },
            Self::Elsewhere { detour: Detour::Login, .. } => Code::RegistryDenied,
            Self::UploadLost { .. }
            | Self::NoList { .. }
            | Self::ListContended { .. }
            | Self::Elsewhere { .. }
            | Self::Redirected { .. }
            | Self::Inside { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => Code::RegistryError,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "look at the host's name, the network and the proxy (HTTPS_PROXY, NO_PROXY)"
            }
            Self::Tls { .. } => {
                "give its CA in /etc/docker/certs.d/HOST/ca.crt or by SSL_CERT_FILE; a registry without TLS needs --plain-http"
            }
            Self::Interrupted { .. } | Self::UploadLost { .. } => {
                "run it again; what was sent whole stays"
            }
            Self::Refused { fault, .. } => refusal(*fault),
            Self::NoList { .. } => "whoever put it there has to give it another tag",
            Self::ListContended { .. } => "run it again; what is listed stays",
            Self::Elsewhere { detour, .. } => detour.hint(),
            Self::Redirected { .. } => {
                "a push is not redirected: give the registry by the address that it names, with its port and its scheme; or a proxy before it has to pass on the Host header as it came"
            }
            Self::Inside { .. } => {
                "a registry sends nobody into a network that it is not in itself; if it is meant to, give that place a name in the registry's own domain"
            }
            Self::TooLarge { .. } | Self::Protocol { .. } => {
                "is it really a registry? look at the host's name"
            }
        }
    }
}

/// Why a request does not go where the registry sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detour {
    /// A token service of another site would get the password.
    Login,
    /// TLS would end.
    Plain,
    /// The host is the registry's, the port is not.
    Port,
    /// The host is another one.
    Host,
    /// The host is the registry's, and TLS begins there.
    Scheme,
}

impl Detour {
    fn hint(self) -> &'static str {
        match self {
            Self::Login => {
                "passwords go to the registry's own host and its domain only; if this token service is meant, let the engine push: --via engine"
            }
            Self::Plain => {
                "the registry, or the proxy before it, has to name itself with https: pass on X-Forwarded-Proto"
            }
            Self::Port => {
                "a proxy before the registry forgets the port: let it pass on the Host header as it came (nginx: proxy_set_header Host $http_host)"
            }
            Self::Host => {
                "layers go to the registry itself: let the proxy before it pass on the Host header as it came, or set the registry's own address (REGISTRY_HTTP_HOST)"
            }
            Self::Scheme => {
                "give the registry by the address that it names; --plain-http is for one without TLS"
            }
        }
    }
}

fn refusal(fault: Fault) -> &'static str {
    match fault {
        Fault::Unauthorized => {
            "the token may be missing or expired: run ecrlogin earlier in the pipe, or `ecrlogin < saved.json`"
        }
        Fault::Denied => "let the principal's policy, and the repository's own, allow the action",
        Fault::RepositoryNotFound => "create it, or run ecrlogin with --ensure-repository",
        Fault::TagImmutable => "choose another tag, or let the repository's tags be mutable",
        Fault::NotFound => "look at the tag or the digest: was it pushed there?",
        Fault::Quota => "remove old images (a lifecycle policy does), or have the quota raised",
        Fault::TooLarge => {
            "a proxy before the registry limits the size of a body, such as nginx by client_max_body_size: raise it to 16m at least"
        }
        Fault::DiskFull => {
            "free some on the registry's disk: delete old images, collect its garbage"
        }
        Fault::RateLimited | Fault::ServerError | Fault::UploadUnknown => "try again in a while",
        Fault::Rejected => "the reason is the registry's own: look at its log",
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(error.code(), error.to_string())
            .hint(error.hint())
            .retryable(error.transient())
    }
}
