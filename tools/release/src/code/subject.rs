//! What an error is about: the release, or something else.

use super::{Code, exit};

impl Code {
    /// The code of this text; none if it is not one of ours.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether an error of this code says that the release is bad, so that going back to the one
    /// before it helps. All others say that something could not be done or not be asked: whatever
    /// serves may be as good as it ever was.
    #[must_use]
    pub fn speaks_of_the_release(self) -> bool {
        // No wildcard: every new code has to be decided.
        match self {
            Self::DeadlineExceeded
            | Self::ArchMismatch
            | Self::ReleaseCommandFailed
            | Self::ContainerFailed
            | Self::Unhealthy
            | Self::CandidateExited
            | Self::GivenUp
            | Self::CommandFailed => true,
            Self::Usage
            | Self::BadInput
            | Self::SchemaMismatch
            | Self::BadSection
            | Self::MissingSection
            | Self::UnknownSetting
            | Self::BadSetting
            | Self::UntrustedSetting
            | Self::Interrupted
            | Self::OutputFailed
            | Self::Internal
            | Self::FileUnreadable
            | Self::FileTooLarge
            | Self::ContextNotFound
            | Self::DockerfileNotFound
            | Self::DockerfileInvalid
            | Self::SourceNotClean
            | Self::BuildSecretMissing
            | Self::BuildFailed
            | Self::BaseImageUnavailable
            | Self::EngineUnreachable
            | Self::EngineDenied
            | Self::EngineUnsupported
            | Self::EngineError
            | Self::DiskFull
            | Self::CredentialsNotFound
            | Self::CredentialsInvalid
            | Self::AccessDenied
            | Self::RegionMissing
            | Self::RegionConflict
            | Self::RegionDisabled
            | Self::AwsUnreachable
            | Self::AwsError
            | Self::DockerConfigFailed
            | Self::CacheFailed
            | Self::ImageNotFound
            | Self::RegistryDenied
            | Self::RegistryUnreachable
            | Self::RegistryError
            | Self::RepositoryNotFound
            | Self::TagConflict
            | Self::ManifestNotFound
            | Self::DigestMismatch
            | Self::RegistryQuota
            | Self::BodyTooLarge
            | Self::RegistryDiskFull
            | Self::HostUnreachable
            | Self::HostKeyUnknown
            | Self::HostKeyMismatch
            | Self::SshAuthFailed
            | Self::SshKeyUnusable
            | Self::SshForwardingRefused
            | Self::ConnectionLost
            | Self::PortInUse
            | Self::Locked
            | Self::LockLost
            | Self::ClockSkew
            | Self::OlderBuild
            | Self::FrontFailed
            | Self::RollbackImpossible
            | Self::RestoreFailed
            | Self::NoTarget
            | Self::NotChecked
            | Self::CommandNotFound => false,
        }
    }
}

/// The same for an error of the document, whose code may be one of a newer tool or of somebody
/// else's; then the exit code decides: a failure or a deadline.
#[must_use]
pub fn speaks_of_the_release(code: &str, exit: u8) -> bool {
    match Code::of(code) {
        Some(code) => code.speaks_of_the_release(),
        None => matches!(exit, exit::FAILED | exit::DEADLINE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_or_document_says_nothing_of_the_release() {
        for code in Code::ALL {
            let exit = code.exit();
            assert_eq!(Code::of(code.as_str()), Some(*code));
            assert_eq!(speaks_of_the_release(code.as_str(), exit), code.speaks_of_the_release());
            if code.speaks_of_the_release() {
                assert!([exit::FAILED, exit::DEADLINE].contains(&exit), "{code:?}");
            }
        }
    }

    #[test]
    fn the_table_of_the_documentation_is_this_one() {
        let page = include_str!("../../../../docs/contract.md");
        let (_, table) = page.split_once("## Undoing").unwrap();
        let table = table.split("\n## ").next().unwrap();
        for code in Code::ALL {
            let named = table.contains(&format!("`{}`", code.as_str()));
            assert_eq!(named, code.speaks_of_the_release(), "{code:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_judged_by_its_exit_code() {
        let bad: Vec<u8> =
            (0..=255).filter(|exit| speaks_of_the_release("smoke_test", *exit)).collect();
        assert_eq!(bad, [1, 124]);
        // Whatever its exit code is.
        assert!(speaks_of_the_release("command_failed", 2));
        assert!(!speaks_of_the_release("no_target", 1));
    }
}
