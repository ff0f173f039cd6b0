//! What can go wrong, and what it means for the exit code.

mod hint;

use serde_json::{Value, json};
use slipway_release::{Code, Failure};
use slipway_shell::Span;
use slipway_untrusted::Untrusted;

use crate::answer::Denial;
use crate::clock::apart;
use crate::{DockerError, RepositoryError};

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--registry` is no ECR registry.
    #[error("{} is not the host name of an Amazon ECR registry", told(host))]
    NotEcr {
        /// What was given.
        host: String,
    },
    /// `--registry-id` is no account.
    #[error("{} is not an AWS account: an account has twelve digits", told(account))]
    BadAccount {
        /// What was given.
        account: String,
    },
    /// `--region` is no region.
    #[error("{} is not an AWS region", told(region))]
    BadRegion {
        /// What was given.
        region: String,
    },
    /// `--assume-role` is no role.
    #[error("{} is not the ARN of a role", told(arn))]
    BadRole {
        /// What was given.
        arn: String,
    },
    /// `--session-name` is none that AWS takes.
    #[error("{name:?} is not a session name: that has 2 to 64 letters, digits and _+=,.@-")]
    BadSession {
        /// What was given.
        name: String,
    },
    /// An option that says something about a role, where there is none.
    #[error("{option} is for --assume-role, which was not given")]
    NoRole {
        /// The option.
        option: &'static str,
    },
    /// An output form that has room for one registry.
    #[error("--format {format} is for one registry, but {count} were asked for")]
    OneOnly {
        /// The form.
        format: &'static str,
        /// How many.
        count: usize,
    },
    /// The token would be shown or kept.
    #[error("--format {format} writes a secret, and stdout is not a pipe")]
    NotAPipe {
        /// The form.
        format: &'static str,
    },
    /// A repository of the public registry.
    #[error("--ensure-repository knows private registries only, and {host} is the public one")]
    PublicRepository {
        /// The registry.
        host: String,
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
    #[error("no AWS credentials were found; tried {}", listed(tried))]
    NoCredentials {
        /// Each source with why it had none, in order.
        tried: Vec<(String, String)>,
    },
    /// The profile that was asked for has none.
    #[error("the profile {profile} does not exist or has no credentials: {reason}")]
    EmptyProfile {
        /// The profile.
        profile: String,
        /// What was seen.
        reason: String,
    },
    /// A source of credentials is configured, but fails.
    #[error("AWS credentials from {origin} cannot be used: {reason}{}", after(tried))]
    BrokenCredentials {
        /// The source.
        origin: String,
        /// What it says.
        reason: String,
        /// The sources before it, with why they had none.
        tried: Vec<(String, String)>,
        /// The profile, if it is one of AWS IAM Identity Center.
        sso: Option<String>,
    },
    /// The role was assumed, but the answer has no keys.
    #[error("sts:AssumeRole of {arn} answered without credentials")]
    NoKeys {
        /// The role.
        arn: String,
    },
    /// The image has no name, and no repository was given.
    #[error("--ensure-repository does not know which: the document names no image")]
    RepositoryUnnamed,
    /// AWS refuses the action.
    #[error("{}", refusal(action, region, message, denial.as_ref(), origin.as_deref()))]
    Denied {
        /// The API action.
        action: &'static str,
        /// The region asked.
        region: String,
        /// What AWS says.
        message: Untrusted,
        /// The same, as far as it could be read.
        denial: Option<Denial>,
        /// Where the credentials are from.
        origin: Option<String>,
    },
    /// AWS does not accept the credentials.
    #[error("AWS does not accept the credentials{} ({code}): {message}", from(origin.as_deref()))]
    Invalid {
        /// The code of AWS.
        code: Untrusted,
        /// What AWS says.
        message: Untrusted,
        /// The region asked.
        region: String,
        /// Whether that region knows keys only of accounts that enabled it.
        opt_in: bool,
        /// Where the credentials are from.
        origin: Option<String>,
    },
    /// AWS does not accept the signature since the clocks differ.
    #[error("this machine's clock is {}, which refuses the signature ({code})", apart(*seconds))]
    ClockSkew {
        /// How many seconds AWS is ahead.
        seconds: i64,
        /// The code of AWS.
        code: Untrusted,
    },
    /// The account has not enabled the region.
    #[error("the region {region} is not enabled for the account: {message}")]
    RegionDisabled {
        /// The region asked.
        region: String,
        /// What AWS says.
        message: Untrusted,
    },
    /// The endpoint does not answer.
    #[error("the {service} endpoint in {region} could not be reached: {reason}")]
    Unreachable {
        /// Which service.
        service: &'static str,
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
        code: Untrusted,
        /// What AWS says.
        message: Untrusted,
        /// Whether trying again later may help.
        transient: bool,
    },
    /// The answer is not what the API promises.
    #[error("GetAuthorizationToken answered without a usable token: {reason}")]
    BadToken {
        /// What is wrong with it. Never the token.
        reason: &'static str,
    },
    /// The answer names a registry that was not asked for.
    #[error("the token is not used: the answer names the registry {named}, which is not {}", wanted(account.as_deref(), region))]
    OtherRegistry {
        /// What it names.
        named: Untrusted,
        /// The region asked.
        region: String,
        /// The account asked for.
        account: Option<String>,
    },
    /// The deadline passed.
    #[error("no answer within {limit} (--timeout) while {doing}")]
    Deadline {
        /// The deadline.
        limit: Span,
        /// What was being done.
        doing: String,
    },
    /// The repository cannot be taken care of.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Docker's configuration cannot be read or changed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A login that is to be kept cannot be.
    #[error("the login cannot be kept: {reason}")]
    NotKept {
        /// Why.
        reason: String,
    },
    /// A login that is to be kept no longer cannot be removed.
    #[error("the login cannot be removed from the cache: {reason}")]
    NotForgotten {
        /// Why.
        reason: String,
    },
}

/// A value that people gave. One that is empty, as a variable of a CI job may be, would not be seen.
fn told(given: &str) -> &str {
    if given.is_empty() { "an empty value" } else { given }
}

fn wanted(account: Option<&str>, region: &str) -> String {
    match account {
        Some(account) => format!("that of {account} in {region}"),
        None => format!("one of Amazon ECR in {region}"),
    }
}

fn listed(tried: &[(String, String)]) -> String {
    tried.iter().map(|(source, why)| format!("{source} ({why})")).collect::<Vec<_>>().join(", ")
}

fn after(tried: &[(String, String)]) -> String {
    if tried.is_empty() { String::new() } else { format!("; tried before: {}", listed(tried)) }
}

fn from(origin: Option<&str>) -> String {
    origin.map(|origin| format!(" from {origin}")).unwrap_or_default()
}

fn refusal(
    action: &str,
    region: &str,
    message: &Untrusted,
    denial: Option<&Denial>,
    origin: Option<&str>,
) -> String {
    let Some(denial) = denial else {
        return format!(
            "AWS refused {action} in {region} to the credentials{}: {message}",
            from(origin)
        );
    };
    let resource = denial.resource.as_deref().filter(|resource| *resource != "*");
    format!(
        "AWS refused {} in {region} to {}{}{}{}",
        denial.action,
        denial.principal,
        resource.map(|resource| format!(" on {resource}")).unwrap_or_default(),
        origin.map(|origin| format!(", credentials from {origin}")).unwrap_or_default(),
        denial.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default(),
    )
}

impl Error {
    /// Adds whose credentials an error of AWS is about.
    pub(crate) fn with_credentials_of(mut self, source: &str) -> Self {
        if let Self::Denied { origin, .. } | Self::Invalid { origin, .. } = &mut self {
            origin.get_or_insert_with(|| source.to_owned());
        }
        self
    }

    /// Whether the same may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Aws { transient: true, .. } => true,
            Self::Repository(error) => error.retryable(),
            Self::Docker(error) => error.retryable(),
            _ => false,
        }
    }

    /// Whether nobody has set up any AWS credentials here.
    pub(crate) fn is_no_credentials(&self) -> bool {
        matches!(self, Self::NoCredentials { .. })
    }

    fn code(&self) -> Code {
        match self {
            Self::NotEcr { .. }
            | Self::BadAccount { .. }
            | Self::BadRegion { .. }
            | Self::BadRole { .. }
            | Self::BadSession { .. }
            | Self::NoRole { .. }
            | Self::OneOnly { .. }
            | Self::NotAPipe { .. }
            | Self::PublicRepository { .. }
            | Self::RepositoryUnnamed => Code::Usage,
            Self::Conflict { .. } => Code::RegionConflict,
            Self::NoRegion { .. } => Code::RegionMissing,
            Self::NoCredentials { .. } | Self::EmptyProfile { .. } => Code::CredentialsNotFound,
            Self::BrokenCredentials { .. } | Self::Invalid { .. } => Code::CredentialsInvalid,
            Self::Denied { .. } => Code::AccessDenied,
            Self::ClockSkew { .. } => Code::ClockSkew,
            Self::RegionDisabled { .. } => Code::RegionDisabled,
            Self::Unreachable { .. } => Code::AwsUnreachable,
            Self::Aws { .. }
            | Self::BadToken { .. }
            | Self::OtherRegistry { .. }
            | Self::NoKeys { .. } => Code::AwsError,
            Self::Deadline { .. } => Code::DeadlineExceeded,
            Self::Repository(error) => error.code(),
            Self::Docker(error) => error.code(),
            Self::NotKept { .. } | Self::NotForgotten { .. } => Code::CacheFailed,
        }
    }

    /// What was seen, for machines.
    fn evidence(&self) -> Option<Value> {
        match self {
            Self::NoCredentials { tried } | Self::BrokenCredentials { tried, .. } => {
                let tried: Vec<_> = tried
                    .iter()
                    .map(|(source, why)| json!({"source": source, "why": why}))
                    .collect();
                Some(json!({ "tried": tried }))
            }
            Self::Denied { message, denial: Some(denial), .. } => Some(json!({
                "principal": denial.principal,
                "action": denial.action,
                "message": message.to_string(),
            })),
            Self::ClockSkew { seconds, .. } => Some(json!({ "skew_ms": seconds * 1000 })),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Failure::new(error.code(), error.to_string())
            .hint(hint::hint(&error))
            .retryable(error.is_retryable());
        failure.evidence = error.evidence();
        failure
    }
}
