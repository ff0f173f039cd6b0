//! The lock of an application on a host: one deploy at a time, and none for ever.
//!
//! Nothing is installed on the host, so the lock is made of what its engine keeps anyway: named
//! volumes with labels, which are never mounted. Creating a name that exists answers the volume
//! that is there, with *its* labels and the status of success (so do thirty creations at the same
//! moment, in Docker 20.10), which makes creation a test-and-set.
//!
//! A holder's lease is a chain of such volumes, its *generations*: every [`PERIOD`] it makes the
//! next one, and a holder whose newest one is older than [`LEASE`] is dead. Ages are judged by the
//! clock of the engine alone, which stamps each volume in whole seconds. Nobody's clock but that one
//! is asked, and where it is wrong a waiting deploy sees for itself that nothing changes for as long.
//! A holder that was killed on the machine of the next deploy does not even have that time: its
//! process is looked for.
//!
//! Safety does not rest on the names. Each side first makes a generation of its own and then looks:
//! of two that take the lock at once at least one sees the other, and gives up. One that holds it
//! finds at its next renewal, and at each [`Lease::check`], whether it still does.
//!
//! What can go wrong all the same, besides `break`: the clock of the engine is set forward by more
//! than [`LEASE`] while somebody else waits; `docker volume prune` before Docker 23 (or with `--all`)
//! removes a lease like any volume; two machines that are clones of one memory image, host name
//! included, take each other's processes for their own. In each case the holder finds its lease
//! gone and stops before it changes what serves.

mod calls;
mod generation;
mod lease;
mod process;
mod taking;
mod who;

use std::time::Duration;

use jiff::Timestamp;
use slipway_shell::Span;

use crate::error::{HostError, SwapError};
use crate::host::Result;
pub(crate) use generation::Generation;
pub(crate) use lease::Lease;
pub(crate) use taking::acquire;
pub(crate) use who::Who;

/// The age at which a lease has ended. A holder that dies is replaced after as much, and a second
/// for the engine's stamps and one for the pause of who waits.
pub(crate) const LEASE: Duration = Duration::from_secs(20);

/// How often a lease is renewed: several tries may fail before it ends.
pub(crate) const PERIOD: Duration = Duration::from_secs(4);

/// How long giving up a lease may take; what is not done by then ends by itself.
const RELEASE: Duration = Duration::from_secs(3);

/// How often `break` looks again: its victim may be renewing at the same moment.
const BREAKS: usize = 5;

/// What the lock asks of a host.
pub(crate) trait Leases {
    /// All generations of the application's lock.
    async fn list(&self, app: &str) -> Result<Vec<Generation>>;
    /// Makes a generation, and answers whether the one of that number is ours.
    async fn create(&self, app: &str, number: u64, since: Timestamp, who: &Who) -> Result<bool>;
    /// Removes a generation; one that is not there is removed already.
    async fn delete(&self, app: &str, number: u64) -> Result<()>;
    /// The engine's clock.
    async fn now(&self) -> Result<Timestamp>;
}

/// Who holds the lock, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// `user@machine`.
    pub(crate) owner: String,
    pub(crate) build_url: Option<String>,
    pub(crate) deploy_id: String,
    /// When it was taken, by the engine's clock.
    pub(crate) since: Timestamp,
    /// How long ago that is.
    pub(crate) age: Duration,
    /// How long ago it was renewed.
    pub(crate) renewed: Duration,
    /// The holder is dead: the next deploy takes the lock without waiting.
    pub(crate) dead: bool,
}

impl std::fmt::Display for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.owner)?;
        if let Some(url) = &self.build_url {
            write!(out, " ({url})")?;
        }
        write!(out, ", deploy {}, for {}", self.deploy_id, Span::secs(self.age.as_secs()))
    }
}

/// The lock is not ours any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the lock of {app} was taken over by {by}")]
    Taken { app: String, by: String },
    #[error("the lock of {app} was broken")]
    Broken { app: String },
}

/// The lock was not got, or not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("{app} is locked by {held}")]
    Held { app: String, held: Box<Held> },
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("interrupted")]
    Interrupted,
}

impl From<LockError> for SwapError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Host(error) => Self::Host(error),
            LockError::Held { app, held } => Self::Locked { app, held: held.to_string() },
            LockError::Lost(lost) => Self::LockLost(lost),
            LockError::Interrupted => Self::Interrupted,
        }
    }
}

/// Who holds the lock. A dead holder is told, too, until somebody else takes the lock.
pub(crate) async fn look<L: Leases>(leases: &L, app: &str) -> Result<Option<Held>> {
    let all = leases.list(app).await?;
    match generation::holder(&all) {
        Some(one) => Ok(Some(one.held(leases.now().await?))),
        None => Ok(None),
    }
}

/// Ends the lease of whoever holds the lock, and answers who that was. The holder stops before it
/// changes what serves the next time.
pub(crate) async fn break_lock<L: Leases>(leases: &L, app: &str) -> Result<Option<Held>> {
    let mut all = leases.list(app).await?;
    let held = match generation::holder(&all) {
        Some(one) => Some(one.held(leases.now().await?)),
        None => None,
    };
    // Not of those who come later: they have nothing to do with it.
    let victims: Vec<String> = all.iter().map(|one| one.token.clone()).collect();
    for _ in 0..BREAKS {
        all.retain(|one| victims.contains(&one.token));
        if all.is_empty() {
            break;
        }
        for one in &all {
            leases.delete(app, one.number).await?;
        }
        all = leases.list(app).await?;
    }
    Ok(held)
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
