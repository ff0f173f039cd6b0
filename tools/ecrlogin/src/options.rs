//! The options of ecrlogin.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Gets registry credentials from Amazon ECR and adds them to the release document
///
/// Credentials for AWS come from the environment, the shared configuration files (profiles, SSO,
/// credential_process), a web identity, the container's role or the instance's role, in this
/// order. The token is valid for 12 hours; it is written only if stdout is a pipe.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The registry's host name, from which account and region follow
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,
    /// The AWS account whose registry is meant [default: the caller's]
    #[arg(long, value_name = "ACCOUNT")]
    pub registry_id: Option<String>,
    /// The AWS region [default: of the host name, else AWS_REGION, the profile, the instance]
    #[arg(long)]
    pub region: Option<String>,
    /// The profile in the shared AWS configuration files; goes before keys in the environment
    #[arg(long)]
    pub profile: Option<String>,
    /// The URL of the ECR API [default: AWS_ENDPOINT_URL, else that of the region]
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The repository that later tools push to [default: the image's name]
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// Create the repository if it does not exist
    #[arg(long)]
    pub ensure_repository: bool,
    /// The deadline for all of it
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30))]
    pub timeout: Span,
}
