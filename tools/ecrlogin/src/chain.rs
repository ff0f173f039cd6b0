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

use aws_sdk_ecr::config::SharedHttpClient;

use crate::{Error, Options};

/// The instance metadata service is one hop away: what does not answer in this time is not there.
const IMDS_CONNECT: Duration = Duration::from_millis(300);
/// Once connected it may be slow, as on a busy instance.
const IMDS_READ: Duration = Duration::from_secs(2);

/// What the search came to.
pub(crate) struct Found {
    pub(crate) credentials: Credentials,
    pub(crate) region: String,
    /// Where the credentials are from, for people.
    pub(crate) source: &'static str,
}

/// Looks for the region, if it is not known, and for credentials.
pub(crate) async fn find(
    options: &Options,
    region: Option<String>,
    http: &SharedHttpClient,
) -> Result<Found, Error> {
    let base = ProviderConfig::without_region().with_http_client(http.clone());
    let imds = imds::Client::builder()
        .configure(&base)
        .max_attempts(1)
        .connect_timeout(IMDS_CONNECT)
        .read_timeout(IMDS_READ)
        .build();
    let region = match region {
        Some(region) => region,
        None => find_region(options, &base, &imds).await?,
    };
    let config = base.with_region(Some(Region::new(region.clone())));

    let mut search = Search { tried: Vec::new() };
    // A profile that was asked for goes before keys that happen to be in the environment, as with
    // the AWS CLI.
    if options.profile.is_none() {
        let provider = EnvironmentVariableCredentialsProvider::new();
        if let Some(credentials) = search.ask("the environment", &provider).await? {
            return Ok(Found { credentials, region, source: "the environment" });
        }
    }
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&config);
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let profile = profile.build();
    if let Some(credentials) = search.ask("the profile", &profile).await? {
        return Ok(Found { credentials, region, source: "the profile" });
    }
    if let Some(profile) = options.profile.clone() {
        return Err(Error::EmptyProfile { profile });
    }
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    if let Some(credentials) = search.ask("the web identity", &web).await? {
        return Ok(Found { credentials, region, source: "the web identity" });
    }
    let ecs = EcsCredentialsProvider::builder().configure(&config).build();
    if let Some(credentials) = search.ask("the container's role", &ecs).await? {
        return Ok(Found { credentials, region, source: "the container's role" });
    }
    let instance = ImdsCredentialsProvider::builder().configure(&config).imds_client(imds).build();
    if let Some(credentials) = search.ask("the instance's role", &instance).await? {
        return Ok(Found { credentials, region, source: "the instance's role" });
    }
    Err(Error::NoCredentials { tried: search.tried })
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

async fn find_region(
    options: &Options,
    config: &ProviderConfig,
    imds: &imds::Client,
) -> Result<String, Error> {
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = std::env::var(name).ok().filter(|region| !region.is_empty()) {
            return Ok(region);
        }
    }
    let mut profile = ProfileFileRegionProvider::builder().configure(config);
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    if let Some(region) = profile.build().region().await {
        return Ok(region.to_string());
    }
    let instance =
        ImdsRegionProvider::builder().configure(config).imds_client(imds.clone()).build();
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
