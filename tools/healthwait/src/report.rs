//! What people see at the end: a table of many targets, and what the last bad answer said.

use slipway_release::{Health, HealthTarget};
use slipway_untrusted::clean_line;

use crate::probe::label;
use crate::watch::seconds_of;

/// More rows than this are left to the document.
const ROWS: usize = 40;

/// How much of a body's head is shown, in characters.
const BODY_CHARS: usize = 300;

/// How many of the last states of a target are shown.
const STATES: usize = 4;

/// The lines of the table: none for a single target, which a sentence tells as well. What is not
/// healthy stands first, then what took longest.
pub(crate) fn table(health: &Health) -> Vec<String> {
    if health.targets.len() < 2 {
        return Vec::new();
    }
    let mut order: Vec<&HealthTarget> = health.targets.iter().collect();
    if order.len() > ROWS {
        order.sort_by_key(|target| (target.healthy, std::cmp::Reverse(target.waited_ms)));
    }
    let left_out = order.len().saturating_sub(ROWS);
    order.truncate(ROWS);
    let head = ["target", "waited", "tries", "status", "version", "min/median/p99 ms", "state"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(order.into_iter().map(row));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} more, in health.targets of the document"));
    }
    lines
}

fn row(target: &HealthTarget) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let latency = || {
        let (min, median, p99) =
            (target.latency_min_ms?, target.latency_median_ms?, target.latency_p99_ms?);
        Some(format!("{min}/{median}/{p99}"))
    };
    [
        named(target),
        seconds_of(target.waited_ms),
        target.attempts.to_string(),
        or_dash(target.status.map(|status| status.to_string())),
        or_dash(target.version.clone()),
        or_dash(latency()),
        target.reason.clone().unwrap_or_else(|| "ok".to_owned()),
    ]
}

/// A target for people.
pub(crate) fn named(target: &HealthTarget) -> String {
    label(&target.url, target.via.as_deref())
}

fn line(row: &[String; 7], widths: &[usize]) -> String {
    let cells: Vec<String> =
        row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

/// What is worth knowing of the targets that are not healthy: their last states with the times,
/// and the head of the last body.
pub(crate) fn failures(health: &Health) -> Vec<String> {
    let failed = health.targets.iter().filter(|target| !target.healthy);
    let mut lines = Vec::new();
    for target in failed.take(3) {
        // A single state is the reason, which the error says.
        if target.timeline.len() > 1 {
            lines.push(format!("{}: {}", named(target), states(target)));
        }
        let body = target.last_failure.as_ref().and_then(|failure| failure.body.as_deref());
        if let Some(body) = body.map(one_line).filter(|body| !body.is_empty()) {
            lines.push(format!("{} answered: {body}", named(target)));
        }
    }
    lines
}

fn states(target: &HealthTarget) -> String {
    let skipped = target.timeline.len().saturating_sub(STATES);
    let states = target.timeline.iter().skip(skipped).map(|entry| {
        let tries = if entry.tries > 1 { format!(" ×{}", entry.tries) } else { String::new() };
        format!("{} {}{tries}", seconds_of(entry.at_ms), entry.state)
    });
    let states: Vec<String> = states.collect();
    format!("{}{}", if skipped > 0 { "… → " } else { "" }, states.join(" → "))
}

/// The head of a text from outside, cleaned and on one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = clean_line(&text);
    let mut chars = text.chars();
    let mut head: String = chars.by_ref().take(BODY_CHARS).collect();
    if chars.next().is_some() {
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_release::{Attempt, HealthFailure};

    fn target(url: &str, reason: Option<&str>) -> HealthTarget {
        HealthTarget {
            url: url.to_owned(),
            healthy: reason.is_none(),
            attempts: 12,
            waited_ms: 1250,
            reason: reason.map(str::to_owned),
            ..HealthTarget::default()
        }
    }

    fn health(targets: Vec<HealthTarget>) -> Health {
        Health { targets, ..Health::default() }
    }

    #[test]
    fn the_columns_stand_below_each_other() {
        let answered = HealthTarget {
            status: Some(200),
            version: Some("v2".to_owned()),
            latency_min_ms: Some(1),
            latency_median_ms: Some(2),
            latency_p99_ms: Some(30),
            ..target("http://app.example:8000/health", None)
        };
        let lines =
            table(&health(vec![answered, target("tcp://db:5432", Some("connection refused"))]));
        assert_eq!(
            lines,
            [
                "target                          waited  tries  status  version  min/median/p99 ms  state",
                "http://app.example:8000/health  1.25 s  12     200     v2       1/2/30             ok",
                "tcp://db:5432                   1.25 s  12     -       -        -                  \
                 connection refused",
            ]
        );
        assert_eq!(table(&health(vec![target("a", None)])), Vec::<String>::new());
    }

    #[test]
    fn of_many_targets_the_bad_ones_are_shown() {
        let mut targets: Vec<_> =
            (0..1000).map(|n| target(&format!("tcp://a:{n}"), None)).collect();
        targets[900] = target("tcp://bad:1", Some("connection refused"));
        let lines = table(&health(targets));
        assert_eq!(lines.len(), ROWS + 2);
        assert!(lines[1].starts_with("tcp://bad:1"), "{}", lines[1]);
        assert!(lines.last().unwrap().starts_with("and 960 more"));
    }

    #[test]
    fn a_failure_tells_its_history_and_the_last_body() {
        let entry = |at_ms, state: &str, tries| Attempt { at_ms, state: state.into(), tries };
        let mut bad = target("http://a/", Some("status 503, expected 2xx"));
        bad.timeline = vec![entry(0, "connection refused", 9), entry(1200, "status 503", 1)];
        bad.last_failure = Some(HealthFailure {
            body: Some("<h1>no\n\t database\u{1b}[2J</h1>".to_owned()),
            ..HealthFailure::default()
        });
        let lines = failures(&health(vec![target("http://b/", None), bad]));
        assert_eq!(
            lines,
            [
                "http://a/: 0.00 s connection refused ×9 → 1.20 s status 503",
                "http://a/ answered: <h1>no database</h1>",
            ]
        );
    }
}
