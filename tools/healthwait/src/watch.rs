//! One target over time: from what each try saw to whether it is healthy.

use std::time::Duration;

use slipway_probe::{Answer, Expectation, ProbeError, Verdict};
use slipway_release::HealthTarget;

use crate::container::Checked;
use crate::timeline::{Timeline, millis};

/// How many changes of a target are told before they are told less often.
const FREE_LINES: u32 = 10;

/// How long there is silence between two lines about a target after that.
const PAUSE: Duration = Duration::from_secs(10);

/// What one try saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Why the conditions are not met, if they are not.
    pub(crate) reason: Option<String>,
    latency: Option<Duration>,
    answer: Option<LastAnswer>,
}

/// What is kept of an HTTP answer.
#[derive(Clone, Debug)]
struct LastAnswer {
    status: u16,
    version: Option<String>,
    /// Whether it met all conditions but the version's.
    wrong_version: bool,
    body: String,
}

impl Seen {
    pub(crate) fn answered(answer: &Answer, expectation: &Expectation) -> Self {
        let reason = match expectation.judge(answer) {
            Verdict::Ok => None,
            Verdict::Not(reason) => Some(reason),
        };
        let version = expectation.version.source.told(answer);
        let any_version = Expectation { version: Default::default(), ..expectation.clone() };
        let wrong_version = reason.is_some() && any_version.judge(answer) == Verdict::Ok;
        Self {
            reason,
            latency: Some(answer.elapsed),
            answer: Some(LastAnswer {
                status: answer.status.as_u16(),
                version,
                wrong_version,
                body: answer.head(),
            }),
        }
    }

    pub(crate) fn accepted(latency: Duration) -> Self {
        Self { reason: None, latency: Some(latency), answer: None }
    }

    /// What an engine told of a container.
    pub(crate) fn checked(checked: Result<Checked, ProbeError>) -> Self {
        match checked {
            Ok(checked) => {
                Self { reason: checked.reason, latency: Some(checked.latency), answer: None }
            }
            Err(error) => Self::failed(&error),
        }
    }

    pub(crate) fn failed(error: &ProbeError) -> Self {
        Self { reason: Some(error.to_string()), latency: None, answer: None }
    }
}

/// What a try changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The target has become healthy: nothing more is to be asked.
    pub(crate) healthy: bool,
    /// The state is another one, and people should be told so.
    pub(crate) tell: bool,
}

/// One target over time.
#[derive(Debug)]
pub(crate) struct Watch {
    name: String,
    consecutive: u32,
    streak: u32,
    attempts: u32,
    healthy_at: Option<Duration>,
    reason: Option<String>,
    latency: Option<Duration>,
    answer: Option<LastAnswer>,
    timeline: Timeline,
    lines: u32,
    told_at: Duration,
}

impl Watch {
    /// Nothing seen yet; `consecutive` good tries in a row will make it healthy.
    pub(crate) fn new(name: &str, consecutive: u32) -> Self {
        Self {
            name: name.to_owned(),
            consecutive,
            streak: 0,
            attempts: 0,
            healthy_at: None,
            reason: None,
            latency: None,
            answer: None,
            timeline: Timeline::default(),
            lines: 0,
            told_at: Duration::ZERO,
        }
    }

    /// Takes in what a try saw that ended `at` after the start.
    pub(crate) fn record(&mut self, at: Duration, seen: Seen) -> Change {
        let first = self.attempts == 0;
        let changed = first || self.reason != seen.reason;
        self.attempts = self.attempts.saturating_add(1);
        self.streak = if seen.reason.is_none() { self.streak.saturating_add(1) } else { 0 };
        self.timeline.add(at, seen.reason.as_deref().unwrap_or("ok"));
        self.reason = seen.reason;
        self.latency = seen.latency.or(self.latency);
        self.answer = seen.answer.or_else(|| self.answer.take());
        let healthy = self.streak >= self.consecutive;
        if healthy {
            self.healthy_at = Some(at);
        }
        // That it is well from the first try on is told at the end soon enough.
        let tell = changed && !(first && self.reason.is_none()) && self.may_speak(at);
        Change { healthy, tell }
    }

    /// A state that changes at every try, such as a counter, must not become a line a try.
    fn may_speak(&mut self, at: Duration) -> bool {
        if self.lines >= FREE_LINES && at.saturating_sub(self.told_at) < PAUSE {
            return false;
        }
        self.lines = self.lines.saturating_add(1);
        self.told_at = at;
        true
    }

    /// The state for a line of text.
    pub(crate) fn state(&self) -> &str {
        match &self.reason {
            Some(reason) => reason,
            None if self.attempts == 0 => "no answer yet",
            None => "ok",
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy_at.is_some()
    }

    /// Whether another release than the expected one is all that was wrong with the last answer.
    pub(crate) fn wrong_version(&self) -> bool {
        self.reason.is_some() && self.answer.as_ref().is_some_and(|answer| answer.wrong_version)
    }

    /// What the document says of the target when the waiting ends, `waited` after its start.
    pub(crate) fn section(&self, waited: Duration) -> HealthTarget {
        let answer = self.answer.as_ref();
        let mut timeline = self.timeline.entries().to_vec();
        let mut attempts = self.attempts;
        let reason = match &self.reason {
            _ if self.is_healthy() => None,
            Some(reason) => Some(reason.clone()),
            None if attempts > 0 => {
                let Self { streak, consecutive, .. } = self;
                Some(format!("{streak} of {consecutive} good answers in a row"))
            }
            None => {
                // The only try hangs still: it is the whole of what happened.
                let mut only = Timeline::default();
                only.add(Duration::ZERO, self.state());
                timeline = only.entries().to_vec();
                attempts = 1;
                Some(self.state().to_owned())
            }
        };
        HealthTarget {
            url: self.name.clone(),
            healthy: self.is_healthy(),
            attempts,
            status: answer.map(|answer| answer.status),
            version: answer.and_then(|answer| answer.version.clone()),
            latency_ms: self.latency.map(millis),
            waited_ms: millis(self.healthy_at.unwrap_or(waited)),
            reason,
            body: answer.map(|answer| answer.body.clone()),
            timeline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(reason: Option<&str>) -> Seen {
        Seen { reason: reason.map(str::to_owned), latency: None, answer: None }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn good_answers_have_to_come_in_a_row() {
        let mut watch = Watch::new("http://a/", 2);
        let quiet = Change { healthy: false, tell: false };
        let loud = Change { healthy: false, tell: true };
        assert_eq!(watch.record(at(1), seen(None)), quiet);
        assert_eq!(watch.record(at(2), seen(Some("status 503"))), loud);
        assert_eq!(watch.record(at(3), seen(Some("status 503"))), quiet);
        assert_eq!(watch.record(at(4), seen(None)), loud);
        let section = watch.section(at(9));
        assert_eq!(section.reason.as_deref(), Some("1 of 2 good answers in a row"));
        assert!(watch.record(at(5), seen(None)).healthy);
        let section = watch.section(at(9));
        assert!(section.healthy && section.reason.is_none());
        assert_eq!((section.attempts, section.waited_ms), (5, 5));
    }

    #[test]
    fn a_try_that_never_ended_is_one() {
        let section = Watch::new("http://a/", 1).section(at(9));
        assert_eq!(section.reason.as_deref(), Some("no answer yet"));
        assert_eq!((section.attempts, section.timeline[0].tries, section.waited_ms), (1, 1, 9));
    }

    #[test]
    fn a_state_that_changes_at_each_try_is_not_told_each_time() {
        let mut watch = Watch::new("http://a/", 1);
        let told = (0..1000_u64).filter(|n| {
            let reason = format!("/left is {n}, expected 0");
            watch.record(at(n * 100), seen(Some(&reason))).tell
        });
        // 100 s: ten at once, then one every ten seconds.
        assert_eq!(told.count(), 10 + 9);
    }

    proptest! {
        #[test]
        fn it_is_healthy_after_so_many_in_a_row(
            good in prop::collection::vec(any::<bool>(), 0..40),
            consecutive in 1..5_usize,
        ) {
            let mut watch = Watch::new("tcp://a:1", u32::try_from(consecutive).unwrap());
            for (n, good) in good.iter().enumerate() {
                watch.record(at(n as u64), seen((!good).then_some("no")));
            }
            let expected = good.windows(consecutive).any(|run| run.iter().all(|good| *good));
            prop_assert_eq!(watch.is_healthy(), expected);
        }
    }
}
