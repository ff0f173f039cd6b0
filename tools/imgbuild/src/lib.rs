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
mod flags;
mod git;
mod ignore;
mod logins;
mod names;
mod needs;
mod options;
mod place;
mod plan;
mod remote;
mod request;
mod secrets;
mod session;
mod ssh;
mod trace;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use slipway_engine::{Engine, Reference};
use slipway_release::{Document, Failure, Image, Registry};
use slipway_shell::{Context, Tool};

use build::{Built, Job};
use docker_config::DockerConfig;
use error::Error;
use git::{Found, Revision};
use logins::Logins;
use names::Names;
pub use options::Options;
use place::Place;
use secrets::Login;
use wanted::Wanted;

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
        let login = login(document.get()?);
        let image = image(&options, login, context).await?;
        document.set(&image);
        Ok(())
    }
}

/// The document's credentials, for a base image in that registry.
fn login(registry: Option<Registry>) -> Option<Login> {
    let registry = registry?;
    Some(Login { host: registry.host?, username: registry.username?, password: registry.password? })
}

async fn image(options: &Options, login: Option<Login>, context: &Context) -> Result<Image, Error> {
    let begun = Instant::now();
    let place = Place::of(&options.context)?;
    let dockerfile = plan::dockerfile(options, &place)?;
    let wanted = Wanted::read(options)?;
    let revision = revision(&place, context).await;
    let names = Names::work_out(options, &place, &dockerfile.path, revision.as_ref())?;
    let mut args = plan::build_args(options, names.version(), revision.as_ref())?;
    let labels = plan::labels(options, names.version(), revision.as_ref())?;

    let config = DockerConfig::load()?;
    let engine = Engine::connect_local().await?;
    for (name, value) in config.proxies(engine.endpoint()) {
        args.entry(name).or_insert(value);
    }
    let shown: Vec<String> = names.all.iter().map(ToString::to_string).collect();
    let step = context.ui.step(format!("building {}", shown.join(", ")));
    let job = Job {
        address: address(&place, revision.as_ref()),
        place: &place,
        dockerfile: &dockerfile,
        names: &names,
        args,
        labels,
        wanted,
        logins: Arc::new(Logins::new(login, config)),
    };
    let built = build::build(&engine, job, &context.ui, &step).await?;
    let mut image = describe(&engine, &names, revision, &built).await?;
    step.done(&format!("{} ({} of {} steps cached)", built.id, built.cached_steps, built.steps));
    image.build_ms = Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    Ok(image)
}

/// What git knows of the place; that it does not answer ends nothing.
async fn revision(place: &Place, context: &Context) -> Option<Revision> {
    let why = match place {
        Place::Directory(directory) => match git::look(directory).await {
            Found::Revision(revision) => return Some(revision),
            Found::Nothing => return None,
            Found::Refused(why) => why,
        },
        Place::Repository(repository) => match remote::look(repository).await {
            Ok(revision) => return Some(revision),
            Err(why) => why,
        },
        Place::Archive(_) | Place::Address(_) => return None,
    };
    context.ui.warn(&format!("the image will not know its revision: {why}"));
    None
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

/// Asks the engine for the image by the id that the build told.
async fn describe(
    engine: &Engine,
    names: &Names,
    revision: Option<Revision>,
    built: &Built,
) -> Result<Image, Error> {
    let found = engine.inspect_image(&built.id).await.map_err(|error| match error {
        slipway_engine::Error::NotFound { message } => {
            Error::ImageLost { told: built.id.clone(), why: message }
        }
        other => other.into(),
    })?;
    let id = found.id.clone().unwrap_or_default();
    if id != built.id {
        return Err(Error::ImageLost { told: built.id.clone(), why: format!("it calls it {id}") });
    }
    let parts = [found.os, found.architecture, found.variant];
    let platform: Vec<String> =
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    let first = names.all.first();
    let ci = ci::Build::from_env(|name| std::env::var(name).ok());
    Ok(Image {
        name: first.map(|name| name.path().to_owned()),
        tag: first.and_then(Reference::tag).map(str::to_owned),
        tags: names.all.iter().map(ToString::to_string).collect(),
        id: Some(id),
        platform: Some(platform.join("/")),
        size_bytes: found.size.and_then(|size| u64::try_from(size).ok()),
        dirty: revision.as_ref().map(|revision| revision.dirty),
        committed_at: revision.as_ref().and_then(|revision| revision.committed_at.clone()),
        revision: revision.map(|revision| revision.commit),
        build_number: ci.number,
        build_job: ci.job,
        build_url: ci.url,
        labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
        steps: Some(built.steps),
        cached_steps: Some(built.cached_steps),
        build_ms: None,
    })
}
