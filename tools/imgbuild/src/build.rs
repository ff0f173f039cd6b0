//! One build: the session, the request, the engine's account of it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use slipway_engine::{ApiVersion, Engine};
use slipway_shell::{Step, Ui};

use crate::cache;
use crate::classic;
use crate::content::Content;
use crate::contexts;
use crate::control::{Control, SolveError};
use crate::diagnose::diagnose;
use crate::digest;
use crate::error::Error;
use crate::flags::HOST_GATEWAY;
use crate::logins::Logins;
use crate::names::Names;
use crate::needs;
use crate::place::Place;
use crate::plan::Dockerfile;
use crate::request::request;
use crate::session::{Offer, Session, Source, VirtualFile};
use crate::ssh;
use crate::trace::Trace;
use crate::wanted::Wanted;

/// The first API version whose engine may have BuildKit (Docker 18.09).
const BUILDKIT_SINCE: ApiVersion = ApiVersion { major: 1, minor: 39 };

/// Everything that a build needs.
pub(crate) struct Job<'a> {
    pub(crate) place: &'a Place,
    /// The context's address, if the engine fetches it.
    pub(crate) address: Option<String>,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) names: &'a Names,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) wanted: Wanted,
    pub(crate) logins: Arc<Logins>,
}

/// What came of it.
pub(crate) struct Built {
    /// The image id that the engine told at the end of this very build.
    pub(crate) id: String,
    pub(crate) steps: u32,
    pub(crate) cached_steps: u32,
}

/// Builds. Dropping the future closes the connections, which ends the build
/// in the engine too.
pub(crate) async fn build(
    engine: &Engine,
    mut job: Job<'_>,
    ui: &Ui,
    live: &Step,
) -> Result<Built, Error> {
    cache::find(&mut job.wanted.cache_from, &mut |text| ui.warn(text));
    let without_buildkit = classic::cannot(&job);
    match open(engine, &mut job).await? {
        Some(session) => with_buildkit(engine, session, &job, ui, live).await,
        None => match without_buildkit {
            Some(option) => Err(Error::EngineCannot {
                option,
                why: "it has no BuildKit".to_owned(),
                hint: "use the engine of Docker",
            }),
            None => classic::build(engine, &job, ui, live).await,
        },
    }
}

/// Opens a session; an engine that has none has no BuildKit.
async fn open(engine: &Engine, job: &mut Job<'_>) -> Result<Option<Session>, Error> {
    if engine.api_version() < BUILDKIT_SINCE {
        return Ok(None);
    }
    let offer = Offer {
        shared_key: shared_key(job),
        directories: directories(job),
        archive: match job.place {
            Place::Archive(path) => Some(path.clone()),
            _ => None,
        },
        content: Content::new(cache::stores(
            job.wanted.cache_from.iter().chain(&job.wanted.cache_to),
        )),
        secrets: std::mem::take(&mut job.wanted.secrets),
        agents: job.wanted.agents.clone(),
        logins: job.logins.clone(),
    };
    match Session::open(engine, offer).await {
        // Podman is asked by the same API and has no such address.
        Err(Error::Engine(slipway_engine::Error::NotFound { .. })) => Ok(None),
        opened => opened.map(Some),
    }
}

async fn with_buildkit(
    engine: &Engine,
    session: Session,
    job: &Job<'_>,
    ui: &Ui,
    live: &Step,
) -> Result<Built, Error> {
    needs::check(engine, job).await?;
    let failure = session.failure();
    let control = Control::open(engine).await?;
    let gateway = if job.wanted.hosts.iter().any(|host| host.address == HOST_GATEWAY) {
        Some(control.host_gateway(engine).await?)
    } else {
        None
    };
    let request = request(job, session.id(), gateway.as_deref());

    let mut trace = Trace::default();
    let result = {
        let mut serving = std::pin::pin!(session.serve());
        let mut building = std::pin::pin!(follow(&control, request, &mut trace, ui, live));
        // The session may end first; the build's answer then says why.
        tokio::select! {
            result = &mut building => result,
            () = &mut serving => building.await,
        }
    };
    // A file that could not be read is the cause of whatever the engine says.
    if let Some(error) = failure.take() {
        return Err(error);
    }
    let told = result.map_err(|error| explain(error, &trace, job))?;
    let id = told.get("containerimage.digest").cloned().ok_or_else(|| {
        let what = "the build ended without an image id".to_owned();
        slipway_engine::Error::Protocol { what }
    })?;
    cache::note(&job.wanted.cache_to, told.get("cache.manifest"))?;
    let (steps, cached_steps) = trace.counts();
    Ok(Built { id, steps, cached_steps })
}

/// Follows the build to its end and answers what the engine tells of its result.
async fn follow(
    control: &Control,
    request: SolveRequest,
    trace: &mut Trace,
    ui: &Ui,
    live: &Step,
) -> Result<HashMap<String, String>, SolveError> {
    let each = |report| {
        trace.apply(report, &mut |line| ui.raw(line));
        live.update(trace.current().unwrap_or_default());
    };
    control.solve(request, each).await
}

fn explain(error: SolveError, trace: &Trace, job: &Job<'_>) -> Error {
    match error {
        SolveError::Refused(message) => {
            if let Some(id) = ssh::not_given(&message) {
                return Error::SshNotGiven { id };
            }
            diagnose(
                &message,
                trace,
                &job.dockerfile.path,
                &job.dockerfile.text,
                job.wanted.target.as_deref(),
            )
        }
        SolveError::Other(error) => error,
    }
}

/// What the engine may ask for, by the names that it asks with.
fn directories(job: &Job<'_>) -> BTreeMap<String, Source> {
    let mut directories: BTreeMap<String, Source> = BTreeMap::new();
    if let Place::Directory(path) = job.place {
        directories.insert("context".to_owned(), Source::Directory(path.clone()));
        let files = Source::Virtual(Arc::new(virtual_files(job.dockerfile)));
        directories.insert("dockerfile".to_owned(), files);
    }
    for named in &job.wanted.contexts {
        if let contexts::Source::Directory(path) = &named.source {
            directories.insert(named.directory(), Source::Directory(path.clone()));
        }
    }
    directories
}

fn virtual_files(dockerfile: &Dockerfile) -> Vec<VirtualFile> {
    let mut files = vec![VirtualFile {
        name: dockerfile.name.clone(),
        content: dockerfile.text.clone().into_bytes(),
    }];
    if let Some(ignore) = &dockerfile.ignore {
        files.push(VirtualFile {
            name: format!("{}.dockerignore", dockerfile.name),
            content: ignore.clone(),
        });
    }
    files
}

/// The same for every build of this directory on this machine, so that the
/// engine compares with what it got the last time, and another for every
/// other directory.
fn shared_key(job: &Job<'_>) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let directory = job.place.directory().unwrap_or(Path::new("")).display();
    digest::hex(format!("slipway\0{host}\0{directory}").as_bytes())
}
