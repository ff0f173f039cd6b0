//! An export on its way into another engine, without the layers that that one has.
//!
//! An engine of the classic image store looks for a layer by its chain of digests before it opens the
//! archive, so that a layer that it has may be missing there. What is kept of the export goes on as
//! its bytes come; the archive's own index is written anew behind it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::Deserialize;
use slipway_engine::{Engine, Request};
use slipway_untrusted::limit::TAR_JSONS;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::Error;
use crate::export::DOCUMENT_MAX;
use crate::hosts::{Host, silent};
use crate::tar::{Event, Tar};
use crate::v1;
use crate::zip::{Gone, Piece, Zip};

/// Pieces of the archive that wait to be taken.
const WAITING: usize = 8;

/// How long a host may take no further byte: it unpacks what it has.
const STALL: Duration = Duration::from_secs(10 * 60);

/// What stands in the place of a layer that is not in the archive.
const ABSENT: &str = "layer-of-the-engine.tar";

/// What a host is to get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing<'a> {
    /// The ids of all layers, the base first.
    pub(crate) layers: &'a [String],
    /// How many of them it has.
    pub(crate) have: usize,
}

impl Missing<'_> {
    /// Whether no layer of this id has to be sent. One and the same may stand twice in an image.
    fn is_there(&self, id: &str) -> bool {
        let has = |layers: &[String]| layers.iter().any(|layer| layer == id);
        has(&self.layers[..self.have]) && !has(&self.layers[self.have..])
    }
}

/// What was sent.
#[derive(Debug, Default)]
pub(crate) struct Repacked {
    pub(crate) layers: u32,
    /// Of the whole archive, compressed.
    pub(crate) bytes: u64,
}

/// Why an archive is not written to its end.
enum Stop {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Sends an image to a host; `progress` is told the bytes that were sent.
///
/// # Errors
/// What one of the two engines refused or broke.
pub(crate) async fn send(
    engine: &Engine,
    image: &str,
    missing: Missing<'_>,
    host: &Host,
    progress: impl Fn(u64),
) -> Result<Repacked, Error> {
    let (sender, receiver) = mpsc::channel::<Piece>(WAITING);
    let request = Request::new(Method::POST, "/images/load").query([("quiet", "1")]);
    let request = request
        .header(http::header::CONTENT_TYPE, "application/x-tar")
        .map_err(|error| host.failed(error))?;
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece.map(Frame::data), receiver))
    });
    let load =
        async { host.engine.upload(request, StreamBody::new(pieces)).await?.drain(|_| ()).await };
    let export = async {
        let (mut zip, sent) = (Zip::new(sender), AtomicU64::new(0));
        match write(engine, image, missing, host, &mut zip, &sent, progress).await {
            Ok(layers) => {
                zip.end(&sent).await?;
                Ok(Repacked { layers, bytes: sent.into_inner() })
            }
            Err(stop) => {
                zip.broken().await;
                Err(stop)
            }
        }
    };
    let (written, loaded) = tokio::join!(export, load);
    match (written, loaded) {
        (Err(Stop::Failed(error)), _) => Err(error),
        (_, Err(error)) => Err(host.failed(error)),
        (Ok(repacked), Ok(())) => Ok(repacked),
        (Err(Stop::Gone), Ok(())) => Ok(Repacked::default()),
    }
}

/// Writes the archive; answers how many layers are in it.
async fn write(
    engine: &Engine,
    image: &str,
    missing: Missing<'_>,
    host: &Host,
    out: &mut Zip,
    sent: &AtomicU64,
    progress: impl Fn(u64),
) -> Result<u32, Stop> {
    let mut body = engine.send(Request::new(Method::GET, format!("/images/{image}/get"))).await?;
    let mut repack = Repack::new(image, missing);
    let mut tar = Tar::new();
    while let Some(frame) = body.body_mut().frame().await {
        let Ok(mut data) = frame.map_err(slipway_engine::Error::from)?.into_data() else {
            continue;
        };
        while let Some(event) = tar.next(&mut data)? {
            for piece in repack.take(event)? {
                taken(host, out.put(piece, sent)).await?;
            }
        }
        progress(sent.load(Ordering::Relaxed));
    }
    if !tar.finished() {
        return Err(Stop::Failed(Error::Export("it was cut off")));
    }
    for piece in repack.end()? {
        taken(host, out.put(piece, sent)).await?;
    }
    Ok(repack.layers)
}

/// Waits until a host takes further bytes, but not for ever.
async fn taken(host: &Host, put: impl Future<Output = Result<(), Gone>>) -> Result<(), Stop> {
    match timeout(STALL, put).await {
        Ok(taken) => Ok(taken?),
        Err(_) => Err(Stop::Failed(silent(&host.name, STALL))),
    }
}

/// Where the data of the present entry goes.
enum Sink {
    Nowhere,
    /// A document to keep, under its path.
    Document(String, BytesMut),
    /// A layer that goes on; so many bytes of it so far.
    Layer(u64),
}

/// The archive in the making. Pure.
struct Repack<'a> {
    missing: Missing<'a>,
    /// The image's id without `sha256:`.
    hex: &'a str,
    sink: Sink,
    /// The image's configuration and the export's index.
    config: Option<Bytes>,
    index: Option<Bytes>,
    /// Directories of the old layout, with the layers that they are of as far as these can be told.
    known: HashMap<String, usize>,
    /// Paths that went on.
    paths: HashSet<String>,
    /// Layers that went on.
    layers: u32,
    /// Bytes of documents so far.
    read: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Indexed {
    layers: Vec<String>,
}

impl<'a> Repack<'a> {
    fn new(image: &'a str, missing: Missing<'a>) -> Self {
        Self {
            missing,
            hex: image.trim_start_matches("sha256:"),
            sink: Sink::Nowhere,
            config: None,
            index: None,
            known: HashMap::new(),
            paths: HashSet::new(),
            layers: 0,
            read: 0,
        }
    }

    /// What goes on of this.
    fn take(&mut self, event: Event) -> Result<Vec<Bytes>, Error> {
        match event {
            Event::Entry { path, size, file: true } => return self.begin(path, size),
            Event::Entry { .. } => self.sink = Sink::Nowhere,
            Event::Data(data) => match &mut self.sink {
                Sink::Nowhere => {}
                Sink::Document(_, body) => body.extend_from_slice(&data),
                Sink::Layer(size) => {
                    *size += data.len() as u64;
                    return Ok(vec![data]);
                }
            },
            Event::End => match std::mem::replace(&mut self.sink, Sink::Nowhere) {
                Sink::Nowhere => {}
                Sink::Document(path, body) => self.document(&path, body.freeze()),
                Sink::Layer(size) => return Ok(vec![padding(size)]),
            },
        }
        Ok(Vec::new())
    }

    fn begin(&mut self, path: String, size: u64) -> Result<Vec<Bytes>, Error> {
        let path = path.trim_start_matches("./").to_owned();
        let there = if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            let id = format!("sha256:{hex}");
            if self.missing.layers.contains(&id) { Some(self.missing.is_there(&id)) } else { None }
        } else if let Some(directory) = path.strip_suffix("/layer.tar") {
            let id = self.known.get(directory).and_then(|at| self.missing.layers.get(*at));
            Some(id.is_some_and(|id| self.missing.is_there(id)))
        } else {
            None
        };
        self.sink = match there {
            Some(true) => Sink::Nowhere,
            Some(false) => {
                let header = header(&path, size)?;
                self.paths.insert(path);
                if self.paths.len() > self.missing.layers.len() {
                    return Err(Error::Export("it has more layers than the image"));
                }
                self.layers += 1;
                self.sink = Sink::Layer(0);
                return Ok(vec![header]);
            }
            None if self.is_document(&path) => {
                self.read += size;
                if size > DOCUMENT_MAX || TAR_JSONS.admit(self.read).is_err() {
                    return Err(Error::Export("a document is too long"));
                }
                Sink::Document(path, BytesMut::new())
            }
            None => Sink::Nowhere,
        };
        Ok(Vec::new())
    }

    fn is_document(&self, path: &str) -> bool {
        let config = path.strip_suffix(".json").or_else(|| path.strip_prefix("blobs/sha256/"));
        path == "manifest.json" || path.ends_with("/json") || config == Some(self.hex)
    }

    fn document(&mut self, path: &str, body: Bytes) {
        if path == "manifest.json" {
            self.index = Some(body);
        } else if let Some(directory) = path.strip_suffix("/json") {
            if let Some(at) = v1::layer(directory, &body, self.missing.layers) {
                self.known.insert(directory.to_owned(), at);
            }
        } else {
            self.config = Some(body);
        }
    }

    /// What stands at the archive's end.
    fn end(&mut self) -> Result<Vec<Bytes>, Error> {
        const NONE: Error = Error::Export("it does not tell what the image is");
        let config = self.config.take().ok_or(NONE)?;
        let index = self.index.take().ok_or(NONE)?;
        let index: Vec<Indexed> = serde_json::from_slice(&index).map_err(|_| NONE)?;
        let [Indexed { layers }] = &index[..] else { return Err(NONE) };
        if layers.len() != self.missing.layers.len() {
            return Err(NONE);
        }
        let ids = self.missing.layers;
        let path = |at: usize| {
            if at < self.missing.have {
                return Some(ABSENT);
            }
            // One that stands twice is in the archive once.
            let mut same = (0..ids.len()).filter(|other| ids[*other] == ids[at]);
            let found = same.find(|other| self.paths.contains(&layers[*other]))?;
            Some(layers[found].as_str())
        };
        let paths: Option<Vec<&str>> = (0..ids.len()).map(path).collect();
        let paths = paths.ok_or(Error::Export("a layer is not in it"))?;
        let manifest =
            serde_json::json!([{ "Config": "config.json", "RepoTags": null, "Layers": paths }]);
        let manifest = Bytes::from(manifest.to_string());
        let mut pieces = Vec::new();
        for (name, body) in [("config.json", config), ("manifest.json", manifest)] {
            let size = body.len() as u64;
            pieces.extend([header(name, size)?, body, padding(size)]);
        }
        pieces.push(Bytes::from_static(&[0; 1024]));
        Ok(pieces)
    }
}

fn header(path: &str, size: u64) -> Result<Bytes, Error> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).map_err(|_| Error::Export("a path is too long"))?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

/// What fills an entry of this size up to whole blocks.
fn padding(size: u64) -> Bytes {
    const ZEROS: &[u8] = &[0; 512];
    let over = usize::try_from(size % 512).unwrap_or_default();
    Bytes::from_static(&ZEROS[..(512 - over) % 512])
}

#[cfg(test)]
mod tests;
