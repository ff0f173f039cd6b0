//! One build: the session, the request, the engine's account of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use slipway_engine::{ApiVersion, Engine};
use slipway_shell::{Step, Ui};

use crate::cache::{self, Cache};
use crate::classic;
use crate::content::Content;
use crate::contexts::{self, Named};
use crate::control::{Control, SolveError};
use crate::diagnose::diagnose;
use crate::digest;
use crate::error::Error;
use crate::flags::{Anew, HOST_GATEWAY, Host, Limit};
use crate::logins::Logins;
use crate::mask::Mask;
use crate::memory::Told;
use crate::names::Names;
use crate::needs;
use crate::place::Place;
use crate::plan::Dockerfile;
use crate::progress::Progress;
use crate::request::request;
use crate::secrets::Secrets;
use crate::session::{Offer, Session, Source, VirtualFile};
use crate::ssh::{self, Agents};
use crate::trace::Trace;

/// The first API version whose engine may have BuildKit (Docker 18.09).
const BUILDKIT_SINCE: ApiVersion = ApiVersion { major: 1, minor: 39 };

/// Everything that a build needs.
pub(crate) struct Job<'a> {
    pub(crate) place: &'a Place,
    /// The context's address, if the engine fetches it.
    pub(crate) address: Option<String>,
    pub(crate) contexts: Vec<Named>,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) names: Names,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) target: Option<&'a str>,
    pub(crate) platforms: Vec<String>,
    pub(crate) network: Option<&'a str>,
    pub(crate) anew: Anew,
    pub(crate) cache_from: Vec<Cache>,
    pub(crate) cache_to: Vec<Cache>,
    pub(crate) pull: bool,
    pub(crate) hosts: Vec<Host>,
    pub(crate) shm_size: Option<u64>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) secrets: Secrets,
    pub(crate) agents: Agents,
    pub(crate) logins: Arc<Logins>,
}

/// What came of it.
pub(crate) struct Built {
    /// The image id that the engine told at the end of this very build.
    pub(crate) id: String,
    pub(crate) steps: u32,
    pub(crate) cached_steps: u32,
    /// What it came from; none if that is not known in whole.
    pub(crate) origin: Option<Origin>,
}

/// What a result came from, beside the job.
pub(crate) struct Origin {
    /// What the engine was told of directories.
    pub(crate) told: Vec<Told>,
    /// The images that were taken from.
    pub(crate) bases: BTreeSet<String>,
}

/// Builds. Dropping the future closes the connections, which ends the build
/// in the engine too.
pub(crate) async fn build(
    engine: &Engine,
    mut job: Job<'_>,
    ui: &Ui,
    live: &Step,
) -> Result<Built, Error> {
    cache::find(&mut job.cache_from, &mut |text| ui.warn(text));
    let without_buildkit = classic::cannot(&job);
    let mask = Mask::new(job.secrets.values(), &job.args, job.logins.passwords());
    let offer = Offer {
        shared_key: shared_key(&job),
        directories: directories(&job),
        archive: match job.place {
            Place::Archive(path) => Some(path.clone()),
            _ => None,
        },
        content: Content::new(cache::stores(job.cache_from.iter().chain(&job.cache_to))),
        secrets: std::mem::take(&mut job.secrets),
        agents: job.agents.clone(),
        logins: job.logins.clone(),
    };
    let session = if !has_buildkit(engine) {
        None
    } else {
        match Session::open(engine, offer).await {
            // Podman is asked by the same API and has no such address.
            Err(Error::Engine(slipway_engine::Error::NotFound { .. })) => None,
            opened => Some(opened?),
        }
    };
    let Some(session) = session else {
        return match without_buildkit {
            Some(option) => Err(Error::EngineCannot {
                option,
                why: "it has no BuildKit".to_owned(),
                hint: "use the engine of Docker",
            }),
            None => classic::build(engine, &job, mask, ui, live).await,
        };
    };
    needs::check(engine, &job).await?;
    let (failure, all_told) = (session.failure(), session.all_told());
    let control = Control::open(engine).await?;
    let gateway = if job.hosts.iter().any(|host| host.address == HOST_GATEWAY) {
        Some(control.host_gateway(engine).await?)
    } else {
        None
    };
    let request = request(&job, session.id(), gateway.as_deref());

    let mut progress = Progress::new(Trace::new(mask), ui, live);
    let result = {
        let mut serving = std::pin::pin!(session.serve());
        let mut building = std::pin::pin!(follow(&control, request, &mut progress));
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
    let told = result.map_err(|error| explain(error, progress.trace(), &job))?;
    let id = told.get("containerimage.digest").cloned().ok_or_else(|| {
        let what = "the build ended without an image id".to_owned();
        slipway_engine::Error::Protocol { what }
    })?;
    cache::note(&job.cache_to, told.get("cache.manifest"))?;
    let (steps, cached_steps) = progress.trace().counts();
    let told = mem::take(&mut *all_told.lock().unwrap_or_else(PoisonError::into_inner));
    let origin = progress.trace().bases().map(|bases| Origin { told, bases });
    Ok(Built { id, steps, cached_steps, origin })
}

/// Whether the engine may have BuildKit, by its version.
pub(crate) fn has_buildkit(engine: &Engine) -> bool {
    engine.api_version() >= BUILDKIT_SINCE
}

/// Follows the build to its end and answers what the engine tells of its result.
async fn follow(
    control: &Control,
    request: SolveRequest,
    progress: &mut Progress<'_>,
) -> Result<HashMap<String, String>, SolveError> {
    control.solve(request, |report| progress.take(report)).await
}

fn explain(error: SolveError, trace: &Trace, job: &Job<'_>) -> Error {
    match error {
        SolveError::Refused(message) => {
            if let Some(id) = ssh::not_given(&message) {
                return Error::SshNotGiven { id };
            }
            let message = trace.mask().hide(&message);
            diagnose(&message, trace, &job.dockerfile.path, &job.dockerfile.text, job.target)
        }
        SolveError::Other(error) => error,
    }
}

/// What the engine may ask for, by the names that it asks with.
pub(crate) fn directories(job: &Job<'_>) -> BTreeMap<String, Source> {
    let mut directories: BTreeMap<String, Source> = BTreeMap::new();
    if let Place::Directory(path) = job.place {
        directories.insert("context".to_owned(), Source::Directory(path.clone()));
        let files = Source::Virtual(Arc::new(virtual_files(job.dockerfile)));
        directories.insert("dockerfile".to_owned(), files);
    }
    for named in &job.contexts {
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
pub(crate) fn shared_key(job: &Job<'_>) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let directory = job.place.directory().unwrap_or(Path::new("")).display();
    digest::hex(format!("slipway\0{host}\0{directory}").as_bytes())
}
