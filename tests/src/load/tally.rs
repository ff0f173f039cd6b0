//! The books of a load: what came of every request. No input or output here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Class, Failure};

/// How many failures are told one by one.
const TOLD: usize = 200;

/// What came of one request. Times count from the begin of the load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which load it belongs to.
    pub class: Class,
    /// When it was to be sent.
    pub due: Duration,
    /// When the answer was complete, or the failure known.
    pub ended: Duration,
    /// The version that answered, if it told.
    pub result: Result<Option<String>, Failure>,
}

/// What happened to a connection that is no failure of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was opened.
    Opened,
    /// The server closed it after an answer that said so.
    ClosedAsTold,
    /// The server closed it between two requests.
    ClosedIdle,
    /// The server reset it between two requests.
    ResetIdle,
}

/// Something to be noted.
#[derive(Clone, Debug)]
pub enum Note {
    /// A request has ended.
    Ended(Outcome),
    /// A connection of this class took a turn.
    Connection(Class, Turn),
}

/// Requests, connections and times of one class.
#[derive(Clone, Debug, Default)]
struct Count {
    latencies: Vec<Duration>,
    failed: BTreeMap<&'static str, u64>,
    gap: Gap,
    opened: u64,
    closed_as_told: u64,
    closed_idle: u64,
    reset_idle: u64,
}

impl Count {
    fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The longest time between two successes.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    last: Option<Duration>,
    longest: Duration,
    begun: Duration,
}

impl Gap {
    /// The begin of the load is no success: a load of long answers has its first one late.
    fn success(&mut self, at: Duration) {
        if let Some(last) = self.last {
            self.until(at);
            self.last = Some(last.max(at));
        } else {
            self.last = Some(at);
        }
    }

    fn until(&mut self, at: Duration) {
        if let Some(last) = self.last
            && at.saturating_sub(last) > self.longest
        {
            self.longest = at - last;
            self.begun = last;
        }
    }

    /// With what passed between the last success and the end of the load, null without a success.
    fn report(mut self, stopped: Duration) -> Value {
        self.until(stopped);
        match self.last {
            None => Value::Null,
            Some(_) => json!({ "ms": ms(self.longest), "begun_at_ms": ms(self.begun) }),
        }
    }
}

/// All that has been noted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: BTreeMap<Class, Count>,
    gap: Gap,
    versions: BTreeMap<String, u64>,
    failures: Vec<Value>,
    stopped: Option<Duration>,
}

impl Tally {
    /// From then on nothing more is sent. What was in flight counts, but the time between two of its
    /// answers is no gap.
    pub fn stop(&mut self, at: Duration) {
        self.stopped = Some(at);
    }

    /// Enters a note.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Ended(outcome) => self.ended(outcome),
            Note::Connection(class, turn) => {
                let count = self.counts.entry(class).or_default();
                *match turn {
                    Turn::Opened => &mut count.opened,
                    Turn::ClosedAsTold => &mut count.closed_as_told,
                    Turn::ClosedIdle => &mut count.closed_idle,
                    Turn::ResetIdle => &mut count.reset_idle,
                } += 1;
            }
        }
    }

    fn ended(&mut self, Outcome { class, due, ended, result }: Outcome) {
        let count = self.counts.entry(class).or_default();
        match result {
            Ok(version) => {
                count.latencies.push(ended.saturating_sub(due));
                if self.stopped.is_none_or(|stopped| ended <= stopped) {
                    count.gap.success(ended);
                    self.gap.success(ended);
                }
                if let Some(version) = version {
                    *self.versions.entry(version).or_default() += 1;
                }
            }
            Err(Failure { kind, detail }) => {
                *count.failed.entry(kind.name()).or_default() += 1;
                if self.failures.len() < TOLD {
                    let class = class.name();
                    self.failures.push(json!({
                        "class": class, "kind": kind.name(), "due_ms": ms(due), "ended_ms": ms(ended), "detail": detail,
                    }));
                }
            }
        }
    }

    /// How many succeeded and how many failed so far.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.counts.values().fold((0, 0), |(ok, failed), count| {
            (ok + count.latencies.len() as u64, failed + count.failures())
        })
    }

    /// The report of a load that has stopped.
    #[must_use]
    pub fn report(&self) -> Value {
        let stopped = self.stopped.unwrap_or_default();
        let (ok, failed) = self.totals();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, number) in self.counts.values().flat_map(|count| &count.failed) {
            *kinds.entry(*kind).or_default() += number;
        }
        let classes: Map<String, Value> = self
            .counts
            .iter()
            .map(|(class, count)| (class.name().to_owned(), class_report(count, stopped)))
            .collect();
        json!({
            "duration_ms": ms(stopped),
            "requests": ok + failed,
            "ok": ok,
            "failed": failed,
            "failed_by_kind": kinds,
            "longest_gap": self.gap.report(stopped),
            "versions": self.versions,
            "classes": classes,
            "failures": self.failures,
        })
    }
}

fn class_report(count: &Count, stopped: Duration) -> Value {
    let mut latencies = count.latencies.clone();
    latencies.sort_unstable();
    let ok = latencies.len() as u64;
    json!({
        "requests": ok + count.failures(),
        "ok": ok,
        "failed": count.failures(),
        "failed_by_kind": count.failed,
        "longest_gap": count.gap.report(stopped),
        "latency_ms": {
            "p50": rank(&latencies, 50).map(ms),
            "p99": rank(&latencies, 99).map(ms),
            "max": latencies.last().copied().map(ms),
        },
        "connections": {
            "opened": count.opened,
            "closed_as_told": count.closed_as_told,
            "closed_idle": count.closed_idle,
            "reset_idle": count.reset_idle,
        },
    })
}

/// The smallest value that so many percent of the sorted values do not exceed (nearest rank).
fn rank(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Milliseconds, to the tenth.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Kind;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn good(class: Class, due: u64, ended: u64) -> Note {
        Note::Ended(Outcome { class, due: at(due), ended: at(ended), result: Ok(None) })
    }

    fn bad(class: Class, ended: u64, kind: Kind) -> Note {
        let result = Err(Failure::new(kind, "seen"));
        Note::Ended(Outcome { class, due: at(ended), ended: at(ended), result })
    }

    fn report(notes: impl IntoIterator<Item = Note>, stopped: u64) -> Value {
        let mut tally = Tally::default();
        notes.into_iter().for_each(|note| tally.note(note));
        tally.stop(at(stopped));
        tally.report()
    }

    #[test]
    fn every_request_is_counted_once() {
        let report = report(
            [
                good(Class::New, 0, 1),
                bad(Class::New, 2, Kind::Refused),
                bad(Class::Post, 3, Kind::Reset),
                bad(Class::Post, 4, Kind::Reset),
                good(Class::Post, 5, 6),
            ],
            10,
        );
        assert_eq!(
            (&report["requests"], &report["ok"], &report["failed"]),
            (&json!(5), &json!(2), &json!(3))
        );
        assert_eq!(report["failed_by_kind"], json!({ "refused": 1, "reset": 2 }));
        assert_eq!(report["classes"]["keep_alive_post"]["failed_by_kind"], json!({ "reset": 2 }));
        assert_eq!(report["classes"]["keep_alive_post"]["requests"], 3);
        assert_eq!(report["failures"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_gap_is_between_two_successes_whatever_failed_meanwhile() {
        let notes = [
            good(Class::New, 0, 1_000),
            bad(Class::New, 1_200, Kind::Refused),
            good(Class::Get, 0, 1_300),
            good(Class::New, 0, 1_500),
        ];
        let report = report(notes, 1_510);
        assert_eq!(report["longest_gap"], json!({ "ms": 300.0, "begun_at_ms": 1000.0 }));
        assert_eq!(report["classes"]["new_connection"]["longest_gap"]["ms"], 500.0);
    }

    #[test]
    fn an_outage_at_the_end_is_a_gap() {
        let report = report([good(Class::New, 0, 10), bad(Class::New, 90, Kind::Refused)], 100);
        assert_eq!(report["longest_gap"], json!({ "ms": 90.0, "begun_at_ms": 10.0 }));
    }

    #[test]
    fn what_ends_after_the_stop_is_counted_and_makes_no_gap() {
        let mut tally = Tally::default();
        tally.note(good(Class::New, 0, 90));
        tally.stop(at(100));
        tally.note(good(Class::Slow, 0, 900));
        assert_eq!(tally.report()["ok"], 2);
        assert_eq!(tally.report()["longest_gap"]["ms"], 10.0);
    }

    #[test]
    fn without_a_success_there_is_no_gap_to_tell() {
        let report = report([bad(Class::New, 90, Kind::Refused)], 100);
        assert_eq!(report["longest_gap"], Value::Null);
        assert_eq!(report["classes"]["new_connection"]["latency_ms"]["p50"], Value::Null);
    }

    #[test]
    fn successes_noted_out_of_order_make_no_gap() {
        let report =
            report([good(Class::New, 0, 20), good(Class::Get, 0, 10), good(Class::New, 0, 25)], 25);
        assert_eq!(report["longest_gap"]["ms"], 5.0);
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        let report = report((1..=100).map(|n| good(Class::Get, 1_000, 1_000 + n)), 1_100);
        let latency = &report["classes"]["keep_alive_get"]["latency_ms"];
        assert_eq!(latency, &json!({ "p50": 50.0, "p99": 99.0, "max": 100.0 }));
    }

    #[test]
    fn a_connection_closed_between_requests_is_no_failure() {
        let turns =
            [Turn::Opened, Turn::ClosedIdle, Turn::Opened, Turn::ClosedAsTold, Turn::Opened];
        let report = report(turns.map(|turn| Note::Connection(Class::Get, turn)), 1);
        assert_eq!(report["failed"], 0);
        assert_eq!(
            report["classes"]["keep_alive_get"]["connections"],
            json!({ "opened": 3, "closed_as_told": 1, "closed_idle": 1, "reset_idle": 0 })
        );
    }
}
