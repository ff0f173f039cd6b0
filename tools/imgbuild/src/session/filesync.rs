//! Sending files: BuildKit's `DiffCopy`.
//!
//! This side tells of every file (STAT, closed by an empty one), in order; the
//! engine asks for the contents that it does not have yet (REQ with the place
//! in that order), gets them in pieces (DATA, closed by an empty one), and says
//! FIN, which is echoed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use slipway_untrusted::file::open_beneath;
use tokio::sync::mpsc;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::packets::{Packet, PacketType, Stat};
use super::stat::stat;
use super::wanted::Wanted;
use super::{Answer, Slot};
use crate::context::{Entry, Kind, walk};
use crate::digest;
use crate::error::Error;
use crate::memory::{Telling, Told};

/// Bytes of a file in one DATA packet.
const CHUNK: usize = 64 * 1024;
/// Files that are told of at once: one by one, each would wake the other side.
const BATCH: usize = 64;
/// Batches on their way; enough to keep the connection busy, few enough to
/// hold little memory.
const BATCHES: usize = 64;

/// Something that files can be sent from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A directory.
    Directory(PathBuf),
    /// A few files held in memory, as if they were a directory.
    Virtual(Arc<Vec<VirtualFile>>),
}

/// A file held in memory.
#[derive(Debug)]
pub(crate) struct VirtualFile {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// What was told of directories, at each request.
pub(crate) type AllTold = Arc<Mutex<Vec<Told>>>;

/// The service that sends directories. Clones serve the same ones.
#[derive(Clone)]
pub(crate) struct FileSync {
    directories: Arc<BTreeMap<String, Source>>,
    all_told: AllTold,
    failure: Slot,
}

type Batch = Vec<Packet>;
type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

impl FileSync {
    pub(crate) fn new(directories: BTreeMap<String, Source>, failure: Slot) -> Self {
        Self { directories: Arc::new(directories), all_told: AllTold::default(), failure }
    }

    /// Where what is told of directories will stand.
    pub(crate) fn all_told(&self) -> AllTold {
        self.all_told.clone()
    }

    /// Answers one call.
    pub(crate) async fn call(&self, request: http::Request<Incoming>) -> Answer {
        if !request.uri().path().ends_with("/DiffCopy") {
            return Status::unimplemented("files are sent by DiffCopy").into_http();
        }
        let asked = |request: Request<Streaming<Packet>>| async move { self.diff_copy(request) };
        Grpc::new(ProstCodec::default()).streaming(service_fn(asked), request).await
    }

    fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        let wanted = Wanted::read(request.metadata());
        let source = self.directories.get(&wanted.directory).cloned().ok_or_else(|| {
            Status::not_found(format!("no directory {} in this session", wanted.directory))
        })?;
        let (batches, mut receiver) = mpsc::channel::<Batch>(BATCHES);
        // Requests are few bytes each, at most one a file, and must never wait: see STREAM_WINDOW.
        let (requests, requested) = mpsc::unbounded_channel();
        let sender = Arc::new(Sender {
            source,
            batches,
            told: Mutex::default(),
            all_told: self.all_told.clone(),
            failure: self.failure.clone(),
        });

        let walker = sender.clone();
        tokio::task::spawn_blocking(move || walker.tell(wanted));
        let reader = sender.clone();
        tokio::task::spawn_blocking(move || reader.send_requested(requested));
        tokio::spawn(listen(request.into_inner(), requests, sender));
        let batches = stream::poll_fn(move |context| receiver.poll_recv(context));
        let packets = batches.flat_map(|batch| stream::iter(batch.into_iter().map(Ok)));
        Ok(Response::new(Box::pin(packets)))
    }
}

/// What a told file's content is read from.
enum Content {
    /// Below the directory, of the size that was told.
    File {
        path: PathBuf,
        size: u64,
    },
    Memory(usize),
}

/// A request for a file's content, which is answered under its number.
struct Requested {
    id: u32,
    content: Content,
}

struct Sender {
    source: Source,
    batches: mpsc::Sender<Batch>,
    /// By the place in the order of telling; `None` for what has no content.
    told: Mutex<Vec<Option<Content>>>,
    all_told: AllTold,
    failure: Slot,
}

impl Sender {
    /// Tells of every file; runs on a thread that may block.
    fn tell(&self, wanted: Wanted) {
        let filter = match wanted.filter(&self.source) {
            Ok(filter) => filter,
            Err(why) => {
                self.send(vec![refusal(&why.to_string())]);
                return;
            }
        };
        let (mut batch, mut telling) = (Vec::with_capacity(BATCH), Telling::default());
        let mut going = true;
        let mut tell = |stat: Stat, content| {
            telling.add(&stat);
            // Noted before it is told: the engine may ask at once.
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(content);
            batch.push(Packet::of(stat));
            if batch.len() == BATCH {
                going = self.send(mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
            going
        };
        let result = match &self.source {
            Source::Directory(root) => walk(root, &filter, &mut |entry: Entry| {
                let file = entry.kind == Kind::File;
                let content =
                    file.then(|| Content::File { path: entry.path.clone(), size: entry.size });
                tell(stat(entry), content)
            }),
            Source::Virtual(files) => {
                let wanted = |name: &str| {
                    filter.include.as_ref().is_none_or(|include| include.matches(name, None).0)
                };
                for (at, file) in files.iter().enumerate().filter(|(_, file)| wanted(&file.name)) {
                    tell(file.stat(), Some(Content::Memory(at)));
                }
                Ok(())
            }
        };
        match result {
            Ok(()) => {
                if going && matches!(self.source, Source::Directory(_)) {
                    let told = telling.end(wanted);
                    self.all_told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                }
                batch.push(Packet::new(PacketType::Stat, 0, Vec::new()));
                self.send(batch);
            }
            Err(error) => self.fail(error),
        }
    }

    /// The content that was told under this number, once.
    fn take(&self, id: u32) -> Option<Content> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_mut(usize::try_from(id).ok()?)?.take()
    }

    /// Sends contents as they are asked for; runs on a thread that may block.
    fn send_requested(&self, mut requested: mpsc::UnboundedReceiver<Requested>) {
        let mut directory = None;
        while let Some(Requested { id, content }) = requested.blocking_recv() {
            let going = match (content, &self.source) {
                (Content::File { path, size }, Source::Directory(root)) => {
                    let sent = open(&mut directory, root, &path)
                        .and_then(|file| self.send_file(id, file.take(size)));
                    sent.unwrap_or_else(|source| {
                        self.fail(Error::Unreadable { path: root.join(path), source });
                        false
                    })
                }
                (Content::Memory(at), Source::Virtual(files)) => {
                    files.get(at).is_some_and(|file| self.send_bytes(id, &file.content))
                }
                _ => false,
            };
            if !going {
                return;
            }
        }
    }

    /// Sends a file as long as it was told to be: one that grows meanwhile might have no end.
    fn send_file(&self, id: u32, mut file: impl Read) -> io::Result<bool> {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
            let last = chunk.is_empty();
            if !self.send(vec![Packet::new(PacketType::Data, id, chunk)]) {
                return Ok(false);
            }
            if last {
                return Ok(true);
            }
        }
    }

    fn send_bytes(&self, id: u32, bytes: &[u8]) -> bool {
        bytes
            .chunks(CHUNK)
            .all(|chunk| self.send(vec![Packet::new(PacketType::Data, id, chunk.to_vec())]))
            && self.send(vec![Packet::new(PacketType::Data, id, Vec::new())])
    }

    /// Sends packets; `false` once nobody reads any more.
    fn send(&self, batch: Batch) -> bool {
        self.batches.blocking_send(batch).is_ok()
    }

    fn fail(&self, error: Error) {
        let text = error.to_string();
        self.failure.put(error);
        self.send(vec![refusal(&text)]);
    }
}

/// Opens a file that was told of, which may have become a link or something else meanwhile. The
/// directory is opened once.
fn open(directory: &mut Option<File>, root: &Path, path: &Path) -> io::Result<File> {
    let directory = match directory {
        Some(open) => open,
        None => directory.insert(File::open(root)?),
    };
    open_beneath(directory, path)
}

/// Reads what the engine says, to the end.
async fn listen(
    mut incoming: Streaming<Packet>,
    requests: mpsc::UnboundedSender<Requested>,
    sender: Arc<Sender>,
) {
    while let Ok(Some(packet)) = incoming.message().await {
        let answer = match PacketType::try_from(packet.kind) {
            Ok(PacketType::Req) => match sender.take(packet.id) {
                Some(content) => {
                    if requests.send(Requested { id: packet.id, content }).is_err() {
                        return;
                    }
                    continue;
                }
                // It asks for what was never told, or a second time: it may have the error.
                None => refusal("no such file was told"),
            },
            Ok(PacketType::Fin) => Packet::new(PacketType::Fin, 0, Vec::new()),
            Ok(PacketType::Stat | PacketType::Data) => continue,
            // The engine's own account of an error comes with the build's answer.
            Ok(PacketType::Err) | Err(_) => return,
        };
        let _gone = sender.batches.send(vec![answer]).await;
        return;
    }
}

fn refusal(why: &str) -> Packet {
    Packet::new(PacketType::Err, 0, why.as_bytes().to_vec())
}

impl VirtualFile {
    fn stat(&self) -> Stat {
        // The engine takes a file of the same size and time for unchanged, so
        // the time is made from the content.
        let hash = digest::hex(&self.content);
        let time = i64::from_str_radix(&hash[..13], 16).unwrap_or_default();
        Stat {
            path: self.name.clone().into_bytes(),
            mode: 0o644,
            size: i64::try_from(self.content.len()).unwrap_or(i64::MAX),
            mod_time: time,
            ..Stat::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_files_time_follows_its_content() {
        let of = |content: &str| VirtualFile { name: "d".into(), content: content.into() }.stat();
        assert_ne!(of("a").mod_time, of("b").mod_time);
        assert_eq!(of("a"), of("a"));
    }
}
