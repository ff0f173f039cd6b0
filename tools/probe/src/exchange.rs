//! One request and its answer.

use std::pin::pin;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connect::{Deadline, connect};
use crate::{Phase, ProbeError, Request, Url, tls};

/// How much of a body is read, in bytes. What follows is neither awaited nor judged.
const BODY_LIMIT: usize = 64 * 1024;

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

/// Asks a URL through a connection of its own.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn http(url: &Url, request: &Request) -> Result<Answer, ProbeError> {
    let deadline = Deadline::new(request.timeout);
    let stream = connect(&url.address, &deadline).await?;
    if url.tls {
        let secured = tls::connect(&url.address.host, stream);
        let secured = deadline.within(Phase::Handshake, secured).await??;
        exchange(secured, request, &deadline).await
    } else {
        exchange(stream, request, &deadline).await
    }
}

/// Asks through a stream that is already open, whatever it goes through. The timeout runs from
/// here; the stream is closed afterwards.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn over<S>(stream: S, request: &Request) -> Result<Answer, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    exchange(stream, request, &Deadline::new(request.timeout)).await
}

/// The same through TLS; the certificate has to be valid for `host`.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn secured<S>(host: &str, stream: S, request: &Request) -> Result<Answer, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Deadline::new(request.timeout);
    let secured = deadline.within(Phase::Handshake, tls::connect(host, stream)).await??;
    exchange(secured, request, &deadline).await
}

async fn exchange<S>(
    stream: S,
    request: &Request,
    deadline: &Deadline,
) -> Result<Answer, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let waiting = |error| ProbeError::from_hyper(&error, Phase::Waiting);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(waiting)?;
    let mut asking = pin!(async {
        let answer = sender.send_request(request.build());
        let answer = deadline.within(Phase::Waiting, answer).await?.map_err(waiting)?;
        let (head, incoming) = answer.into_parts();
        let (body, cut) = deadline.within(Phase::Reading, read(incoming)).await??;
        let (status, headers, elapsed) = (head.status, head.headers, deadline.elapsed());
        Ok(Answer { status, headers, body, cut, elapsed })
    });
    // The connection is driven from here and not by a task, so that dropping a probe ends it.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = connection => asking.await,
    }
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
