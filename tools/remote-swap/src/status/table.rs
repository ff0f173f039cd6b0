//! The status for people: a few aligned lines a host. Pure.

use slipway_release::{DeployKind, HistoryEntry, HostStatus, LiveStatus, Outcome, Status};
use slipway_untrusted::{clean, clean_line};

/// Rows of the history that are shown; the document has all of them.
const SHOWN: usize = 10;

/// Characters of a digest or of a revision that are shown.
const SHORT: usize = 12;

/// All hosts.
pub(super) fn of(status: &Status) -> String {
    let app = status.app.as_deref().unwrap_or_default();
    let hosts = status.hosts.iter().map(|host| {
        let rows = block(host);
        format!("{app} on {}\n{rows}", host.host)
    });
    let text = hosts.collect::<Vec<_>>().join("\n");
    // Of what others wrote nothing may steer the terminal.
    clean(&text).into_owned()
}

fn block(host: &HostStatus) -> String {
    let mut text = String::new();
    if let Some(error) = &host.error {
        return format!("  not known: {}\n", clean_line(error));
    }
    match &host.live {
        Some(live) => text.push_str(&aligned(&serving(live, host))),
        None => text.push_str("  nothing is live\n"),
    }
    for sentence in &host.drift {
        text.push_str(&format!("  drift: {}\n", clean_line(sentence)));
    }
    if !host.previous.is_empty() {
        let mut rows = vec![row(["ROLLBACK TO", "TAG", "DIGEST", "FIRST DEPLOYED", "IMAGE"])];
        rows.extend(host.previous.iter().map(|one| {
            let next = host.rollback_to.as_deref() == Some(&one.deploy_id);
            let mark = if next { " (next)" } else { "" };
            vec![
                format!("{}{mark}", one.deploy_id),
                or_dash(one.tag.as_deref()),
                short(one.digest.as_deref()),
                one.at.clone(),
                if one.image_present { "here".to_owned() } else { "to be pulled".to_owned() },
            ]
        }));
        text.push_str(&aligned(&rows));
    }
    if !host.history.is_empty() {
        let mut rows = vec![row(["DEPLOY", "AT", "WHAT", "TAG", "BY", "WHY"])];
        rows.extend(host.history.iter().take(SHOWN).map(happened));
        text.push_str(&aligned(&rows));
    }
    text
}

fn serving(live: &LiveStatus, host: &HostStatus) -> Vec<Vec<String>> {
    let mut rows = vec![
        row(["live", &or_dash(live.tag.as_deref())]),
        row(["digest", live.digest.as_deref().unwrap_or("-")]),
        row(["revision", &or_dash(live.revision.as_deref())]),
        row(["deploy", &live.deploy_id]),
        row(["since", &live.since]),
        row(["by", &or_dash(live.by.as_deref())]),
        row(["state", &format!("{}, {} restarts", live.state, live.restarts)]),
    ];
    rows.extend(live.build_url.as_deref().map(|url| row(["build", url])));
    rows.extend(live.slot.as_deref().map(|slot| row(["slot", slot])));
    let front = host.front.as_ref();
    rows.extend(front.map(|one| row(["front", &format!("{}, {}", one.container, one.state)])));
    rows
}

fn happened(entry: &HistoryEntry) -> Vec<String> {
    let what = match (entry.kind, entry.outcome) {
        (Some(DeployKind::Rollback), Some(Outcome::Deployed)) => "gone back to",
        (_, Some(Outcome::Deployed)) => "deployed",
        (_, Some(Outcome::RolledBack)) => "failed, old one put back",
        (_, Some(Outcome::Broken)) => "broken",
        _ => "failed",
    };
    row([
        &entry.deploy_id,
        &entry.at,
        what,
        &or_dash(entry.tag.as_deref()),
        &or_dash(entry.by.as_deref()),
        entry.error.as_deref().unwrap_or_default(),
    ])
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(|cell| clean_line(cell).into_owned()).to_vec()
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn short(digest: Option<&str>) -> String {
    let hex = digest.map(|digest| digest.trim_start_matches("sha256:"));
    hex.map_or_else(|| "-".to_owned(), |hex| hex.chars().take(SHORT).collect())
}

/// Columns as wide as their widest cell, two spaces apart and two from the edge.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_release::PreviousRelease;

    #[test]
    fn a_host_in_lines() {
        let live = LiveStatus {
            deploy_id: "d2".into(),
            tag: Some("1.2".into()),
            state: "running".into(),
            since: "2026-11-23T07:00:00Z".into(),
            ..LiveStatus::default()
        };
        let host = HostStatus {
            host: "a@h".into(),
            live: Some(live),
            rollback_to: Some("d1".into()),
            previous: vec![PreviousRelease {
                deploy_id: "d1".into(),
                digest: Some("sha256:0123456789abcdef".into()),
                at: "2026-11-22T07:00:00Z".into(),
                ..PreviousRelease::default()
            }],
            history: vec![HistoryEntry {
                deploy_id: "d2".into(),
                outcome: Some(Outcome::Deployed),
                ..HistoryEntry::default()
            }],
            drift: vec!["it is paused".into()],
            ..HostStatus::default()
        };
        let gone = HostStatus {
            host: "a@g".into(),
            error: Some("no answer".into()),
            ..HostStatus::default()
        };
        let empty = HostStatus { host: "a@e".into(), ..HostStatus::default() };
        let status = Status { app: Some("web".into()), hosts: vec![host, gone, empty] };
        let text = of(&status);
        assert!(text.starts_with("web on a@h\n  live      1.2\n"), "{text}");
        assert!(text.contains("  drift: it is paused\n"), "{text}");
        assert!(text.contains("  d1 (next)    -    0123456789ab  2026-11-22T07:00:00Z"), "{text}");
        assert!(text.contains("\nweb on a@g\n  not known: no answer\n"), "{text}");
        assert!(text.ends_with("\nweb on a@e\n  nothing is live\n"), "{text}");
    }
}
