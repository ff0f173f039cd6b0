//! The standard chain of credentials, source by source.
//!
//! The SDK's own default chain stops with the last source's words only, and waits seconds for an
//! instance metadata service where there is none. This one asks the same sources in the same
//! order, but keeps why each had nothing and bounds the search.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
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

use slipway_untrusted::limit::AWS_FILE;

use crate::Error;
use crate::host::is_region;
use crate::login::Login;
use crate::sources::{Source, broken, environment, why};

/// The instance metadata service is one hop away: what does not answer in this time is not there.
const IMDS_CONNECT: Duration = Duration::from_millis(300);
/// Once connected it may be slow, as on a busy instance.
const IMDS_READ: Duration = Duration::from_secs(2);

/// What the search came to.
pub(crate) struct Found {
    pub(crate) credentials: Credentials,
    /// Where the credentials are from, for people.
    pub(crate) source: String,
}

/// Looks for credentials. The region is for sources that ask an AWS service themselves.
pub(crate) async fn credentials(login: &Login, region: &str) -> Result<Found, Error> {
    check_files()?;
    let config = providers(login).with_region(Some(Region::new(region.to_owned())));
    let instance =
        || ImdsCredentialsProvider::builder().configure(&config).imds_client(imds(login)).build();
    let container = || {
        let config = config.clone().with_http_client(login.direct.clone());
        EcsCredentialsProvider::builder().configure(&config).build()
    };
    let mut search = Search { login, region, tried: Vec::new() };
    // A profile that was asked for goes before keys that happen to be in the environment, as with
    // the AWS CLI.
    if login.profile.is_none() {
        let provider = EnvironmentVariableCredentialsProvider::new();
        if let Some(found) = search.ask(Source::Environment, &provider).await? {
            return Ok(found);
        }
    }
    // A profile may point at the roles of machine and container, which are to be bounded there, too.
    let mut profile = ProfileFileCredentialsProvider::builder()
        .configure(&config)
        .with_custom_provider("Ec2InstanceMetadata", instance())
        .with_custom_provider("EcsContainer", container());
    if let Some(name) = &login.profile {
        profile = profile.profile_name(name);
    }
    if let Some(found) = search.ask(Source::profile(login), &profile.build()).await? {
        return Ok(found);
    }
    if let Some(profile) = login.profile.clone() {
        let reason = search.tried.pop().map(|(_, why)| why).unwrap_or_default();
        return Err(Error::EmptyProfile { profile, reason });
    }
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    if let Some(found) = search.ask(Source::WebIdentity, &web).await? {
        return Ok(found);
    }
    if let Some(found) = search.ask(Source::Container, &container()).await? {
        return Ok(found);
    }
    if let Some(found) = search.ask(Source::Instance, &instance()).await? {
        return Ok(found);
    }
    Err(Error::NoCredentials { tried: search.tried })
}

/// Refuses files that the SDK would read without end.
fn check_files() -> Result<(), Error> {
    const FILES: [&str; 4] = [
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ];
    let named = FILES.iter().filter_map(|name| environment(name).map(PathBuf::from));
    let home = environment("HOME").map(PathBuf::from);
    let shared = ["config", "credentials"].map(|name| Some(home.as_ref()?.join(".aws").join(name)));
    for path in named.chain(shared.into_iter().flatten()) {
        // One that cannot be looked at is told of by whoever reads it.
        let Ok(state) = std::fs::metadata(&path) else { continue };
        let kind = state.file_type();
        let reason = if kind.is_char_device() && path != Path::new("/dev/null") {
            "it is a device".to_owned()
        } else if let Err(error) = AWS_FILE.admit(state.len()) {
            error.to_string()
        } else {
            continue;
        };
        let origin = path.display().to_string();
        return Err(Error::BrokenCredentials { origin, reason, tried: Vec::new(), sso: None });
    }
    Ok(())
}

/// What all sources are built from.
fn providers(login: &Login) -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(login.http.clone())
}

fn imds(login: &Login) -> imds::Client {
    imds::Client::builder()
        .configure(&ProviderConfig::without_region().with_http_client(login.direct.clone()))
        .max_attempts(1)
        .connect_timeout(IMDS_CONNECT)
        .read_timeout(IMDS_READ)
        .build()
}

struct Search<'a> {
    login: &'a Login,
    region: &'a str,
    /// Each source that had none, and why.
    tried: Vec<(String, String)>,
}

impl Search<'_> {
    /// Asks one source. A source that is not configured is noted; one that is configured and fails
    /// ends the search, since going on would use another identity than the one that was meant.
    async fn ask(
        &mut self,
        source: Source,
        provider: &impl ProvideCredentials,
    ) -> Result<Option<Found>, Error> {
        self.login.doing(format!("asking {source} for AWS credentials"));
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Some(Found { credentials, source: source.to_string() })),
            // Nobody configures the instance's role: no answer means that there is none.
            Err(error)
                if source == Source::Instance
                    || matches!(error, CredentialsError::CredentialsNotLoaded(_)) =>
            {
                self.tried.push((source.to_string(), why(&source, &error, &environment)));
                Ok(None)
            }
            Err(error) => {
                let tried = std::mem::take(&mut self.tried);
                Err(broken(&source, &error, tried, self.region))
            }
        }
    }
}

/// Looks for the region, where neither an option nor a host name tells it.
pub(crate) async fn region(login: &Login) -> Result<String, Error> {
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Some(region) = environment(name) {
            return checked(region, name);
        }
    }
    let config = providers(login);
    let mut profile = ProfileFileRegionProvider::builder().configure(&config);
    if let Some(name) = &login.profile {
        profile = profile.profile_name(name);
    }
    let source = Source::profile(login).to_string();
    if let Some(region) = profile.build().region().await {
        return checked(region.to_string(), &source);
    }
    let instance =
        ImdsRegionProvider::builder().configure(&config).imds_client(imds(login)).build();
    if let Some(region) = instance.region().await {
        return checked(region.to_string(), "the instance");
    }
    let tried = ["--region", "the registry's host name", "AWS_REGION", &source, "the instance"];
    Err(Error::NoRegion { tried: tried.map(str::to_owned).to_vec() })
}

/// A name that is none would become a host name that nobody has, or somebody else.
fn checked(region: String, source: &str) -> Result<String, Error> {
    if is_region(&region) {
        return Ok(region);
    }
    Err(Error::BadRegion { region: format!("{region} (of {source})") })
}
