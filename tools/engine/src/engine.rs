//! The connection itself.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use bollard::Docker;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use slipway_untrusted::Limit;
use slipway_untrusted::limit::{ENGINE_ANSWER, ENGINE_MESSAGE, ENGINE_REFUSAL};
use tokio::net::{TcpStream, UnixStream};

use crate::counted::Room;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::messages::Messages;
use crate::transport::{Dial, Request, Stream};
use crate::value;

/// A version of the Engine API, such as 1.41 (Docker 20.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// The part before the dot.
    pub major: u16,
    /// The part behind the dot.
    pub minor: u16,
}

impl ApiVersion {
    /// The newest version that bollard's types describe.
    const NEWEST: Self =
        Self { major: 1, minor: bollard::API_DEFAULT_VERSION.minor_version as u16 };
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(Self { major: major.parse().map_err(|_| ())?, minor: minor.parse().map_err(|_| ())? })
    }
}

/// A Docker engine that has answered once.
///
/// Cheap to clone; every request opens a stream of its own.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    dial: Dial,
    version: ApiVersion,
    podman: bool,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Engine {
    /// Connects to the engine that the environment names (see
    /// [`Endpoint::from_env`]) and agrees on an API version.
    ///
    /// # Errors
    /// [`Error::UnsupportedHost`], [`Error::Unreachable`],
    /// [`Error::PermissionDenied`], or what the engine answers.
    pub async fn connect_local() -> Result<Self, Error> {
        Self::connect(Endpoint::from_env()?).await
    }

    /// Connects to the engine at `endpoint`.
    ///
    /// # Errors
    /// As [`Engine::connect_local`].
    pub async fn connect(endpoint: Endpoint) -> Result<Self, Error> {
        let name = endpoint.to_string();
        let dial = match endpoint {
            Endpoint::Unix(path) => Dial::new(name, move || {
                let path = path.clone();
                async move { UnixStream::connect(path).await }
            }),
            Endpoint::Tcp(address) => Dial::new(name, move || {
                let address = address.clone();
                async move {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok::<_, std::io::Error>(stream)
                }
            }),
        };
        Self::negotiate(dial).await
    }

    /// Connects over streams that `open` makes, one for every request.
    ///
    /// `endpoint` is how errors call the engine. When `open` fails with a
    /// [`std::io::Error`] its kind decides which error a caller gets.
    ///
    /// # Errors
    /// As [`Engine::connect_local`].
    pub async fn connect_over<F, Fut, S, E>(
        endpoint: impl Into<String>,
        open: F,
    ) -> Result<Self, Error>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::negotiate(Dial::new(endpoint.into(), open)).await
    }

    async fn negotiate(dial: Dial) -> Result<Self, Error> {
        let ping = Request::new(Method::GET, "/_ping").into_http("")?;
        let answer = checked(dial.send(ping, Room::Whole(&ENGINE_MESSAGE)).await?).await?;
        let version = answer
            .headers()
            .get("api-version")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<ApiVersion>().ok())
            .ok_or_else(|| Error::Protocol {
                what: "the ping's answer names no API version".to_owned(),
            })?
            .min(ApiVersion::NEWEST);
        let podman = answer.headers().contains_key("libpod-api-version");
        let docker = dial.bollard(version)?;
        Ok(Self { docker, dial, version, podman })
    }

    /// Bollard's client over the same transport. Its errors convert into
    /// [`Error`]. For pulls, pushes and builds use the methods here: bollard's
    /// messages lack what a push reports.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The API version that requests name: the engine's, or the newest known
    /// here when the engine's is newer.
    pub fn api_version(&self) -> ApiVersion {
        self.version
    }

    /// Whether it is Podman that speaks this API, which reads some values in another form.
    pub fn is_podman(&self) -> bool {
        self.podman
    }

    /// How errors call the engine.
    pub fn endpoint(&self) -> &str {
        &self.dial.endpoint
    }

    /// Sends a request and returns the head of a good answer. The body may go on for ever: whoever
    /// reads it bounds it.
    ///
    /// # Errors
    /// An answer other than 2xx, as the kind of error that it means, or a
    /// connection that failed.
    pub async fn send(&self, request: Request) -> Result<Response<Incoming>, Error> {
        self.send_within(request, Room::Stream).await
    }

    async fn send_within(&self, request: Request, room: Room) -> Result<Response<Incoming>, Error> {
        let request = request.into_http(&format!("/v{}", self.version))?;
        checked(self.dial.send(request, room).await?).await
    }

    /// Sends a request whose answer is a stream of JSON messages.
    ///
    /// # Errors
    /// As [`Engine::send`]; failures inside the stream come out of it.
    pub async fn messages(&self, request: Request) -> Result<Messages, Error> {
        Ok(Messages::new(self.send(request).await?.into_body()))
    }

    /// Sends a request with a body that is made while it is sent, and whose answer is a stream of
    /// JSON messages.
    ///
    /// # Errors
    /// As [`Engine::messages`].
    pub async fn upload<B>(&self, request: Request, body: B) -> Result<Messages, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = request.into_http(&format!("/v{}", self.version))?.map(|_empty| body);
        Ok(Messages::new(checked(self.dial.send(request, Room::Stream).await?).await?.into_body()))
    }

    /// Sends a request whose answer is one JSON value.
    ///
    /// # Errors
    /// As [`Engine::send`], or [`Error::Protocol`] when it is another value.
    pub async fn json<T: serde::de::DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        self.value(request, &ENGINE_ANSWER, value::LIST).await
    }

    /// The same of an answer about one thing, such as a container, into a type that may be as large
    /// as it likes.
    ///
    /// # Errors
    /// As [`Engine::json`].
    pub(crate) async fn one<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, Error> {
        self.value(request, &ENGINE_MESSAGE, value::ONE).await
    }

    async fn value<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
        limit: &'static Limit,
        most: usize,
    ) -> Result<T, Error> {
        let answer = self.send_within(request, Room::Whole(limit)).await?;
        value::read(&limit.body(answer.into_body()).await?, most)
    }

    /// Sends a request that turns its connection into a stream of bytes.
    ///
    /// # Errors
    /// As [`Engine::send`], or [`Error::Protocol`] when the engine does not
    /// switch protocols.
    pub async fn upgrade(&self, request: Request) -> Result<impl Stream + use<>, Error> {
        let request = request.into_http(&format!("/v{}", self.version))?;
        let answer = self.dial.send(request, Room::Stream).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = answer.status();
            checked(answer).await?;
            return Err(Error::Protocol {
                what: format!("status {status} where a change of protocol belongs"),
            });
        }
        Ok(TokioIo::new(hyper::upgrade::on(answer).await?))
    }
}

/// Turns an answer other than 2xx into the error that it means.
async fn checked(answer: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = ENGINE_REFUSAL.body(answer.into_body()).await?;
    let message = serde_json::from_slice::<Refusal>(&body)
        .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |refusal| refusal.message);
    Err(Error::from_answer(status.as_u16(), &message))
}
