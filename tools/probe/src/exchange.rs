//! One request and its answer.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use slipway_untrusted::limit::{HTTP_BODY, HTTP_HEAD};
use tokio::task::JoinSet;

use crate::connect::{Deadline, Io, Stream};
use crate::{Phase, ProbeError, Request, Tls};

/// How much of a body is read, in bytes. What follows is neither awaited nor judged.
const BODY_LIMIT: usize = HTTP_BODY.bytes as usize;

/// The most that the head of an answer may have, in bytes.
const HEAD_LIMIT: usize = HTTP_HEAD.bytes as usize;

/// How many headers an answer may have.
pub(crate) const HEADERS: usize = 1000;

/// How many characters of a body are shown to people.
const HEAD_CHARS: usize = 1024;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its first 64 KiB.
    pub body: Vec<u8>,
    /// Whether the body goes on after that.
    pub cut: bool,
    /// How long the try took, from its start to the last byte that was read.
    pub elapsed: Duration,
    /// When the service's certificate ends, if it showed one.
    pub certificate_not_after: Option<SystemTime>,
}

impl Answer {
    /// The first 1,024 characters of the body, for people; what is not UTF-8 is replaced.
    #[must_use]
    pub fn head(&self) -> String {
        // No character is longer than four bytes, so that the rest need not be decoded.
        let bytes = &self.body[..self.body.len().min(HEAD_CHARS * 4)];
        String::from_utf8_lossy(bytes).chars().take(HEAD_CHARS).collect()
    }
}

/// Asks through a stream that is already open, whatever it goes through, by HTTP/1.1. The timeout
/// runs from here; the stream is closed afterwards.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn over<S: Io + 'static>(stream: S, request: &Request) -> Result<Answer, ProbeError> {
    let deadline = Deadline::new(request.timeout);
    by_http1(Box::new(stream), request.build(), &deadline).await
}

/// The same through TLS; the certificate has to be valid for `host`, by the system's authorities.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn secured<S: Io + 'static>(
    host: &str,
    stream: S,
    request: &Request,
) -> Result<Answer, ProbeError> {
    static TLS: OnceLock<Tls> = OnceLock::new();
    let deadline = Deadline::new(request.timeout);
    let secured =
        TLS.get_or_init(Tls::default).connect(host, Box::new(stream), &[b"http/1.1"], false);
    let secured = deadline.within(Phase::Handshake, secured).await??;
    by_http1(secured.stream, request.build(), &deadline).await
}

/// HTTP/1.1 that takes no larger head than it may.
pub(crate) fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_LIMIT).max_header_size(HEAD_LIMIT).max_headers(HEADERS);
    builder
}

/// HTTP/2 that has no more sent to it than is read. Pushed answers are refused by hyper.
fn http2_builder(tasks: &Tasks) -> http2::Builder<TaskExecutor> {
    let window = u32::try_from(BODY_LIMIT).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(tasks.executor());
    builder
        .max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX))
        .initial_stream_window_size(window)
        .initial_connection_window_size(window);
    builder
}

pub(crate) async fn by_http1(
    stream: Stream,
    request: http::Request<Full<Bytes>>,
    deadline: &Deadline,
) -> Result<Answer, ProbeError> {
    let waiting = |error| ProbeError::from_hyper(&error, Phase::Waiting);
    let (mut sender, connection) =
        http1_builder().handshake(TokioIo::new(stream)).await.map_err(waiting)?;
    let mut asking = pin!(answered(sender.send_request(request), deadline));
    // The connection is driven from here and not by a task, so that dropping a probe ends it.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = connection => asking.await,
    }
}

pub(crate) async fn by_http2(
    stream: Stream,
    request: http::Request<Full<Bytes>>,
    deadline: &Deadline,
) -> Result<Answer, ProbeError> {
    let waiting = |error| ProbeError::from_hyper(&error, Phase::Waiting);
    let tasks = Tasks::default();
    let (mut sender, connection) =
        http2_builder(&tasks).handshake(TokioIo::new(stream)).await.map_err(waiting)?;
    let mut asking = pin!(answered(sender.send_request(request), deadline));
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = connection => asking.await,
    }
}

/// What hyper spawns for one connection; it ends with this.
#[derive(Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Spawns into [`Tasks`] without keeping them, as what is spawned holds it itself.
#[derive(Clone)]
struct TaskExecutor(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    fn executor(&self) -> TaskExecutor {
        TaskExecutor(Arc::downgrade(&self.0))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for TaskExecutor {
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(async move {
                future.await;
            });
        }
    }
}

async fn answered(
    sending: impl Future<Output = hyper::Result<http::Response<Incoming>>>,
    deadline: &Deadline,
) -> Result<Answer, ProbeError> {
    let waiting = |error| ProbeError::from_hyper(&error, Phase::Waiting);
    let answer = deadline.within(Phase::Waiting, sending).await?.map_err(waiting)?;
    let (head, incoming) = answer.into_parts();
    let (body, cut) = deadline.within(Phase::Reading, read(incoming)).await??;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        cut,
        elapsed: deadline.elapsed(),
        certificate_not_after: None,
    })
}

/// Reads up to the limit, and answers whether there is more.
async fn read(mut incoming: Incoming) -> Result<(Vec<u8>, bool), ProbeError> {
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| ProbeError::from_hyper(&error, Phase::Reading))?;
        if let Ok(data) = frame.into_data() {
            let room = BODY_LIMIT - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((body, true));
            }
        }
    }
    Ok((body, false))
}

#[cfg(test)]
mod tests;
