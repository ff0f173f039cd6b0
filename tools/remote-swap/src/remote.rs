//! A host behind SSH: the engine's API through a forwarded socket, HTTP through forwarded ports.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slipway_engine::{Engine, Error as EngineError};
use slipway_ssh::{ConnectOptions, Connection, Error as SshError, Target};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::error::HostError;
use crate::host::{Probe, Result};

/// How long a call may take that only asks or changes a little.
pub(crate) const QUICK: Duration = Duration::from_secs(30);

/// How long a deploy tries in all to make lost connections anew: a host's sshd or engine is
/// restarted in less.
const RECONNECT: Duration = Duration::from_secs(30);

/// The first pause between two of these tries; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// A host, connected.
pub(crate) struct Remote {
    target: Target,
    options: ConnectOptions,
    socket: String,
    link: Mutex<Arc<Link>>,
    /// What is left of [`RECONNECT`]; held by whoever connects anew.
    patience: tokio::sync::Mutex<Duration>,
}

/// One connection and the engine behind it.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) engine: Engine,
    /// Why the last stream to the engine could not be opened.
    refused: Refused,
}

type Refused = Arc<Mutex<Option<SshError>>>;

impl Link {
    async fn open(target: &Target, options: &ConnectOptions, socket: &str) -> Result<Self> {
        let connection = Connection::open(target, options).await?;
        let refused = Refused::default();
        let open = {
            let (connection, socket, refused) =
                (connection.clone(), socket.to_owned(), Arc::clone(&refused));
            move || {
                let (connection, socket, refused) =
                    (connection.clone(), socket.clone(), Arc::clone(&refused));
                async move {
                    let opened = connection.unix(&socket).await;
                    opened.map_err(|error| {
                        let text = error.to_string();
                        *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        text
                    })
                }
            }
        };
        let engine = Engine::connect_over(format!("{target}:{socket}"), open);
        const DOING: &str = "the engine's first answer";
        let result = match timeout(QUICK, engine).await {
            Ok(Ok(engine)) => {
                return Ok(Self { connection, engine, refused });
            }
            Ok(Err(source)) => HostError::Engine { doing: DOING, source },
            Err(_) => HostError::Deadline { doing: DOING, limit: QUICK },
        };
        Err(match take(&refused) {
            Some(error @ SshError::ConnectRefused { .. }) => {
                diagnose(&connection, socket).await.unwrap_or(HostError::Ssh(error))
            }
            Some(error) => error.into(),
            None => result,
        })
    }

    /// What a failed call was due to: the connection rather than the engine, where that is gone.
    fn reason(&self, doing: &'static str, source: EngineError) -> HostError {
        if let Some(lost) = self.lost() {
            return lost;
        }
        match (&source, take(&self.refused)) {
            (EngineError::Unreachable { .. }, Some(error)) => error.into(),
            _ => HostError::Engine { doing, source },
        }
    }

    fn lost(&self) -> Option<HostError> {
        self.connection.failure().map(HostError::Ssh)
    }
}

fn take(refused: &Refused) -> Option<SshError> {
    refused.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Why the engine's socket could not be opened: the SSH server gives the same answer to all of
/// it, so the host is asked. Nothing is known if it does not let the user run a command.
async fn diagnose(connection: &Connection, socket: &str) -> Option<HostError> {
    // Only what means itself to every shell is put into a command.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !socket.starts_with('/') || !socket.chars().all(plain) {
        return None;
    }
    let name = socket.rsplit('/').next().unwrap_or_default();
    // The kernel's list of sockets tells whether somebody listens; /run may be called /var/run.
    let command = format!(
        "if ! test -S {socket}; then echo down; elif ! test -w {socket}; then echo denied; \
         elif grep -q '/{name}$' /proc/net/unix; then echo listens; else echo down; fi"
    );
    let asked = async {
        let mut stream = connection.exec(&command).await.ok()?;
        let mut text = String::new();
        (&mut stream).take(64).read_to_string(&mut text).await.ok()?;
        Some(text)
    };
    let socket = socket.to_owned();
    match timeout(QUICK, asked).await.ok().flatten()?.trim() {
        "down" => Some(HostError::EngineDown { socket }),
        "denied" => Some(HostError::EngineDenied { socket }),
        "listens" => Some(HostError::NotForwarded { socket }),
        _ => None,
    }
}

impl Remote {
    /// Connects to a host and its engine.
    pub(crate) async fn open(
        target: Target,
        options: ConnectOptions,
        socket: String,
    ) -> Result<Self> {
        let link = Arc::new(Link::open(&target, &options, &socket).await?);
        let patience = tokio::sync::Mutex::new(RECONNECT);
        Ok(Self { target, options, socket, link: Mutex::new(link), patience })
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One call to the engine, without a second try.
    pub(crate) async fn once<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl AsyncFnOnce(&Engine) -> std::result::Result<T, EngineError>,
    ) -> Result<T> {
        let link = self.link();
        bounded(&link, doing, limit, work).await
    }

    /// One call to the engine; if the connection breaks, once more over a new one. For calls that
    /// find their work done succeed.
    pub(crate) async fn call<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl AsyncFn(&Engine) -> std::result::Result<T, EngineError>,
    ) -> Result<T> {
        let link = self.link();
        match bounded(&link, doing, limit, &work).await {
            Err(error) if error.is_lost() => {
                let link = self.reconnect(&link, error).await?;
                bounded(&link, doing, limit, work).await
            }
            other => other,
        }
    }

    /// A new connection in the place of one that is lost.
    async fn reconnect(&self, old: &Arc<Link>, lost: HostError) -> Result<Arc<Link>> {
        let mut patience = self.patience.lock().await;
        let current = self.link();
        if !Arc::ptr_eq(&current, old) {
            // Another call has done it meanwhile.
            return Ok(current);
        }
        let begun = Instant::now();
        let mut pause = PAUSE;
        let result = loop {
            match Link::open(&self.target, &self.options, &self.socket).await {
                Ok(link) => {
                    let link = Arc::new(link);
                    *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&link);
                    break Ok(link);
                }
                Err(error) if error.may_pass() && begun.elapsed() + pause < *patience => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    let reason = format!("{lost}; and connecting again: {error}");
                    break Err(HostError::Lost { reason });
                }
            }
        };
        *patience = patience.saturating_sub(begun.elapsed());
        result
    }

    /// A stream to a port as seen from the host; none, and why, if nothing answers there.
    async fn stream(
        &self,
        ip: IpAddr,
        port: u16,
    ) -> Result<std::result::Result<UnixStream, String>> {
        let mut link = self.link();
        let mut opened = link.connection.tcp(&ip.to_string(), port).await;
        if let Err(error @ SshError::ConnectionLost { .. }) = opened {
            link = self.reconnect(&link, error.into()).await?;
            opened = link.connection.tcp(&ip.to_string(), port).await;
        }
        match opened {
            Ok(stream) => Ok(Ok(stream)),
            Err(SshError::ConnectRefused { reason, .. }) => Ok(Err(reason.to_lowercase())),
            Err(error @ SshError::Timeout { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether something accepts connections there.
    pub(crate) async fn accepts(&self, ip: IpAddr, port: u16) -> Result<bool> {
        Ok(self.stream(ip, port).await?.is_ok())
    }

    /// One HTTP request through a forwarded port.
    pub(crate) async fn ask(
        &self,
        ip: IpAddr,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<Probe> {
        let silent = |reason: String| Ok(Probe::Silent { reason });
        let place = std::net::SocketAddr::new(ip, port).to_string();
        let request = match slipway_probe::Request::new(&place, path, limit) {
            Ok(request) => request,
            Err(error) => return silent(error.to_string()),
        };
        let stream = match timeout(limit, self.stream(ip, port)).await {
            Ok(Ok(Ok(stream))) => stream,
            Ok(Ok(Err(reason))) => return silent(reason),
            Ok(Err(error)) => return Err(error),
            Err(_) => return silent(format!("no connection within {} s", limit.as_secs_f32())),
        };
        match slipway_probe::over(stream, &request).await {
            Ok(answer) => Ok(Probe::Answer { status: answer.status.as_u16(), body: answer.head() }),
            // A stream through a connection that is gone just ends; the next call finds out.
            Err(error) => silent(error.to_string()),
        }
    }
}

async fn bounded<T>(
    link: &Link,
    doing: &'static str,
    limit: Duration,
    work: impl AsyncFnOnce(&Engine) -> std::result::Result<T, EngineError>,
) -> Result<T> {
    match timeout(limit, work(&link.engine)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(link.reason(doing, source)),
        Err(_) => Err(link.lost().unwrap_or(HostError::Deadline { doing, limit })),
    }
}
