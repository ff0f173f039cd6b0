//! Taking the lock, at once or after a wait.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use slipway_shell::CancellationToken;
use tokio::time::{Instant, sleep};

use super::generation::{self, Generation};
use super::lease::{Lease, withdraw};
use super::{Held, LEASE, Leases, LockError, Who};
use crate::host::Result;

/// How often two that take a free lock at once try again, although they were told not to wait.
const DRAWS: usize = 8;

/// Takes the lock, waiting up to `wait` for whoever holds it; `waiting` is told of each holder.
pub(crate) async fn acquire<'a, L: Leases>(
    leases: &'a L,
    app: &str,
    who: &Who,
    wait: Duration,
    waiting: &mut dyn FnMut(&Held),
    cancelled: &CancellationToken,
) -> std::result::Result<Lease<'a, L>, LockError> {
    let mut taking = Taking { leases, app, who, seen: HashMap::new(), floor: 0 };
    let result = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(LockError::Interrupted),
        result = taking.run(wait, waiting) => result,
    };
    if result.is_err() {
        // A call that was not answered may have been heard.
        let _ = withdraw(leases, app, &who.token).await;
    }
    result
}

struct Taking<'a, 'b, L> {
    leases: &'a L,
    app: &'b str,
    who: &'b Who,
    /// The newest generation of each lease, and since when it is that.
    seen: HashMap<String, (u64, Instant)>,
    /// Numbers below are of no use: volumes have them that are no generations.
    floor: u64,
}

enum Attempt<'a, L> {
    Got(Box<Lease<'a, L>>),
    Held(Box<Held>),
    /// Somebody else tries at the same moment.
    Drawn,
}

impl<'a, L: Leases> Taking<'a, '_, L> {
    async fn run(
        &mut self,
        wait: Duration,
        waiting: &mut dyn FnMut(&Held),
    ) -> std::result::Result<Lease<'a, L>, LockError> {
        let deadline = Instant::now() + wait;
        let mut told = None;
        let mut draws = 0;
        loop {
            let held = match self.attempt().await? {
                Attempt::Got(lease) => {
                    // However long the answers took, the lease is good for what check promises.
                    lease.check().await?;
                    return Ok(*lease);
                }
                Attempt::Drawn if draws < DRAWS => {
                    draws += 1;
                    sleep(random(20..200)).await;
                    continue;
                }
                Attempt::Drawn => None,
                Attempt::Held(held) => Some(held),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(held) = held {
                if left.is_zero() {
                    let app = self.app.to_owned();
                    return Err(LockError::Held { app, held });
                }
                if told.as_ref() != Some(&held.deploy_id) {
                    waiting(&held);
                    told = Some(held.deploy_id);
                }
            }
            sleep(random(500..1000).min(left.max(Duration::from_millis(1)))).await;
        }
    }

    async fn attempt(&mut self) -> Result<Attempt<'a, L>> {
        let before = self.leases.list(self.app).await?;
        let now = self.leases.now().await?;
        let dead = self.dead(&before, now);
        let known = |one: &Generation| dead.contains(&one.token) && before.contains(one);
        let alive = |all: &[Generation]| {
            let others = all.iter().filter(|one| one.token != self.who.token && !known(one));
            let others: Vec<_> = others.cloned().collect();
            generation::holder(&others).map(|one| one.held(now))
        };
        if let Some(held) = alive(&before) {
            return Ok(Attempt::Held(Box::new(held)));
        }
        let next = before.iter().map(|one| one.number + 1).max().unwrap_or_default();
        let number = next.max(self.floor).max(first(now));
        if !self.leases.create(self.app, number, now, self.who).await? {
            self.floor = number + 1;
            return Ok(Attempt::Drawn);
        }
        let after = self.leases.list(self.app).await?;
        let still = after.iter().any(|one| one.token == self.who.token && one.number == number);
        if alive(&after).is_some() || !still {
            self.leases.delete(self.app, number).await?;
            return Ok(Attempt::Drawn);
        }
        for one in after.iter().filter(|one| one.number != number) {
            self.leases.delete(self.app, one.number).await?;
        }
        Ok(Attempt::Got(Box::new(Lease::new(self.leases, self.app, self.who, now, number))))
    }

    /// The tokens of the leases that have ended.
    fn dead(&mut self, all: &[Generation], now: Timestamp) -> Vec<String> {
        let leases = generation::leases(all);
        self.seen.retain(|token, _| leases.iter().any(|one| one.token == *token));
        let mut dead = Vec::new();
        for one in leases {
            let seen = self.seen.entry(one.token.clone()).or_insert((one.number, Instant::now()));
            if seen.0 != one.number {
                *seen = (one.number, Instant::now());
            }
            // The engine's clock may have been set back since, so that ages mean nothing.
            if one.is_dead(now) || seen.1.elapsed() > LEASE {
                dead.push(one.token.clone());
            }
        }
        dead
    }
}

/// The number that a chain begins with. No number is used again, so that a removal that comes late,
/// as after a cut, meets nobody else's; and those who find the lock free in the same second choose
/// the same one, so that one of them gets it.
fn first(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default() * 1_000
}

fn random(millis: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::random_range(millis))
}
