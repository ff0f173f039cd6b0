//! Pushes the built image to the registry and proves its digest: the document's section `push`.
//!
//! The engine pushes by name, and a name can move; so the image is tagged by its id right before,
//! and after the push the engine has to know the digest as one of this very image. The digest
//! itself is read back from the registry.

mod error;
mod options;
mod plan;
mod push;
mod retry;
mod there;

use std::time::Instant;

use slipway_engine::Engine;
use slipway_release::{Document, Failure, Push};
use slipway_shell::{Context, Tool};

pub use error::Error;
pub use options::Options;
pub use plan::Plan;

/// The tool.
pub struct ImgPush;

impl Tool for ImgPush {
    const NAME: &'static str = "imgpush";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Options = Options;

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let image = document.get()?;
        let registry = document.get()?;
        let plan = Plan::new(&options, image.as_ref(), registry.as_ref())?;
        let push = match tokio::time::timeout(options.timeout.0, run(&plan, context)).await {
            Ok(push) => push?,
            Err(_) => return Err(Error::Deadline { limit: options.timeout }.into()),
        };
        document.set(&push);
        Ok(())
    }
}

async fn run(plan: &Plan, context: &Context) -> Result<Push, Error> {
    let begun = Instant::now();
    if let Some(found) = &plan.found {
        let push = there::check(plan, found, context).await?;
        return Ok(Push { push_ms: Some(millis(begun)), ..push });
    }
    let engine = Engine::connect_local().await?;
    let id = push::image_id(&engine, &plan.image).await?;
    let mut total: Option<push::Pushed> = None;
    for tag in &plan.tags {
        let step = context.ui.step(format!("pushing {tag}"));
        let pushed = push::one(&engine, plan, &id, tag, &step, context).await?;
        step.done(&pushed.to_string());
        total = Some(match total {
            Some(total) => total.and(tag, pushed)?,
            None => pushed,
        });
    }
    let total = total.ok_or(Error::NoTag)?;
    let reference = plan.repository.with_digest(&total.digest).map_err(Error::Reference)?;
    context.ui.say(&format!("{reference}"));
    Ok(Push {
        repository: Some(plan.repository.path().to_owned()),
        tags: plan.tags.iter().filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
        digest: Some(total.digest),
        reference: Some(reference.to_string()),
        layers_uploaded: Some(total.uploaded),
        layers_existing: Some(total.existing),
        bytes_uploaded: Some(total.bytes),
        already_present: Some(total.already_present),
        push_ms: Some(millis(begun)),
    })
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
