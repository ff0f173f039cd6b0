//! Exit codes and error codes, named in one place.

mod subject;

pub use subject::speaks_of_the_release;

/// The exit codes, the same for all tools.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// The operation failed, and nothing changed or the change was rolled back.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// The input document is bad.
    pub const BAD_INPUT: u8 = 3;
    /// Not authenticated or not allowed.
    pub const NOT_ALLOWED: u8 = 4;
    /// Something could not be reached.
    pub const UNREACHABLE: u8 = 5;
    /// Failed, and the remote state needs a person.
    pub const NEEDS_PERSON: u8 = 6;
    /// The deadline passed (the code of timeout(1)).
    pub const DEADLINE: u8 = 124;
    /// Interrupted by SIGINT (128 + 2).
    pub const SIGINT: u8 = 130;
    /// Interrupted by SIGTERM (128 + 15).
    pub const SIGTERM: u8 = 143;
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident $text:literal $exit:ident,)+) => {
        /// What went wrong, finer than the exit code: `error.code` of the document.
        ///
        /// New codes may be added within v1, so a reader must expect ones that it does not know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The text of the code in the document.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)+ }
            }

            /// The exit code that goes with it.
            #[must_use]
            pub fn exit(self) -> u8 {
                match self { $(Code::$variant => exit::$exit,)+ }
            }

            /// What it means, in a sentence: the text of the documentation's table.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The command line is wrong.
    Usage "usage" USAGE,
    /// The input is empty, cut off, or not one JSON object.
    BadInput "bad_input" BAD_INPUT,
    /// The input is a document of another schema.
    SchemaMismatch "schema_mismatch" BAD_INPUT,
    /// A section of the document has a value of the wrong type or form.
    BadSection "bad_section" BAD_INPUT,
    /// A section that this tool needs is not in the document.
    MissingSection "missing_section" BAD_INPUT,
    /// The tool's settings hold a key that is not one of its options.
    UnknownSetting "unknown_setting" BAD_INPUT,
    /// A setting has a value that its option does not take.
    BadSetting "bad_setting" BAD_INPUT,
    /// A setting that only a flag or the environment may decide, as the document is not trusted that far.
    UntrustedSetting "untrusted_setting" BAD_INPUT,
    /// SIGINT or SIGTERM ended the tool (exit 130 or 143).
    Interrupted "interrupted" SIGINT,
    /// The deadline passed.
    DeadlineExceeded "deadline_exceeded" DEADLINE,
    /// The document could not be written to stdout.
    OutputFailed "output_failed" FAILED,
    /// A defect of the tool itself.
    Internal "internal" FAILED,

    /// A file that was named cannot be read.
    FileUnreadable "file_unreadable" FAILED,
    /// A file that was named is larger than what is taken.
    FileTooLarge "file_too_large" FAILED,
    /// The directory to build does not exist or is not a directory.
    ContextNotFound "context_not_found" FAILED,
    /// There is no Dockerfile where it was looked for.
    DockerfileNotFound "dockerfile_not_found" FAILED,
    /// The Dockerfile or the build's options are not valid.
    DockerfileInvalid "dockerfile_invalid" FAILED,
    /// The source differs from its commit, or the commit is not known, and `--require-clean` was given.
    SourceNotClean "source_not_clean" FAILED,
    /// A build secret is missing or empty.
    BuildSecretMissing "build_secret_missing" FAILED,
    /// A step of the build failed.
    BuildFailed "build_failed" FAILED,
    /// The image of a FROM line, or the Dockerfile's frontend, cannot be had from a registry that answers.
    BaseImageUnavailable "base_image_unavailable" FAILED,

    /// No engine answers at the socket or address.
    EngineUnreachable "engine_unreachable" UNREACHABLE,
    /// The user may not use the engine's socket.
    EngineDenied "engine_denied" NOT_ALLOWED,
    /// The engine is too old or lacks what is needed.
    EngineUnsupported "engine_unsupported" FAILED,
    /// The engine answered with an error.
    EngineError "engine_error" FAILED,
    /// The disk of the engine is full.
    DiskFull "disk_full" FAILED,

    /// No AWS credentials were found.
    CredentialsNotFound "credentials_not_found" NOT_ALLOWED,
    /// The AWS credentials are expired or not valid.
    CredentialsInvalid "credentials_invalid" NOT_ALLOWED,
    /// AWS refused the action to this principal.
    AccessDenied "access_denied" NOT_ALLOWED,
    /// No AWS region was given or found.
    RegionMissing "region_missing" USAGE,
    /// Two sources name different regions or accounts.
    RegionConflict "region_conflict" USAGE,
    /// The AWS region is not enabled for the account.
    RegionDisabled "region_disabled" NOT_ALLOWED,
    /// The AWS endpoint could not be reached.
    AwsUnreachable "aws_unreachable" UNREACHABLE,
    /// AWS answered with another error.
    AwsError "aws_error" FAILED,
    /// Docker's configuration, or a credential helper that it names, cannot be used or changed.
    DockerConfigFailed "docker_config_failed" FAILED,
    /// A login cannot be kept in the cache, or not be removed from it.
    CacheFailed "cache_failed" FAILED,

    /// The engine does not have the image.
    ImageNotFound "image_not_found" FAILED,
    /// The registry refused the credentials, or there are none.
    RegistryDenied "registry_denied" NOT_ALLOWED,
    /// The registry could not be reached.
    RegistryUnreachable "registry_unreachable" UNREACHABLE,
    /// The registry answered with another error.
    RegistryError "registry_error" FAILED,
    /// The repository does not exist.
    RepositoryNotFound "repository_not_found" FAILED,
    /// The tag is immutable and names another image.
    TagConflict "tag_conflict" FAILED,
    /// The registry does not have the image under this digest.
    ManifestNotFound "manifest_not_found" FAILED,
    /// The registry's digest is not the pushed one.
    DigestMismatch "digest_mismatch" FAILED,
    /// A quota of the registry is used up.
    RegistryQuota "registry_quota" FAILED,
    /// The registry, or a proxy before it, takes no body of this size.
    BodyTooLarge "body_too_large" FAILED,
    /// The disk of the registry is full.
    RegistryDiskFull "registry_disk_full" FAILED,

    /// The host could not be reached by SSH.
    HostUnreachable "host_unreachable" UNREACHABLE,
    /// The host's key is not known.
    HostKeyUnknown "host_key_unknown" NOT_ALLOWED,
    /// The host's key is another than the known or pinned one, or is revoked.
    HostKeyMismatch "host_key_mismatch" NOT_ALLOWED,
    /// The host accepted none of the keys.
    SshAuthFailed "ssh_auth_failed" NOT_ALLOWED,
    /// A private key cannot be used.
    SshKeyUnusable "ssh_key_unusable" NOT_ALLOWED,
    /// The SSH server refuses to forward the stream that is needed.
    SshForwardingRefused "ssh_forwarding_refused" NOT_ALLOWED,
    /// The connection to the host broke.
    ConnectionLost "connection_lost" UNREACHABLE,
    /// The port on the host belongs to something that is not this application.
    PortInUse "port_in_use" FAILED,
    /// Another deploy of the application holds the lock of this host.
    Locked "locked" FAILED,
    /// The lock was broken or taken over while the deploy was under way.
    LockLost "lock_lost" FAILED,
    /// The image is for another architecture than the host's.
    ArchMismatch "arch_mismatch" FAILED,
    /// The clock of the host, or of AWS, and that of this machine are too far apart.
    ClockSkew "clock_skew" FAILED,
    /// What is live is a newer build than the one to be deployed.
    OlderBuild "older_build" FAILED,
    /// The command that was to run before the switch failed.
    ReleaseCommandFailed "release_command_failed" FAILED,
    /// The front, which owns the published port, could not be set up or changed.
    FrontFailed "front_failed" FAILED,
    /// There is no release to go back to, or it cannot be had any more.
    RollbackImpossible "rollback_impossible" NEEDS_PERSON,
    /// The container could not be created or started.
    ContainerFailed "container_failed" FAILED,
    /// The new container did not become healthy.
    Unhealthy "unhealthy" FAILED,
    /// The new container ended or restarted before it was healthy.
    CandidateExited "candidate_exited" FAILED,
    /// The old container could not be put back: the application is down.
    RestoreFailed "restore_failed" NEEDS_PERSON,

    /// Nothing says what to wait for.
    NoTarget "no_target" USAGE,
    /// A target will not become healthy by waiting, and `--fail-fast` was given.
    GivenUp "given_up" FAILED,
    /// The deadline passed, and what kept the targets from being asked was on this side.
    NotChecked "not_checked" DEADLINE,
    /// The command that was to run once all was healthy failed; the exit code is its own.
    CommandFailed "command_failed" FAILED,
    /// The command that is to run once all is healthy cannot be run (exit 127 or 126).
    CommandNotFound "command_not_found" FAILED,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_its_own_text_and_a_failing_exit() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?} is there twice");
            assert_ne!(code.exit(), exit::DONE, "{code:?} must not look like success");
            assert!(code.meaning().ends_with('.'), "{code:?} has no sentence");
        }
    }
}
