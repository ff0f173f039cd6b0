//! How far this machine's clock and that of AWS are apart, by the Date of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use aws_sdk_ecr::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ecr::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecr::error::BoxError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// AWS takes signatures of up to five minutes of age; what is less apart is no reason for anything.
const TOLERATED: u64 = 4 * 60;

/// How many seconds the clock of AWS is ahead, as its last answer told. The SDK makes up for it when
/// it signs, but whoever else uses this machine's clock does not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    /// What people should know of it.
    pub(crate) fn warning(&self) -> Option<String> {
        let seconds = self.0.load(Ordering::Relaxed);
        is_wrong(seconds).then(|| {
            format!(
                "this machine's clock is {}; requests were signed by the time of AWS",
                apart(seconds)
            )
        })
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(seconds) = date.and_then(|date| skew(date, SystemTime::now())) {
            self.0.store(seconds, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// How many seconds the clock of AWS is ahead of this machine's.
pub(crate) fn skew(date: &str, now: SystemTime) -> Option<i64> {
    let there = DateTime::from_str(date, Format::HttpDate).ok()?;
    let here = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(there.secs() - i64::try_from(here.as_secs()).ok()?)
}

/// Whether signatures of this machine's time are refused.
pub(crate) fn is_wrong(seconds: i64) -> bool {
    seconds.unsigned_abs() > TOLERATED
}

/// The difference in words, seen from here.
pub(crate) fn apart(seconds: i64) -> String {
    let direction = if seconds > 0 { "behind" } else { "ahead of" };
    format!("{} s {direction} that of AWS", seconds.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_skew_is_told_in_both_directions() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(skew("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(0));
        assert_eq!(skew("Sun, 06 Nov 1994 08:59:37 GMT", now), Some(600));
        assert_eq!(skew("Sun, 06 Nov 1994 08:39:37 GMT", now), Some(-600));
        assert_eq!(skew("yesterday", now), None);
        assert_eq!(apart(600), "600 s behind that of AWS");
        assert_eq!(apart(-600), "600 s ahead of that of AWS");
    }

    #[test]
    fn what_aws_tolerates_is_not_worth_a_word() {
        let clock = Clock::default();
        assert_eq!(clock.warning(), None);
        clock.0.store(-200, Ordering::Relaxed);
        assert_eq!(clock.warning(), None);
        clock.0.store(-300, Ordering::Relaxed);
        assert!(clock.warning().is_some());
    }
}
