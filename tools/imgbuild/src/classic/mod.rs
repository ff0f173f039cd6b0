//! The builder of engines without BuildKit, such as Podman's: the context travels whole, and the
//! engine's account is lines of text.

#[doc(hidden)]
pub(crate) mod fuzz;
mod pack;
mod report;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, Method};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::json;
use slipway_engine::{Engine, Message, Request};
use slipway_shell::{Step, Ui};
use tokio::sync::mpsc;

use crate::archive;
use crate::build::{Built, Job};
use crate::cache::Place as CachePlace;
use crate::diagnose::in_the_file;
use crate::dockerfile::line_of;
use crate::error::{Error, FailedStep, Role};
use crate::flags::{Anew, Host, Limit};
use crate::ignore::{self, Matcher};
use crate::mask::Mask;
use crate::place::Place;
use crate::plan::Dockerfile;
use pack::{Extra, pack};
use report::{Report, exit_code};

/// Bytes of the context in one piece, and pieces on their way: what it takes of memory.
const CHUNK: usize = 64 * 1024;
const PIECES: usize = 16;

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The option that this builder cannot do, if the job has one.
pub(crate) fn cannot(job: &Job<'_>) -> Option<&'static str> {
    let wanted = [
        ("--secret", !job.secrets.is_empty()),
        ("--ssh", !job.agents.is_empty()),
        ("--build-context", !job.contexts.is_empty()),
        ("--no-cache-filter", matches!(job.anew, Anew::Stages(_))),
        ("--cache-to", !job.cache_to.is_empty()),
        (
            "--cache-from",
            job.cache_from.iter().any(|cache| !matches!(cache.place, CachePlace::Registry(_))),
        ),
        ("--platform", job.platforms.len() > 1),
    ];
    wanted.into_iter().find(|(_, wanted)| *wanted).map(|(option, _)| option)
}

/// Builds. Dropping the future closes the connection, which ends the build in the engine too.
pub(crate) async fn build(
    engine: &Engine,
    job: &Job<'_>,
    mask: Mask,
    ui: &Ui,
    live: &Step,
) -> Result<Built, Error> {
    let sent = Sent::of(job)?;
    let request = request(job, &sent, engine.is_podman()).await?;
    let (pieces, mut receiver) = mpsc::channel(PIECES);
    let sending = tokio::task::spawn_blocking(move || sent.send(&pieces));
    let body = StreamBody::new(stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }));
    let mut report = Report::new(mask);
    let result = follow(engine, request, body, &mut report, ui, live).await;
    // The body is gone by now, so the sender has ended or ends at its next piece. A file that could
    // not be read is the cause of whatever the engine says.
    if let Ok(Err(error)) = sending.await {
        return Err(error);
    }
    result.map_err(|error| explain(error, &report, job))?;
    let id = report.id().ok_or_else(|| slipway_engine::Error::Protocol {
        what: "the build ended without an image id".to_owned(),
    })?;
    // Older engines tell only the beginning of it.
    let id = engine.inspect_image(id).await?.id.unwrap_or_default();
    let id = if id.contains(':') { id } else { format!("sha256:{id}") };
    let steps = report.step.map_or(0, |step| step.of);
    Ok(Built { id, steps, cached_steps: report.cached, origin: None })
}

#[derive(Deserialize)]
struct ImageId {
    #[serde(rename = "ID")]
    id: String,
}

async fn follow<B>(
    engine: &Engine,
    request: Request,
    body: B,
    report: &mut Report,
    ui: &Ui,
    live: &Step,
) -> Result<(), slipway_engine::Error>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let take = |message: &Message| {
        if let Some(text) = &message.stream {
            report.take(text, &mut |line| ui.line(line));
            if let Some(step) = &report.step {
                live.update(format!("{}/{} {}", step.number, step.of, step.text));
            }
        }
        let told =
            message.aux.as_ref().and_then(|aux| serde_json::from_str::<ImageId>(aux.get()).ok());
        if let Some(told) = told {
            report.told_id(&told.id);
        }
    };
    engine.upload(request, body).await?.drain(take).await
}

async fn request(job: &Job<'_>, sent: &Sent, podman: bool) -> Result<Request, Error> {
    // Maps and lists of texts always have a JSON form.
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let mut query = vec![
        ("dockerfile", sent.dockerfile.clone()),
        ("buildargs", json(&job.args)),
        ("labels", json(&job.labels)),
        ("rm", "1".to_owned()),
        ("forcerm", "1".to_owned()),
    ];
    query.extend(job.names.all.iter().map(|name| ("t", name.to_string())));
    query.extend(hosts(&job.hosts, podman).into_iter().map(|text| ("extrahosts", text)));
    let optional = [
        ("target", job.target.map(str::to_owned)),
        ("platform", job.platforms.first().cloned()),
        ("networkmode", job.network.map(str::to_owned)),
        ("remote", sent.remote.clone()),
        ("shmsize", job.shm_size.map(|size| size.to_string())),
        ("ulimits", limits(&job.limits, podman)),
        ("cachefrom", caches(job)),
        ("nocache", (job.anew == Anew::Everything).then(|| "1".to_owned())),
        ("pull", job.pull.then(|| "1".to_owned())),
    ];
    query.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let logins = job.logins.all().await?;
    let logins = logins.iter().map(|login| {
        let login_of = json!({"username": login.username, "password": login.password.reveal()});
        (login.host.clone(), login_of)
    });
    let logins = serde_json::Value::Object(logins.collect()).to_string();
    Ok(Request::new(Method::POST, "/build")
        .query(query.iter().map(|(key, value)| (*key, value.as_str())))
        .header(HeaderName::from_static("content-type"), "application/x-tar")?
        .header(HeaderName::from_static("x-registry-config"), &URL_SAFE.encode(logins))?)
}

/// Docker wants a value for each, Podman a JSON list.
fn hosts(hosts: &[Host], podman: bool) -> Vec<String> {
    let pairs = hosts.iter().map(|host| format!("{}:{}", host.name, host.address));
    let pairs: Vec<String> = pairs.collect();
    if podman && !pairs.is_empty() { vec![json!(pairs).to_string()] } else { pairs }
}

/// Docker wants objects, Podman texts.
fn limits(limits: &[Limit], podman: bool) -> Option<String> {
    let entries = limits.iter().map(|Limit { name, soft, hard }| {
        if podman {
            json!(format!("{name}={soft}:{hard}"))
        } else {
            json!({"Name": name, "Soft": soft, "Hard": hard})
        }
    });
    let entries: Vec<_> = entries.collect();
    (!entries.is_empty()).then(|| json!(entries).to_string())
}

fn caches(job: &Job<'_>) -> Option<String> {
    let names = job.cache_from.iter().filter_map(|cache| match &cache.place {
        CachePlace::Registry(name) => Some(name),
        _ => None,
    });
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| json!(names).to_string())
}

/// What goes with the request.
struct Sent {
    /// The Dockerfile's path in the context.
    dockerfile: String,
    /// The context's address, if the engine fetches it.
    remote: Option<String>,
    content: Content,
}

enum Content {
    Nothing,
    Archive(PathBuf),
    Directory { root: PathBuf, ignore: Matcher, extras: Vec<Extra> },
}

impl Sent {
    fn of(job: &Job<'_>) -> Result<Self, Error> {
        let dockerfile = job.dockerfile.name.clone();
        Ok(match job.place {
            Place::Directory(root) => {
                let (dockerfile, extras) = extras(job.dockerfile)?;
                let ignore = job.dockerfile.rules.clone();
                let content = Content::Directory { root: root.clone(), ignore, extras };
                Self { dockerfile, remote: None, content }
            }
            Place::Archive(path) => {
                Self { dockerfile, remote: None, content: Content::Archive(path.clone()) }
            }
            Place::Repository(_) | Place::Address(_) => {
                Self { dockerfile, remote: job.address.clone(), content: Content::Nothing }
            }
        })
    }

    /// Sends it, or as much as is wanted; runs on a thread that may block.
    fn send(self, pieces: &Pieces) -> Result<(), Error> {
        let result = match self.content {
            Content::Nothing => Ok(()),
            Content::Archive(path) => send_archive(&path, pieces),
            Content::Directory { root, ignore, extras } => {
                pack(&root, &ignore, &extras, Writer { pieces, held: Vec::with_capacity(CHUNK) })
            }
        };
        // So that the engine does not take a part for the whole.
        result.inspect_err(|error| {
            let _gone = pieces.blocking_send(Err(io::Error::other(error.to_string())));
        })
    }
}

fn send_archive(path: &Path, pieces: &Pieces) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut begun = false;
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut data).map_err(unreadable)?;
        if !begun && !archive::begins(&data) {
            return Err(Error::NoArchive { path: path.to_owned() });
        }
        begun = true;
        if data.is_empty() || pieces.blocking_send(Ok(data.into())).is_err() {
            return Ok(());
        }
    }
}

/// The Dockerfile's name in the context, and what the archive has beside the directory's files.
///
/// This builder reads the Dockerfile and `.dockerignore` from the context only. One that is outside,
/// or kept out, is sent all the same and then ignored; rules that stand beside the Dockerfile have
/// been followed here, and must not be followed once more by those of the context.
fn extras(dockerfile: &Dockerfile) -> Result<(String, Vec<Extra>), Error> {
    let inside = dockerfile.inside.as_deref().and_then(Path::to_str);
    let visible = inside.is_some_and(|path| !ignore::excludes(&dockerfile.rules, path));
    let own_rules = dockerfile.ignore.is_some();
    let outside = || format!(".dockerfile.{:020x}", rand::random::<u64>());
    let name = inside.map_or_else(outside, str::to_owned);
    let mut extras = Vec::new();
    if !visible {
        extras.push(Extra { name: name.clone(), content: dockerfile.text.clone().into_bytes() });
    }
    if own_rules || !visible {
        let shared = dockerfile.shared_ignore.clone().filter(|_| !own_rules);
        let mut content = shared.unwrap_or_default();
        content.extend(b"\n.dockerignore\n");
        if !visible {
            content.extend(name.as_bytes());
        }
        extras.push(Extra { name: ".dockerignore".to_owned(), content });
    }
    Ok((name, extras))
}

/// Sends what is written in pieces.
struct Writer<'a> {
    pieces: &'a Pieces,
    held: Vec<u8>,
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.held, Vec::with_capacity(CHUNK));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn explain(error: slipway_engine::Error, report: &Report, job: &Job<'_>) -> Error {
    use slipway_engine::Error as E;
    let why = report.mask().hide(&error.to_string()).into_owned();
    match error {
        E::Registry { fault, .. } => {
            let from = report.step.as_ref().and_then(|step| step.text.split(' ').nth(1));
            let image = from.unwrap_or("of the Dockerfile").to_owned();
            Error::BaseImage { role: Role::Base, image, fault: Some(fault), why }
        }
        E::DiskFull { message } => Error::DiskFull { why: message },
        E::Api { .. } | E::NotFound { .. } | E::Conflict { .. } => {
            let path = &job.dockerfile.path;
            // What a command prints may read like anything.
            if exit_code(&why).is_none()
                && let Some(error) = in_the_file(&why, &why, path, job.target)
            {
                return error;
            }
            let Some(step) = &report.step else { return Error::Build { why } };
            let path = path.clone();
            let line = line_of(&job.dockerfile.text, None, 0, &step.text);
            Error::Step {
                step: Box::new(FailedStep {
                    stage: None,
                    number: step.number,
                    of: step.of,
                    text: step.text.clone(),
                    path,
                    line,
                    exit_code: exit_code(&why),
                    why,
                    log: report.tail(),
                }),
            }
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
