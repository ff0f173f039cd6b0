//! Directories for `--cache-to` and `--cache-from type=local`: the engine reads and writes blobs in
//! them over the session, by containerd's content service.

mod messages;
mod store;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use messages::{
    AbortRequest, Empty, Info, InfoAnswer, InfoRequest, ReadAnswer, ReadRequest, UpdateRequest,
    WriteAction, WriteAnswer, WriteRequest,
};
use store::Ingest;
pub(crate) use store::Store;

/// The service's name.
pub(crate) const SERVICE: &str = "containerd.services.content.v1.Content";
/// The methods that are offered.
pub(crate) const METHODS: [&str; 5] = [
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Update",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
    "/containerd.services.content.v1.Content/Abort",
];
/// The metadata in which the engine names the store.
const STORE: &str = "buildkit-attachable-store-id";
/// Bytes in one message, and messages on their way.
const CHUNK: usize = 512 * 1024;
const MESSAGES: usize = 4;

/// The stores of a build, by the names that the engine uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    stores: Arc<BTreeMap<String, Store>>,
}

type Answer = http::Response<tonic::body::Body>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Content {
    pub(crate) fn new(stores: BTreeMap<String, Store>) -> Self {
        Self { stores: Arc::new(stores) }
    }

    /// Answers one call.
    pub(crate) async fn call(&self, request: http::Request<Incoming>) -> Answer {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        match method.as_str() {
            "Info" => {
                let asked = |request: Request<InfoRequest>| async move { self.info(&request) };
                Grpc::new(ProstCodec::default()).unary(service_fn(asked), request).await
            }
            "Update" => {
                let asked = |request: Request<UpdateRequest>| async move { self.update(&request) };
                Grpc::new(ProstCodec::default()).unary(service_fn(asked), request).await
            }
            "Read" => {
                let asked = |request: Request<ReadRequest>| async move { self.read(&request) };
                Grpc::new(ProstCodec::default()).server_streaming(service_fn(asked), request).await
            }
            "Write" => {
                let asked =
                    |request: Request<Streaming<WriteRequest>>| async move { self.write(request) };
                Grpc::new(ProstCodec::default()).streaming(service_fn(asked), request).await
            }
            "Abort" => {
                // What was begun is gone with its stream.
                let asked = |_: Request<AbortRequest>| async move {
                    Ok::<_, Status>(Response::new(Empty {}))
                };
                Grpc::new(ProstCodec::default()).unary(service_fn(asked), request).await
            }
            _ => Status::unimplemented("not offered by this store").into_http(),
        }
    }

    fn store<T>(&self, request: &Request<T>) -> Result<&Store, Status> {
        let name = request.metadata().get(STORE).and_then(|name| name.to_str().ok());
        let store = name.and_then(|name| self.stores.get(name));
        store.ok_or_else(|| Status::not_found("no such store in this session"))
    }

    fn info(&self, request: &Request<InfoRequest>) -> Result<Response<InfoAnswer>, Status> {
        let digest = request.get_ref().digest.clone();
        let size = self.store(request)?.size(&digest).map_err(|error| status(&error))?;
        let info = Info { digest, size: signed(size), ..Info::default() };
        Ok(Response::new(InfoAnswer { info: Some(info) }))
    }

    /// Labels are for containerd's own garbage collection, which there is none of here.
    fn update(&self, request: &Request<UpdateRequest>) -> Result<Response<InfoAnswer>, Status> {
        let mut info = request.get_ref().info.clone().unwrap_or_default();
        let size = self.store(request)?.size(&info.digest).map_err(|error| status(&error))?;
        info.size = signed(size);
        Ok(Response::new(InfoAnswer { info: Some(info) }))
    }

    fn read(
        &self,
        request: &Request<ReadRequest>,
    ) -> Result<Response<Answers<ReadAnswer>>, Status> {
        let store = self.store(request)?;
        let ReadRequest { digest, offset, size } = request.get_ref();
        let offset = u64::try_from(*offset).unwrap_or_default();
        let size = u64::try_from(*size).ok().filter(|size| *size > 0);
        let mut from = store.read(digest, offset, size).map_err(|error| status(&error))?;
        let (answers, mut receiver) = mpsc::channel(MESSAGES);
        tokio::task::spawn_blocking(move || {
            let mut offset = offset;
            loop {
                let mut data = Vec::with_capacity(CHUNK);
                let read = Read::by_ref(&mut from).take(CHUNK as u64).read_to_end(&mut data);
                let answer = match read {
                    Ok(0) => return,
                    Ok(length) => {
                        let answer = ReadAnswer { offset: signed(offset), data };
                        offset += length as u64;
                        Ok(answer)
                    }
                    Err(error) => Err(status(&error)),
                };
                let last = answer.is_err();
                if answers.blocking_send(answer).is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))))
    }

    fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<Answers<WriteAnswer>>, Status> {
        let writing = Writing { store: self.store(&request)?.clone(), ingest: None };
        let requests = request.into_inner();
        // Each request has its answer, in order; the first failure is the last answer.
        let answers = stream::unfold(Some((writing, requests)), |state| async move {
            let (mut writing, mut requests) = state?;
            let answer = match requests.next().await? {
                Ok(request) => writing.answer(request),
                Err(status) => Err(status),
            };
            let next = answer.is_ok().then_some((writing, requests));
            Some((answer, next))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One blob on its way into a store.
struct Writing {
    store: Store,
    ingest: Option<Ingest>,
}

impl Writing {
    fn answer(&mut self, request: WriteRequest) -> Result<WriteAnswer, Status> {
        let action = request.action();
        if self.ingest.is_none() {
            if !request.expected.is_empty() && self.store.size(&request.expected).is_ok() {
                return Err(Status::already_exists("the store has it already"));
            }
            self.ingest = Some(self.store.begin().map_err(|error| status(&error))?);
        }
        let Some(ingest) = self.ingest.as_mut() else {
            return Err(Status::internal("nothing was begun"));
        };
        if !request.data.is_empty() {
            if request.offset != signed(ingest.written) {
                return Err(Status::out_of_range(format!("{} bytes were written", ingest.written)));
            }
            ingest.write(&request.data).map_err(|error| status(&error))?;
        }
        let mut answer = WriteAnswer {
            action: request.action,
            offset: signed(ingest.written),
            total: request.total,
            ..WriteAnswer::default()
        };
        if action == WriteAction::Commit {
            if request.total > 0 && request.total != signed(ingest.written) {
                return Err(Status::failed_precondition(format!(
                    "{} bytes were written",
                    ingest.written
                )));
            }
            let whole = self.ingest.take().map(|ingest| ingest.commit(&request.expected));
            answer.digest = whole.transpose().map_err(|error| status(&error))?.unwrap_or_default();
        }
        Ok(answer)
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn status(error: &io::Error) -> Status {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Status::not_found(text),
        io::ErrorKind::InvalidInput => Status::invalid_argument(text),
        io::ErrorKind::InvalidData => Status::failed_precondition(text),
        io::ErrorKind::StorageFull => Status::resource_exhausted(text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: WriteAction, offset: i64, data: &[u8], expected: &str) -> WriteRequest {
        let expected = expected.to_owned();
        WriteRequest {
            action: action.into(),
            offset,
            data: data.to_vec(),
            expected,
            ..WriteRequest::default()
        }
    }

    #[test]
    fn a_blob_is_written_in_the_engines_steps() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned());
        let digest = format!("sha256:{}", crate::digest::hex(b"hello"));
        let new = || Writing { store: store.clone(), ingest: None };
        let mut writing = new();
        let mut told =
            |request| writing.answer(request).map(|answer| (answer.offset, answer.digest));
        assert_eq!(told(request(WriteAction::Stat, 0, b"", &digest)).unwrap().0, 0);
        assert_eq!(told(request(WriteAction::Write, 0, b"hel", "")).unwrap().0, 3);
        let misplaced = told(request(WriteAction::Write, 1, b"lo", "")).unwrap_err();
        assert_eq!(misplaced.code(), tonic::Code::OutOfRange);
        assert_eq!(
            told(request(WriteAction::Commit, 3, b"lo", &digest)).unwrap(),
            (5, digest.clone())
        );
        assert_eq!(store.size(&digest).unwrap(), 5);

        let again = new().answer(request(WriteAction::Stat, 0, b"", &digest)).unwrap_err();
        assert_eq!(again.code(), tonic::Code::AlreadyExists);
        let other = new().answer(request(
            WriteAction::Commit,
            0,
            b"x",
            &format!("sha256:{}", "0".repeat(64)),
        ));
        assert_eq!(other.unwrap_err().code(), tonic::Code::FailedPrecondition);
    }
}
