//! An image that imgbuild found in the registry and did not build: there is nothing to push, and what
//! it found has to be there under every tag.

use slipway_engine::{Engine, Reference};
use slipway_release::Push;
use slipway_shell::Context;

use crate::engine_way::EngineWay;
use crate::image::Local;
use crate::relogin::Relogin;
use crate::remote::Remote;
use crate::retry::retrying;
use crate::{Error, Plan, push};

/// Asks the registry for every tag of the plan, and has the tags follow that are to. `found` is what
/// imgbuild found, by digest.
pub(crate) async fn push(
    plan: &Plan,
    found: &str,
    relogin: &Relogin,
    context: &Context,
) -> Result<Push, Error> {
    let engine = Engine::connect_local().await?;
    let found: Reference = found.parse().map_err(Error::Reference)?;
    let digest = found.digest().ok_or(Error::NoImage)?;
    check(plan, &engine, &found, context).await?;
    let also = also(plan, &engine, digest, relogin, context).await?;
    let reference = plan.repository.with_digest(digest).map_err(Error::Reference)?;
    context.ui.say(&format!("{reference}: the registry has it already"));
    let tags = plan.tags.iter().chain(&also);
    Ok(Push {
        repository: Some(plan.repository.path().to_owned()),
        tags: tags.filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
        digest: Some(digest.to_owned()),
        reference: Some(reference.to_string()),
        layers_uploaded: Some(0),
        bytes_uploaded: Some(0),
        already_present: Some(true),
        ..Push::default()
    })
}

/// Has the tags follow that are to; answers those that name it now.
async fn also(
    plan: &Plan,
    engine: &Engine,
    digest: &str,
    relogin: &Relogin,
    context: &Context,
) -> Result<Vec<Reference>, Error> {
    let mut also = Vec::new();
    if plan.also.is_empty() {
        return Ok(also);
    }
    let fresh = relogin.fresh(plan.repository.registry(), plan.auth.as_ref(), &context.ui);
    let remote = Remote::new(plan, fresh.clone())?;
    let manifest = remote.repository.manifest(digest).await?;
    let created = match &manifest {
        Some(manifest) => remote.created(manifest).await?,
        None => None,
    };
    let image = Local { id: digest.to_owned(), created, ..Local::default() };
    let by_engine = EngineWay { engine, auth: plan.auth.clone(), fresh, context };
    let mut push = push::Push { plan, image, by_engine, remote: Some(remote) };
    for name in &plan.also {
        if push.follow(name, digest, &context.ui).await? {
            also.push(name.clone());
        }
    }
    Ok(also)
}

/// Whether every tag of the plan names it.
async fn check(
    plan: &Plan,
    engine: &Engine,
    found: &Reference,
    context: &Context,
) -> Result<(), Error> {
    let again = |error: &slipway_engine::Error| context.ui.warn(&format!("{error}; trying again"));
    for tag in &plan.tags {
        let asked =
            retrying(again, async || engine.distribution_digest(tag, plan.auth.as_ref()).await);
        let digest = match asked.await {
            Ok(digest) => Some(digest),
            Err(error) if says_no(&error) => None,
            Err(error) => return Err(Error::from(error).about(tag)),
        };
        if digest.as_deref() != found.digest() {
            return Err(Error::NotThere {
                name: tag.to_string(),
                found: found.to_string(),
                there: digest,
            });
        }
    }
    Ok(())
}

/// Whether the registry says that it has no such thing.
fn says_no(error: &slipway_engine::Error) -> bool {
    use slipway_engine::RegistryFault as F;
    matches!(
        error,
        slipway_engine::Error::NotFound { .. }
            | slipway_engine::Error::Registry {
                fault: F::ManifestUnknown | F::RepositoryNotFound,
                ..
            }
    )
}
