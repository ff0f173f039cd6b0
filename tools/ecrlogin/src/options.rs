//! The options of ecrlogin.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

use crate::docker::host_of;
use crate::host::target;

/// Gets registry credentials from Amazon ECR and adds them to the release document
///
/// Credentials for AWS come from the environment, the shared configuration files (profiles, SSO,
/// credential_process), a web identity, the container's role or the instance's role, in this
/// order. The token is valid for 12 hours; it is written only if stdout is a pipe.
/// Without a command it logs in; the other commands are about Docker's own configuration.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to do
    #[arg(value_name = "COMMAND", value_enum, default_value_t = Command::Login)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub command: Command,

    /// A registry's host name, from which account, region and endpoints follow; also
    /// public.ecr.aws. The first is the image's (repeatable)
    #[arg(long, value_name = "HOST")]
    #[schemars(extend("x-trust" = "document"))]
    pub registry: Vec<String>,
    /// The AWS account whose registry is meant (repeatable) [default: the caller's]
    #[arg(long, value_name = "ACCOUNT")]
    #[schemars(extend("x-trust" = "document"))]
    pub registry_id: Vec<String>,
    /// The AWS region [default: of the host name, else AWS_REGION, the profile, the instance]
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub region: Option<String>,
    /// The profile in the shared AWS configuration files; goes before keys in the environment
    #[arg(long)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub profile: Option<String>,
    /// A role to assume with the credentials that were found
    #[arg(long, value_name = "ARN")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub assume_role: Option<String>,
    /// What the role's session is called in CloudTrail
    #[arg(long, value_name = "NAME", default_value = SESSION)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub session_name: String,
    /// The external id that the role's trust policy asks for
    #[arg(long, value_name = "ID")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub external_id: Option<String>,
    /// The URL of the ECR API [default: AWS_ENDPOINT_URL, else that of the region]
    #[arg(long, value_name = "URL")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub endpoint_url: Option<String>,
    /// The repository that later tools push to [default: the image's name]
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("x-trust" = "document"))]
    pub repository: Option<String>,
    /// Create the repository if it does not exist
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub ensure_repository: bool,
    /// Keep the token that the document brings if it is valid for that long yet
    #[arg(long, value_name = "DURATION")]
    #[schemars(extend("x-trust" = "document"))]
    pub min_validity: Option<Span>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Document)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub format: Format,
    /// Keep the token on this machine, and use one that is kept for the first half of its life;
    /// Docker's credential helper does so unless this is false
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    #[schemars(extend("x-trust" = "command-line"))]
    pub cache: Option<bool>,
    /// The deadline for all of it
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30))]
    #[schemars(extend("x-trust" = "document"))]
    pub timeout: Span,

    /// With --ensure-repository: no tag may be moved to another image
    #[arg(long, help_heading = "Repository")]
    #[schemars(extend("x-trust" = "document"))]
    pub immutable_tags: bool,
    /// With --ensure-repository: each image is scanned for known weaknesses when it is pushed
    #[arg(long, help_heading = "Repository")]
    #[schemars(extend("x-trust" = "document"))]
    pub scan_on_push: bool,
    /// With --ensure-repository: which images expire, as the JSON text of a lifecycle policy
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    #[schemars(extend("x-trust" = "path"))]
    pub lifecycle_policy: Option<String>,
    /// With --ensure-repository: how images are encrypted, aes256, kms[:KEY] or kms-dsse[:KEY]
    #[arg(long, value_name = "KIND", help_heading = "Repository")]
    #[schemars(extend("x-trust" = "document"))]
    pub encryption: Option<String>,
    /// With --ensure-repository: a resource tag of the repository (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Repository")]
    #[schemars(extend("x-trust" = "document"))]
    pub tag: Vec<String>,
    /// Change what differs from that in a repository that exists, instead of telling it only
    #[arg(long, help_heading = "Repository")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub reconcile: bool,

    /// Log Docker in, too, as `docker login` does; DIR is where its config.json is, `default` is
    /// DOCKER_CONFIG, else ~/.docker
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_DIRECTORY,
        help_heading = "Docker"
    )]
    #[schemars(extend("x-trust" = "command-line"))]
    pub docker_config: Option<String>,
    /// Where install-helper links docker-credential-ecrlogin [default: where ecrlogin is]
    #[arg(long, value_name = "DIR", help_heading = "Docker")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub helper_dir: Option<String>,
}

/// What a role's session is called if nothing else is said.
pub(crate) const SESSION: &str = "ecrlogin";

/// The value of `--docker-config` that is no directory.
const DEFAULT_DIRECTORY: &str = "default";

impl Options {
    /// Whether a registry is one of those that the options speak of: all, if they say nothing.
    pub(crate) fn means(&self, host: &str) -> bool {
        let target = target(host);
        let account = target.as_ref().and_then(|target| target.account.as_ref());
        let region = target.as_ref().and_then(|target| target.region.as_ref());
        let named = |given: &String| host_of(given) == host;
        (self.registry.is_empty() || self.registry.iter().any(named))
            && (self.registry_id.is_empty()
                || account.is_some_and(|it| self.registry_id.contains(it)))
            && self.region.as_ref().is_none_or(|given| region == Some(given))
    }

    /// The directory that `--docker-config` names, if it is a certain one.
    pub(crate) fn docker_directory(&self) -> Option<&str> {
        self.docker_config
            .as_deref()
            .filter(|given| !given.is_empty() && *given != DEFAULT_DIRECTORY)
    }

    /// Whether Docker is to be logged in. A variable of a CI job that is empty says nothing.
    pub(crate) fn logs_docker_in(&self) -> bool {
        self.docker_config.as_deref().is_some_and(|given| !given.is_empty())
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Get credentials
    Login,
    /// Take logins to Amazon ECR out of Docker's configuration, the cache and the document
    Logout,
    /// Make Docker ask ecrlogin for logins to the registry, by credHelpers in its configuration
    InstallHelper,
    /// Make it ask no more
    RemoveHelper,
}

/// What ecrlogin prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The release document
    Document,
    /// The password alone, as for `docker login --password-stdin`
    Token,
    /// What Docker's credential helpers answer
    DockerCredential,
    /// Lines of NAME=VALUE for a shell or an env file
    Env,
}

impl Format {
    /// The option's value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Token => "token",
            Self::DockerCredential => "docker-credential",
            Self::Env => "env",
        }
    }
}
