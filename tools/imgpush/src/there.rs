//! An image that imgbuild found in the registry and did not build: there is nothing to push, and what
//! it found has to be there under every tag.

use slipway_engine::{Engine, Reference};
use slipway_release::Push;
use slipway_shell::Context;

use crate::retry::retrying;
use crate::{Error, Plan};

/// Asks the registry for every tag of the plan. `found` is what imgbuild found, by digest.
pub(crate) async fn check(plan: &Plan, found: &str, context: &Context) -> Result<Push, Error> {
    let engine = Engine::connect_local().await?;
    let found: Reference = found.parse().map_err(Error::Reference)?;
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
    let digest = found.digest().ok_or(Error::NoImage)?;
    let reference = plan.repository.with_digest(digest).map_err(Error::Reference)?;
    context.ui.say(&format!("{reference}: the registry has it already"));
    Ok(Push {
        repository: Some(plan.repository.path().to_owned()),
        tags: plan.tags.iter().filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
        digest: found.digest().map(str::to_owned),
        reference: Some(reference.to_string()),
        layers_uploaded: Some(0),
        bytes_uploaded: Some(0),
        already_present: Some(true),
        ..Push::default()
    })
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
