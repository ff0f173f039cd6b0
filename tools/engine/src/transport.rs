//! One HTTP/1.1 connection a request, over whatever byte stream leads to the
//! engine.
//!
//! A connection is never reused: a stream through SSH is cheap to open, a
//! dropped answer then closes exactly its own request, and a stale pooled
//! connection cannot make a request fail that was never sent.
//!
//! How much an answer may have in all is decided here too, before anything parses or collects it
//! (see [`Room`]): bollard reads whatever comes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bollard::{BollardRequest, ClientVersion, Docker};
use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use slipway_untrusted::limit::{ENGINE_MESSAGE, ENGINE_REFUSAL, HTTP_HEAD};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::counted::{Counted, Room};
use crate::engine::ApiVersion;
use crate::error::Error;

/// A byte stream that leads to an engine.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Bollard wants a bound on the wait for an answer's head; callers have their
/// own, so this one is out of the way: one day, in seconds.
const BOLLARD_TIMEOUT: u64 = 24 * 60 * 60;

/// Opens streams to one engine.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) endpoint: Arc<str>,
    open: Arc<dyn Fn() -> Opening + Send + Sync>,
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A stream that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {endpoint}: {source}")]
pub(crate) struct DialError {
    pub(crate) endpoint: String,
    pub(crate) source: io::Error,
}

/// One request in the terms of the Engine API.
#[derive(Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A request of `path`, which begins with `/` and names no API version.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The same with a query; keys and values are encoded here.
    #[must_use]
    pub fn query<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let query = query.finish();
        if !query.is_empty() {
            self.path = format!("{}?{query}", self.path);
        }
        self
    }

    /// The same with one more header.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the value cannot stand in a header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(value).map_err(|_| Error::Protocol {
            what: format!("a value that does not fit into the header {name}"),
        })?;
        value.set_sensitive(name == REGISTRY_AUTH);
        self.headers.append(name, value);
        Ok(self)
    }

    /// The same with a body of this content type.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the type cannot stand in a header.
    pub fn body(self, kind: &str, body: impl Into<Bytes>) -> Result<Self, Error> {
        let request = self.header(http::header::CONTENT_TYPE, kind)?;
        Ok(Self { body: body.into(), ..request })
    }

    pub(crate) fn into_http(self, version: &str) -> Result<http::Request<Full<Bytes>>, Error> {
        let uri = path_uri(&format!("{version}{}", self.path)).map_err(|_| Error::Protocol {
            what: format!("a path that is no URI: {}", self.path),
        })?;
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

pub(crate) static REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");
static REGISTRY_CONFIG: HeaderName = HeaderName::from_static("x-registry-config");

fn path_uri(path: &str) -> Result<Uri, http::Error> {
    let path: PathAndQuery = path.parse()?;
    Uri::builder().path_and_query(path).build()
}

impl Dial {
    pub(crate) fn new<F, Fut, S, E>(endpoint: impl Into<Arc<str>>, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let open = move || -> Opening {
            let opening = open();
            Box::pin(async move {
                match opening.await {
                    Ok(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
                    Err(error) => Err(into_io(error.into())),
                }
            })
        };
        Self { endpoint: endpoint.into(), open: Arc::new(open) }
    }

    /// Sends one request over a fresh stream and returns the answer's head; the answer has to fit
    /// into this room.
    pub(crate) async fn send<B>(
        &self,
        mut request: http::Request<B>,
        room: Room,
    ) -> Result<Response<Incoming>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // The engine checks that the header is there, not what it says.
        request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
        let stream = (self.open)().await.map_err(|source| {
            SendError::Dial(DialError { endpoint: self.endpoint.to_string(), source })
        })?;
        let (stream, room) = Counted::new(stream, room);
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(usize::try_from(HTTP_HEAD.bytes).unwrap_or(usize::MAX))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Http)?;
        // The task ends with the answer's body, or with the request's future:
        // hyper closes the stream when nobody waits for an answer any more.
        tokio::spawn(async move {
            let _ended = connection.with_upgrades().await;
        });
        let answer = sender.send_request(request).await.map_err(SendError::Http)?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            room.narrow(&ENGINE_REFUSAL);
        }
        Ok(answer)
    }

    /// Bollard's client over this transport: its requests get the negotiated
    /// version in their path and the URL-safe alphabet in their credentials.
    pub(crate) fn bollard(&self, version: ApiVersion) -> Result<Docker, Error> {
        let dial = self.clone();
        let prefix = format!("/v{version}");
        let transport = move |mut request: BollardRequest| {
            let dial = dial.clone();
            let prepared = prepare(&mut request, &prefix);
            async move {
                prepared?;
                // What may be longer is not asked through bollard.
                dial.send(request, Room::Whole(&ENGINE_MESSAGE)).await.map_err(
                    |error| match error {
                        SendError::Dial(dial) => io::Error::other(dial).into(),
                        SendError::Http(error) => error.into(),
                    },
                )
            }
        };
        let version = ClientVersion {
            major_version: version.major.into(),
            minor_version: version.minor.into(),
        };
        Ok(Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            BOLLARD_TIMEOUT,
            &version,
        )?)
    }
}

fn prepare(request: &mut BollardRequest, version: &str) -> Result<(), bollard::errors::Error> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path_uri(&format!("{version}{path}"))?;
    for name in [&REGISTRY_AUTH, &REGISTRY_CONFIG] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            let safe = url_safe(value.as_bytes());
            *value = HeaderValue::from_bytes(&safe).map_err(http::Error::from)?;
            value.set_sensitive(true);
        }
    }
    Ok(())
}

/// The same base64 text in the URL-safe alphabet.
fn url_safe(text: &[u8]) -> Vec<u8> {
    text.iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect()
}

/// Keeps the kind of an I/O error that came in a box.
fn into_io(error: Box<dyn std::error::Error + Send + Sync>) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(io) => *io,
        Err(other) => io::Error::other(other),
    }
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum SendError {
    Dial(DialError),
    Http(hyper::Error),
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Dial(error) => error.into(),
            SendError::Http(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    #[test]
    fn a_query_is_encoded() {
        let request = Request::new(Method::POST, "/images/create")
            .query([("fromImage", "a/b@sha256:00"), ("x", "a&b=c d")])
            .into_http("/v1.41")
            .unwrap();
        assert_eq!(
            request.uri(),
            "/v1.41/images/create?fromImage=a%2Fb%40sha256%3A00&x=a%26b%3Dc+d"
        );
    }

    #[test]
    fn credentials_are_marked_sensitive() {
        let request =
            Request::new(Method::GET, "/x").header(REGISTRY_AUTH.clone(), "c2VjcmV0").unwrap();
        assert!(!format!("{request:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn bollards_requests_get_version_and_alphabet() {
        let mut request = http::Request::builder()
            .uri("http://docker/images/create?fromImage=x")
            .header("X-Registry-Auth", "ab+/")
            .body(bollard::body_full(Bytes::new()))
            .unwrap();
        prepare(&mut request, "/v1.41").unwrap();
        assert_eq!(request.uri(), "/v1.41/images/create?fromImage=x");
        assert_eq!(request.headers()["x-registry-auth"], "ab-_");
    }

    proptest! {
        #[test]
        fn the_alphabets_differ_in_two_letters_only(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(url_safe(STANDARD.encode(&bytes).as_bytes()), URL_SAFE.encode(&bytes).into_bytes());
        }
    }
}
