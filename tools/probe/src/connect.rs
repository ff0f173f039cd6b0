//! Opening a connection: the way to a service.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use slipway_untrusted::of_the_link;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::{Address, FormError, Phase, ProbeError};

/// How long an address may take before the next one is tried beside it: the connection attempt
/// delay that RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// How many names may be looked up at a time. The system's resolver cannot be stopped, and goes on
/// for ten seconds where no name server answers: tries that were given up must not leave more and
/// more of it behind.
const LOOK_UPS: usize = 256;

/// How many of them are waited for before the next one begins, each for [`HEAD_START`] at most: a
/// name server drops what does not fit into its socket, and the resolver asks again only after five
/// seconds.
const LOOK_UPS_AT_ONCE: usize = 32;

/// What an open connection can do.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// An open connection, whatever it goes through. One type for all keeps the HTTP code, which is
/// made anew for each, in the binary once.
pub type Stream = Box<dyn Io>;

/// Where a connection leads.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A TCP port.
    Port(&'a Address),
    /// A Unix socket.
    Socket(&'a Path),
}

/// A connection that is being opened.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Stream, ProbeError>> + 'a>>;

/// A way to open connections: from this machine ([`Direct`]), or through something.
pub trait Dial {
    /// Opens one, anew for each try, within the deadline of the try.
    fn open<'a>(&'a self, place: Place<'a>, deadline: &'a Deadline) -> Opening<'a>;
}

/// The deadline of one try.
#[derive(Debug)]
pub struct Deadline {
    begun: Instant,
    limit: Duration,
    /// Microseconds that are not the service's.
    discounted: AtomicU64,
}

impl Deadline {
    /// From now on.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { begun: Instant::now(), limit, discounted: AtomicU64::new(0) }
    }

    /// How long the try has taken so far, without what was discounted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let discounted = Duration::from_micros(self.discounted.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(discounted)
    }

    /// Does not count the time so far, which went into a way that later tries find ready.
    pub fn discount(&self) {
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.discounted.store(micros, Ordering::Relaxed);
    }

    /// Waits for a part of the try for as long as the whole may still take.
    ///
    /// # Errors
    /// [`ProbeError::TimedOut`].
    pub async fn within<T>(
        &self,
        during: Phase,
        work: impl Future<Output = T>,
    ) -> Result<T, ProbeError> {
        timeout(self.limit.saturating_sub(self.elapsed()), work)
            .await
            .map_err(|_| ProbeError::TimedOut { limit: self.limit, during })
    }
}

/// Addresses that stand for a host's name and port, in place of what the resolver says:
/// `HOST:PORT:ADDRESS[,ADDRESS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The name and port.
    pub of: Address,
    /// The addresses.
    pub to: Vec<IpAddr>,
}

impl FromStr for Resolve {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let wrong = || {
            FormError(format!(
                "\"{text}\" is not HOST:PORT:ADDRESS[,ADDRESS], such as app.example:443:10.0.0.5"
            ))
        };
        let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some(split) => split,
            None => text.split_once(':').ok_or_else(wrong)?,
        };
        let (port, addresses) = rest.split_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let address = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse();
        let to: Result<Vec<IpAddr>, _> = addresses.split(',').map(address).collect();
        if host.is_empty() {
            return Err(wrong());
        }
        let of = Address { host: host.to_ascii_lowercase(), port };
        Ok(Self { of, to: to.map_err(|_| wrong())? })
    }
}

/// Connections from this machine: names are looked up anew for each try, as a service may move,
/// and all their addresses are tried (RFC 8305).
#[derive(Clone, Debug)]
pub struct Direct {
    resolved: HashMap<Address, Vec<IpAddr>>,
    look_ups: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

impl Default for Direct {
    fn default() -> Self {
        Self::new([])
    }
}

impl Direct {
    /// With these names in place of what the resolver says.
    #[must_use]
    pub fn new(resolve: impl IntoIterator<Item = Resolve>) -> Self {
        let resolved = resolve.into_iter().map(|one| (one.of, one.to)).collect();
        let [look_ups, at_once] =
            [LOOK_UPS, LOOK_UPS_AT_ONCE].map(|count| Arc::new(Semaphore::new(count)));
        Self { resolved, look_ups, at_once }
    }

    /// The look-up runs on a thread of the runtime's, as it blocks.
    async fn look_up(&self, address: &Address) -> Result<Vec<SocketAddr>, ProbeError> {
        if let Some(known) = self.resolved.get(address) {
            return Ok(known.iter().map(|ip| SocketAddr::new(*ip, address.port)).collect());
        }
        if let Ok(ip) = address.host.parse() {
            return Ok(vec![SocketAddr::new(ip, address.port)]);
        }
        let failed = |source| ProbeError::NameNotFound { host: address.host.clone(), source };
        let room = Arc::clone(&self.look_ups).acquire_owned().await;
        let room = room.map_err(|error| failed(io::Error::other(error)))?;
        let turn = self.at_once.acquire().await;
        let name = (address.host.clone(), address.port);
        let mut found = spawn_blocking(move || {
            let found = (name.0.as_str(), name.1).to_socket_addrs().map(interleaved);
            drop(room);
            found
        });
        let ended = match timeout(HEAD_START, &mut found).await {
            Ok(ended) => ended,
            Err(_) => {
                drop(turn);
                found.await
            }
        };
        let mut found = ended.map_err(io::Error::other).flatten().map_err(failed)?;
        // Nothing that is served has such an address; a name that somebody else keeps may say so.
        found.retain(|address| !of_the_link(address.ip()));
        if found.is_empty() {
            let why = "it has no address but those of the link, as metadata services have";
            return Err(failed(io::Error::other(why)));
        }
        Ok(found)
    }
}

impl Dial for Direct {
    fn open<'a>(&'a self, place: Place<'a>, deadline: &'a Deadline) -> Opening<'a> {
        Box::pin(async move {
            let opened: io::Result<Stream> = match place {
                Place::Port(address) => {
                    let found = deadline.within(Phase::Resolving, self.look_up(address)).await??;
                    let stream =
                        deadline.within(Phase::Connecting, first(found.into_iter())).await?;
                    stream.map(|stream| {
                        // Only delays what is small, and that is all that is sent here.
                        let _ = stream.set_nodelay(true);
                        Box::new(stream) as Stream
                    })
                }
                Place::Socket(path) => {
                    let stream = deadline.within(Phase::Connecting, UnixStream::connect(path));
                    stream.await?.map(|stream| Box::new(stream) as Stream)
                }
            };
            opened.map_err(|source| ProbeError::Connect { source })
        })
    }
}

/// Both families in turn, beginning with the one that the resolver prefers (RFC 8305, section 4).
fn interleaved(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut queues = [VecDeque::new(), VecDeque::new()];
    let mut preferred = None;
    for address in found {
        let prefers_v6 = *preferred.get_or_insert(address.is_ipv6());
        queues[usize::from(address.is_ipv6() != prefers_v6)].push_back(address);
    }
    let [mut one, mut other] = queues;
    let mut order = Vec::new();
    while let Some(address) = one.pop_front().or_else(|| other.pop_front()) {
        order.push(address);
        order.extend(other.pop_front());
    }
    order
}

/// Tries each address, the next one as soon as one fails or is slow.
async fn first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses;
    let mut tries = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = addresses.next();
        let more = next.is_some();
        tries.extend(next.map(TcpStream::connect));
        tokio::select! {
            result = tries.next() => match result {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn local(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// A port that nothing listens on: it was free a moment ago.
    fn closed() -> SocketAddr {
        TcpListener::bind(local(0)).unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_later_address_is_tried_when_the_first_refuses() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let open = listener.local_addr().unwrap();
        let stream = first([closed(), closed(), open].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn the_last_error_is_told_when_all_refuse() {
        let error = first([closed(), closed()].into_iter()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_name_stands_for_the_address_that_was_given() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolve = format!("App.invalid:{port}:[::2],127.0.0.1").parse().unwrap();
        let address = Address { host: "app.invalid".into(), port };
        let deadline = Deadline::new(Duration::from_secs(30));
        Direct::new([resolve]).open(Place::Port(&address), &deadline).await.unwrap();
    }

    #[tokio::test]
    async fn look_ups_wait_for_room_and_make_it_again() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let with_room =
            |room| Direct { look_ups: Semaphore::new(room).into(), ..Direct::default() };
        let open = async |direct: &Direct, host: &str, limit| {
            let address = Address { host: host.to_owned(), port };
            direct.open(Place::Port(&address), &Deadline::new(limit)).await.map(drop)
        };
        let long = Duration::from_secs(30);
        let one = with_room(1);
        for _ in 0..3 {
            open(&one, "localhost", long).await.unwrap();
        }
        let none = with_room(0);
        let error = open(&none, "localhost", Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, ProbeError::TimedOut { during: Phase::Resolving, .. }), "{error}");
        open(&none, "127.0.0.1", long).await.unwrap();
    }

    #[test]
    fn a_name_s_address_has_a_form() {
        let resolve: Resolve = "[::1]:80:10.0.0.1".parse().unwrap();
        assert_eq!(resolve.of, Address { host: "::1".into(), port: 80 });
        for bad in ["a", "a:80", "a:80:", "a:0:10.0.0.1", "a:x:10.0.0.1", ":80:10.0.0.1", "a:1:b"] {
            assert!(bad.parse::<Resolve>().is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_discounted_does_not_count() {
        let deadline = Deadline::new(Duration::from_secs(2));
        sleep(Duration::from_secs(1)).await;
        deadline.discount();
        sleep(Duration::from_millis(300)).await;
        assert_eq!(deadline.elapsed().as_millis(), 300);
    }

    #[test]
    fn the_families_take_turns() {
        let of = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect()
        };
        let order = interleaved(of(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]));
        assert_eq!(order, of(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]));
        assert_eq!(interleaved(of(&["1.1.1.1", "::1", "::2"])), of(&["1.1.1.1", "::1", "::2"]));
    }
}
