//! What can go wrong between a tool and an engine.

use slipway_untrusted::limit::{BodyError, HTTP_HEAD};
use slipway_untrusted::{TooLarge, clean_line};

use crate::classify::{self, RegistryFault};
use crate::transport::DialError;

/// A failed call to the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answered at the engine's address.
    #[error("no Docker engine answers at {endpoint}: {why}")]
    Unreachable {
        /// The address, as `unix://…` or `tcp://…`.
        endpoint: String,
        /// The system's reason.
        why: String,
    },
    /// The engine's socket is there but this user may not use it.
    #[error("permission to use the Docker engine at {endpoint} is denied")]
    PermissionDenied {
        /// The address.
        endpoint: String,
    },
    /// `DOCKER_HOST` names something that cannot be spoken to.
    #[error(
        "DOCKER_HOST `{value}` cannot be used: {why}; supported are unix:///path/to/socket and tcp://host:port"
    )]
    UnsupportedHost {
        /// The value that was read.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection broke in the middle of an answer.
    #[error("the connection to the Docker engine broke: {why}")]
    Interrupted {
        /// The transport's reason.
        why: String,
    },
    /// The engine has no such image, container or network.
    #[error("{message}")]
    NotFound {
        /// The engine's words.
        message: String,
    },
    /// The engine's state does not allow the request (a name in use, …).
    #[error("{message}")]
    Conflict {
        /// The engine's words.
        message: String,
    },
    /// The registry, not the engine, refused or failed.
    #[error("{message}")]
    Registry {
        /// What kind of failure it was.
        fault: RegistryFault,
        /// The registry's or the engine's words.
        message: String,
    },
    /// The engine's disk is full.
    #[error("{message}")]
    DiskFull {
        /// The engine's words.
        message: String,
    },
    /// Any other refusal.
    #[error("{message}")]
    Api {
        /// The HTTP status; 200 when the failure was inside a stream.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine has no addresses left for another network.
    #[error("{message}")]
    AddressPool {
        /// The engine's words.
        message: String,
    },
    /// The answer, or a part of it, is larger than any that is taken.
    #[error("{0}")]
    TooLarge(#[from] TooLarge),
    /// The answer was not what the Engine API describes.
    #[error("the Docker engine gave an answer that does not fit its API: {what}")]
    Protocol {
        /// What did not fit.
        what: String,
    },
}

impl Error {
    /// Whether the same call may succeed a moment later without a change.
    pub fn transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Registry { fault, .. } => fault.transient(),
            Self::Api { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }

    /// The failure that an answer with this status and message means. The message is kept as it
    /// can be shown: cleaned, on one line, of a bounded length.
    pub(crate) fn from_answer(status: u16, message: &str) -> Self {
        let message = if message.trim().is_empty() {
            format!("the engine answered with status {status} and no reason")
        } else {
            clean_line(message.trim()).into_owned()
        };
        match (classify::classify(&message), status) {
            (Some(found), _) => found.into_error(message),
            (None, 404) => Self::NotFound { message },
            (None, 409) => Self::Conflict { message },
            (None, _) => Self::Api { status, message },
        }
    }

    pub(crate) fn from_io(endpoint: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Self::PermissionDenied { endpoint: endpoint.to_owned() };
        }
        Self::Unreachable { endpoint: endpoint.to_owned(), why: io_reason(error) }
    }
}

/// The reason without the `(os error 2)` that Rust appends.
fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = plain.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => plain.to_owned(),
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        Self::from_io(&error.endpoint, &error.source)
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(error) => error.into(),
            BodyError::Broken(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => (*error).into(),
                Err(error) => Self::Interrupted { why: chain(&*error) },
            },
        }
    }
}

/// The limit that a read was stopped at, wherever in the causes of an error it stands.
fn too_large(error: &(dyn std::error::Error + 'static)) -> Option<TooLarge> {
    if let Some(found) = error.downcast_ref::<TooLarge>() {
        return Some(*found);
    }
    // An I/O error skips what it holds when it is asked for its source.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match inner {
        Some(inner) => too_large(inner),
        None => too_large(error.source()?),
    }
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        if let Some(limit) = too_large(&error) {
            return limit.into();
        }
        if error.is_parse_too_large() {
            return HTTP_HEAD.exceeded().into();
        }
        if error.is_parse() {
            return Self::Protocol { what: error.to_string() };
        }
        Self::Interrupted { why: chain(&error) }
    }
}

impl From<bollard::errors::Error> for Error {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as B;
        match error {
            B::DockerResponseServerError { status_code, message } => {
                Self::from_answer(status_code, &message)
            }
            B::DockerStreamError { error } => Self::from_answer(200, &error),
            B::HyperResponseError { err } => err.into(),
            // Our own transport hands a failed dial through as an I/O error.
            B::IOError { err } if let Some(limit) = too_large(&err) => limit.into(),
            B::IOError { err } => match err.downcast::<DialError>() {
                Ok(dial) => dial.into(),
                Err(err) => Self::Interrupted { why: io_reason(&err) },
            },
            B::RequestTimeoutError => Self::Interrupted { why: "no answer in time".to_owned() },
            other => Self::Protocol { what: chain(&other) },
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    clean_line(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_without_a_known_message() {
        let of = |status| Error::from_answer(status, "x");
        assert!(matches!(of(404), Error::NotFound { .. }));
        assert!(matches!(of(409), Error::Conflict { .. }));
        assert!(matches!(of(500), Error::Api { status: 500, .. }));
        assert!(of(503).transient() && !of(500).transient());
        assert!(Error::from_answer(500, " ").to_string().contains("500"));
    }

    #[test]
    fn a_refused_dial_comes_through_bollard() {
        let dial = |kind: std::io::ErrorKind| {
            let dial = DialError { endpoint: "unix:///x".into(), source: kind.into() };
            Error::from(bollard::errors::Error::from(std::io::Error::other(dial)))
        };
        let refused = dial(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(refused, Error::Unreachable { .. }) && refused.transient());
        assert!(matches!(
            dial(std::io::ErrorKind::PermissionDenied),
            Error::PermissionDenied { .. }
        ));
    }

    #[test]
    fn a_limit_is_found_in_whatever_it_comes_through() {
        let limit = || std::io::Error::from(HTTP_HEAD.exceeded());
        for error in [limit(), std::io::Error::other(limit())] {
            let error = Error::from(bollard::errors::Error::from(error));
            assert!(matches!(error, Error::TooLarge(_)), "{error:?}");
        }
        let long = format!("\u{1b}]0;x\u{7}{}", "x".repeat(1 << 20));
        let error = Error::from_answer(500, &long).to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 5000);
    }

    #[test]
    fn an_io_reason_is_a_lowercase_fragment() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(io_reason(&error), "no such file or directory");
    }
}
