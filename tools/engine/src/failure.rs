//! What an engine's error means for a tool's exit code.

use slipway_release::{Code, Failure};

use crate::classify::{RegistryFault, advice};
use crate::error::Error;

impl Error {
    /// The code of the error for the document.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => Code::EngineUnreachable,
            Self::PermissionDenied { .. } => Code::EngineDenied,
            Self::UnsupportedHost { .. } => Code::Usage,
            Self::Registry { fault, .. } => match fault {
                RegistryFault::Unauthorized | RegistryFault::Denied => Code::RegistryDenied,
                RegistryFault::RepositoryNotFound => Code::RepositoryNotFound,
                RegistryFault::TagImmutable => Code::TagConflict,
                RegistryFault::ManifestUnknown => Code::ManifestNotFound,
                RegistryFault::PlatformMissing => Code::ArchMismatch,
                RegistryFault::Unreachable | RegistryFault::Tls => Code::RegistryUnreachable,
                _ => Code::RegistryError,
            },
            Self::DiskFull { .. } => Code::DiskFull,
            Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Api { .. }
            | Self::AddressPool { .. }
            | Self::TooLarge(_)
            | Self::Protocol { .. } => Code::EngineError,
        }
    }

    /// What to do about it, if it is a refusal whose words do not explain themselves.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { message } | Self::Conflict { message } | Self::Api { message, .. } => {
                advice(message)
            }
            _ => None,
        }
    }

    /// What to do next, whoever asked the engine.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "is Docker running there? `docker info` with the same DOCKER_HOST tells"
            }
            Self::Interrupted { .. } => "look at the engine's own log, then run it again",
            Self::PermissionDenied { .. } => {
                "add the user to the group of the socket, usually docker, and log in anew"
            }
            Self::UnsupportedHost { .. } => "set DOCKER_HOST to another address or unset it",
            Self::DiskFull { .. } => {
                "free some on the engine's disk: `docker system df` shows what holds it"
            }
            Self::Registry { fault, .. } => match fault {
                RegistryFault::Unauthorized => {
                    "the token may be missing or expired: run ecrlogin earlier in the pipe, or `ecrlogin < saved.json`"
                }
                RegistryFault::Denied => {
                    "let the principal's policy, and the repository's own, allow the action"
                }
                RegistryFault::RepositoryNotFound => {
                    "create it, or run ecrlogin with --ensure-repository"
                }
                RegistryFault::Unreachable => {
                    "look at the engine's network, proxy and name service"
                }
                RegistryFault::Tls => {
                    "give the engine the registry's CA in /etc/docker/certs.d/HOST/ca.crt"
                }
                RegistryFault::RateLimited | RegistryFault::ServerError => "try again in a while",
                RegistryFault::TagImmutable => {
                    "choose another tag, or let the repository's tags be mutable"
                }
                RegistryFault::ManifestUnknown => {
                    "look at the tag or the digest: was it pushed there?"
                }
                RegistryFault::PlatformMissing => "choose a platform that the image has",
                RegistryFault::Rejected => "the reason is the registry's own: look at its log",
            },
            Self::AddressPool { .. } => {
                "on the engine's machine, `docker network prune` removes networks that nothing uses; more addresses are given by default-address-pools in /etc/docker/daemon.json"
            }
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Api { .. } => {
                self.advice().unwrap_or(
                    "the reason is the engine's own: look at its log, such as with journalctl -u docker",
                )
            }
            Self::TooLarge(_) => "no Docker engine answers like this: look at what listens there",
            Self::Protocol { .. } => "is it really a Docker engine? DOCKER_HOST names it",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(error.code(), error.to_string())
            .hint(error.hint())
            .retryable(error.transient())
    }
}
