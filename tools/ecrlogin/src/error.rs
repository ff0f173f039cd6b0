//! What can go wrong, and what it means for the exit code.

use slipway_release::{Code, Failure};
use slipway_shell::Span;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--registry` is no private ECR registry.
    #[error("{host} is not the host name of an Amazon ECR registry")]
    NotEcr {
        /// What was given.
        host: String,
    },
    /// `--registry-id` is no account.
    #[error("{account} is not an AWS account: an account has twelve digits")]
    BadAccount {
        /// What was given.
        account: String,
    },
    /// `--region` is no region.
    #[error("{region} is not an AWS region")]
    BadRegion {
        /// What was given.
        region: String,
    },
    /// A flag and the host name contradict each other.
    #[error("the {what} {flag} contradicts the registry {host}")]
    Conflict {
        /// `region` or `account`.
        what: &'static str,
        /// The flag's value.
        flag: String,
        /// The host name.
        host: String,
    },
    /// There is no region.
    #[error("no AWS region was found; tried {}", tried.join(", "))]
    NoRegion {
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// There are no AWS credentials.
    #[error("no AWS credentials were found; tried {}", tried.join(", "))]
    NoCredentials {
        /// Each source with why it had none, in order.
        tried: Vec<String>,
    },
    /// The profile that was asked for has none.
    #[error("the profile {profile} does not exist or has no credentials")]
    EmptyProfile {
        /// The profile.
        profile: String,
    },
    /// A source of credentials is configured, but fails.
    #[error("AWS credentials from {origin} cannot be used: {reason}")]
    BrokenCredentials {
        /// The source.
        origin: &'static str,
        /// What it says.
        reason: String,
    },
    /// The image has no name, and no repository was given.
    #[error("--ensure-repository does not know which: the document names no image")]
    RepositoryUnnamed,
    /// AWS refuses the action.
    #[error("AWS refused {action} in {region}: {message}")]
    Denied {
        /// The API action.
        action: &'static str,
        /// The region asked.
        region: String,
        /// What AWS says, with the principal.
        message: String,
    },
    /// AWS does not accept the credentials.
    #[error("AWS does not accept the credentials ({code}): {message}")]
    Invalid {
        /// The code of AWS.
        code: String,
        /// What AWS says.
        message: String,
    },
    /// The endpoint does not answer.
    #[error("the ECR endpoint in {region} could not be reached: {reason}")]
    Unreachable {
        /// The region asked.
        region: String,
        /// Why.
        reason: String,
    },
    /// AWS answered with another error.
    #[error("{action} in {region} failed ({code}): {message}")]
    Aws {
        /// The API action.
        action: &'static str,
        /// The region asked.
        region: String,
        /// The code of AWS.
        code: String,
        /// What AWS says.
        message: String,
        /// Whether trying again later may help.
        transient: bool,
    },
    /// The answer is not what the API promises.
    #[error("GetAuthorizationToken answered without a usable token: {reason}")]
    BadToken {
        /// What is wrong with it. Never the token.
        reason: &'static str,
    },
    /// The deadline passed.
    #[error("no answer within {limit} (--timeout)")]
    Deadline {
        /// The deadline.
        limit: Span,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotEcr { .. }
            | Error::BadAccount { .. }
            | Error::BadRegion { .. }
            | Error::RepositoryUnnamed => Code::Usage,
            Error::Conflict { .. } => Code::RegionConflict,
            Error::NoRegion { .. } => Code::RegionMissing,
            Error::NoCredentials { .. } | Error::EmptyProfile { .. } => Code::CredentialsNotFound,
            Error::BrokenCredentials { .. } | Error::Invalid { .. } => Code::CredentialsInvalid,
            Error::Denied { .. } => Code::AccessDenied,
            Error::Unreachable { .. } => Code::AwsUnreachable,
            Error::Aws { .. } | Error::BadToken { .. } => Code::AwsError,
            Error::Deadline { .. } => Code::DeadlineExceeded,
        };
        let retryable = matches!(
            error,
            Error::Unreachable { .. } | Error::Deadline { .. } | Error::Aws { transient: true, .. }
        );
        Failure::new(code, error.to_string()).hint(hint(&error)).retryable(retryable)
    }
}

fn hint(error: &Error) -> &'static str {
    match error {
        Error::NotEcr { .. } => {
            "it looks like 123456789012.dkr.ecr.eu-central-1.amazonaws.com; other registries need no ecrlogin"
        }
        Error::BadAccount { .. } | Error::Conflict { .. } => "give one of the two only",
        Error::BadRegion { .. } => "a region looks like eu-central-1",
        Error::NoRegion { .. } => "give --region, or set AWS_REGION",
        Error::NoCredentials { .. } => {
            "give the machine a role that may call ecr:GetAuthorizationToken, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile"
        }
        Error::EmptyProfile { .. } => "`aws configure list-profiles` lists the profiles there are",
        Error::BrokenCredentials { .. } => {
            "mend that source, or choose another with --profile; an SSO session is renewed by `aws sso login`"
        }
        Error::RepositoryUnnamed => "give --repository NAME, or run imgbuild earlier in the pipe",
        Error::Denied { .. } => {
            "let the principal's policy allow it; GetAuthorizationToken needs Resource \"*\""
        }
        Error::Invalid { .. } => {
            "the keys may be expired, deleted or mistyped, or this machine's clock wrong"
        }
        Error::Unreachable { .. } => {
            "look at the network, a proxy (HTTPS_PROXY), and whether the region exists; a VPC without a way out needs the endpoint com.amazonaws.REGION.ecr.api"
        }
        Error::Deadline { .. } => "look at the network, or give more --timeout",
        Error::Aws { transient: true, .. } => "try again in a while",
        Error::Aws { .. } => "the code is in the ECR API Reference, under Common Errors",
        Error::BadToken { .. } => "is the endpoint one of Amazon ECR? look at AWS_ENDPOINT_URL",
    }
}
