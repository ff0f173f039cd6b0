//! The way through a host: one SSH connection for all targets and all tries.
//!
//! libssh2 opens one stream after the other, and gives up on one that the host gets no answer to
//! only after a minute. So a target that swallows packets is put aside, to a second connection: it
//! must not hold up the others.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use slipway_probe::{Address, Deadline, Dial, Opening, Phase, Place, ProbeError, Resolve, Stream};
use slipway_ssh::{ConnectOptions, Connection, Error, Target};
use tokio::time::Instant;

use crate::refusal::Refusal;

/// How long a host is left alone after a connection to it failed: tries are made more often than a
/// host should be logged in to.
const PAUSE: Duration = Duration::from_secs(1);

/// A host that connections go through.
pub(crate) struct Via {
    host: Target,
    options: ConnectOptions,
    resolve: Vec<Resolve>,
    /// Whether one target that is closed to us ends it all.
    strict: bool,
    main: Lane,
    /// For what is put aside, and what that is.
    aside: Lane,
    slow: RefCell<HashSet<Address>>,
    refusal: Rc<Refusal>,
}

/// Room for a connection.
type Lane = RefCell<Option<Attempt>>;

/// The connection, or the attempt at it that all tries wait for. It outlives the try that began it.
#[derive(Clone)]
struct Attempt {
    begun: Instant,
    end: Shared<LocalBoxFuture<'static, Result<Connection, Arc<Error>>>>,
    /// The streams that are being opened through it, in their order.
    queue: Rc<Queue>,
}

#[derive(Default)]
struct Queue {
    last: Cell<u64>,
    waiting: RefCell<Vec<u64>>,
}

/// A place in the queue, which ends with it.
struct Turn {
    queue: Rc<Queue>,
    number: u64,
}

impl Turn {
    fn new(queue: &Rc<Queue>) -> Self {
        let number = queue.last.get().wrapping_add(1);
        queue.last.set(number);
        queue.waiting.borrow_mut().push(number);
        Self { queue: Rc::clone(queue), number }
    }

    /// Whether it is this that all others wait for.
    fn has_come(&self) -> bool {
        self.queue.waiting.borrow().first() == Some(&self.number)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().retain(|number| *number != self.number);
    }
}

impl Attempt {
    fn new(host: &Target, options: &ConnectOptions) -> Self {
        let (host, options) = (host.clone(), options.clone());
        let open = async move { Connection::open(&host, &options).await.map_err(Arc::new) };
        Self { begun: Instant::now(), end: open.boxed_local().shared(), queue: Rc::default() }
    }

    /// Whether it is still good, under way, or too young to be made again.
    fn stands(&self) -> bool {
        match self.end.peek() {
            None => true,
            Some(Ok(connection)) => connection.failure().is_none(),
            Some(Err(_)) => self.begun.elapsed() < PAUSE,
        }
    }
}

impl Via {
    pub(crate) fn new(
        host: Target,
        options: ConnectOptions,
        resolve: Vec<Resolve>,
        strict: bool,
        refusal: Rc<Refusal>,
    ) -> Self {
        let (main, aside, slow) = Default::default();
        Self { host, options, resolve, strict, main, aside, slow, refusal }
    }

    /// The host, for people.
    pub(crate) fn host(&self) -> String {
        self.host.to_string()
    }

    /// The connection that there is, or a new one.
    pub(crate) async fn connection(&self) -> Result<Connection, Arc<Error>> {
        self.connected(self.attempt(&self.main)).await
    }

    fn attempt(&self, lane: &Lane) -> Attempt {
        let mut current = lane.borrow_mut();
        match &*current {
            Some(attempt) if attempt.stands() => attempt.clone(),
            _ => current.insert(Attempt::new(&self.host, &self.options)).clone(),
        }
    }

    async fn connected(&self, attempt: Attempt) -> Result<Connection, Arc<Error>> {
        let end = attempt.end.await;
        if let Err(error) = &end
            && is_final(error)
        {
            self.refusal.tell(error.failure(error.to_string()));
        }
        end
    }

    async fn stream(&self, place: Place<'_>, deadline: &Deadline) -> Result<Stream, ProbeError> {
        let local = |error: &Error| ProbeError::Way { reason: error.to_string(), local: true };
        let slow = matches!(place, Place::Port(address) if self.slow.borrow().contains(address));
        let attempt = self.attempt(if slow { &self.aside } else { &self.main });
        let queue = Rc::clone(&attempt.queue);
        let connection = deadline.within(Phase::Connecting, self.connected(attempt)).await;
        let connection = connection.map_err(|_| ProbeError::Way {
            reason: format!("no SSH connection to {} yet", self.host),
            local: true,
        })?;
        let connection = connection.map_err(|error| local(&error))?;
        // The login says nothing of how fast the target is.
        deadline.discount();
        let turn = Turn::new(&queue);
        let opened = deadline.within(Phase::Connecting, async {
            match place {
                Place::Port(address) => self.port(&connection, address).await,
                Place::Socket(path) => connection.unix(&path.to_string_lossy()).await,
            }
        });
        let opened = opened.await.inspect_err(|_| {
            if turn.has_come() && !slow {
                self.put_aside(place, &queue);
            }
        });
        match opened? {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error @ Error::ConnectRefused { .. }) => {
                Err(ProbeError::Way { reason: error.to_string(), local: false })
            }
            Err(error) => {
                if self.strict && is_prohibited(&error) {
                    self.refusal.tell(error.failure(error.to_string()));
                }
                Err(local(&error))
            }
        }
    }

    /// Leaves the connection to what holds it up; the others get a new one.
    fn put_aside(&self, place: Place<'_>, queue: &Rc<Queue>) {
        let mut main = self.main.borrow_mut();
        // What waits at a connection that was left already is held up by another.
        if main.as_ref().is_none_or(|current| !Rc::ptr_eq(&current.queue, queue)) {
            return;
        }
        *main = None;
        if let Place::Port(address) = place {
            self.slow.borrow_mut().insert(address.clone());
        }
    }

    /// The host looks the name up, unless its addresses are given.
    async fn port(
        &self,
        connection: &Connection,
        address: &Address,
    ) -> Result<tokio::net::UnixStream, Error> {
        let Some(resolve) = self.resolve.iter().find(|resolve| resolve.of == *address) else {
            return connection.tcp(&address.host, address.port).await;
        };
        let mut tried = None;
        for ip in &resolve.to {
            match connection.tcp(&ip.to_string(), address.port).await {
                Err(error @ Error::ConnectRefused { .. }) => tried = Some(error),
                other => return other,
            }
        }
        match tried {
            Some(error) => Err(error),
            None => connection.tcp(&address.host, address.port).await,
        }
    }
}

impl Dial for Via {
    fn open<'a>(&'a self, place: Place<'a>, deadline: &'a Deadline) -> Opening<'a> {
        Box::pin(self.stream(place, deadline))
    }
}

/// Whether waiting does not help: the host will not let us in, or we will not trust it.
fn is_final(error: &Error) -> bool {
    // A name may be made while we wait, as that of a new server.
    let passes = matches!(error, Error::NameUnknown { .. } | Error::Local { .. });
    !passes && !error.may_pass()
}

/// Whether the host has it forbidden by its configuration.
fn is_prohibited(error: &Error) -> bool {
    matches!(error, Error::ForwardingRefused { reason, .. } if reason.contains("prohibited"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pass_is_not_waited_for() {
        let (host, reason) = ("h".to_owned(), "r".to_owned());
        let unreachable =
            Error::Unreachable { host: host.clone(), port: 22, reason: reason.clone() };
        assert!(!is_final(&unreachable));
        assert!(!is_final(&Error::NameUnknown { host: host.clone(), reason }));
        let (tried, server_methods) = (Vec::new(), "publickey".to_owned());
        let user = "u".to_owned();
        assert!(is_final(&Error::AuthenticationFailed { user, host, tried, server_methods }));
    }

    #[test]
    fn the_first_in_the_queue_holds_up_the_others() {
        let queue = Rc::default();
        let (one, two) = (Turn::new(&queue), Turn::new(&queue));
        assert!(one.has_come() && !two.has_come());
        drop(one);
        assert!(two.has_come());
    }

    #[test]
    fn a_host_that_is_full_does_not_forbid() {
        let refused = |reason: &str| Error::ForwardingRefused {
            host: "h".into(),
            to: "a:1".into(),
            reason: reason.into(),
        };
        assert!(is_prohibited(&refused("administratively prohibited")));
        assert!(!is_prohibited(&refused("resource shortage")));
    }
}
