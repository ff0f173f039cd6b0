//! How long to wait from the start of a try to the start of the next.

use std::time::Duration;

/// Without an interval of the user's: the first pause of a target that is not well. A service that
/// is about to come up is met early, and a wait that proves needless costs next to nothing.
const FIRST: Duration = Duration::from_millis(10);

/// Without an interval of the user's: what pauses grow to. The half of it is what waiting adds to
/// the time of a service's start, while twenty requests a second are noticed by none.
const CAP: Duration = Duration::from_millis(50);

/// The least pause between the good answers that have to come in a row.
const CONFIRM: Duration = Duration::from_millis(10);

/// What each target takes of the time of one processor: with many targets they are asked less
/// often, four thousand times a second in all.
const SHARE: Duration = Duration::from_micros(250);

/// The pauses of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    first: Duration,
    cap: Duration,
    backoff: f64,
    jitter: f64,
    /// Whether there are so many targets that asking all of them at once takes longer than the
    /// first pause.
    many: bool,
}

impl Pace {
    /// An interval alone is fixed; a longest one lets it grow. None if the longest is less than
    /// the interval. `jitter` is the share, up to 1, by which a pause may be shorter.
    pub(crate) fn new(
        interval: Option<Duration>,
        max_interval: Option<Duration>,
        backoff: f64,
        jitter: f64,
        targets: usize,
    ) -> Option<Self> {
        let (first, cap) = match (interval, max_interval) {
            (None, None) => (FIRST, CAP),
            (Some(interval), None) => (interval, interval),
            (None, Some(cap)) => (FIRST.min(cap), cap),
            (Some(interval), Some(cap)) if interval <= cap => (interval, cap),
            (Some(_), Some(_)) => return None,
        };
        let share = SHARE.saturating_mul(u32::try_from(targets).unwrap_or(u32::MAX));
        let many = share > FIRST;
        Some(Self { first: first.max(share), cap: cap.max(share), backoff, jitter, many })
    }

    /// The pause after `bad` tries in a row that were not good; `random` is between 0 and 1.
    pub(crate) fn after_bad(&self, bad: u32, random: f64) -> Duration {
        let exponent = i32::try_from(bad.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.backoff.powi(exponent);
        // Compared as a number: it may be beyond what a duration can hold.
        let pause =
            Duration::try_from_secs_f64(grown).map_or(self.cap, |grown| grown.min(self.cap));
        // All are asked at the start. In step they would go on in bursts in which the
        // last ones wait for the first; so the second tries begin at any time of the first pause.
        if self.many && bad <= 1 { pause.mul_f64(random) } else { self.shortened(pause, random) }
    }

    /// The pause after a good try that is not the last one. While more good ones are needed they
    /// follow quickly; after that the target is watched for as long as it has to stay well.
    pub(crate) fn after_good(&self, stable_left: Duration, random: f64) -> Duration {
        let confirm = (self.cap / 10).max(CONFIRM).min(self.cap);
        if stable_left.is_zero() {
            return confirm;
        }
        // The last try of that time is made at its end, not an interval later.
        self.shortened(self.cap.max(confirm), random).min(stable_left)
    }

    fn shortened(&self, pause: Duration, random: f64) -> Duration {
        pause.mul_f64(1.0 - self.jitter * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(interval: Option<u32>, max: Option<u32>, targets: usize) -> Option<Pace> {
        Pace::new(interval.map(|n| n * MS), max.map(|n| n * MS), 2.0, 0.0, targets)
    }

    fn pauses(pace: &Pace) -> [u128; 5] {
        [1, 2, 3, 4, 1000].map(|bad| pace.after_bad(bad, 0.5).as_millis())
    }

    #[test]
    fn an_interval_is_fixed_unless_it_may_grow() {
        assert_eq!(pauses(&pace(None, None, 1).unwrap()), [10, 20, 40, 50, 50]);
        assert_eq!(pauses(&pace(Some(5), None, 1).unwrap()), [5; 5]);
        assert_eq!(pauses(&pace(Some(100), Some(500), 1).unwrap()), [100, 200, 400, 500, 500]);
        assert_eq!(pauses(&pace(None, Some(5), 1).unwrap()), [5; 5]);
        assert_eq!(pace(Some(6), Some(5), 1), None);
    }

    #[test]
    fn many_targets_are_asked_less_often() {
        let later = |pace: Option<Pace>| pauses(&pace.unwrap())[1..].to_vec();
        assert_eq!(later(pace(None, None, 200)), [50; 4]);
        assert_eq!(later(pace(None, None, 1000)), [250; 4]);
        assert_eq!(later(pace(Some(1000), None, 1000)), [1000; 4]);
    }

    #[test]
    fn many_targets_do_not_go_on_in_step() {
        let second =
            |targets, random| pace(None, None, targets).unwrap().after_bad(1, random).as_millis();
        assert_eq!([0.0, 0.5, 1.0].map(|random| second(1000, random)), [0, 125, 250]);
        assert_eq!([0.0, 0.5, 1.0].map(|random| second(20, random)), [10; 3]);
    }

    #[test]
    fn what_is_good_is_confirmed_quickly() {
        let after_good =
            |interval| pace(interval, None, 1).unwrap().after_good(Duration::ZERO, 0.5).as_millis();
        assert_eq!(after_good(None), 10);
        assert_eq!(after_good(Some(5)), 5);
        assert_eq!(after_good(Some(200)), 20);
        let stable = |left: u32| pace(Some(200), None, 1).unwrap().after_good(left * MS, 0.5);
        assert_eq!((stable(1000), stable(30)), (200 * MS, 30 * MS));
    }

    proptest! {
        #[test]
        fn jitter_only_shortens(
            interval in 1..10_000_u32, more in 0..10_000_u32, bad in 0..100_u32,
            jitter in 0.0..=1.0, random in 0.0..=1.0,
        ) {
            let (interval, cap) = (interval * MS, (interval + more) * MS);
            let with = |jitter| Pace::new(Some(interval), Some(cap), 1.5, jitter, 1).unwrap();
            let (exact, jittered) =
                (with(0.0).after_bad(bad, random), with(jitter).after_bad(bad, random));
            prop_assert!(interval <= exact && exact <= cap);
            prop_assert!(jittered <= exact);
            prop_assert!(jittered >= exact.mul_f64(1.0 - jitter).saturating_sub(MS));
            prop_assert!(with(0.0).after_bad(bad + 1, random) >= exact);
        }
    }
}
