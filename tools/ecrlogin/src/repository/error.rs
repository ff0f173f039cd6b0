//! What can go wrong with the options about the repository.

use slipway_release::Code;

/// Why the repository cannot be taken care of, beside what AWS says.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// An option says how the repository is to be, but not that it is to be looked at.
    #[error("{option} is for --ensure-repository, which was not given")]
    NotAsked {
        /// The option.
        option: &'static str,
    },
    /// `--encryption` has another form.
    #[error("--encryption {given} is none of aes256, kms[:KEY], kms-dsse[:KEY]")]
    BadEncryption {
        /// What was given.
        given: String,
    },
    /// `--tag` has another form.
    #[error("--tag {given} has no key or no value: it is KEY=VALUE")]
    BadTag {
        /// What was given.
        given: String,
    },
    /// Two values of one tag.
    #[error("--tag {key} is given twice, with different values")]
    TagTwice {
        /// The tag's key.
        key: String,
    },
    /// `--repository` is no name.
    #[error("--repository {given:?} is not the name of a repository")]
    BadName {
        /// What was given.
        given: String,
    },
    /// The policy's file cannot be read.
    #[error("the lifecycle policy {path} cannot be read: {source}")]
    PolicyUnreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The policy's file is longer than AWS takes.
    #[error("the lifecycle policy {path} is larger than {limit} bytes")]
    PolicyTooLarge {
        /// The file.
        path: String,
        /// In bytes.
        limit: u64,
    },
    /// The file holds no policy.
    #[error("the lifecycle policy {path} is none: {reason}")]
    BadPolicy {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The repository was created, but not all of it was set.
    #[error("the repository {name} was created, but without its lifecycle policy: {reason}")]
    HalfMade {
        /// The repository.
        name: String,
        /// What AWS says.
        reason: String,
        /// What that means.
        code: Code,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// It existed, and a moment later it did not.
    #[error("the repository {name} was deleted while it was looked at")]
    Vanished {
        /// The repository.
        name: String,
    },
    /// A request lacks a field. Every field that the API wants is always set.
    #[error("a request to AWS could not be made: {0}")]
    Incomplete(aws_sdk_ecr::error::BuildError),
}

impl RepositoryError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NotAsked { .. }
            | Self::BadEncryption { .. }
            | Self::BadTag { .. }
            | Self::TagTwice { .. }
            | Self::BadName { .. }
            | Self::BadPolicy { .. } => Code::Usage,
            Self::PolicyUnreadable { .. } => Code::FileUnreadable,
            Self::PolicyTooLarge { .. } => Code::FileTooLarge,
            Self::HalfMade { code, .. } => *code,
            Self::Vanished { .. } => Code::RepositoryNotFound,
            Self::Incomplete(_) => Code::Internal,
        }
    }

    pub(crate) fn retryable(&self) -> bool {
        matches!(self, Self::HalfMade { retryable: true, .. } | Self::Vanished { .. })
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotAsked { .. } => "add --ensure-repository",
            Self::BadEncryption { .. } => "KEY is the id, the ARN or the alias of a KMS key",
            Self::BadTag { .. } => "an empty value is KEY=",
            Self::TagTwice { .. } => "a resource has one value of a tag",
            Self::BadName { .. } => {
                "it looks like team/web, in lower case: the registry does not belong to it, nor does a tag"
            }
            Self::PolicyUnreadable { .. } => "a relative path begins at the working directory",
            Self::PolicyTooLarge { .. } => "Amazon ECR takes no longer one",
            Self::BadPolicy { .. } => {
                "it looks like {\"rules\": [{\"rulePriority\": 1, …}]}; see the Amazon ECR User Guide, Lifecycle policies"
            }
            Self::HalfMade { .. } => {
                "once that is mended, run it again with --reconcile, which sets the policy"
            }
            Self::Vanished { .. } => "run it again",
            Self::Incomplete(_) => "please report it",
        }
    }
}
