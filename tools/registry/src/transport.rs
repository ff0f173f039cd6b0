//! HTTP/1.1 over connections that are kept and used again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::error::Error;
use crate::origin::Origin;
use crate::proxy::Proxies;
use crate::{stream, trust};

/// How long a registry may take to answer. Some read a blob again before they accept it.
const ANSWER: Duration = Duration::from_secs(5 * 60);

/// No answer that is read whole is longer: manifests have 4 MiB at most, configurations rarely 1.
const BODY_MAX: usize = 16 * 1024 * 1024;

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
            what: format!("a value that does not fit into the header {name}"),
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
    proxies: Proxies,
    idle: Mutex<Vec<(Origin, Sender)>>,
    tls: Mutex<Vec<(String, Arc<ClientConfig>)>>,
}

impl Transport {
    pub(crate) fn new(proxies: Proxies) -> Self {
        Self { proxies, idle: Mutex::default(), tls: Mutex::default() }
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
        answer: http::Response<hyper::body::Incoming>,
    ) -> Result<Answer, Error> {
        let (head, mut body) = answer.into_parts();
        let mut bytes = BytesMut::new();
        loop {
            let frame = timeout(ANSWER, body.frame()).await.map_err(|_| late(origin))?;
            let Some(frame) = frame else { break };
            if let Ok(data) = frame.map_err(|error| broken(origin, &error))?.into_data() {
                if bytes.len() + data.len() > BODY_MAX {
                    let what = format!("more than {BODY_MAX} bytes where a short answer belongs");
                    return Err(Error::Protocol { what });
                }
                bytes.extend_from_slice(&data);
            }
        }
        if !sender.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((origin.clone(), sender));
        }
        Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
    }

    fn kept(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, sender)| !sender.is_closed());
        let at = idle.iter().rposition(|(of, sender)| of == origin && sender.is_ready())?;
        Some(idle.swap_remove(at).1)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Error> {
        let tls = || self.tls(&origin.authority());
        let stream = stream::open(origin, self.proxies.of(origin), tls).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(origin, &error))?;
        // Ends with the sender, or when the registry closes the connection.
        tokio::spawn(connection);
        Ok(sender)
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

fn build(
    origin: &Origin,
    call: &Call,
    authorization: Option<&HeaderValue>,
) -> Result<Request<Full<Bytes>>, Error> {
    let protocol = |what: String| Error::Protocol { what };
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
    Error::Interrupted { registry: origin.to_string(), why }
}

fn broken(origin: &Origin, error: &hyper::Error) -> Error {
    if error.is_parse() {
        return Error::Protocol { what: error.to_string() };
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
    Error::Interrupted { registry: origin.to_string(), why }
}
