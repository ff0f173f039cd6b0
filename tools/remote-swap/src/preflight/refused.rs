//! Why a deploy may not begin on a host.

use slipway_engine::ApiVersion;
use slipway_release::{Code, Failure};
use slipway_shell::size;

/// Something speaks against a deploy; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the disk has {} free at {root} and the deploy needs {}: {what}", size(*free), size(*needed))]
    DiskFull { free: u64, needed: u64, root: String, what: String },
    #[error("the engine is too old: {version} speaks API {api}, and 1.41 is needed")]
    EngineTooOld { version: String, api: ApiVersion },
    #[error("the engine is too old: {version} cannot read layers that are compressed by zstd")]
    NoZstd { version: String },
    #[error("the host does not have the image {reference}, and no registry has it")]
    NotSent { reference: String },
    #[error("the host's clock is {seconds} s {} this machine's", if *ahead { "ahead of" } else { "behind" })]
    ClockSkew { seconds: u64, ahead: bool },
    #[error("what is live is newer: {live}; and {new} would replace it")]
    OlderBuild { new: String, live: String },
}

impl Refused {
    /// As it is told to people.
    pub(crate) fn failure(&self, message: String) -> Failure {
        let (code, hint) = match self {
            Self::DiskFull { .. } => (
                Code::DiskFull,
                "on the host: docker system df tells what takes the space, docker system prune frees what nothing uses; --min-free is the floor",
            ),
            Self::EngineTooOld { .. } => (
                Code::EngineUnsupported,
                "on the host: install Docker 20.10 or newer (docker.io of Ubuntu 22.04, or docker-ce)",
            ),
            Self::NoZstd { .. } => (
                Code::EngineUnsupported,
                "push it as gzip, without --compression zstd, or install Docker 23 or newer on the host",
            ),
            Self::NotSent { .. } => (
                Code::ImageNotFound,
                "send it to each host that is to run it: imgpush --to ssh://USER@HOST, with --to once for each",
            ),
            Self::ClockSkew { .. } => (
                Code::ClockSkew,
                "on the host whose clock is wrong: timedatectl set-ntp true, or install chrony; AWS refuses requests that are 5 minutes off",
            ),
            Self::OlderBuild { .. } => (
                Code::OlderBuild,
                "--allow-older replaces it all the same; remote-swap rollback goes back on purpose",
            ),
        };
        Failure::new(code, message).hint(hint)
    }
}
