//! Gets registry credentials from Amazon ECR: the third part of the document, `registry`.
//!
//! `GetAuthorizationToken` by the AWS SDK, with the standard chain of credentials. The token goes
//! into the document and nowhere else: no file, no argument, no environment.

mod chain;
mod ecr;
mod error;
mod host;
mod options;
mod token;

use slipway_release::{Document, Failure, Image, Registry};
use slipway_shell::{Context, Tool};

pub use error::Error;
pub use host::EcrHost;
pub use options::Options;

use token::Login;

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
    let step = context.ui.step(format!(
        "asking Amazon ECR for credentials{}",
        wanted.region.as_deref().map(|region| format!(" in {region}")).unwrap_or_default()
    ));
    let login = Login::new(options);
    let token = token::fetch(&wanted, &login).await?;
    let mut registry = token.registry();
    if let Some(expiry) = token.expired() {
        context.ui.warn(&format!(
            "the token's expiry, {expiry}, is past already: is this machine's clock right?"
        ));
    }
    if options.ensure_repository
        && let Some(name) = &repository
    {
        let (client, region) = login.client(&wanted).await?;
        let created = ecr::ensure_repository(&client, &region, name, wanted.account).await?;
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
    step.done(&format!("{host} with credentials from {}", token.source));
    Ok(registry)
}
