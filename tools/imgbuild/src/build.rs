//! One build: the session, the request, the engine's account of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use http::Method;
use prost::Message as _;
use serde::Deserialize;
use slipway_engine::{ApiVersion, Engine, Message, Request};
use slipway_shell::{Step, Ui};

use crate::diagnose::diagnose;
use crate::digest;
use crate::error::Error;
use crate::plan::{Dockerfile, Names};
use crate::secrets::{Login, Secrets};
use crate::session::{Offer, Session, Source, VirtualFile};
use crate::trace::Trace;

/// The first API version whose engine may have BuildKit (Docker 18.09).
const BUILDKIT_SINCE: ApiVersion = ApiVersion { major: 1, minor: 39 };

/// Everything that a build needs.
pub(crate) struct Job<'a> {
    pub(crate) context: &'a Path,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) names: &'a Names,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) target: Option<&'a str>,
    pub(crate) platform: Option<&'a str>,
    pub(crate) network: Option<&'a str>,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) secrets: Secrets,
    pub(crate) login: Option<Login>,
}

/// What came of it.
pub(crate) struct Built {
    /// The image id that the engine told at the end of this very build.
    pub(crate) id: String,
    pub(crate) steps: u32,
    pub(crate) cached_steps: u32,
}

#[derive(Deserialize)]
struct ImageId {
    #[serde(rename = "ID")]
    id: String,
}

/// Builds. Dropping the future closes the connections, which ends the build
/// in the engine too.
pub(crate) async fn build(
    engine: &Engine,
    mut job: Job<'_>,
    ui: &Ui,
    live: &Step,
) -> Result<Built, Error> {
    if engine.api_version() < BUILDKIT_SINCE {
        return Err(Error::NoBuildKit {
            endpoint: engine.endpoint().to_owned(),
            found: engine.api_version().to_string(),
        });
    }
    let offer = Offer {
        shared_key: shared_key(job.context),
        context: Source::Directory(job.context.to_owned()),
        dockerfile: Source::Virtual(Arc::new(virtual_files(job.dockerfile))),
        secrets: std::mem::take(&mut job.secrets),
        login: job.login.take(),
    };
    let session = Session::open(engine, offer).await?;
    let failure = session.failure();
    let request = request(&job, session.id());

    let mut trace = Trace::default();
    let result = {
        let mut serving = std::pin::pin!(session.serve());
        let mut building = std::pin::pin!(follow(engine, request, &mut trace, ui, live));
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
    let id = result.map_err(|error| explain(error, &trace, &job))?;
    let (steps, cached_steps) = trace.counts();
    Ok(Built { id, steps, cached_steps })
}

/// Reads the answer to its end and returns the image's id.
async fn follow(
    engine: &Engine,
    request: Request,
    trace: &mut Trace,
    ui: &Ui,
    live: &Step,
) -> Result<String, slipway_engine::Error> {
    let mut id = None;
    let messages = engine.messages(request).await?;
    messages
        .drain(|message| match message.id.as_deref() {
            Some("moby.buildkit.trace") => {
                if let Some(report) = report(message) {
                    trace.apply(report, &mut |line| ui.raw(line));
                    live.update(trace.current().unwrap_or_default());
                }
            }
            Some("moby.image.id") => {
                let told = message
                    .aux
                    .as_ref()
                    .and_then(|aux| serde_json::from_str::<ImageId>(aux.get()).ok());
                id = told.map(|told| told.id).or(id.take());
            }
            _ => {}
        })
        .await?;
    id.ok_or_else(|| slipway_engine::Error::Protocol {
        what: "the build ended without an image id".to_owned(),
    })
}

/// A trace: protobuf in base64 in JSON. One that cannot be read is passed
/// over, since it is only an account.
fn report(message: &Message) -> Option<StatusResponse> {
    let text: String = serde_json::from_str(message.aux.as_ref()?.get()).ok()?;
    StatusResponse::decode(STANDARD.decode(text).ok()?.as_slice()).ok()
}

fn explain(error: slipway_engine::Error, trace: &Trace, job: &Job<'_>) -> Error {
    use slipway_engine::Error as E;
    match error {
        E::Api { message, .. }
        | E::Registry { message, .. }
        | E::NotFound { message }
        | E::Conflict { message }
        | E::DiskFull { message } => {
            diagnose(&message, trace, &job.dockerfile.path, &job.dockerfile.text, job.target)
        }
        other => other.into(),
    }
}

fn request(job: &Job<'_>, session: &str) -> Request {
    // Maps of texts always have a JSON form.
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let names: Vec<String> = job.names.all.iter().map(ToString::to_string).collect();
    let (args, labels) = (json(&job.args), json(&job.labels));
    let mut query = vec![
        ("version", "2"),
        ("remote", "client-session"),
        ("session", session),
        ("buildid", session),
        ("dockerfile", &job.dockerfile.name),
        ("buildargs", &args),
        ("labels", &labels),
        ("rm", "1"),
    ];
    query.extend(names.iter().map(|name| ("t", name.as_str())));
    let optional =
        [("target", job.target), ("platform", job.platform), ("networkmode", job.network)];
    query.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    if job.no_cache {
        query.push(("nocache", "1"));
    }
    if job.pull {
        query.push(("pull", "1"));
    }
    Request::new(Method::POST, "/build").query(query)
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
fn shared_key(context: &Path) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    digest::hex(format!("slipway\0{host}\0{}", context.display()).as_bytes())
}
