//! Sending files: BuildKit's `DiffCopy`.
//!
//! This side tells of every file (STAT, closed by an empty one), in order; the
//! engine asks for the contents that it does not have yet (REQ with the place
//! in that order), gets them in pieces (DATA, closed by an empty one), and says
//! FIN, which is echoed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::mem;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Slot;
use super::stat::stat;
use super::wanted::Wanted;
use crate::context::{Entry, Filter, Kind, walk};
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

pub(crate) struct FileSync {
    directories: BTreeMap<String, Source>,
    all_told: AllTold,
    failure: Slot,
}

impl FileSync {
    pub(crate) fn new(directories: BTreeMap<String, Source>, failure: Slot) -> Self {
        Self { directories, all_told: AllTold::default(), failure }
    }

    /// Where what is told of directories will stand.
    pub(crate) fn all_told(&self) -> AllTold {
        self.all_told.clone()
    }
}

type Batch = Vec<Packet>;
type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

#[async_trait]
impl file_sync_server::FileSync for FileSync {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Packets>, Status> {
        let wanted = Wanted::read(request.metadata());
        let source = self.directories.get(&wanted.directory).cloned().ok_or_else(|| {
            Status::not_found(format!("no directory {} in this session", wanted.directory))
        })?;
        let filter =
            wanted.filter(&source).map_err(|why| Status::invalid_argument(why.to_string()))?;
        let (batches, mut receiver) = mpsc::channel::<Batch>(BATCHES);
        // Requests are few bytes each and must never wait: see STREAM_WINDOW.
        let (requests, requested) = mpsc::unbounded_channel();
        let sender = Arc::new(Sender {
            source,
            batches,
            told: Mutex::default(),
            all_told: self.all_told.clone(),
            failure: self.failure.clone(),
        });

        let walker = sender.clone();
        tokio::task::spawn_blocking(move || walker.tell(wanted, &filter));
        let reader = sender.clone();
        tokio::task::spawn_blocking(move || reader.send_requested(requested));
        tokio::spawn(listen(request.into_inner(), requests, sender));
        let batches = stream::poll_fn(move |context| receiver.poll_recv(context));
        let packets = batches.flat_map(|batch| stream::iter(batch.into_iter().map(Ok)));
        Ok(Response::new(Box::pin(packets)))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("files are sent by DiffCopy"))
    }
}

/// What a told file's content is read from.
enum Content {
    File(PathBuf),
    Memory(usize),
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
    fn tell(&self, wanted: Wanted, filter: &Filter) {
        let (mut batch, mut telling) = (Vec::with_capacity(BATCH), Telling::default());
        let mut going = true;
        let mut tell = |stat: Stat, content| {
            telling.add(&stat);
            // Noted before it is told: the engine may ask at once.
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(content);
            batch
                .push(Packet { stat: Some(stat), ..packet(PacketType::PacketStat, 0, Vec::new()) });
            if batch.len() == BATCH {
                going = self.send(mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
            going
        };
        let result = match &self.source {
            Source::Directory(root) => walk(root, filter, &mut |entry: Entry| {
                let content =
                    (entry.kind == Kind::File).then(|| Content::File(root.join(&entry.path)));
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
                batch.push(packet(PacketType::PacketStat, 0, Vec::new()));
                self.send(batch);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Sends contents as they are asked for; runs on a thread that may block.
    fn send_requested(&self, mut requested: mpsc::UnboundedReceiver<u32>) {
        while let Some(id) = requested.blocking_recv() {
            let content = {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                usize::try_from(id).ok().and_then(|at| told.get_mut(at)).and_then(Option::take)
            };
            let going = match (content, &self.source) {
                (Some(Content::File(path)), _) => match self.send_file(id, &path) {
                    Ok(going) => going,
                    Err(source) => {
                        self.fail(Error::Unreadable { path, source });
                        false
                    }
                },
                (Some(Content::Memory(at)), Source::Virtual(files)) => {
                    files.get(at).is_some_and(|file| self.send_bytes(id, &file.content))
                }
                // The engine asks for what was never told: it may have the error.
                _ => self.send(vec![packet(
                    PacketType::PacketErr,
                    0,
                    b"no such file was told".to_vec(),
                )]),
            };
            if !going {
                return;
            }
        }
    }

    fn send_file(&self, id: u32, path: &Path) -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
            let last = chunk.is_empty();
            if !self.send(vec![packet(PacketType::PacketData, id, chunk)]) {
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
            .all(|chunk| self.send(vec![packet(PacketType::PacketData, id, chunk.to_vec())]))
            && self.send(vec![packet(PacketType::PacketData, id, Vec::new())])
    }

    /// Sends packets; `false` once nobody reads any more.
    fn send(&self, batch: Batch) -> bool {
        self.batches.blocking_send(batch).is_ok()
    }

    fn fail(&self, error: Error) {
        let text = error.to_string();
        self.failure.put(error);
        self.send(vec![packet(PacketType::PacketErr, 0, text.into_bytes())]);
    }
}

/// Reads what the engine says, to the end.
async fn listen(
    mut incoming: Streaming<Packet>,
    requests: mpsc::UnboundedSender<u32>,
    sender: Arc<Sender>,
) {
    while let Ok(Some(packet)) = incoming.message().await {
        match packet.r#type() {
            PacketType::PacketReq => {
                if requests.send(packet.id).is_err() {
                    return;
                }
            }
            PacketType::PacketFin => {
                let fin = self::packet(PacketType::PacketFin, 0, Vec::new());
                let _gone = sender.batches.send(vec![fin]).await;
                return;
            }
            // The engine's own account of it comes with the build's answer.
            PacketType::PacketErr => return,
            PacketType::PacketStat | PacketType::PacketData => {}
        }
    }
}

fn packet(kind: PacketType, id: u32, data: Vec<u8>) -> Packet {
    Packet { r#type: kind.into(), stat: None, id, data }
}

impl VirtualFile {
    fn stat(&self) -> Stat {
        // The engine takes a file of the same size and time for unchanged, so
        // the time is made from the content.
        let hash = digest::hex(&self.content);
        let time = i64::from_str_radix(&hash[..13], 16).unwrap_or_default();
        Stat {
            path: self.name.clone(),
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
