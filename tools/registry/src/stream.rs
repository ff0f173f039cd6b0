//! Opening a byte stream to a registry: directly or through a proxy, plain or with TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::origin::{Origin, Scheme};
use crate::proxy::Proxy;

/// How long connecting may take, all handshakes included.
const CONNECT: Duration = Duration::from_secs(15);

/// The head of a proxy's answer is not longer than this.
const HEAD_MAX: usize = 16 * 1024;

/// Either kind of stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, through the proxy if there is one, and does the TLS handshake if the origin wants it.
pub(crate) async fn open(
    origin: &Origin,
    proxy: Option<&Proxy>,
    tls: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
) -> Result<Box<dyn Stream>, Error> {
    let opening = async {
        let tcp = connect(origin, proxy).await?;
        if origin.scheme == Scheme::Http {
            return Ok(Box::new(tcp) as Box<dyn Stream>);
        }
        let fail = |why: String| Error::Tls { registry: origin.to_string(), why };
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| fail("the host is not a name that a certificate can have".to_owned()))?;
        let connector = TlsConnector::from(tls().map_err(fail)?);
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
            Err(error) => Err(handshake(origin, &error)),
        }
    };
    match timeout(CONNECT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable(origin, format!("no connection within {} s", CONNECT.as_secs()))),
    }
}

async fn connect(origin: &Origin, proxy: Option<&Proxy>) -> Result<TcpStream, Error> {
    let (host, port) = match proxy {
        Some(proxy) => (proxy.host.as_str(), proxy.port),
        None => (origin.host.as_str(), origin.port),
    };
    let by = || proxy.map(|proxy| format!(" (by the proxy {})", proxy.host)).unwrap_or_default();
    let mut stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| unreachable(origin, format!("{}{}", reason(&error), by())))?;
    // Requests are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    if let Some(proxy) = proxy {
        tunnel(&mut stream, origin, proxy)
            .await
            .map_err(|why| unreachable(origin, format!("{why}{}", by())))?;
    }
    Ok(stream)
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
            Error::Tls { registry: origin.to_string(), why: "it does not speak TLS".to_owned() }
        }
        Some(tls) => Error::Tls { registry: origin.to_string(), why: tls.to_string() },
        None => unreachable(origin, reason(error)),
    }
}

fn unreachable(origin: &Origin, why: String) -> Error {
    Error::Unreachable { registry: origin.to_string(), why }
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
