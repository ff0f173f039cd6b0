//! Builds a directory with a Dockerfile into an image: the document's section
//! `image`.
//!
//! The engine's BuildKit does the building. This side works out what to build
//! ([`plan`]), serves the engine the files, secrets and credentials that it
//! asks for ([`session`]), and turns its account of the build into lines for
//! people and an error that says what to do ([`trace`], [`diagnose`]).

mod archive;
mod beneath;
mod build;
mod cache;
mod ci;
mod classic;
mod content;
mod context;
mod contexts;
mod control;
mod diagnose;
mod digest;
mod docker_config;
mod dockerfile;
mod error;
mod facts;
mod flags;
#[doc(hidden)]
pub mod fuzz;
mod gather;
mod git;
mod guest;
mod ignore;
mod job;
mod logins;
mod mask;
mod memory;
mod names;
mod needs;
mod options;
mod place;
mod plan;
mod program;
mod progress;
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
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use slipway_engine::{Engine, Info};
use slipway_release::{Document, Failure, Image, OtherRegistry, Registry};
use slipway_shell::{Context, Step, Tool, Ui};

use build::{Built, Job};
use docker_config::DockerConfig;
use error::Error;
use gather::gather;
use git::Revision;
use guest::Guest;
use logins::Logins;
use memory::Memory;
use names::Names;
pub use options::Options;
use place::Place;
use pushed::Sought;
use secrets::Login;

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

/// The document's credentials, for base images in those registries.
fn logins(registry: Option<Registry>) -> Vec<Login> {
    let Some(registry) = registry else { return Vec::new() };
    let hosts = registry.others.iter().map(|other| &other.host);
    let known = registry.host.iter().chain(hosts).filter_map(|host| registry.of_host(host));
    let login = |known: OtherRegistry| {
        Some(Login { host: known.host, username: known.username?, password: known.password? })
    };
    known.filter_map(login).collect()
}

async fn image(
    options: &Options,
    registry: Option<Registry>,
    context: &Context,
) -> Result<Image, Error> {
    let begun = Instant::now();
    let place = Place::of(&options.context)?;
    let dockerfile = plan::dockerfile(options, &place)?;
    let mut job = job::read(options, &place, &dockerfile).await?;
    let guest = Guest::read(options)?;
    let config = DockerConfig::load()?;
    let ci = ci::Build::from_env(|name| std::env::var(name).ok());

    let ui = &context.ui;
    let (gathered, engine) = tokio::join!(gather(options, &place, &dockerfile, &ci, ui), connect());
    let (names, facts) = gathered?;
    job.args = plan::build_args(options, &facts)?;
    job.labels = plan::labels(options, &facts)?;
    let sought = Sought::of(options, &names, &facts, registry.as_ref())?;
    let (engine, info) = engine?;
    let image = names.section(facts.image(ci));
    if let Some(sought) = sought
        && let Some(reference) = sought.look(&engine, ui).await
    {
        ui.say(&format!("nothing to build: the registry has this revision as {reference}"));
        let (reference, build_ms) = (reference.to_string(), millis(begun));
        return Ok(Image { pushed_reference: Some(reference), build_ms: Some(build_ms), ..image });
    }
    mask::warn(&options.build_arg, ui);
    guest.look_for_room(&info, ui)?;
    job.address = address(&place, facts.revision.as_ref());
    for (name, value) in config.proxies(engine.endpoint()) {
        job.args.entry(name).or_insert(value);
    }
    job.logins = Arc::new(Logins::new(logins(registry), config));

    let step = ui.step(format!("building {names}"));
    let time = facts.time.filter(|_| settle::can(&engine, &info, &job));
    let mut memory = Memory::of(&engine, &info, &job, time, ui);
    let (id, built) = match again(&engine, memory.as_mut(), &names, &guest, ui).await {
        Some(found) => found,
        None => {
            let built = build(&engine, job, &names, time, &guest, ui, &step).await?;
            if let Some(memory) = memory {
                memory.note(&engine, &built.0, &built.1).await;
            }
            built
        }
    };
    let image = describe(&engine, &id, &built, image).await?;
    step.done(&format!("{id} ({} of {} steps cached)", built.cached_steps, built.steps));
    Ok(Image { build_ms: Some(millis(begun)), ..image })
}

/// The image of the last build, with its names, if nothing has changed since.
async fn again(
    engine: &Engine,
    memory: Option<&mut Memory>,
    names: &Names,
    guest: &Guest,
    ui: &Ui,
) -> Option<(String, Built)> {
    let (id, steps) = memory?.recall(engine).await?;
    // An image that went meanwhile is built.
    settle::name(engine, &id, names).await.ok()?;
    ui.say("nothing has changed since this was built: --no-cache builds it anew");
    guest.clear_away(engine, ui).await;
    Some((id.clone(), Built { id, steps, cached_steps: steps, origin: None }))
}

/// Builds, and answers the id of the image that has the names: at `time` if there is one.
async fn build(
    engine: &Engine,
    mut job: Job<'_>,
    names: &Names,
    time: Option<Timestamp>,
    guest: &Guest,
    ui: &Ui,
    step: &Step,
) -> Result<(String, Built), Error> {
    let first = if time.is_some() { settle::provisional()? } else { names.clone() };
    job.names = first.clone();
    let built = build::build(engine, job, ui, step).await;
    // A build that failed has filled the cache as well.
    guest.clear_away(engine, ui).await;
    let built = built?;
    let id = match time {
        Some(time) => settle::settle(engine, &built.id, &first, names, time, ui).await?,
        None => built.id.clone(),
    };
    Ok((id, built))
}

/// The engine, and what it tells of itself; no build fails for what it does not tell.
async fn connect() -> Result<(Engine, Info), Error> {
    let engine = Engine::connect_local().await?;
    let info = engine.info().await.unwrap_or_default();
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
