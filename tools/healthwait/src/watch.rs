//! One target over time: from what each try saw to whether it is healthy.

use std::time::{Duration, SystemTime};

use slipway_release::{HealthFailure, HealthTarget};

use crate::latency::{Figures, Latencies};
use crate::seen::{LastAnswer, Seen, Why};
use crate::timeline::{Timeline, millis};

/// How many changes of a target are told before they are told less often.
const FREE_LINES: u32 = 10;

/// How long there is silence between two lines about a target after that.
const PAUSE: Duration = Duration::from_secs(10);

/// When a target is healthy, and when it will never be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// How many good tries in a row it takes.
    pub(crate) consecutive: u32,
    /// How long they have to go on.
    pub(crate) stable: Duration,
    /// Whether it is the end of the target that is waited for.
    pub(crate) gone: bool,
    /// Whether the waiting ends where it is hopeless.
    pub(crate) fail_fast: bool,
}

/// How the waiting for a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is as it should be.
    Healthy,
    /// It cannot become so.
    Hopeless,
}

/// What a try changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Nothing more is to be asked, for this reason; else what to wait for.
    pub(crate) next: Result<Ended, Wait>,
    /// The state is another one, and people should be told so.
    pub(crate) tell: bool,
}

/// What the pause before the next try depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// So many tries in a row were not good; the target wants to be left alone for this long.
    Bad { in_a_row: u32, at_least: Duration },
    /// The try was good, and so long the target has to stay so.
    Good { stable_left: Duration },
}

/// One target over time.
#[derive(Debug)]
pub(crate) struct Watch {
    name: String,
    rule: Rule,
    attempts: u32,
    /// Good tries in a row, and when the first of them ended.
    streak: u32,
    good_since: Duration,
    bad: u32,
    hopeless: u32,
    ended: Option<(Ended, Duration)>,
    first_success: Option<Duration>,
    /// The last try's state: whether it was good, and in words.
    good: bool,
    state: String,
    wrong_version: bool,
    latency: Option<Duration>,
    latencies: Latencies,
    not_after: Option<SystemTime>,
    answer: Option<LastAnswer>,
    last_failure: Option<HealthFailure>,
    timeline: Timeline,
    lines: u32,
    told_at: Duration,
}

impl Watch {
    /// Nothing seen yet.
    pub(crate) fn new(name: &str, rule: Rule) -> Self {
        Self {
            name: name.to_owned(),
            rule,
            attempts: 0,
            streak: 0,
            good_since: Duration::ZERO,
            bad: 0,
            hopeless: 0,
            ended: None,
            first_success: None,
            good: false,
            state: "no answer yet".to_owned(),
            wrong_version: false,
            latency: None,
            latencies: Latencies::default(),
            not_after: None,
            answer: None,
            last_failure: None,
            timeline: Timeline::default(),
            lines: 0,
            told_at: Duration::ZERO,
        }
    }

    /// Takes in what a try saw that ended `at` after the start.
    pub(crate) fn record(&mut self, at: Duration, seen: Seen) -> Change {
        let seen = if self.rule.gone { seen.inverted() } else { seen };
        let good = seen.defect.is_none();
        let state = seen.state();
        let first = self.attempts == 0;
        let changed = first || self.good != good || self.state != state;
        self.attempts = self.attempts.saturating_add(1);
        self.timeline.add(at, &state);
        self.count(at, &seen);
        if let Some(defect) = &seen.defect {
            self.last_failure = Some(HealthFailure {
                at_ms: millis(at),
                reason: defect.reason.clone(),
                status: seen.answer.as_ref().map(|answer| answer.status),
                body: seen.answer.as_ref().map(|answer| answer.body.clone()),
            });
        }
        self.wrong_version = seen.defect.as_ref().is_some_and(|defect| defect.why == Why::Version);
        self.good = good;
        self.state = state;
        if let Some(latency) = seen.latency {
            self.latencies.add(latency);
            self.latency = Some(latency);
        }
        self.not_after = seen.not_after.or(self.not_after);
        self.answer = seen.answer.or_else(|| self.answer.take());
        let next = self.next(at, seen.retry_after);
        // A target that is well from its first try on is told of when it is healthy; that it is
        // well for the time being only where it has to stay so for long.
        let news = match next {
            Ok(_) => true,
            Err(_) => changed && (!good || !self.rule.stable.is_zero()),
        };
        Change { next, tell: news && (next.is_ok() || self.may_speak(at)) }
    }

    fn count(&mut self, at: Duration, seen: &Seen) {
        match &seen.defect {
            None => {
                if self.streak == 0 {
                    self.good_since = at;
                }
                self.first_success.get_or_insert(at);
                self.streak = self.streak.saturating_add(1);
                (self.bad, self.hopeless) = (0, 0);
            }
            Some(defect) => {
                self.streak = 0;
                self.bad = self.bad.saturating_add(1);
                self.hopeless =
                    if defect.why == Why::Hopeless { self.hopeless.saturating_add(1) } else { 0 };
            }
        }
    }

    fn next(&mut self, at: Duration, retry_after: Duration) -> Result<Ended, Wait> {
        let Rule { consecutive, stable, fail_fast, .. } = self.rule;
        let stable_left = stable.saturating_sub(at.saturating_sub(self.good_since));
        let ended = if self.streak >= consecutive && stable_left.is_zero() {
            Ended::Healthy
        } else if fail_fast && self.hopeless >= consecutive {
            Ended::Hopeless
        } else if self.streak > 0 {
            return Err(Wait::Good { stable_left });
        } else {
            return Err(Wait::Bad { in_a_row: self.bad, at_least: retry_after });
        };
        self.ended = Some((ended, at));
        Ok(ended)
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
    pub(crate) fn state(&self) -> String {
        let Rule { consecutive, stable, gone, .. } = self.rule;
        match self.ended {
            Some((Ended::Healthy, at)) => {
                let version = self.answer.as_ref().and_then(|answer| answer.version.as_deref());
                let version = version.filter(|_| !gone);
                let version = version.map(|version| format!(", version {version}"));
                let word = if gone { "gone" } else { "healthy" };
                format!("{word}{} after {}", version.unwrap_or_default(), seconds(at))
            }
            Some((Ended::Hopeless, _)) => format!("{}; given up", self.state),
            None if self.good && !stable.is_zero() => {
                let stable = humantime::format_duration(stable);
                format!("{}, has to stay so for {stable}", self.state)
            }
            None if self.good => {
                format!("{}, {} of {consecutive} in a row", self.state, self.streak)
            }
            None => self.state.clone(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        matches!(self.ended, Some((Ended::Healthy, _)))
    }

    /// Whether another release than the expected one is all that was wrong with the last answer.
    pub(crate) fn wrong_version(&self) -> bool {
        self.wrong_version
    }

    /// What the document says of the target when the waiting ends, `waited` after its start.
    pub(crate) fn section(&self, waited: Duration) -> HealthTarget {
        let answer = self.answer.as_ref();
        let mut timeline = self.timeline.entries().to_vec();
        let mut attempts = self.attempts;
        if attempts == 0 {
            // The only try hangs still: it is the whole of what happened.
            let mut only = Timeline::default();
            only.add(Duration::ZERO, &self.state);
            timeline = only.entries().to_vec();
            attempts = 1;
        }
        let figures = self.latencies.figures();
        let figure = |which: fn(Figures) -> Duration| figures.map(|figures| millis(which(figures)));
        HealthTarget {
            url: self.name.clone(),
            healthy: self.is_healthy(),
            attempts,
            status: answer.map(|answer| answer.status),
            version: answer.and_then(|answer| answer.version.clone()),
            latency_ms: self.latency.map(millis),
            latency_min_ms: figure(|figures| figures.min),
            latency_median_ms: figure(|figures| figures.median),
            latency_p99_ms: figure(|figures| figures.p99),
            waited_ms: millis(self.ended.map_or(waited, |(_, at)| at)),
            first_success_ms: self.first_success.map(millis),
            reason: self.reason(waited),
            body: answer.map(|answer| answer.body.clone()),
            certificate_expires_at: self
                .not_after
                .map(|end| humantime::format_rfc3339_seconds(end).to_string()),
            last_failure: self.last_failure.clone(),
            timeline,
        }
    }

    /// Why it is not healthy, if it is not.
    fn reason(&self, waited: Duration) -> Option<String> {
        let Rule { consecutive, stable, .. } = self.rule;
        if self.is_healthy() {
            return None;
        }
        if !self.good {
            return Some(self.state.clone());
        }
        if self.streak < consecutive {
            return Some(format!("{} of {consecutive} good answers in a row", self.streak));
        }
        let stayed = seconds(waited.saturating_sub(self.good_since));
        Some(format!("good for {stayed} of {}", humantime::format_duration(stable)))
    }
}

/// A duration for people, in seconds.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

/// The same for milliseconds of the document.
pub(crate) fn seconds_of(millis: u64) -> String {
    seconds(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Defect;
    use proptest::prelude::*;

    const RULE: Rule =
        Rule { consecutive: 2, stable: Duration::ZERO, gone: false, fail_fast: false };

    fn seen(reason: Option<&str>) -> Seen {
        seen_why(reason, Why::Plain)
    }

    fn seen_why(reason: Option<&str>, why: Why) -> Seen {
        let defect = reason.map(|reason| Defect { reason: reason.to_owned(), why });
        Seen { defect, ..Seen::default() }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn bad(in_a_row: u32) -> Result<Ended, Wait> {
        Err(Wait::Bad { in_a_row, at_least: Duration::ZERO })
    }

    const GOOD: Result<Ended, Wait> = Err(Wait::Good { stable_left: Duration::ZERO });

    #[test]
    fn good_answers_have_to_come_in_a_row() {
        let mut watch = Watch::new("http://a/", RULE);
        let change = |next, tell| Change { next, tell };
        assert_eq!(watch.record(at(1), seen(None)), change(GOOD, false));
        assert_eq!(watch.record(at(2), seen(Some("status 503"))), change(bad(1), true));
        assert_eq!(watch.record(at(3), seen(Some("status 503"))), change(bad(2), false));
        assert_eq!(watch.record(at(4), seen(None)), change(GOOD, false));
        let section = watch.section(at(9));
        assert_eq!(section.reason.as_deref(), Some("1 of 2 good answers in a row"));
        assert_eq!(watch.record(at(5), seen(None)), change(Ok(Ended::Healthy), true));
        let section = watch.section(at(9));
        assert!(section.healthy && section.reason.is_none());
        assert_eq!((section.attempts, section.waited_ms), (5, 5));
        assert_eq!(section.first_success_ms, Some(1));
        let failure = section.last_failure.unwrap();
        assert_eq!((failure.at_ms, failure.reason.as_str()), (3, "status 503"));
    }

    #[test]
    fn it_has_to_stay_well_for_as_long_as_was_asked() {
        let mut watch = Watch::new("http://a/", Rule { stable: at(100), ..RULE });
        let left = |millis| Err(Wait::Good { stable_left: at(millis) });
        assert_eq!(watch.record(at(10), seen(None)).next, left(100));
        assert_eq!(watch.record(at(60), seen(None)).next, left(50));
        assert_eq!(watch.record(at(70), seen(Some("status 500"))).next, bad(1));
        assert_eq!(watch.record(at(80), seen(None)).next, left(100));
        assert_eq!(watch.record(at(179), seen(None)).next, left(1));
        let reason = watch.section(at(179)).reason.unwrap();
        assert_eq!(reason, "good for 0.10 s of 100ms");
        assert_eq!(watch.record(at(180), seen(None)).next, Ok(Ended::Healthy));
        // One good try is not enough, however long ago it was.
        let mut watch = Watch::new("http://a/", Rule { stable: at(1), consecutive: 3, ..RULE });
        watch.record(at(1), seen(None));
        assert_eq!(watch.record(at(9), seen(None)).next, GOOD);
    }

    #[test]
    fn what_is_gone_stays_away() {
        let mut watch = Watch::new("http://a/", Rule { gone: true, ..RULE });
        assert_eq!(watch.record(at(1), seen(None)).next, bad(1));
        // That this side is out of sockets says nothing of the other.
        let local = || seen_why(Some("too many open files"), Why::Local);
        assert_eq!(watch.record(at(2), local()).next, bad(2));
        assert_eq!(watch.record(at(3), seen(Some("connection refused"))).next, GOOD);
        assert_eq!(watch.record(at(4), seen(Some("name not found"))).next, Ok(Ended::Healthy));
        assert_eq!(watch.state(), "gone after 0.00 s");
        let states: Vec<_> =
            watch.section(at(9)).timeline.into_iter().map(|entry| entry.state).collect();
        let expected = [
            "still there",
            "too many open files",
            "gone: connection refused",
            "gone: name not found",
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn what_is_hopeless_is_given_up_if_that_was_asked() {
        let hopeless = || seen_why(Some("status 404"), Why::Hopeless);
        let mut patient = Watch::new("http://a/", RULE);
        let mut watch = Watch::new("http://a/", Rule { fail_fast: true, ..RULE });
        for n in 1..=3 {
            assert_eq!(patient.record(at(1), hopeless()).next, bad(n));
        }
        assert_eq!(watch.record(at(1), hopeless()).next, bad(1));
        assert_eq!(watch.record(at(2), seen(Some("connection refused"))).next, bad(2));
        assert_eq!(watch.record(at(3), hopeless()).next, bad(3));
        assert_eq!(watch.record(at(4), hopeless()).next, Ok(Ended::Hopeless));
        assert_eq!(watch.section(at(9)).reason.as_deref(), Some("status 404"));
    }

    #[test]
    fn a_try_that_never_ended_is_one() {
        let section = Watch::new("http://a/", RULE).section(at(9));
        assert_eq!(section.reason.as_deref(), Some("no answer yet"));
        assert_eq!((section.attempts, section.timeline[0].tries, section.waited_ms), (1, 1, 9));
        assert_eq!((section.latency_p99_ms, section.first_success_ms), (None, None));
    }

    #[test]
    fn a_state_that_changes_at_each_try_is_not_told_each_time() {
        let mut watch = Watch::new("http://a/", RULE);
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
            consecutive in 1..5_u32,
            gone: bool,
        ) {
            let mut watch = Watch::new("tcp://a:1", Rule { consecutive, gone, ..RULE });
            let mut ended = false;
            for (n, good) in good.iter().enumerate() {
                ended |= watch.record(at(n as u64), seen((*good == gone).then_some("no"))).next.is_ok();
            }
            let expected =
                good.windows(consecutive as usize).any(|run| run.iter().all(|good| *good));
            prop_assert_eq!(watch.is_healthy(), expected);
            prop_assert_eq!(ended, expected);
        }
    }
}
