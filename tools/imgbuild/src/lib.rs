//! Builds a directory with a Dockerfile into an image: the document's section
//! `image`.
//!
//! The engine's BuildKit does the building. This side works out what to build
//! ([`plan`]), serves the engine the files, secrets and credentials that it
//! asks for ([`session`]), and turns its account of the build into lines for
//! people and an error that says what to do ([`trace`], [`diagnose`]).

mod archive;
mod build;
mod cache;
mod ci;
mod context;
mod contexts;
mod control;
mod diagnose;
mod digest;
mod disk;
mod dockerfile;
mod error;
mod facts;
mod flags;
mod gather;
mod git;
mod ignore;
mod names;
mod needs;
mod options;
mod place;
mod plan;
mod prune;
mod pushed;
mod remote;
mod request;
mod secrets;
mod session;
mod settle;
mod source_time;
mod ssh;
mod trace;

use std::collections::BTreeMap;
use std::time::Instant;

use slipway_engine::{Engine, Info};
use slipway_release::{Document, Failure, Image, Registry};
use slipway_shell::{Context, Tool};

use build::{Built, Job};
use contexts::Named;
use error::Error;
use gather::gather;
use git::Revision;
pub use options::Options;
use place::Place;
use secrets::{Login, Secrets};
use ssh::Agents;

/// The tool.
pub struct ImgBuild;

impl Tool for ImgBuild {
    const NAME: &'static str = "imgbuild";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Options = Options;

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let registry = document.get()?;
        let building = image(&options, registry, context);
        let image = match options.timeout {
            None => building.await?,
            // What is dropped is called off in the engine, too.
            Some(limit) => tokio::time::timeout(limit.0, building)
                .await
                .unwrap_or(Err(Error::Deadline { limit }))?,
        };
        document.set(&image);
        Ok(())
    }
}

/// The document's credentials, for a base image in that registry.
fn login(registry: Option<Registry>) -> Option<Login> {
    let registry = registry?;
    Some(Login { host: registry.host?, username: registry.username?, password: registry.password? })
}

async fn image(
    options: &Options,
    registry: Option<Registry>,
    context: &Context,
) -> Result<Image, Error> {
    let begun = Instant::now();
    let place = Place::of(&options.context)?;
    let contexts = each(&options.build_context, Named::parse)?;
    let dockerfile = plan::dockerfile(options, &place)?;
    let secrets = Secrets::load(&options.secret)?;
    let agents = Agents::load(&options.ssh)?;
    let network = flags::network(options.network.as_deref())?;
    let platforms = flags::platforms(options.platform.as_deref())?;
    let anew = flags::anew(options.no_cache, &options.no_cache_filter)?;
    let cache_from = each(&options.cache_from, cache::from)?;
    let cache_to = each(&options.cache_to, cache::to)?;
    let hosts = each(&options.add_host, flags::host)?;
    let shm_size = options.shm_size.as_ref().map(|text| flags::size("--shm-size", text));
    let shm_size = shm_size.transpose()?;
    let limits = each(&options.ulimit, flags::limit)?;
    let floor = flags::size("--min-free", &options.min_free)?;
    let keep = options.keep_cache.as_ref().map(|text| flags::size("--keep-cache", text));
    let keep = keep.transpose()?;
    let ci = ci::Build::from_env(|name| std::env::var(name).ok());

    let ui = &context.ui;
    let (gathered, engine) =
        tokio::join!(gather(options, &place, &dockerfile, &ci, ui), connect());
    let (names, facts) = gathered?;
    let args = plan::build_args(options, &facts)?;
    let labels = plan::labels(options, &facts)?;
    let sought = if options.skip_if_pushed {
        pushed::Sought::new(&names, &facts, registry.as_ref())?
    } else {
        None
    };
    let (engine, info) = engine?;
    let image = names.section(facts.image(ci));
    if let Some(sought) = sought
        && let Some(reference) = sought.look(&engine, ui).await
    {
        ui.say(&format!("nothing to build: the registry has this revision as {reference}"));
        return Ok(Image {
            pushed_reference: Some(reference.to_string()),
            build_ms: Some(millis(begun)),
            ..image
        });
    }
    disk::check(&info, floor, ui)?;
    let settled = facts.time.filter(|_| settle::can(&info, &platforms, &cache_to));
    let first = settled.map(|_| settle::provisional()).transpose()?;

    let shown: Vec<String> = names.all.iter().map(ToString::to_string).collect();
    let step = ui.step(format!("building {}", shown.join(", ")));
    let job = Job {
        address: address(&place, facts.revision.as_ref()),
        place: &place,
        contexts,
        dockerfile: &dockerfile,
        names: first.as_ref().unwrap_or(&names),
        args,
        labels,
        target: options.target.as_deref(),
        platforms,
        network,
        anew,
        cache_from,
        cache_to,
        hosts,
        shm_size,
        limits,
        pull: options.pull,
        secrets,
        agents,
        login: login(registry),
    };
    let built = build::build(&engine, job, ui, &step).await;
    // A build that failed has filled the cache as well.
    if let Some(keep) = keep {
        prune::prune(&engine, keep, ui).await;
    }
    let built = built?;
    let id = match (settled, &first) {
        (Some(time), Some(first)) => {
            settle::settle(&engine, &built.id, first, &names, time, ui).await?
        }
        _ => built.id.clone(),
    };
    let image = describe(&engine, &id, &built, image).await?;
    step.done(&format!("{id} ({} of {} steps cached)", built.cached_steps, built.steps));
    Ok(Image { build_ms: Some(millis(begun)), ..image })
}

/// The engine, and what it tells of itself.
async fn connect() -> Result<(Engine, Info), Error> {
    let engine = Engine::connect_local().await?;
    let info = engine.info().await?;
    Ok((engine, info))
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The address of a context that the engine fetches.
fn address(place: &Place, revision: Option<&Revision>) -> Option<String> {
    match place {
        Place::Directory(_) => None,
        Place::Archive(_) => Some(session::archive_address()),
        Place::Repository(repository) => {
            Some(repository.address(revision.map(|revision| revision.commit.as_str())))
        }
        Place::Address(address) => Some(address.clone()),
    }
}

/// Reads each of a flag's values.
fn each<T>(texts: &[String], read: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    texts.iter().map(|text| read(text)).collect()
}

/// Asks the engine for the image that was built, by its id.
async fn describe(
    engine: &Engine,
    wanted: &str,
    built: &Built,
    image: Image,
) -> Result<Image, Error> {
    let found = engine.inspect_image(wanted).await.map_err(|error| match error {
        slipway_engine::Error::NotFound { message } => {
            Error::ImageLost { told: wanted.to_owned(), why: message }
        }
        other => other.into(),
    })?;
    let id = found.id.clone().unwrap_or_default();
    if id != wanted {
        return Err(Error::ImageLost { told: wanted.to_owned(), why: format!("it calls it {id}") });
    }
    let parts = [found.os, found.architecture, found.variant];
    let platform: Vec<String> =
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(Image {
        id: Some(id),
        platform: Some(platform.join("/")),
        size_bytes: found.size.and_then(|size| u64::try_from(size).ok()),
        labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
        steps: Some(built.steps),
        cached_steps: Some(built.cached_steps),
        ..image
    })
}
