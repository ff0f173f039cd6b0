//! Why a probe got no answer, in the few words that fit a line of progress.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::CertificateError;
use slipway_untrusted::limit::HTTP_HEAD;

use crate::exchange::HEADERS;
use crate::json::cut;

/// Why there was no answer. The texts are short fragments, made to stand after a target's name.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The deadline of the try passed.
    #[error("timed out after {} {during}", humantime::format_duration(*limit))]
    TimedOut {
        /// The deadline, from the start of the try.
        limit: Duration,
        /// What was under way.
        during: Phase,
    },
    /// The name could not be resolved.
    #[error("{}", resolver_text(source))]
    NameNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the name could be connected to; this is the last one's error.
    #[error("{}", io_text(source))]
    Connect {
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS: {reason}")]
    Tls {
        /// What kind of defect it is.
        defect: TlsDefect,
        /// Why, in a few words.
        reason: String,
    },
    /// The connection ended before a whole answer had come.
    #[error("connection closed {during}")]
    Closed {
        /// What was under way.
        during: Phase,
    },
    /// The connection broke.
    #[error("{} {during}", io_text(source))]
    Broken {
        /// What the system said.
        source: io::Error,
        /// What was under way.
        during: Phase,
    },
    /// What came is not HTTP, or of another version than was asked for.
    #[error("not an HTTP answer: {reason}")]
    NotHttp {
        /// What is wrong with it.
        reason: String,
    },
    /// The server asked for a client certificate, and did not answer then. By TLS 1.3 it says no
    /// only after the handshake (RFC 8446, section 4.4.2.4), and many close without a word.
    #[error("{reason}; the server asked for a client certificate, and {}", if *shown { "was shown one" } else { "there is none" })]
    Unidentified {
        /// How it ended.
        reason: String,
        /// Whether one was shown.
        shown: bool,
    },
    /// The server wants no HTTP/2, which was asked for.
    #[error("the server does not offer HTTP/2")]
    NoHttp2,
    /// What the connection goes through has not opened it.
    #[error("{reason}")]
    Way {
        /// Why not, with the name of what it goes through.
        reason: String,
        /// Whether that failed itself, so that nothing is known of the service.
        local: bool,
    },
    /// Redirects went on and on.
    #[error("more than {limit} redirect{}, the last to {to}", if *limit == 1 { "" } else { "s" })]
    Redirects {
        /// How many were allowed.
        limit: u8,
        /// Where the last one leads.
        to: String,
    },
    /// A redirect leads to where none may lead.
    #[error("a redirect to {to} is not followed: {why}")]
    BadRedirect {
        /// Where it leads.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// More headers or longer ones than a head may have.
    #[error("{} or has more than {HEADERS} headers", HTTP_HEAD.exceeded())]
    HeadTooLarge,
}

/// What was wrong with TLS, as far as it matters to what is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsDefect {
    /// The certificate is for another name: waiting does not change that.
    WrongName,
    /// The certificate's issuer is not trusted.
    UnknownIssuer,
    /// The certificate has expired.
    Expired,
    /// Something else.
    Other,
}

impl TlsDefect {
    fn of(error: &rustls::Error) -> Self {
        use CertificateError as Bad;
        let rustls::Error::InvalidCertificate(defect) = error else { return Self::Other };
        match defect {
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongName,
            Bad::UnknownIssuer | Bad::BadSignature => Self::UnknownIssuer,
            other if slipway_trust::is_authority(other) => Self::UnknownIssuer,
            Bad::Expired | Bad::ExpiredContext { .. } => Self::Expired,
            _ => Self::Other,
        }
    }
}

/// A part of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The name is being looked up.
    Resolving,
    /// The connection is being opened.
    Connecting,
    /// TLS is being negotiated.
    Handshake,
    /// The request is out and the head of the answer is awaited.
    Waiting,
    /// The body is being read.
    Reading,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "resolving the name",
            Self::Connecting => "connecting",
            Self::Handshake => "in the TLS handshake",
            Self::Waiting => "before an answer came",
            Self::Reading => "in the middle of the body",
        })
    }
}

/// The errors of a system that has no more to give: out of open files (EMFILE, ENFILE) and memory
/// (ENOMEM, ENOBUFS).
const EXHAUSTED: [i32; 4] = [24, 23, 12, 105];

impl ProbeError {
    /// Whether trying again will hardly help: the service has a certificate for another name.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        matches!(self, Self::Tls { defect: TlsDefect::WrongName, .. })
    }

    /// Whether the cause is on this side, so that nothing is known of the service.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            // That a name does not exist is known of it; that nobody can tell is not.
            Self::NameNotFound { .. } => self.to_string() != NAME_NOT_FOUND,
            Self::Connect { source } => {
                let exhausted = |code| EXHAUSTED.contains(&code);
                matches!(source.kind(), ErrorKind::AddrNotAvailable | ErrorKind::NetworkDown)
                    || source.raw_os_error().is_some_and(exhausted)
            }
            Self::Way { local, .. } => *local,
            _ => false,
        }
    }

    /// What hyper's error means for somebody who only wants to know whether the service answers.
    pub(crate) fn from_hyper(error: &hyper::Error, during: Phase) -> Self {
        if let Some(io) = cause::<io::Error>(error) {
            return Self::from_io(io, during);
        }
        if let Some(http2) = cause::<h2::Error>(error) {
            return Self::from_http2(http2, during);
        }
        // hyper tells servers alone by a function that this is what it is.
        if error.is_parse() && error.to_string() == "message head is too large" {
            return Self::HeadTooLarge;
        }
        if error.is_parse() {
            return Self::NotHttp { reason: error.to_string() };
        }
        Self::Closed { during }
    }

    fn from_io(error: &io::Error, during: Phase) -> Self {
        // rustls reports an end without its goodbye this way.
        if error.kind() == ErrorKind::UnexpectedEof {
            return Self::Closed { during };
        }
        // h2 keeps of an error inside only its text.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::tls(tls),
            None => Self::Broken { source: copy(error), during },
        }
    }

    fn from_http2(error: &h2::Error, during: Phase) -> Self {
        match (error.get_io(), error.reason()) {
            (Some(io), _) => Self::from_io(io, during),
            // That is how an HTTP/1.1 server's answer looks to HTTP/2.
            (None, Some(h2::Reason::FRAME_SIZE_ERROR)) if error.is_library() => {
                Self::NotHttp { reason: "the server does not speak HTTP/2".to_owned() }
            }
            (None, Some(reason)) if error.is_remote() => {
                Self::NotHttp { reason: format!("the server ended it by {reason:?}") }
            }
            // It may quote what the server has sent.
            _ => Self::NotHttp { reason: cut(&error.to_string()) },
        }
    }

    fn tls(error: &rustls::Error) -> Self {
        Self::Tls { defect: TlsDefect::of(error), reason: tls_text(error) }
    }

    pub(crate) fn from_handshake(error: &io::Error) -> Self {
        Self::from_io(error, Phase::Handshake)
    }
}

fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An I/O error cannot be cloned; what matters of it can.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The system's errors in the words that people use for them; without the number of the error.
fn io_text(error: &io::Error) -> String {
    let text = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::BrokenPipe => "connection closed",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::NetworkDown => "network down",
        ErrorKind::TimedOut => "connection timed out",
        ErrorKind::PermissionDenied => "connecting is not permitted",
        ErrorKind::AddrNotAvailable => "no local address is free",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or_default().to_lowercase();
        }
    };
    text.to_owned()
}

const NAME_NOT_FOUND: &str = "name not found";

/// That a name does not exist is another thing than that nobody can tell, as without a network.
/// The resolver of the system says it by texts only, those of glibc and of musl.
fn resolver_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("failed to lookup address information: ").unwrap_or(&text) {
        "Name or service not known"
        | "No address associated with hostname"
        | "Name does not resolve" => NAME_NOT_FOUND.to_owned(),
        other => format!("name look-up failed: {}", other.to_lowercase()),
    }
}

/// rustls tells certificates' defects by the names of its variants, which say little to people.
fn tls_text(error: &rustls::Error) -> String {
    let text = match error {
        rustls::Error::InvalidCertificate(defect) => match defect {
            CertificateError::BadSignature => {
                "the certificate is not signed by the trusted issuer of that name"
            }
            CertificateError::UnknownIssuer => "the certificate's issuer is not trusted",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name"
            }
            CertificateError::Revoked => "the certificate is revoked",
            other if slipway_trust::is_authority(other) => {
                "the certificate is an authority's own, as self-signed ones tend to be, and is not \
                 trusted itself"
            }
            _ => return error.to_string(),
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS",
        rustls::Error::AlertReceived(alert) => return alert_text(*alert),
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// What the server says is wrong with us.
fn alert_text(alert: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => "the server wants a client certificate".to_owned(),
        Alert::UnknownCA | Alert::BadCertificate | Alert::AccessDenied => {
            "the server does not accept the client certificate".to_owned()
        }
        Alert::NoApplicationProtocol => {
            "the server speaks none of the offered protocols".to_owned()
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion => {
            "the server and this client have no TLS version or cipher in common".to_owned()
        }
        Alert::UnrecognisedName => "the server does not know this name".to_owned(),
        other => format!("the server refused: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_short_and_without_numbers() {
        let refused = ProbeError::Connect { source: io::Error::from_raw_os_error(111) };
        assert_eq!(refused.to_string(), "connection refused");
        let other = ProbeError::Connect { source: io::Error::from_raw_os_error(24) };
        assert_eq!(other.to_string(), "too many open files");
        let late =
            ProbeError::TimedOut { limit: Duration::from_millis(1500), during: Phase::Connecting };
        assert_eq!(late.to_string(), "timed out after 1s 500ms connecting");
    }

    #[test]
    fn an_unknown_name_is_told_from_a_resolver_that_is_down() {
        let text = |cause: &str| {
            let text = format!("failed to lookup address information: {cause}");
            let source = io::Error::other(text);
            ProbeError::NameNotFound { host: "a".to_owned(), source }.to_string()
        };
        assert_eq!(text("Name or service not known"), "name not found");
        let down = "name look-up failed: temporary failure in name resolution";
        assert_eq!(text("Temporary failure in name resolution"), down);
    }

    #[test]
    fn what_is_wrong_on_this_side_is_told_from_the_rest() {
        let local =
            |code| ProbeError::Connect { source: io::Error::from_raw_os_error(code) }.is_local();
        assert!(local(24) && !local(111) && !local(113));
        let lookup = |text: &str| {
            let source = io::Error::other(text.to_owned());
            ProbeError::NameNotFound { host: "a".to_owned(), source }.is_local()
        };
        assert!(lookup("Temporary failure in name resolution"));
        assert!(!lookup("Name or service not known"));
    }

    #[test]
    fn a_certificate_for_another_name_is_hopeless() {
        let of = |defect| {
            let error = rustls::Error::InvalidCertificate(defect);
            ProbeError::from_handshake(&io::Error::new(ErrorKind::InvalidData, error))
        };
        assert!(of(CertificateError::NotValidForName).is_hopeless());
        assert!(!of(CertificateError::Expired).is_hopeless());
    }

    #[test]
    fn a_certificate_s_defect_is_told_in_words() {
        let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = ProbeError::from_handshake(&io::Error::new(ErrorKind::InvalidData, error));
        assert_eq!(error.to_string(), "TLS: the certificate's issuer is not trusted");
    }
}
