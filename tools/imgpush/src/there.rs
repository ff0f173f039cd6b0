//! An image that imgbuild found in the registry and did not build: there is nothing to push, and what
//! it found has to be there under every tag.

use slipway_engine::{Engine, Reference};
use slipway_release::Push;
use slipway_shell::Context;

use crate::attach::Attachment;
use crate::engine_way::EngineWay;
use crate::image::Local;
use crate::relogin::Relogin;
use crate::remote::Remote;
use crate::retry::retrying;
use crate::{Done, Error, Plan, push};

/// Asks the registry for every tag of the plan, attaches the files, and has the tags follow that are
/// to. `found` is what imgbuild found, by digest.
pub(crate) async fn push(
    plan: &Plan,
    found: &str,
    files: &[Attachment],
    relogin: &Relogin,
    context: &Context,
) -> Result<Push, Error> {
    let engine = Engine::connect_local().await?;
    let found: Reference = found.parse().map_err(Error::Reference)?;
    let digest = found.digest().ok_or(Error::NoImage)?;
    check(plan, &engine, &found, context).await?;
    let done = further(plan, &engine, digest, files, relogin, context).await?;
    let reference = plan.repository.with_digest(digest).map_err(Error::Reference)?;
    context.ui.say(&format!("{reference}: the registry has it already"));
    Ok(Push {
        repository: Some(plan.repository.path().to_owned()),
        tags: done.tags.iter().filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
        digest: Some(digest.to_owned()),
        reference: Some(reference.to_string()),
        layers_uploaded: Some(0),
        bytes_uploaded: Some(0),
        already_present: Some(true),
        referrers: done.referrers,
        ..Push::default()
    })
}

/// What comes once the image is known to be there under the tags of the plan.
async fn further(
    plan: &Plan,
    engine: &Engine,
    digest: &str,
    files: &[Attachment],
    relogin: &Relogin,
    context: &Context,
) -> Result<Done, Error> {
    let mut done = Done { tags: plan.tags.clone(), ..Done::default() };
    if plan.also.is_empty() && files.is_empty() {
        return Ok(done);
    }
    let fresh = relogin.fresh(plan.repository.registry(), plan.auth.as_ref(), &context.ui);
    let remote = Remote::new(plan, fresh.clone(), &context.ui)?;
    let created = match &remote.repository.manifest(digest).await? {
        Some(manifest) => remote.created(manifest).await?,
        None => None,
    };
    let image = Local { id: digest.to_owned(), created, ..Local::default() };
    let by_engine = EngineWay { engine, auth: plan.auth.clone(), fresh, context };
    let mut push = push::Push { plan, image, by_engine, remote: Some(remote) };
    push.further(digest, files, &context.ui, &mut done).await?;
    Ok(done)
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
                name: tag.to_string().into(),
                found: found.to_string().into(),
                there: digest.map(Into::into),
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
