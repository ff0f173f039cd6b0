//! One target over time: from what each try saw to whether it is healthy.

use std::time::{Duration, SystemTime};

use slipway_release::{HealthFailure, HealthTarget};

use crate::latency::{Figures, Latencies};
use crate::probe::label;
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
    through: Option<String>,
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
    /// What was wrong with the last try was on this side.
    local: bool,
    latency: Option<Duration>,
    latencies: Latencies,
    not_after: Option<SystemTime>,
    answer: Option<LastAnswer>,
    last_failure: Option<HealthFailure>,
    timeline: Timeline,
    /// How many lines were written of it, the last one, and when that was.
    lines: u32,
    told: String,
    told_at: Duration,
    /// A change was not told, as it came too soon after another.
    owed: bool,
}

impl Watch {
    /// Nothing seen yet.
    pub(crate) fn new(name: &str, through: Option<&str>, rule: Rule) -> Self {
        Self {
            name: name.to_owned(),
            through: through.map(str::to_owned),
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
            local: false,
            latency: None,
            latencies: Latencies::default(),
            not_after: None,
            answer: None,
            last_failure: None,
            timeline: Timeline::default(),
            lines: 0,
            told: String::new(),
            told_at: Duration::ZERO,
            owed: false,
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
        self.local = seen.defect.as_ref().is_some_and(|defect| defect.why == Why::Local);
        self.good = good;
        self.state = state;
        if let Some(latency) = seen.latency {
            self.latencies.add(latency);
            self.latency = Some(latency);
        }
        self.not_after = seen.not_after.or(self.not_after);
        self.answer = seen.answer.or_else(|| self.answer.take());
        let next = self.next(at, seen.retry_after);
        Change { next, tell: next.is_ok() || self.is_news(at, changed) }
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

    /// Whether a state that is not the last one is to be told. One that changes at every try, such as
    /// a counter, or that comes and goes must not become a line a try.
    fn is_news(&mut self, at: Duration, changed: bool) -> bool {
        // A target that is well from its first try on is told of when it is healthy; that it is
        // well for the time being only where it has to stay so for long.
        let silent = self.good && self.rule.stable.is_zero();
        if silent || !(changed || self.owed) {
            return false;
        }
        let text = self.state();
        let again = self.told == text;
        if again && !changed {
            self.owed = false;
            return false;
        }
        let soon = at.saturating_sub(self.told_at) < PAUSE;
        if soon && (again || self.lines >= FREE_LINES) {
            self.owed = true;
            return false;
        }
        self.owed = false;
        self.lines = self.lines.saturating_add(1);
        (self.told, self.told_at) = (text, at);
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
            None if self.first_success.is_some() => {
                format!("{}, after it was {}", self.state, if gone { "gone" } else { "good" })
            }
            None => self.state.clone(),
        }
    }

    /// The target for people.
    pub(crate) fn label(&self) -> String {
        label(&self.name, self.through.as_deref())
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

    /// Whether nothing is known of the target, for a cause on this side.
    pub(crate) fn is_unknown(&self) -> bool {
        self.local
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
            via: self.through.clone(),
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
            let failure = self.last_failure.as_ref();
            return Some(failure.map_or(&self.state, |failure| &failure.reason).clone());
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
mod tests;
