//! Sending files: BuildKit's `DiffCopy`.
//!
//! This side tells of every file (STAT, closed by an empty one), in order; the
//! engine asks for the contents that it does not have yet (REQ with the place
//! in that order), gets them in pieces (DATA, closed by an empty one), and says
//! FIN, which is echoed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Slot;
use crate::context::{Entry, Filter, Kind, follow, walk};
use crate::digest;
use crate::error::Error;
use crate::ignore::Matcher;

/// Bytes of a file in one DATA packet.
const CHUNK: usize = 64 * 1024;
/// Packets on their way; enough to keep the connection busy, few enough to
/// hold little memory.
const PACKETS: usize = 128;

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

pub(crate) struct FileSync {
    directories: BTreeMap<String, Source>,
    failure: Slot,
}

impl FileSync {
    pub(crate) fn new(directories: BTreeMap<String, Source>, failure: Slot) -> Self {
        Self { directories, failure }
    }
}

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
        let (packets, mut receiver) = mpsc::channel(PACKETS);
        // Requests are few bytes each and must never wait: see STREAM_WINDOW.
        let (requests, requested) = mpsc::unbounded_channel();
        let sender = Arc::new(Sender {
            source,
            packets,
            told: Mutex::default(),
            failure: self.failure.clone(),
        });

        let walker = sender.clone();
        tokio::task::spawn_blocking(move || walker.tell(&filter));
        let reader = sender.clone();
        tokio::task::spawn_blocking(move || reader.send_requested(requested));
        tokio::spawn(listen(request.into_inner(), requests, sender));
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("files are sent by DiffCopy"))
    }
}

/// What a request asks for.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    directory: String,
    include: Vec<String>,
    exclude: Vec<String>,
    follow: Vec<String>,
}

impl Wanted {
    fn read(metadata: &MetadataMap) -> Self {
        let values = |key: &str| -> Vec<String> {
            // Values beyond ASCII come in the encoding of a query.
            let encoded = metadata
                .get(format!("{key}-encoded"))
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"));
            metadata
                .get_all(key)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .map(|value| if encoded { decode(&value) } else { value })
                .collect()
        };
        Self {
            directory: values("dir-name").pop().unwrap_or_default(),
            include: values("include-patterns"),
            exclude: values("exclude-patterns"),
            follow: values("followpaths"),
        }
    }

    fn filter(&self, source: &Source) -> Result<Filter, impl std::error::Error + use<>> {
        let followed = match (source, self.follow.is_empty()) {
            (_, true) => None,
            (Source::Directory(root), false) => follow(root, &self.follow),
            (Source::Virtual(_), false) => Some(self.follow.clone()),
        };
        let mut include = self.include.clone();
        include.extend(followed.unwrap_or_default());
        let include = if include.is_empty() {
            None
        } else {
            Some(Matcher::new(include.iter().map(String::as_str))?)
        };
        Matcher::new(self.exclude.iter().map(String::as_str))
            .map(|exclude| Filter { include, exclude })
    }
}

/// A value as Go's `url.QueryEscape` wrote it.
fn decode(value: &str) -> String {
    let value = value.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(value.as_bytes())
        .next()
        .map_or_else(String::new, |(key, _)| key.into_owned())
}

/// What a told file's content is read from.
enum Content {
    File(PathBuf),
    Memory(usize),
}

struct Sender {
    source: Source,
    packets: mpsc::Sender<Result<Packet, Status>>,
    /// By the place in the order of telling; `None` for what has no content.
    told: Mutex<Vec<Option<Content>>>,
    failure: Slot,
}

impl Sender {
    /// Tells of every file; runs on a thread that may block.
    fn tell(&self, filter: &Filter) {
        let result = match &self.source {
            Source::Directory(root) => walk(root, filter, &mut |entry| {
                let content =
                    (entry.kind == Kind::File).then(|| Content::File(root.join(&entry.path)));
                self.stat(stat(entry), content)
            }),
            Source::Virtual(files) => {
                let wanted = |name: &str| {
                    filter.include.as_ref().is_none_or(|include| include.matches(name, None).0)
                };
                for (at, file) in files.iter().enumerate().filter(|(_, file)| wanted(&file.name)) {
                    self.stat(file.stat(), Some(Content::Memory(at)));
                }
                Ok(())
            }
        };
        match result {
            Ok(()) => {
                self.send(packet(PacketType::PacketStat, 0, Vec::new()));
            }
            Err(error) => self.fail(error),
        }
    }

    fn stat(&self, stat: Stat, content: Option<Content>) -> bool {
        // Noted before it is told: the engine may ask at once.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(content);
        self.send(Packet { stat: Some(stat), ..packet(PacketType::PacketStat, 0, Vec::new()) })
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
                _ => self.send(packet(PacketType::PacketErr, 0, b"no such file was told".to_vec())),
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
            if !self.send(packet(PacketType::PacketData, id, chunk)) {
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
            .all(|chunk| self.send(packet(PacketType::PacketData, id, chunk.to_vec())))
            && self.send(packet(PacketType::PacketData, id, Vec::new()))
    }

    /// Sends a packet; `false` once nobody reads any more.
    fn send(&self, packet: Packet) -> bool {
        self.packets.blocking_send(Ok(packet)).is_ok()
    }

    fn fail(&self, error: Error) {
        let text = error.to_string();
        self.failure.put(error);
        self.send(packet(PacketType::PacketErr, 0, text.into_bytes()));
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
                let _gone = sender
                    .packets
                    .send(Ok(self::packet(PacketType::PacketFin, 0, Vec::new())))
                    .await;
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

// The bits of Go's `fs.FileMode` beside the permissions.
const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_NAMED_PIPE: u32 = 1 << 25;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHAR_DEVICE: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// The entry in the terms of the transfer. Owner and group are root's, as
/// docker has it, so that an image does not depend on who builds it.
fn stat(entry: Entry) -> Stat {
    let mut mode = entry.mode & 0o777;
    for (bit, go) in [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)] {
        if entry.mode & bit != 0 {
            mode |= go;
        }
    }
    let mut stat = Stat {
        path: entry.path,
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        mod_time: entry.modified_ns,
        ..Stat::default()
    };
    mode |= match entry.kind {
        Kind::File => 0,
        Kind::Directory => GO_DIR,
        Kind::Fifo => GO_NAMED_PIPE,
        Kind::Link(target) => {
            stat.linkname = target;
            GO_SYMLINK
        }
        Kind::Device { block, number } => {
            stat.devmajor = rustix::fs::major(number).into();
            stat.devminor = rustix::fs::minor(number).into();
            if block { GO_DEVICE } else { GO_DEVICE | GO_CHAR_DEVICE }
        }
    };
    stat.mode = mode;
    stat
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataValue;

    #[test]
    fn what_is_wanted_is_read_from_metadata() {
        let mut metadata = MetadataMap::new();
        metadata.insert("dir-name", MetadataValue::from_static("context"));
        metadata.append("exclude-patterns", MetadataValue::from_static("*"));
        metadata.append("exclude-patterns", MetadataValue::from_static("%21caf%C3%A9+%26%3D"));
        metadata.insert("exclude-patterns-encoded", MetadataValue::from_static("1"));
        metadata.append("followpaths", MetadataValue::from_static("a+b"));
        let wanted = Wanted::read(&metadata);
        assert_eq!(wanted.directory, "context");
        assert_eq!(wanted.exclude, ["*", "!café &="]);
        assert_eq!(wanted.follow, ["a+b"]);
    }

    #[test]
    fn modes_are_gos() {
        let entry = |kind, mode| Entry { path: "x".into(), kind, mode, size: 1, modified_ns: 5 };
        assert_eq!(stat(entry(Kind::Directory, 0o1755)).mode, GO_DIR | GO_STICKY | 0o755);
        assert_eq!(stat(entry(Kind::File, 0o6711)).mode, GO_SETUID | GO_SETGID | 0o711);
        let link = stat(entry(Kind::Link("y".into()), 0o777));
        assert_eq!((link.mode, link.linkname.as_str()), (GO_SYMLINK | 0o777, "y"));
        let device =
            stat(entry(Kind::Device { block: false, number: rustix::fs::makedev(1, 3) }, 0o666));
        assert_eq!((device.devmajor, device.devminor), (1, 3));
    }

    #[test]
    fn a_virtual_files_time_follows_its_content() {
        let of = |content: &str| VirtualFile { name: "d".into(), content: content.into() }.stat();
        assert_ne!(of("a").mod_time, of("b").mod_time);
        assert_eq!(of("a"), of("a"));
    }
}
