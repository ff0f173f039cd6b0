//! When a request is made again. Pure, but for the clock of a date in a header.

use std::time::Duration;

use jiff::Timestamp;

/// How often a request is made at most.
pub(crate) const TRIES: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_secs(1);

/// No registry is waited for longer than this, whatever it asks for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The wait after try `n`, counted from 1, for a random `share` in 0..1: what the registry asked for
/// and a bit, so that many that were told the same do not come back together, or a share of a
/// doubling time ("full jitter").
pub(crate) fn wait(n: u32, asked: Option<Duration>, share: f64) -> Duration {
    let wait = match asked {
        Some(asked) => asked.saturating_add(FIRST_WAIT.mul_f64(share)),
        None => FIRST_WAIT.saturating_mul(1 << (n - 1).min(6)).mul_f64(share),
    };
    wait.min(LONGEST_WAIT)
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(date.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_retry_after() {
        let now: Timestamp = "2015-10-21T07:27:50Z".parse().unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(10)));
        let past: Timestamp = "2015-10-22T00:00:00Z".parse().unwrap();
        assert_eq!(retry_after(date, past), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    proptest! {
        #[test]
        fn waits_are_at_least_what_was_asked_and_bounded(n in 1u32..50, asked in proptest::option::of(prop_oneof![0u64..200, Just(u64::MAX)]), share in 0.0..1.0f64) {
            let asked = asked.map(Duration::from_secs);
            let wait = wait(n, asked, share);
            prop_assert!(wait <= LONGEST_WAIT);
            prop_assert!(asked.is_none_or(|asked| wait >= asked.min(LONGEST_WAIT)));
        }
    }
}
