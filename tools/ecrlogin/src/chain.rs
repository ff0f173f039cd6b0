//! The standard chain of credentials, source by source.
//!
//! The SDK's own default chain stops with the last source's words only, and waits seconds for an
//! instance metadata service where there is none. This one asks the same sources in the same
//! order, but keeps why each had nothing and bounds the search.

use std::time::Duration;

use aws_config::Region;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;

use crate::Error;
use crate::token::Login;

/// The instance metadata service is one hop away: what does not answer in this time is not there.
const IMDS_CONNECT: Duration = Duration::from_millis(300);
/// Once connected it may be slow, as on a busy instance.
const IMDS_READ: Duration = Duration::from_secs(2);

/// What the search came to.
pub(crate) struct Found {
    pub(crate) credentials: Credentials,
    /// Where the credentials are from, for people.
    pub(crate) source: &'static str,
}

/// Looks for credentials. The region is for sources that ask an AWS service themselves.
pub(crate) async fn credentials(login: &Login, region: &str) -> Result<Found, Error> {
    let (config, imds) = providers(login, Some(region));
    let mut search = Search { tried: Vec::new() };
    // A profile that was asked for goes before keys that happen to be in the environment, as with
    // the AWS CLI.
    if login.profile.is_none() {
        let provider = EnvironmentVariableCredentialsProvider::new();
        if let Some(credentials) = search.ask("the environment", &provider).await? {
            return Ok(Found { credentials, source: "the environment" });
        }
    }
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&config);
    if let Some(name) = &login.profile {
        profile = profile.profile_name(name);
    }
    let profile = profile.build();
    if let Some(credentials) = search.ask("the profile", &profile).await? {
        return Ok(Found { credentials, source: "the profile" });
    }
    if let Some(profile) = login.profile.clone() {
        return Err(Error::EmptyProfile { profile });
    }
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    if let Some(credentials) = search.ask("the web identity", &web).await? {
        return Ok(Found { credentials, source: "the web identity" });
    }
    let ecs = EcsCredentialsProvider::builder().configure(&config).build();
    if let Some(credentials) = search.ask("the container's role", &ecs).await? {
        return Ok(Found { credentials, source: "the container's role" });
    }
    let instance = ImdsCredentialsProvider::builder().configure(&config).imds_client(imds).build();
    if let Some(credentials) = search.ask("the instance's role", &instance).await? {
        return Ok(Found { credentials, source: "the instance's role" });
    }
    Err(Error::NoCredentials { tried: search.tried })
}

/// What all sources are built from.
fn providers(login: &Login, region: Option<&str>) -> (ProviderConfig, imds::Client) {
    let base = ProviderConfig::without_region().with_http_client(login.http.clone());
    let imds = imds::Client::builder()
        .configure(&base)
        .max_attempts(1)
        .connect_timeout(IMDS_CONNECT)
        .read_timeout(IMDS_READ)
        .build();
    (base.with_region(region.map(|region| Region::new(region.to_owned()))), imds)
}

struct Search {
    tried: Vec<String>,
}

impl Search {
    /// Asks one source. A source that is not configured is noted; one that is configured and fails
    /// ends the search, since going on would use another identity than the one that was meant.
    async fn ask(
        &mut self,
        source: &'static str,
        provider: &impl ProvideCredentials,
    ) -> Result<Option<Credentials>, Error> {
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Some(credentials)),
            Err(error @ CredentialsError::CredentialsNotLoaded(_)) => {
                let why = match cause(&error) {
                    // The SDK's words for a source that has nothing to say.
                    why if why == "the credential provider was not enabled" => "none".to_owned(),
                    why => why,
                };
                self.tried.push(format!("{source} ({why})"));
                Ok(None)
            }
            Err(error) if source == "the instance's role" => {
                // Nobody configures this one: no answer means that there is none.
                self.tried.push(format!("{source} ({})", cause(&error)));
                Ok(None)
            }
            Err(error) => Err(Error::BrokenCredentials { origin: source, reason: cause(&error) }),
        }
    }
}

/// Looks for the region, where neither an option nor a host name tells it.
pub(crate) async fn region(login: &Login) -> Result<String, Error> {
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = std::env::var(name).ok().filter(|region| !region.is_empty()) {
            return Ok(region);
        }
    }
    let (config, imds) = providers(login, None);
    let mut profile = ProfileFileRegionProvider::builder().configure(&config);
    if let Some(name) = &login.profile {
        profile = profile.profile_name(name);
    }
    if let Some(region) = profile.build().region().await {
        return Ok(region.to_string());
    }
    let instance = ImdsRegionProvider::builder().configure(&config).imds_client(imds).build();
    if let Some(region) = instance.region().await {
        return Ok(region.to_string());
    }
    let tried =
        ["--region", "the registry's host name", "AWS_REGION", "the profile", "the instance"];
    Err(Error::NoRegion { tried: tried.map(str::to_owned).to_vec() })
}

/// The innermost cause of an error: the outer layers only say that something failed.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
