//! Why healthwait failed.

use serde_json::json;
use slipway_release::{Code, Failure, Health, HealthTarget};
use slipway_shell::Span;

use crate::plan::listed;
use crate::report::named;

/// Why healthwait failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Neither the arguments nor the document name a target.
    #[error("{reason}, so there is nothing to wait for")]
    NoTarget {
        /// What was found instead.
        reason: &'static str,
    },
    /// The document names a target that is none.
    #[error("the document's {place} is not usable: {reason}")]
    BadUrl {
        /// Where in the document.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The variable of a header is not set, or is not text that can be sent.
    #[error("the environment variable {variable} for header {name} {reason}")]
    HeaderVariable {
        /// The header.
        name: String,
        /// The variable.
        variable: String,
        /// What is wrong with it; never its value.
        reason: &'static str,
    },
    /// A version is expected and is not to be checked.
    #[error("a version is expected and at the same time no check of it is wanted")]
    VersionContradiction,
    /// The command cannot be run; told before anything is asked.
    #[error("the command {program} {reason}")]
    Command {
        /// The program.
        program: String,
        /// Why it cannot be run.
        reason: String,
        /// The exit code that shells have for it.
        exit: u8,
    },
    /// The command ran and failed.
    #[error("the command {program} {how}")]
    CommandFailed {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
        /// Its exit status.
        exit: u8,
    },
    /// A target will not become healthy.
    #[error("given up: {}", unhealthy(health))]
    GivenUp {
        /// What was seen.
        health: Health,
    },
    /// Conditions on an answer, where there is none.
    #[error("only HTTP targets give an answer, so the conditions on one cannot be met by another")]
    NoAnswerToJudge,
    /// A request cannot be made.
    #[error("{reason}")]
    Request {
        /// Why not.
        reason: String,
    },
    /// A file that an option names cannot be used.
    #[error("--{option} {path}: {reason}")]
    File {
        /// The option.
        option: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// Whether it is larger than what is taken.
        too_large: bool,
    },
    /// Options that cannot be met together.
    #[error("{reason}")]
    Contradiction {
        /// Which, and why.
        reason: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// A container that nothing can be waited for.
    #[error("the container {name} has no HEALTHCHECK, so nothing tells whether it is healthy")]
    NoHealthCheck {
        /// The container.
        name: String,
    },
    /// The deadline passed.
    #[error("not {} within {limit}: {}", if *gone { "gone" } else { "healthy" }, unhealthy(health))]
    Deadline {
        /// What was seen.
        health: Health,
        /// The deadline.
        limit: Span,
        /// Whether a target was refused for its version in the end.
        mismatch: bool,
        /// Whether it was waited for that the targets are gone.
        gone: bool,
        /// Whether nothing is known of the targets, for a cause on this side.
        unknown: bool,
    },
    /// A signal ended the waiting.
    #[error("interrupted while waiting: {}", unhealthy(health))]
    Interrupted {
        /// What was seen.
        health: Health,
    },
}

/// Each target that is not healthy, with its last reason.
fn unhealthy(health: &Health) -> String {
    let text = |target: &HealthTarget| match &target.reason {
        Some(reason) => format!("{}: {reason}", named(target)),
        None => named(target),
    };
    let texts: Vec<String> =
        health.targets.iter().filter(|target| !target.healthy).map(text).collect();
    listed(&texts, "; ")
}

/// Whether a target's certificate is not trusted, which waiting hardly mends.
fn is_distrusted(health: &Health) -> bool {
    let reason = |target: &HealthTarget| {
        target.reason.as_ref().is_some_and(|reason| {
            reason.starts_with("TLS: the certificate") && reason.contains("not trusted")
        })
    };
    health.targets.iter().any(|target| !target.healthy && reason(target))
}

/// Whether a target answers with a redirect, which waiting hardly mends.
fn is_redirected(health: &Health) -> bool {
    health.targets.iter().any(|target| {
        let moved = target.status.is_some_and(|status| (300..400).contains(&status));
        let leads = target.reason.as_ref().is_some_and(|reason| reason.contains(" to "));
        !target.healthy && moved && leads
    })
}

impl Error {
    /// A host of `--via` that is none.
    pub(crate) fn via(reason: String) -> Self {
        Self::Request { reason: format!("--via: {reason}") }
    }

    /// A file that cannot be used.
    pub(crate) fn file(option: &'static str, path: &str, error: &std::io::Error) -> Self {
        let reason =
            error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
        let too_large = error.kind() == std::io::ErrorKind::FileTooLarge;
        Self::File { option, path: path.to_owned(), reason, too_large }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::NoTarget { .. } => (
                Code::NoTarget,
                "name targets, such as healthwait http://127.0.0.1:8000/health, or run it after \
                 remote-swap in the pipe",
            ),
            Error::BadUrl { .. } => {
                (Code::BadSection, "targets on the command line go before the document's")
            }
            Error::HeaderVariable { .. } => {
                (Code::Usage, "export the variable in the environment of healthwait")
            }
            Error::VersionContradiction => {
                (Code::Usage, "give --expect-version or --no-version-check, not both")
            }
            Error::Command { .. } => (
                Code::CommandNotFound,
                "name a program in PATH, or its path; what a shell knows alone needs sh -c",
            ),
            Error::CommandFailed { .. } => {
                (Code::CommandFailed, "all targets were healthy; the command tells its own reasons")
            }
            Error::GivenUp { .. } => (
                Code::GivenUp,
                "waiting hardly mends that; correct the address or the service, or wait all the \
                 same without --fail-fast",
            ),
            Error::NoAnswerToJudge => {
                (Code::Usage, "ask an http:// or https:// target, or leave out --expect-…")
            }
            Error::Request { .. } => (Code::Usage, "healthwait --help shows the forms"),
            Error::File { too_large: true, .. } => {
                (Code::FileTooLarge, "docs/security.md lists what is taken")
            }
            Error::File { .. } => (Code::FileUnreadable, "give a file that this user can read"),
            Error::Contradiction { hint, .. } => (Code::Usage, *hint),
            Error::NoHealthCheck { .. } => (
                Code::Usage,
                "give its image a HEALTHCHECK, or wait for its port with http:// or tcp://",
            ),
            Error::Deadline { unknown: true, .. } => (
                Code::NotChecked,
                "the targets could not be asked from here, so nothing is known of them; see to the \
                 name look-up, the proxy or the SSH connection",
            ),
            Error::Deadline { mismatch: true, .. } => (
                Code::DeadlineExceeded,
                "another release answers there; if the target is not part of this release, add \
                 --no-version-check",
            ),
            Error::Deadline { health, .. } if is_distrusted(health) => (
                Code::DeadlineExceeded,
                "--ca-file FILE trusts another authority, or a self-signed certificate",
            ),
            Error::Deadline { health, .. } if is_redirected(health) => (
                Code::DeadlineExceeded,
                "ask for the path that it leads to (--health-path of remote-swap, in a pipe), or \
                 follow it with --follow 1",
            ),
            Error::Deadline { .. } => (
                Code::DeadlineExceeded,
                "health.targets in the document has the last answers and the timelines; --timeout \
                 waits longer",
            ),
            Error::Interrupted { .. } => (Code::Interrupted, "run it again to go on waiting"),
        };
        let mut failure = Failure::new(code, error.to_string()).hint(hint);
        if let Error::Command { exit, .. } | Error::CommandFailed { exit, .. } = &error {
            failure.exit = *exit;
        }
        match &error {
            Error::GivenUp { health } => failure.evidence(json!({ "targets": health.targets })),
            Error::Deadline { health, .. } | Error::Interrupted { health } => {
                failure.retryable(true).evidence(json!({ "targets": health.targets }))
            }
            _ => failure,
        }
    }
}
