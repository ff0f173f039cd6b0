//! One SSH connection and the engine behind it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slipway_engine::{Engine, Error as EngineError};
use slipway_ssh::{ConnectOptions, Connection, Error as SshError, Target};
use slipway_untrusted::limit::HOST_LINE;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::backoff::Slot;
use crate::error::HostError;
use crate::host::Result;

/// How long a call may take that only asks or changes a little.
pub(crate) const QUICK: Duration = Duration::from_secs(30);

/// A connection that leads to an engine.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    engine: Engine,
    /// Why the last stream to the engine could not be opened.
    refused: Refused,
}

type Refused = Arc<Mutex<Option<SshError>>>;

/// How a stream gets to the engine.
#[derive(Clone)]
enum Way {
    /// The SSH server forwards to the socket at this path.
    Socket(String),
    /// This command of the docker client joins its standard streams to the socket: for servers
    /// that forward no sockets.
    Command(String),
}

impl Link {
    /// Connects to a host and to the engine that listens at `socket` there.
    pub(crate) async fn open(
        _slot: Slot,
        target: &Target,
        options: &ConnectOptions,
        socket: &str,
    ) -> Result<Self> {
        let connection = Connection::open(target, options).await?;
        let name = format!("{target}:{socket}");
        match Self::engine(&connection, &name, Way::Socket(socket.to_owned())).await {
            Err(HostError::Ssh(error @ SshError::ConnectRefused { .. })) => {
                match diagnose(&connection, socket).await {
                    Ok(State::Listens) => {
                        let command = format!("docker -H unix://{socket} system dial-stdio");
                        let engine = Self::engine(&connection, &name, Way::Command(command)).await;
                        engine.map_err(|why| HostError::NotForwarded {
                            socket: socket.to_owned(),
                            why: why.reason(),
                        })
                    }
                    Ok(State::Down) => Err(HostError::EngineDown { socket: socket.to_owned() }),
                    Ok(State::Denied) => Err(HostError::EngineDenied { socket: socket.to_owned() }),
                    Err(Unclear::Shell(why)) => {
                        Err(HostError::Unclear { error: Box::new(error), why: Box::new(why) })
                    }
                    Err(Unclear::Answer) => Err(error.into()),
                }
            }
            other => other,
        }
    }

    async fn engine(connection: &Connection, name: &str, way: Way) -> Result<Self> {
        const DOING: &str = "the engine's first answer";
        let refused = Refused::default();
        let shared = (connection.clone(), way, Arc::clone(&refused));
        let open = move || {
            let (connection, way, refused) = shared.clone();
            async move {
                let opened = match &way {
                    Way::Socket(path) => connection.unix(path).await,
                    Way::Command(command) => connection.exec(command).await,
                };
                opened.map_err(|error| {
                    let text = error.to_string();
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    text
                })
            }
        };
        let result = match timeout(QUICK, Engine::connect_over(name, open)).await {
            Ok(Ok(engine)) if engine.is_podman() => {
                return Err(HostError::Podman { endpoint: name.to_owned() });
            }
            Ok(Ok(engine)) => {
                return Ok(Self { connection: connection.clone(), engine, refused });
            }
            Ok(Err(source)) => HostError::Engine { doing: DOING, source },
            Err(_) => HostError::Deadline { doing: DOING, limit: QUICK },
        };
        Err(take(&refused).map_or(result, HostError::Ssh))
    }

    /// One call to the engine, within `limit`.
    pub(crate) async fn bounded<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl AsyncFnOnce(&Engine) -> std::result::Result<T, EngineError>,
    ) -> Result<T> {
        match timeout(limit, work(&self.engine)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(self.reason(doing, source)),
            Err(_) => Err(self.lost().unwrap_or(HostError::Deadline { doing, limit })),
        }
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

/// Whether a path means itself to every shell.
pub(crate) fn plain_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    path.starts_with('/') && path.chars().all(plain)
}

/// What the host says of the engine's socket.
enum State {
    /// Nobody listens there.
    Down,
    /// The user may not open it.
    Denied,
    /// Somebody listens: it is the SSH server that does not forward to it.
    Listens,
}

/// Why the host could not be asked.
enum Unclear {
    /// It ran no command.
    Shell(SshError),
    /// It gave no answer that means something.
    Answer,
}

/// Looks at the socket; `$0` is its path, `$1` its name in the kernel's list of sockets, which tells
/// whether somebody listens: /run may be called /var/run.
const DIAGNOSE: &str = concat!(
    r#"if test -S "$0"; then if test -w "$0"; then "#,
    r#"if grep -q "/$1$" /proc/net/unix; then echo listens; else echo down; fi; "#,
    r#"else echo denied; fi; else echo down; fi"#,
);

/// Why the engine's socket could not be opened: the SSH server gives the same answer to all of
/// it, so the host is asked.
async fn diagnose(connection: &Connection, socket: &str) -> std::result::Result<State, Unclear> {
    // Only what means itself to every shell is put into a command.
    if !plain_path(socket) {
        return Err(Unclear::Answer);
    }
    let name = socket.rsplit('/').next().unwrap_or_default();
    let command = format!("sh -c '{DIAGNOSE}' {socket} {name}");
    let asked = async {
        let stream = connection.exec(&command).await.map_err(Unclear::Shell)?;
        let mut text = Vec::new();
        let read = stream.take(HOST_LINE.bytes).read_to_end(&mut text).await;
        read.map_err(|_| Unclear::Answer)?;
        match text.trim_ascii() {
            b"down" => Ok(State::Down),
            b"denied" => Ok(State::Denied),
            b"listens" => Ok(State::Listens),
            _ => Err(Unclear::Answer),
        }
    };
    timeout(QUICK, asked).await.unwrap_or(Err(Unclear::Answer))
}
