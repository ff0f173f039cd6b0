//! The lock, held.

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::generation::{self, Generation};
use super::{LEASE, Leases, LockError, Lost, PERIOD, RELEASE, Who};
use crate::error::HostError;
use crate::host::Result;

/// How long a renewal may take to count: what is left of the lease is for the work.
const SLOW: Duration = Duration::from_secs(8);

/// How often a renewal that took longer is made again.
const TRIES: usize = 3;

/// A lease that was got. Dropped without [`Lease::release`] it ends by itself, as that of a holder
/// that dies.
pub(crate) struct Lease<'a, L> {
    leases: &'a L,
    app: String,
    who: Who,
    since: Timestamp,
    state: Mutex<State>,
}

struct State {
    /// The number of the generation that was last seen to be there. It stays until the next one was
    /// seen: a list that the engine makes while generations come and go always holds one of the two.
    seen: u64,
    /// The number that was last asked for: one whose answer was lost may be old by now.
    asked: u64,
    lost: Option<Lost>,
}

/// Gives up whatever is there under a token, in good time or not at all.
pub(super) async fn withdraw<L: Leases>(leases: &L, app: &str, token: &str) -> Result<()> {
    let work = async {
        for one in leases.list(app).await?.iter().filter(|one| one.token == token) {
            leases.delete(app, one.number).await?;
        }
        Ok(())
    };
    let late = HostError::Deadline { doing: "giving the lock back", limit: RELEASE };
    timeout(RELEASE, work).await.unwrap_or(Err(late))
}

impl<'a, L: Leases> Lease<'a, L> {
    pub(super) fn new(leases: &'a L, app: &str, who: &Who, since: Timestamp, number: u64) -> Self {
        let state = Mutex::new(State { seen: number, asked: number, lost: None });
        Self { leases, app: app.to_owned(), who: who.clone(), since, state }
    }

    /// Makes sure that the lock is ours, and renews it: for at least ten seconds from then nobody
    /// takes it over. To be asked before each step that changes what serves.
    ///
    /// Says that the lock is lost once it is; other errors say that it could not be found out.
    pub(crate) async fn check(&self) -> std::result::Result<(), LockError> {
        let mut state = self.state.lock().await;
        if let Some(lost) = &state.lost {
            return Err(lost.clone().into());
        }
        for _ in 0..TRIES {
            let begun = Instant::now();
            if let Err(lost) = self.renew(&mut state).await? {
                state.lost = Some(lost.clone());
                // Whoever has it now is not to find anything of ours.
                let _ = withdraw(self.leases, &self.app, &self.who.token).await;
                return Err(lost.into());
            }
            if begun.elapsed() < SLOW {
                return Ok(());
            }
        }
        Err(HostError::Deadline { doing: "renewing the lock", limit: SLOW }.into())
    }

    /// Makes the next generation, and looks whether the one before it is still there and nobody
    /// has come after it.
    async fn renew(&self, state: &mut State) -> Result<std::result::Result<(), Lost>> {
        loop {
            state.asked += 1;
            if self.leases.create(&self.app, state.asked, self.since, &self.who).await? {
                break;
            }
            // Somebody has the number who tries to take the lock, or has it.
        }
        let all = self.leases.list(&self.app).await?;
        let ours: Vec<_> = all.iter().filter(|one| one.token == self.who.token).collect();
        let find = |number| ours.iter().find(|one| one.number == number);
        let (Some(before), Some(_)) = (find(state.seen), find(state.asked)) else {
            return Ok(Err(self.lost(&all)));
        };
        let others = all.iter().filter(|one| one.token != self.who.token);
        if let Some(by) = others.clone().find(|other| other.succeeds(before)) {
            return Ok(Err(self.taken(by)));
        }
        let before = state.seen;
        state.seen = state.asked;
        for one in ours.iter().filter(|one| one.number < before) {
            self.leases.delete(&self.app, one.number).await?;
        }
        Ok(Ok(()))
    }

    fn lost(&self, all: &[Generation]) -> Lost {
        let others = generation::leases(all);
        match others.into_iter().find(|one| one.token != self.who.token) {
            Some(by) => self.taken(by),
            None => Lost::Broken { app: self.app.clone() },
        }
    }

    fn taken(&self, by: &Generation) -> Lost {
        let by = match &by.build_url {
            Some(url) => format!("{} ({url})", by.owner),
            None => by.owner.clone(),
        };
        Lost::Taken { app: self.app.clone(), by }
    }

    /// Does some work while the lock is kept. A lock that is lost does not end the work, which may
    /// be in the middle of a switch: [`Lease::check`] tells it.
    pub(crate) async fn hold<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut next = Instant::now() + PERIOD;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(next) => {}
            }
            // A renewal that fails is made again: the connection may come back in time.
            let mut renewal = pin!(self.check());
            tokio::select! {
                biased;
                done = &mut work => {
                    // One that is cut short could leave a generation that nobody knows of.
                    let _ = timeout(RELEASE, renewal).await;
                    return done;
                }
                result = &mut renewal => {
                    if matches!(result, Err(LockError::Lost(_))) {
                        return work.await;
                    }
                }
            }
            next = Instant::now() + PERIOD;
        }
    }

    /// Gives the lock back; what could not be told to the host ends by itself within [`LEASE`].
    pub(crate) async fn release(self) -> Result<()> {
        withdraw(self.leases, &self.app, &self.who.token).await
    }
}

const _: () =
    assert!(LEASE.as_secs() >= 1 + SLOW.as_secs() + 10, "a check is good for ten seconds");
