//! What can go wrong with Docker's configuration and its helpers.

use std::path::PathBuf;

use slipway_release::Code;

/// Why Docker's configuration cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// It is not known where it is.
    #[error("Docker's configuration was not found: neither DOCKER_CONFIG nor HOME is set")]
    Nowhere,
    /// The file or its directory cannot be used.
    #[error("Docker's configuration {path} cannot be {done}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what Docker writes.
    #[error("Docker's configuration {path} is not usable: line {line} is not what Docker writes", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Somebody else holds the lock.
    #[error("Docker's configuration {path} is locked by another process", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A helper that the file names does not do its work.
    #[error(
        "docker-credential-{helper}, which Docker's configuration names for {host}, could not {action} its login: {reason}"
    )]
    Helper {
        /// The helper's name, as in the file.
        helper: String,
        /// The registry.
        host: String,
        /// `store` or `erase`.
        action: &'static str,
        /// What it says.
        reason: String,
    },
    /// The helper cannot be put where Docker finds it.
    #[error("{path} cannot be made: {reason}", path = path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The name of a profile that cannot be part of a program's name.
    #[error(
        "the profile {profile} cannot be served by a helper of its own: a helper's name has only letters, digits, dots, dashes and underscores"
    )]
    Profile {
        /// The profile.
        profile: String,
    },
}

impl DockerError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Nowhere | Self::Profile { .. } => Code::Usage,
            Self::File { .. }
            | Self::Broken { .. }
            | Self::Locked { .. }
            | Self::Helper { .. }
            | Self::Link { .. } => Code::DockerConfigFailed,
        }
    }

    pub(crate) fn retryable(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Nowhere => "name the directory: --docker-config=DIR",
            Self::File { .. } => {
                "another directory is --docker-config=DIR, with DOCKER_CONFIG=DIR for docker itself"
            }
            Self::Broken { .. } => "mend it, or move it away; it was not touched",
            Self::Locked { .. } => "try again in a while",
            Self::Helper { .. } => {
                "mend the helper, or take it out of credHelpers or credsStore; `ecrlogin install-helper` makes ecrlogin the helper"
            }
            Self::Link { .. } => "name another directory of the search path: --helper-dir DIR",
            Self::Profile { .. } => "set AWS_PROFILE where docker runs, and leave --profile out",
        }
    }
}
