//! A host behind SSH: the engine's API through a forwarded socket, HTTP through forwarded ports.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use slipway_engine::{Engine, Error as EngineError};
use slipway_probe::Answer;
use slipway_shell::Ui;
use slipway_ssh::{ConnectOptions, Error as SshError, Target};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::backoff::{self, Slot};
use crate::error::HostError;
use crate::handover::{self, Order};
use crate::host::{Handed, Probe, Result};
use crate::link::Link;

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
    /// Why it has refused an order: it is not asked again, since asking may take its time.
    no_orders: OnceLock<String>,
    trace: Option<Trace>,
}

/// Tells each call to the engine and how long it took, for people who look where the time goes.
pub(crate) struct Trace {
    ui: Ui,
    place: String,
    begun: Instant,
}

impl Trace {
    pub(crate) fn new(ui: &Ui, place: &str) -> Self {
        Self { ui: ui.clone(), place: place.to_owned(), begun: Instant::now() }
    }

    fn tell<T>(&self, doing: &str, since: Instant, result: &Result<T>) {
        let (at, took) = (self.begun.elapsed().as_secs_f32(), since.elapsed().as_millis());
        let end = if result.is_ok() { "" } else { ", failed" };
        self.ui.say(&format!("{}: +{at:.3} s {doing}: {took} ms{end}", self.place));
    }
}

impl Remote {
    /// Connects to a host and its engine; `again` is told why that takes more than one attempt.
    pub(crate) async fn open(
        target: Target,
        options: ConnectOptions,
        socket: String,
        again: &mut dyn FnMut(&dyn std::fmt::Display),
        trace: Option<Trace>,
    ) -> Result<Self> {
        let link = backoff::persist(options.timeout, again, async |slot, timeout| {
            let options = ConnectOptions { timeout, ..options.clone() };
            Link::open(slot, &target, &options, &socket).await
        });
        let link = Arc::new(link.await?);
        let patience = tokio::sync::Mutex::new(RECONNECT);
        let no_orders = OnceLock::new();
        let link = Mutex::new(link);
        Ok(Self { target, options, socket, link, patience, no_orders, trace })
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
        let since = Instant::now();
        let link = self.link();
        self.traced(doing, since, link.bounded(doing, limit, work).await)
    }

    fn traced<T>(&self, doing: &str, since: Instant, result: Result<T>) -> Result<T> {
        if let Some(trace) = &self.trace {
            trace.tell(doing, since, &result);
        }
        result
    }

    /// One call to the engine; if the connection breaks, once more over a new one. For calls that
    /// find their work done succeed.
    pub(crate) async fn call<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl AsyncFn(&Engine) -> std::result::Result<T, EngineError>,
    ) -> Result<T> {
        let since = Instant::now();
        let link = self.link();
        let result = match link.bounded(doing, limit, &work).await {
            Err(error) if error.is_lost() => {
                let link = self.reconnect(&link, error).await?;
                link.bounded(doing, limit, work).await
            }
            other => other,
        };
        self.traced(doing, since, result)
    }

    /// Hands an order to the host; once more over a new connection if the one before breaks, since
    /// the host finds done what is done.
    pub(crate) async fn order(
        &self,
        order: &Order<'_>,
        limit: Duration,
        begun: &mut dyn FnMut(),
    ) -> Result<Handed> {
        if self.no_orders.get().is_some() {
            return Ok(Handed::Refused);
        }
        let since = Instant::now();
        let link = self.link();
        let socket = &self.socket;
        let handed = handover::hand_over(&link.connection, socket, order, limit, begun).await;
        let handed = match handed {
            Err(error) if error.is_lost() => {
                let link = self.reconnect(&link, error).await?;
                handover::hand_over(&link.connection, socket, order, limit, begun).await?
            }
            other => other?,
        };
        Ok(match self.traced("stopping and starting", since, Ok(handed))? {
            handover::Answer::Ended(handed) => handed,
            handover::Answer::Refused(reason) => {
                self.no_orders.get_or_init(|| reason);
                Handed::Refused
            }
        })
    }

    /// Why it takes no orders, if it has refused one.
    pub(crate) fn refused_orders(&self) -> Option<String> {
        self.no_orders.get().cloned()
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
            match Link::open(Slot::free().await, &self.target, &self.options, &self.socket).await {
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
    pub(crate) async fn stream(
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
        Ok(match self.request(ip, port, path, None, limit).await? {
            Ok(answer) => Probe::Answer { status: answer.status.as_u16(), body: answer.head() },
            Err(reason) => Probe::Silent { reason },
        })
    }

    /// One HTTP request through a forwarded port, with a header that is a secret if one is given;
    /// or why there is no answer.
    pub(crate) async fn request(
        &self,
        ip: IpAddr,
        port: u16,
        path: &str,
        header: Option<(&str, &str)>,
        limit: Duration,
    ) -> Result<std::result::Result<Answer, String>> {
        let place = std::net::SocketAddr::new(ip, port).to_string();
        let request = slipway_probe::Request::new(&place, path, limit);
        let request = match header {
            Some((name, value)) => request.and_then(|request| request.header(name, value)),
            None => request,
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let stream = match timeout(limit, self.stream(ip, port)).await {
            Ok(Ok(Ok(stream))) => stream,
            Ok(Ok(Err(reason))) => return Ok(Err(reason)),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(Err(format!("no connection within {} s", limit.as_secs_f32()))),
        };
        // A stream through a connection that is gone just ends; the next call finds out.
        Ok(slipway_probe::over(stream, &request).await.map_err(|error| error.to_string()))
    }
}
