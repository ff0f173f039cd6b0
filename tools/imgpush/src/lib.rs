//! Pushes the built image to the registry and proves its digest: the document's section `push`.
//!
//! The registry is asked first what it has of the image. If nothing is missing nothing is sent but,
//! at most, a manifest; a little that is missing is left to the engine's own push; much is sent by
//! imgpush itself, which is faster. The manifest is read back in any case.
//!
//! The engine pushes by name, and a name can move; so the image is tagged by its id right before, and
//! the manifest that is read back has to be one of this very image.

mod also;
mod assemble;
mod attach;
mod cache;
mod compress;
mod direct;
mod engine_way;
mod error;
mod export;
mod feed;
#[doc(hidden)]
pub mod fuzz;
mod hosts;
mod image;
mod options;
mod outcome;
mod plan;
mod push;
mod relogin;
mod remote;
mod repack;
mod retry;
mod sending;
mod store;
mod tar;
mod tar_split;
mod there;
mod v1;
mod way;
mod zip;

use std::time::Instant;

use slipway_engine::{Engine, Reference};
use slipway_registry::Fresh;
use slipway_release::{Document, Failure, Image, Referrer};
use slipway_shell::{Context, Tool};

use attach::Attachment;
use engine_way::EngineWay;
use image::Local;
use outcome::Pushed;
use push::Push;
use relogin::Relogin;
use remote::Remote;
use sending::Sending;

pub use attach::FileError;
pub use error::Error;
pub use options::{Compression, Options, Platforms, Via};
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
        let image: Option<Image> = document.get()?;
        if !options.to.is_empty() {
            let lookup = |name: &str| std::env::var(name).ok();
            let sending = Sending::new(&options, image.as_ref(), &lookup)?;
            let sent = tokio::time::timeout(options.timeout.0, sending.run(&context.ui)).await;
            let sent = sent.map_err(|_| Error::Deadline { limit: options.timeout })??;
            document.set(&sent);
            return Ok(());
        }
        let registry = document.get()?;
        let plan = Plan::new(&options, image.as_ref(), registry.as_ref())?;
        let relogin = Relogin::of(document, context.trusts_settings)?;
        let push =
            match tokio::time::timeout(options.timeout.0, run(&plan, &relogin, context)).await {
                Ok(push) => push?,
                Err(_) => return Err(Error::Deadline { limit: options.timeout }.into()),
            };
        document.set(&push);
        if let Some(registry) = relogin.renewed(registry) {
            document.set(&registry);
        }
        Ok(())
    }
}

async fn run(
    plan: &Plan,
    relogin: &Relogin,
    context: &Context,
) -> Result<slipway_release::Push, Error> {
    let begun = Instant::now();
    let files = attach::prepare(&plan.attach).await?;
    if let Some(found) = &plan.found {
        return Ok(slipway_release::Push {
            push_ms: Some(millis(begun)),
            ..there::push(plan, found, &files, relogin, context).await?
        });
    }
    let fresh = relogin.fresh(plan.repository.registry(), plan.auth.as_ref(), &context.ui);
    let first = plan.tags.first().ok_or(Error::NoTag)?;
    let local = async {
        let engine = Engine::connect_local().await?;
        let image = Local::inspect(&engine, &plan.image).await?;
        Ok::<_, Error>((engine, image))
    };
    let asked = ask(plan, first, fresh.clone(), context);
    let ((engine, image), asked) = tokio::try_join!(local, asked)?;
    let (remote, mut head) = asked.unzip();
    if let (None, Some(option)) = (&remote, wants_registry(plan)) {
        return Err(Error::Unasked { option });
    }
    let by_engine = EngineWay { engine: &engine, auth: plan.auth.clone(), fresh, context };
    let mut push = Push { plan, image, by_engine, remote };
    let pushed = all(&mut push, &mut head, &files, context).await;
    if let Some(remote) = &push.remote {
        remote.remember();
    }
    let (total, done) = pushed?;
    let reference = plan.repository.with_digest(&total.digest).map_err(Error::Reference)?;
    context.ui.say(&format!("{reference}"));
    Ok(section(plan, total, done, &reference, begun))
}

/// The option that cannot be done through the engine, if there is one.
fn wants_registry(plan: &Plan) -> Option<&'static str> {
    if !plan.also.is_empty() {
        return Some("--also");
    }
    plan.attach.first().map(|file| if file.sbom { "--sbom" } else { "--attach" })
}

/// What was done beside the push.
#[derive(Default)]
pub(crate) struct Done {
    /// The tags that name the image now.
    pub(crate) tags: Vec<Reference>,
    /// The files that are attached to it now.
    pub(crate) referrers: Vec<Referrer>,
}

/// Pushes all tags, attaches the files, and has the tags follow that are to.
async fn all(
    push: &mut Push<'_>,
    head: &mut Option<Option<String>>,
    files: &[Attachment],
    context: &Context,
) -> Result<(Pushed, Done), Error> {
    let mut total: Option<Pushed> = None;
    let mut done = Done::default();
    for name in &push.plan.tags {
        let step = context.ui.step(format!("pushing {name}"));
        let known = match (head.take(), &push.remote) {
            (Some(known), _) => known,
            (None, Some(remote)) => {
                let digest = remote.repository.manifest_digest(name.tag().unwrap_or("latest"));
                digest.await.map_err(|error| Error::from(error).about(name))?
            }
            (None, None) => None,
        };
        let pushed = push.one(name, known, &step).await?;
        step.done(&pushed.to_string());
        total = Some(match total {
            Some(total) => total.and(name, pushed)?,
            None => pushed,
        });
        done.tags.push(name.clone());
    }
    let total = total.ok_or(Error::NoTag)?;
    push.further(&total.digest, files, &context.ui, &mut done).await?;
    Ok((total, done))
}

/// Asks the registry for the first tag. None where the engine has to be asked in its place, since it
/// may have ways that are not ours: names, proxies, registries without TLS.
async fn ask(
    plan: &Plan,
    first: &Reference,
    fresh: Option<Fresh>,
    context: &Context,
) -> Result<Option<(Remote, Option<String>)>, Error> {
    let remote = Remote::new(plan, fresh, &context.ui)?;
    match remote.repository.manifest_digest(first.tag().unwrap_or("latest")).await {
        Ok(digest) => Ok(Some((remote, digest))),
        // Where it would send a password the engine must not carry it either, unless it was told to.
        Err(error) if plan.via == Via::Direct || (error.is_trap() && plan.via != Via::Engine) => {
            Err(Error::from(error).about(first))
        }
        Err(error) => {
            context.ui.say(&format!("the engine is left to ask the registry: {error}"));
            Ok(None)
        }
    }
}

fn section(
    plan: &Plan,
    total: Pushed,
    done: Done,
    reference: &Reference,
    begun: Instant,
) -> slipway_release::Push {
    // Podman's engine tells nothing of layers.
    let counted = total.uploaded + total.existing > 0;
    slipway_release::Push {
        repository: Some(plan.repository.path().to_owned()),
        tags: done.tags.iter().filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
        digest: Some(total.digest),
        reference: Some(reference.to_string()),
        layers_uploaded: counted.then_some(total.uploaded),
        layers_existing: counted.then_some(total.existing),
        bytes_uploaded: counted.then_some(total.bytes),
        already_present: Some(total.already_present),
        via: total.via.map(str::to_owned),
        compression: total.compression.map(|compression| compression.to_string()),
        referrers: done.referrers,
        push_ms: Some(millis(begun)),
        ..slipway_release::Push::default()
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
