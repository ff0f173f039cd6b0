//! What a build came to, for when nothing has changed.
//!
//! The builder compares the whole context with its own copy at every build, which takes most of the
//! time of one that changes nothing. So a result is remembered with all that it came from: the job,
//! what the engine was told of the context, the images that were taken from. Where all of it is the
//! same, and the engine still has the image, the builder is not asked.
//!
//! A context is the same if the builder would take it for the same: by names, kinds, modes, sizes and
//! times. Where anything else may go into a build, such as what an address holds or a secret, nothing
//! is remembered. What is remembered stays true; a file that is lost or cannot be read costs time only.

mod told;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use slipway_engine::{Engine, Info};
use slipway_shell::{Ui, cache};
use slipway_untrusted::PrivateDirectory;
use slipway_untrusted::limit::CACHE_FILE;

use crate::build::{Built, Job, directories, has_buildkit, shared_key};
use crate::digest;
use crate::flags::{Anew, HOST_GATEWAY};
use crate::place::Place;
use crate::request::attributes;
use crate::session::Source;
pub(crate) use told::{Telling, Told};

/// A file of another version is taken for none.
const VERSION: u32 = 1;
/// No more places are remembered, and no more jobs of one; those that were built last stay.
const PLACES_MAX: usize = 64;
const JOBS_MAX: usize = 8;

/// Images by name, with their ids.
type Ids = BTreeMap<String, String>;

/// What is remembered of a place: of a Dockerfile and a directory.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Results {
    version: u32,
    /// The one that was built last comes first.
    jobs: Vec<Known>,
}

/// What is remembered of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Names all that goes into the build but the content of the context and the bases.
    job: String,
    image: String,
    steps: u32,
    told: Vec<Told>,
    bases: Ids,
    /// Whether the bases were the same before and after the build. Those of a place's first build
    /// are known afterwards only: one of them may have been replaced meanwhile.
    sure: bool,
}

/// The memory of one job.
pub(crate) struct Memory {
    directory: PrivateDirectory,
    file: String,
    job: String,
    directories: BTreeMap<String, Source>,
    /// Whether the job may be answered from it.
    asks: bool,
    /// Whether all that goes into the build can be compared.
    keeps: bool,
    /// The ids before the build, of the bases that the last one of this place had.
    before: Ids,
}

impl Memory {
    /// That of this job, whose image has the time `time` if there is one. None where no place for it
    /// is known.
    pub(crate) fn of(
        engine: &Engine,
        info: &Info,
        job: &Job<'_>,
        time: Option<Timestamp>,
        ui: &Ui,
    ) -> Option<Self> {
        let keeps = matches!(job.place, Place::Directory(_))
            && has_buildkit(engine)
            && !engine.is_podman()
            // That store asks the registry for a base at every build.
            && !info.containerd_store()
            && !info.id.is_empty()
            && job.contexts.is_empty()
            && job.platforms.is_empty()
            && job.cache_from.is_empty()
            && job.cache_to.is_empty()
            && job.secrets.is_empty()
            && job.agents.is_empty()
            && !job.hosts.iter().any(|host| host.address == HOST_GATEWAY)
            // A base of another platform than the engine's own image of that name is the registry's.
            && !job.dockerfile.text.contains("--platform");
        let asks = keeps && !job.pull && job.anew == Anew::Nothing;
        let place = digest::hex(format!("{}\0{}", shared_key(job), job.dockerfile.name).as_bytes());
        let opened = cache("build").inspect_err(|error| {
            if error.is_unsafe() {
                ui.warn(&format!("the result is not remembered: {error}"));
            }
        });
        let job_key = key(info, job, time);
        Some(Self {
            directory: opened.ok()?,
            file: format!("{place}.json"),
            job: job_key,
            directories: directories(job),
            asks,
            keeps,
            before: Ids::new(),
        })
    }

    /// The image that this job has given, and the number of its steps, if the engine has it and
    /// nothing has changed since.
    pub(crate) async fn recall(&mut self, engine: &Engine) -> Option<(String, u32)> {
        let results = read(&self.directory, &self.file)?;
        let of_this_job = results.jobs.iter().find(|known| known.job == self.job);
        let last = of_this_job.or(results.jobs.first())?;
        self.before = ids(engine, last.bases.keys()).await?;
        let known = of_this_job?.clone();
        if !self.asks || !known.sure || self.before != known.bases {
            return None;
        }
        engine.inspect_image(&known.image).await.ok()?;
        let (told, directories) = (known.told, self.directories.clone());
        let is_still = move |told: &Told| {
            directories.get(&told.wanted.directory).is_some_and(|source| told.is_still(source))
        };
        let same = tokio::task::spawn_blocking(move || told.iter().all(is_still));
        same.await.ok()?.then_some((known.image, known.steps))
    }

    /// Remembers what came of the job, or that an earlier result is no longer the last one. That it
    /// cannot is no failure of the build.
    pub(crate) async fn note(self, engine: &Engine, image: &str, built: &Built) {
        let mut results = read(&self.directory, &self.file).unwrap_or_default();
        results.version = VERSION;
        results.jobs.retain(|known| known.job != self.job);
        results.jobs.splice(0..0, self.learn(engine, image, built).await);
        results.jobs.truncate(JOBS_MAX);
        let text = serde_json::to_vec(&results).unwrap_or_default();
        if results.jobs.is_empty() || self.directory.replace(&self.file, &text).is_err() {
            let _gone = self.directory.remove(&self.file);
        }
        forget(&self.directory);
    }

    async fn learn(&self, engine: &Engine, image: &str, built: &Built) -> Option<Known> {
        let origin =
            built.origin.as_ref().filter(|origin| self.keeps && !origin.told.is_empty())?;
        let bases = ids(engine, &origin.bases).await?;
        Some(Known {
            job: self.job.clone(),
            image: image.to_owned(),
            steps: built.steps,
            told: origin.told.clone(),
            sure: bases == self.before,
            bases,
        })
    }
}

/// The ids of these images; none if the engine lacks one, since it then asks a registry for it.
async fn ids(engine: &Engine, names: impl IntoIterator<Item = &String>) -> Option<Ids> {
    let mut ids = Ids::new();
    for name in names {
        let image = engine.inspect_image(name).await.ok()?;
        ids.insert(name.clone(), image.id?);
    }
    Some(ids)
}

/// [`Known::job`]. A build that is made anew is of the same job: its result is the newer one.
fn key(info: &Info, job: &Job<'_>, time: Option<Timestamp>) -> String {
    let mut attributes: BTreeMap<String, String> = attributes(job, None).into_iter().collect();
    for anew in ["no-cache", "image-resolve-mode"] {
        attributes.remove(anew);
    }
    let dockerfile = job.dockerfile;
    let all = json!([
        env!("CARGO_PKG_VERSION"),
        info.id,
        info.server_version,
        dockerfile.text,
        dockerfile.ignore,
        attributes,
        time.map(|time| time.to_string()),
    ]);
    digest::hex(all.to_string().as_bytes())
}

fn read(directory: &PrivateDirectory, file: &str) -> Option<Results> {
    let text = directory.read(file, &CACHE_FILE).ok()??;
    let results: Results = serde_json::from_slice(&text).ok()?;
    (results.version == VERSION).then_some(results)
}

/// Removes what was written longest ago beyond the limit.
fn forget(directory: &PrivateDirectory) {
    let mut files = directory.files().unwrap_or_default();
    files.sort_unstable_by_key(|(_, written)| Reverse(*written));
    for (name, _) in files.into_iter().skip(PLACES_MAX) {
        let _gone = directory.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    fn directory(base: &tempfile::TempDir) -> PrivateDirectory {
        PrivateDirectory::open(base.path(), &["build"]).unwrap()
    }

    #[test]
    fn what_was_written_last_stays() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        let begin = SystemTime::now() - Duration::from_hours(1);
        for n in 0..PLACES_MAX as u64 + 3 {
            let file = File::create(directory.path(&format!("{n}.json"))).unwrap();
            file.set_modified(begin + Duration::from_secs(n)).unwrap();
        }
        forget(&directory);
        assert_eq!(directory.files().unwrap().len(), PLACES_MAX);
        assert!(!directory.path("2.json").exists() && directory.path("3.json").exists());
    }

    #[test]
    fn a_file_that_is_not_ours_is_none() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        let read = || read(&directory, "x.json");
        let known = Known {
            job: "j".into(),
            image: "sha256:a".into(),
            steps: 2,
            told: vec![Telling::default().end(crate::session::Wanted::default())],
            bases: Ids::from([("debian:12".into(), "sha256:b".into())]),
            sure: true,
        };
        let mut results = Results { version: VERSION, jobs: vec![known] };
        let mut written = serde_json::to_vec(&results).unwrap();
        directory.replace("x.json", &written).unwrap();
        assert_eq!(read().as_ref(), Some(&results));
        written.resize(usize::try_from(CACHE_FILE.bytes).unwrap() + 1, b' ');
        directory.replace("x.json", &written).unwrap();
        assert_eq!(read(), None, "too long");
        results.version += 1;
        directory.replace("x.json", &serde_json::to_vec(&results).unwrap()).unwrap();
        assert_eq!(read(), None, "of another version");
    }
}
