//! An archive as the build's context: the engine asks for it by an address that only this session
//! answers.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bollard_buildkit_proto::moby::upload::v1::{BytesMessage, upload_server};
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Slot;
use crate::archive;
use crate::error::Error;

/// Bytes of the archive in one message.
const CHUNK: usize = 64 * 1024;
/// Messages on their way.
const MESSAGES: usize = 16;
/// The path at which the engine asks for it.
const NAME: &str = "context";

/// The context's address in the engine's terms.
pub(crate) fn address() -> String {
    format!("http://buildkit-session/{NAME}")
}

/// Hands out the archive once: what comes through a pipe comes only once.
pub(crate) struct Upload {
    archive: Mutex<Option<PathBuf>>,
    failure: Slot,
}

impl Upload {
    pub(crate) fn new(archive: Option<PathBuf>, failure: Slot) -> Self {
        Self { archive: Mutex::new(archive), failure }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

#[async_trait]
impl upload_server::Upload for Upload {
    type PullStream = Messages;

    async fn pull(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let asked = request.metadata().get("urlpath").and_then(|path| path.to_str().ok());
        if asked.map(|path| path.trim_start_matches('/')) != Some(NAME) {
            return Err(Status::not_found("nothing is uploaded at this address"));
        }
        let path = self.archive.lock().unwrap_or_else(PoisonError::into_inner).take();
        let path = path.ok_or_else(|| Status::not_found("the archive was sent already"))?;
        let (messages, mut receiver) = mpsc::channel(MESSAGES);
        let failure = self.failure.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send(&path, &messages) {
                let _gone = messages.blocking_send(Err(Status::internal(error.to_string())));
                failure.put(error);
            }
        });
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))))
    }
}

/// Sends all of the archive, or as much as is wanted.
fn send(path: &Path, messages: &mpsc::Sender<Result<BytesMessage, Status>>) -> Result<(), Error> {
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
        if data.is_empty() || messages.blocking_send(Ok(BytesMessage { data })).is_err() {
            return Ok(());
        }
    }
}
