//! What this engine cannot do, said before anything is begun.
//!
//! An engine that is too old for an option passes over it, and one that keeps
//! its images the old way says it in the middle of the build.

use slipway_engine::{ApiVersion, Engine};

use crate::build::Job;
use crate::cache;
use crate::error::Error;
use crate::place::Place;

/// Docker 23, whose BuildKit is the first to know named contexts and limits of steps.
const DOCKER_23: ApiVersion = ApiVersion { major: 1, minor: 42 };

/// What tells engines apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) api: ApiVersion,
    /// Whether it keeps its images in containerd's store.
    pub(crate) containerd_store: bool,
}

/// Fails if the engine cannot do what the job asks for.
pub(crate) async fn check(engine: &Engine, job: &Job<'_>) -> Result<(), Error> {
    // Most builds ask for nothing that needs a look.
    let containerd_store = wants_store(job).is_some() && engine.info().await?.containerd_store();
    judge(job, Facts { api: engine.api_version(), containerd_store })
}

/// The option that wants containerd's store, if one does.
fn wants_store(job: &Job<'_>) -> Option<&'static str> {
    if job.platforms.len() > 1 {
        return Some("--platform");
    }
    let elsewhere = job.cache_to.iter().any(|cache| cache.place != cache::Place::Inline);
    elsewhere.then_some("--cache-to")
}

fn has_directory(place: &Place) -> bool {
    matches!(place, Place::Repository(repository) if repository.directory.is_some())
}

fn judge(job: &Job<'_>, facts: Facts) -> Result<(), Error> {
    let newer = [
        ("--shm-size", job.shm_size.is_some()),
        ("--build-context", !job.contexts.is_empty()),
        ("--ulimit", !job.limits.is_empty()),
        ("a directory of a repository", has_directory(job.place)),
    ];
    if facts.api < DOCKER_23
        && let Some((option, _)) = newer.into_iter().find(|(_, wanted)| *wanted)
    {
        return Err(Error::EngineCannot {
            option,
            why: "its BuildKit is older than that of Docker 23".to_owned(),
            hint: "use Docker 23 or newer",
        });
    }
    match wants_store(job) {
        Some("--platform") if !facts.containerd_store => Err(Error::EngineCannot {
            option: "--platform",
            why: "its image store holds images of one platform only".to_owned(),
            hint: "build each platform by itself, or turn on the engine's containerd image store",
        }),
        Some(option) if !facts.containerd_store => Err(Error::EngineCannot {
            option,
            why: "with its image store it can keep a cache in the image only".to_owned(),
            hint: "use --cache-to type=inline, or turn on the engine's containerd image store",
        }),
        _ => Ok(()),
    }
}
