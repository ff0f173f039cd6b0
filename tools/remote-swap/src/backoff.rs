//! Connecting again where a failure may pass by itself, and how many connect at once.

use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::HostError;
use crate::host::Result;

/// How many handshakes are under way at once, over all hosts: sshd begins to refuse connections at
/// ten that have not logged in (MaxStartups), and several names may lead to one server.
const HANDSHAKES: usize = 8;

static SLOTS: Semaphore = Semaphore::const_new(HANDSHAKES);

/// The longest pause before the second try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// No pause gets longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// In less time than this no further attempt is worth it.
const LEAST: Duration = Duration::from_millis(100);

/// The right to one handshake. It is held until the engine has answered, since only then it is
/// sure that the server does not count the connection as one that has not logged in.
pub(crate) struct Slot {
    _permit: Option<SemaphorePermit<'static>>,
}

impl Slot {
    /// Waits until one is free.
    pub(crate) async fn free() -> Self {
        // There is an error only for one that was closed, which this never is.
        Self { _permit: SLOTS.acquire().await.ok() }
    }
}

/// Tries until it works, the failure is one that stays, or `limit` is over. An attempt is told how
/// long it may take; waiting for a slot does not count. `again` is told each failure that is
/// followed by another attempt.
pub(crate) async fn persist<T>(
    limit: Duration,
    again: &mut dyn FnMut(&dyn std::fmt::Display),
    mut attempt: impl AsyncFnMut(Slot, Duration) -> Result<T>,
) -> Result<T> {
    let mut left = limit;
    let mut last: Option<HostError> = None;
    for n in 0.. {
        let slot = Slot::free().await;
        let begun = Instant::now();
        let error = match attempt(slot, left).await {
            Ok(done) => return Ok(done),
            // That there was little time left is no news.
            Err(HostError::Ssh(slipway_ssh::Error::Timeout { .. })) if last.is_some() => break,
            Err(error) => error,
        };
        left = left.saturating_sub(begun.elapsed());
        if left < LEAST || !error.may_pass_while_connecting() {
            return Err(error);
        }
        again(&error);
        last = Some(error);
        let pause = pause(n, rand::rng().random()).min(left / 2);
        left -= pause;
        tokio::time::sleep(pause).await;
    }
    Err(last.unwrap_or(HostError::Lost { reason: "no connection was made".to_owned() }))
}

/// The pause after failure `n`, counted from 0, for a random `share` in 0..1 ("full jitter"): many
/// that were refused together do not come back together.
pub(crate) fn pause(n: u32, share: f64) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << n.min(16)).min(LONGEST_PAUSE);
    longest.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_ssh::Error as Ssh;

    fn refused() -> HostError {
        Ssh::Unreachable { host: "h".into(), port: 22, reason: "refused".into() }.into()
    }

    fn late() -> HostError {
        Ssh::Timeout { host: "h".into(), what: "x".into(), limit: Duration::ZERO }.into()
    }

    fn stranger() -> HostError {
        Ssh::HostKeyUnknown { host: "h".into(), algorithm: "a".into(), fingerprint: "f".into() }
            .into()
    }

    /// Runs attempts that take 10 ms each; answers the end, how many there were and how long it took.
    async fn tries(
        mut ends: impl FnMut(usize) -> Option<HostError>,
    ) -> (Result<()>, usize, Duration) {
        let begun = Instant::now();
        let mut tried = 0;
        let end = persist(Duration::from_secs(20), &mut |_| {}, async |slot, left| {
            assert!(left <= Duration::from_secs(20));
            tried += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(slot);
            ends(tried).map_or(Ok(()), Err)
        })
        .await;
        (end, tried, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_within_the_limit() {
        let (end, tried, _) = tries(|n| (n < 3).then(refused)).await;
        assert!(end.is_ok() && tried == 3);
        let (end, tried, took) = tries(|_| Some(refused())).await;
        assert!(end.unwrap_err().to_string().contains("refused"));
        assert!(tried > 3 && took < Duration::from_secs(20), "{tried} in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_is_told_at_once() {
        let (end, tried, _) = tries(|_| Some(stranger())).await;
        assert!(end.is_err() && tried == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_time_does_not_hide_what_was_wrong() {
        let (end, tried, _) = tries(|n| Some(if n == 1 { refused() } else { late() })).await;
        assert!(end.unwrap_err().to_string().contains("refused"));
        assert_eq!(tried, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn eight_connect_at_once_and_the_wait_for_that_does_not_count() {
        let at_once = std::cell::Cell::new((0, 0));
        let one = async |_| {
            persist(Duration::from_secs(1), &mut |_| {}, async |_slot, left| {
                assert_eq!(left, Duration::from_secs(1));
                let (now, most) = at_once.get();
                at_once.set((now + 1, most.max(now + 1)));
                tokio::time::sleep(Duration::from_millis(900)).await;
                at_once.set((at_once.get().0 - 1, at_once.get().1));
                Ok(())
            })
            .await
        };
        let all = futures_util::future::join_all((0..50).map(one)).await;
        assert!(all.iter().all(Result::is_ok));
        assert!(at_once.get().1 <= HANDSHAKES, "{:?}", at_once.get());
    }

    proptest! {
        #[test]
        fn a_pause_is_a_share_of_a_doubling_bounded_one(n in 0..40u32, share in 0.0..1.0f64) {
            let longest = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(n)).min(LONGEST_PAUSE);
            prop_assert!(pause(n, share) <= longest);
            prop_assert!(pause(n, share) <= pause(n + 1, share));
        }
    }
}
