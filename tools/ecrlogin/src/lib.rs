//! Gets registry credentials from Amazon ECR: the third part of the document, `registry`.
//!
//! `GetAuthorizationToken` by the AWS SDK, with the standard chain of credentials. The token goes
//! into the document and nowhere else: no file, no argument, no environment.

mod chain;
mod ecr;
mod error;
mod host;
mod options;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecr::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use slipway_release::{Document, Failure, Image, Registry};
use slipway_shell::{Context, Tool};

pub use error::Error;
pub use host::EcrHost;
pub use options::Options;

/// The tool.
pub struct EcrLogin;

impl Tool for EcrLogin {
    const NAME: &'static str = "ecrlogin";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Options = Options;

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let before: Registry = document.get()?.unwrap_or_default();
        let image: Option<Image> = document.get()?;
        let repository = repository(&options, &before, image.as_ref())?;
        let limit = options.timeout.0;
        let login = login(&options, &before, repository, context);
        let registry = match tokio::time::timeout(limit, login).await {
            Ok(result) => result?,
            Err(_) => return Err(Error::Deadline { limit: options.timeout }.into()),
        };
        document.set(&registry);
        Ok(())
    }
}

/// The repository that the document is to name, and to make sure of if that was asked for.
fn repository(
    options: &Options,
    before: &Registry,
    image: Option<&Image>,
) -> Result<Option<String>, Error> {
    let given = options.repository.clone();
    if !options.ensure_repository {
        return Ok(given.or_else(|| before.repository.clone()));
    }
    let built = image.and_then(|image| image.name.clone());
    given.or(built).or_else(|| before.repository.clone()).map(Some).ok_or(Error::RepositoryUnnamed)
}

async fn login(
    options: &Options,
    before: &Registry,
    repository: Option<String>,
    context: &Context,
) -> Result<Registry, Error> {
    let wanted = host::wanted(options, before)?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let step = context.ui.step(format!(
        "asking Amazon ECR for credentials{}",
        wanted.region.as_deref().map(|region| format!(" in {region}")).unwrap_or_default()
    ));
    let found = chain::find(options, wanted.region, &http).await?;
    step.update(format!("as {}", found.source));

    let config = config(options, &found, http).await;
    let client = aws_sdk_ecr::Client::new(&config);
    let token = ecr::token(&client, &found.region, wanted.account.as_deref()).await?;
    let mut registry = token.registry(&found.region)?;
    if let Some(expiry) = token.expired() {
        context.ui.warn(&format!(
            "the token's expiry, {expiry}, is past already: is this machine's clock right?"
        ));
    }
    if options.ensure_repository
        && let Some(name) = &repository
    {
        let created = ecr::ensure_repository(&client, &found.region, name, wanted.account).await?;
        registry.repository_created = Some(created);
        context.ui.say(&format!(
            "repository {name} {}",
            if created { "was missing and is created" } else { "exists" }
        ));
    }
    if registry.repository_created.is_none() && repository == before.repository {
        // A fresh token for a saved document takes nothing from what is known of the repository.
        registry.repository_created = before.repository_created;
    }
    registry.repository = repository;
    let host = registry.host.as_deref().unwrap_or_default();
    step.done(&format!("{host} with credentials from {}", found.source));
    Ok(registry)
}

async fn config(options: &Options, found: &chain::Found, http: SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(found.region.clone()))
        .credentials_provider(found.credentials.clone())
        // A second and third try within the deadline; the token's quota is 20 a second.
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(200)));
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}
