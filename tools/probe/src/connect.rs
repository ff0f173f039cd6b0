//! Opening a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use crate::{Address, Phase, ProbeError};

/// How long an address may take before the next one is tried beside it: the connection attempt
/// delay that RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// The deadline of one try.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    begun: Instant,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { begun: Instant::now(), limit }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for a part of the try for as long as the whole may still take.
    pub(crate) async fn within<T>(
        &self,
        during: Phase,
        work: impl Future<Output = T>,
    ) -> Result<T, ProbeError> {
        timeout(self.limit.saturating_sub(self.elapsed()), work)
            .await
            .map_err(|_| ProbeError::TimedOut { limit: self.limit, during })
    }
}

/// Connects and closes at once; answers how long that took.
///
/// # Errors
/// When nothing accepts the connection within `limit`.
pub async fn tcp(address: &Address, limit: Duration) -> Result<Duration, ProbeError> {
    let deadline = Deadline::new(limit);
    connect(address, &deadline).await?;
    Ok(deadline.elapsed())
}

/// Looks the name up, anew each time since a service may move, and connects to the first of its
/// addresses that accepts. The look-up runs on a thread of the runtime's, as it blocks.
pub(crate) async fn connect(
    address: &Address,
    deadline: &Deadline,
) -> Result<TcpStream, ProbeError> {
    let found = lookup_host((address.host.as_str(), address.port));
    let not_found = |source| ProbeError::NameNotFound { host: address.host.clone(), source };
    let found = deadline.within(Phase::Resolving, found).await?.map_err(not_found)?;
    let stream = deadline.within(Phase::Connecting, first(found)).await?;
    stream.map_err(|source| ProbeError::Connect { source })
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
    async fn a_port_that_accepts_is_there() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address { host: "127.0.0.1".into(), port };
        tcp(&address, Duration::from_secs(30)).await.unwrap();
        drop(listener);
        let error = tcp(&address, Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.to_string(), "connection refused");
    }
}
