//! Opening a byte stream to a registry: directly or through a proxy, plain or with TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::elsewhere::Reach;
use crate::origin::{Origin, Scheme};
use crate::proxy::Proxy;

/// How long connecting may take, all handshakes included.
const CONNECT: Duration = Duration::from_secs(15);

/// The head of a proxy's answer is not longer than this.
const HEAD_MAX: usize = 16 * 1024;

/// Either kind of stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the address of a place has to be that a registry named.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// Who named it.
    pub(crate) registry: &'a Origin,
    /// How far inside it may be.
    pub(crate) most: Reach,
}

/// Connects, through the proxy if there is one, and does the TLS handshake if the origin wants it.
/// Answers also how far inside the address is; none behind a proxy, which looks names up itself.
pub(crate) async fn open(
    origin: &Origin,
    proxy: Option<&Proxy>,
    bound: Option<Bound<'_>>,
    tls: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
) -> Result<(Box<dyn Stream>, Option<Reach>), Error> {
    let opening = async {
        let (tcp, reach) = connect(origin, proxy, bound).await?;
        if origin.scheme == Scheme::Http {
            return Ok((Box::new(tcp) as Box<dyn Stream>, reach));
        }
        let fail =
            |why: String| Error::Tls { registry: origin.to_string().into(), why: why.into() };
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| fail("the host is not a name that a certificate can have".to_owned()))?;
        let connector = TlsConnector::from(tls().map_err(fail)?);
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok((Box::new(stream) as Box<dyn Stream>, reach)),
            Err(error) => Err(handshake(origin, &error)),
        }
    };
    match timeout(CONNECT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable(origin, format!("no connection within {} s", CONNECT.as_secs()))),
    }
}

async fn connect(
    origin: &Origin,
    proxy: Option<&Proxy>,
    bound: Option<Bound<'_>>,
) -> Result<(TcpStream, Option<Reach>), Error> {
    let Some(proxy) = proxy else {
        let stream = direct(origin, bound).await?;
        let reach = stream.peer_addr().ok().map(|address| Reach::of(address.ip()));
        return Ok((stream, reach));
    };
    let by = |why: String| unreachable(origin, format!("{why} (by the proxy {})", proxy.host));
    if let (Some(bound), Ok(address)) = (bound, origin.host.parse()) {
        bound.admit(origin, address)?;
    }
    let connected = TcpStream::connect((proxy.host.as_str(), proxy.port)).await;
    let mut stream = connected.map_err(|error| by(reason(&error)))?;
    let _ = stream.set_nodelay(true);
    tunnel(&mut stream, origin, proxy).await.map_err(by)?;
    Ok((stream, None))
}

/// Connects to the first address that answers. A bound is that of each address, not of the name, which
/// may lead anywhere.
async fn direct(origin: &Origin, bound: Option<Bound<'_>>) -> Result<TcpStream, Error> {
    let failed = |error: &io::Error| unreachable(origin, reason(error));
    let found = lookup_host((origin.host.as_str(), origin.port)).await;
    let mut last = unreachable(origin, "its name has no address".to_owned());
    for address in found.map_err(|error| failed(&error))? {
        if let Some(bound) = bound {
            bound.admit(origin, address.ip())?;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = failed(&error),
        }
    }
    Err(last)
}

impl Bound<'_> {
    fn admit(&self, origin: &Origin, address: IpAddr) -> Result<(), Error> {
        let reach = Reach::of(address);
        if reach <= self.most {
            return Ok(());
        }
        Err(Error::Inside {
            registry: self.registry.to_string().into(),
            to: origin.to_string().into(),
            reach: reach.words(),
        })
    }
}

/// Asks the proxy for a tunnel (RFC 9110, section 9.3.6), for plain HTTP as well: so the proxy sees
/// neither path nor credentials as its own.
async fn tunnel(stream: &mut TcpStream, origin: &Origin, proxy: &Proxy) -> Result<(), String> {
    let host =
        if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    let to = format!("{host}:{}", origin.port);
    let login = proxy
        .login
        .as_ref()
        .map(|login| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login)))
        .unwrap_or_default();
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| reason(&error))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte: what is behind the head belongs to the stream.
        let byte = stream.read_u8().await.map_err(|error| reason(&error))?;
        head.push(byte);
        if head.len() > HEAD_MAX {
            return Err("the proxy's answer is no answer".to_owned());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(()) } else { Err(format!("the proxy answers \"{line}\"")) }
}

fn handshake(origin: &Origin, error: &io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        // What answers here in plain text is taken for a broken record.
        Some(rustls::Error::InvalidMessage(_)) => {
            Error::Tls { registry: origin.to_string().into(), why: "it does not speak TLS".into() }
        }
        Some(tls) => {
            Error::Tls { registry: origin.to_string().into(), why: tls.to_string().into() }
        }
        None => unreachable(origin, reason(error)),
    }
}

fn unreachable(origin: &Origin, why: String) -> Error {
    Error::Unreachable { registry: origin.to_string().into(), why: why.into() }
}

/// The reason without the `(os error 2)` that Rust appends, in small letters.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let plain = plain.strip_prefix("failed to lookup address information: ").unwrap_or(plain);
    let mut letters = plain.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => plain.to_owned(),
    }
}
