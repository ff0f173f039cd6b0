//! HTTP/1.1 over connections that are kept and used again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use slipway_untrusted::limit::{HTTP_HEAD, REGISTRY_ANSWER, REGISTRY_REFUSAL};
use tokio::time::timeout;

use crate::answer::Answer;
use crate::elsewhere::{Reach, is_own_storage, same_site};
use crate::error::Error;
use crate::origin::Origin;
use crate::proxy::Proxies;
use crate::{stream, trust};

/// How long a registry may take to answer. Some read a blob again before they accept it.
const ANSWER: Duration = Duration::from_secs(5 * 60);

/// One request; it can be made again.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|_| Error::Protocol {
            what: format!("a value that does not fit into the header {name}").into(),
        })?;
        self.headers.append(name, value);
        Ok(self)
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// Pairs as they stand behind the question mark.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections of one client.
pub(crate) struct Transport {
    registry: Origin,
    /// How far inside the registry's own address is, once it is known.
    reach: Mutex<Option<Reach>>,
    proxies: Proxies,
    idle: Mutex<Vec<(Origin, Sender)>>,
    tls: Mutex<Vec<(String, Arc<ClientConfig>)>>,
}

impl Transport {
    pub(crate) fn new(registry: Origin, proxies: Proxies) -> Self {
        let (reach, idle, tls) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { registry, reach, proxies, idle, tls }
    }

    /// Makes one request, with these headers beside its own, and reads the answer to its end.
    pub(crate) async fn send(
        &self,
        origin: &Origin,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut request = build(origin, call, authorization)?;
        // One that was kept may have been closed meanwhile; then hyper hands the request back.
        while let Some(mut sender) = self.kept(origin) {
            match timeout(ANSWER, sender.try_send_request(request)).await {
                Err(_) => return Err(late(origin)),
                Ok(Ok(answer)) => return self.read(origin, sender, answer).await,
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(origin, error.error())),
                },
            }
        }
        let mut sender = self.connect(origin).await?;
        let answer = timeout(ANSWER, sender.send_request(request)).await;
        let answer = answer.map_err(|_| late(origin))?.map_err(|error| broken(origin, &error))?;
        self.read(origin, sender, answer).await
    }

    async fn read(
        &self,
        origin: &Origin,
        sender: Sender,
        answer: http::Response<Incoming>,
    ) -> Result<Answer, Error> {
        let (head, body) = answer.into_parts();
        // All of it, so that one byte a minute is no answer.
        let reading = timeout(ANSWER, whole(origin, head.status, body));
        let (body, ended) = reading.await.map_err(|_| late(origin))??;
        if ended && !sender.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((origin.clone(), sender));
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn kept(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, sender)| !sender.is_closed());
        let at = idle.iter().rposition(|(of, sender)| of == origin && sender.is_ready())?;
        Some(idle.swap_remove(at).1)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Error> {
        let tls = || self.tls(&origin.authority());
        let proxy = self.proxies.of(origin);
        let stream = if origin.host == self.registry.host {
            let (stream, reach) = stream::open(origin, proxy, None, tls).await?;
            *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = reach;
            stream
        } else {
            let bound = stream::Bound { registry: &self.registry, most: self.most(&origin.host) };
            stream::open(origin, proxy, Some(bound), tls).await?.0
        };
        let mut client = http1::Builder::new();
        client.max_buf_size(usize::try_from(HTTP_HEAD.bytes).unwrap_or(usize::MAX));
        let connected = client.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = connected.map_err(|error| broken(origin, &error))?;
        // Ends with the sender, or when the registry closes the connection.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// How far inside the address of another host may be: no further than the registry's own. What is
    /// of its site, or its storage, may have a private one.
    fn most(&self, host: &str) -> Reach {
        let own = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let own = own.unwrap_or(Reach::Public).min(Reach::Loopback);
        let registry = &self.registry.host;
        if same_site(registry, host) || is_own_storage(registry, host) {
            return own.max(Reach::Private);
        }
        own
    }

    /// Loading the roots takes milliseconds, so it is done once a host.
    fn tls(&self, authority: &str) -> Result<Arc<ClientConfig>, String> {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = known.iter().find(|(of, _)| of == authority) {
            return Ok(Arc::clone(config));
        }
        let config = trust::config(authority)?;
        known.push((authority.to_owned(), Arc::clone(&config)));
        Ok(config)
    }
}

/// Reads a body: the answer to a question, whole or not at all; of a refusal what may be of use.
/// Answers also whether that was all.
async fn whole(
    origin: &Origin,
    status: StatusCode,
    mut body: Incoming,
) -> Result<(Bytes, bool), Error> {
    let good = status.is_success();
    let mut bytes = if good { REGISTRY_ANSWER.gather() } else { REGISTRY_REFUSAL.gather() };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(origin, &error))?.into_data() else { continue };
        match bytes.push(&data) {
            Ok(()) => {}
            Err(source) if good => {
                return Err(Error::TooLarge { registry: origin.to_string().into(), source });
            }
            Err(_) => return Ok((bytes.take().into(), false)),
        }
    }
    Ok((bytes.take().into(), true))
}

fn build(
    origin: &Origin,
    call: &Call,
    authorization: Option<&HeaderValue>,
) -> Result<Request<Full<Bytes>>, Error> {
    let protocol = |what: String| Error::Protocol { what: what.into() };
    let uri = call.path.parse::<http::Uri>();
    let uri = uri.map_err(|_| protocol(format!("a path that is no URI: {}", call.path)))?;
    let host = HeaderValue::from_str(&origin.authority());
    let host = host.map_err(|_| protocol(format!("\"{origin}\" is no host name")))?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    headers.insert(HOST, host);
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("slipway/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(value) = authorization {
        headers.insert(http::header::AUTHORIZATION, value.clone());
    }
    Ok(request)
}

fn late(origin: &Origin) -> Error {
    let why = format!("no answer within {} s", ANSWER.as_secs());
    Error::Interrupted { registry: origin.to_string().into(), why: why.into() }
}

fn broken(origin: &Origin, error: &hyper::Error) -> Error {
    if error.is_parse() {
        return Error::Protocol { what: error.to_string().into() };
    }
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        source = inner.source();
    }
    Error::Interrupted { registry: origin.to_string().into(), why: why.into() }
}
