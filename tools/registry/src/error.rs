//! What can go wrong between a tool and a registry, and what it means for the exit code.

use slipway_release::{Code, Failure};

use crate::Fault;

/// A failed call to a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers there.
    #[error("the registry {registry} cannot be reached: {why}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The system's reason.
        why: String,
    },
    /// Its certificate is not trusted, or it speaks no TLS.
    #[error("no TLS with the registry {registry}: {why}")]
    Tls {
        /// Host and port.
        registry: String,
        /// What was wrong.
        why: String,
    },
    /// The connection broke.
    #[error("the connection to the registry {registry} broke: {why}")]
    Interrupted {
        /// Host and port.
        registry: String,
        /// The transport's reason.
        why: String,
    },
    /// It refused, or failed inside.
    #[error("the registry {registry} refused {action}: {message}")]
    Refused {
        /// Host and port.
        registry: String,
        /// What kind of refusal it was.
        fault: Fault,
        /// What was asked for.
        action: String,
        /// The registry's words.
        message: String,
    },
    /// It gave up an upload of which more than the last part was sent.
    #[error("the registry {registry} has lost a part of an upload")]
    UploadLost {
        /// Host and port.
        registry: String,
    },
    /// The tag under which clients list a manifest's referrers names something else.
    #[error("the tag {tag}, which is for the list of referrers, names something else")]
    NoList {
        /// The tag.
        tag: String,
    },
    /// Others put the list of referrers at the same time.
    #[error("the list of referrers {tag} was put by others again and again")]
    ListContended {
        /// Its tag.
        tag: String,
    },
    /// The answer is not what the distribution specification describes.
    #[error("the registry's answer does not fit the distribution specification: {what}")]
    Protocol {
        /// What did not fit.
        what: String,
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
            Self::Tls { .. } | Self::NoList { .. } | Self::Protocol { .. } => false,
        }
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
            Self::UploadLost { .. }
            | Self::NoList { .. }
            | Self::ListContended { .. }
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
            Self::Protocol { .. } => "is it really a registry? look at the host's name",
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
