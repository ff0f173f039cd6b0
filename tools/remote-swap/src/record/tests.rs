use super::*;
use proptest::prelude::*;

fn entry(n: usize, good: bool) -> Entry {
    Entry {
        deploy_id: format!("d{n:04}"),
        origin: format!("d{n:04}"),
        kind: DeployKind::Deploy,
        at: "2026-11-23T07:00:00Z".to_owned(),
        reference: format!("r.example/web@sha256:{n}"),
        tag: None,
        revision: None,
        fingerprint: "h".to_owned(),
        strategy: "recreate".to_owned(),
        replaced: None,
        outcome: if good { Outcome::Deployed } else { Outcome::Failed },
        error: None,
        by: "me@here".to_owned(),
        build_url: None,
        build_number: None,
        build_job: None,
        image_build_url: None,
        committed_at: None,
    }
}

fn record(n: usize, good: bool) -> Record {
    Record { entry: entry(n, good), spec: good.then(|| "{}".to_owned()) }
}

fn live(n: usize) -> Live {
    let Entry { deploy_id, origin, reference, fingerprint, .. } = entry(n, true);
    Live { deploy_id, origin, reference, fingerprint }
}

fn chosen(records: &[Record], live: &Live) -> Option<String> {
    let releases = releases(records, &[]);
    choose(&releases, Some(live), None, "web").ok().map(|one| one.first.origin.clone())
}

#[test]
fn a_record_that_cannot_be_read_is_left_out() {
    let mut volume = record(1, true).volume("web");
    assert!(Record::from_volume(&volume).is_some());
    volume.labels.insert(name::DEPLOY.to_owned(), "{}".to_owned());
    assert!(Record::from_volume(&volume).is_none());
}

#[test]
fn the_same_release_again_is_not_gone_back_to() {
    let mut again = record(2, true);
    again.entry.reference = record(1, true).entry.reference;
    let third = record(3, true);
    assert_eq!(chosen(&[third.clone(), again.clone()], &live(3)).as_deref(), Some("d0002"));
    let like_second = Live { reference: again.entry.reference.clone(), ..live(2) };
    let zeroth = record(0, true);
    let all = [third, again, record(1, true), zeroth];
    assert_eq!(chosen(&all, &like_second).as_deref(), Some("d0000"));
}

#[test]
fn where_nothing_serves_what_served_last_is_gone_back_from() {
    let all = [record(4, false), record(3, true), record(2, false), record(1, true)];
    let last = Live::last(&all).unwrap();
    assert_eq!(last, live(3));
    assert_eq!(chosen(&all, &last).as_deref(), Some("d0001"));
}

/// Deploys and rollbacks as they may have happened, the newest first, and what then served, one
/// before the other without what was left by a rollback. A step is whether it goes back, and well.
fn history(steps: &[(bool, bool)]) -> (Vec<Record>, Vec<String>) {
    let mut all: Vec<Record> = Vec::new();
    let mut stack: Vec<Entry> = Vec::new();
    for (n, (back, good)) in steps.iter().enumerate() {
        let mut next = record(n, *good);
        next.entry.replaced = stack.last().map(|entry| entry.deploy_id.clone());
        if *back && *good && stack.len() > 1 {
            stack.pop();
            next.entry.kind = DeployKind::Rollback;
            if let Some(to) = stack.pop() {
                next.entry.origin = to.origin;
                next.entry.reference = to.reference;
            }
        }
        if *good {
            stack.push(next.entry.clone());
        }
        all.insert(0, next);
    }
    (all, stack.into_iter().map(|entry| entry.origin).collect())
}

fn any_steps() -> impl Strategy<Value = Vec<(bool, bool)>> {
    proptest::collection::vec((prop::bool::weighted(0.3), prop::bool::weighted(0.8)), 1..40)
}

proptest! {
    #[test]
    fn rollbacks_go_down_what_served_and_never_to_what_was_left(steps in any_steps()) {
        let (all, stack) = history(&steps);
        let expected = stack.iter().rev().nth(1).cloned();
        if let Some(last) = Live::last(&all) {
            prop_assert_eq!(chosen(&all, &last), expected);
        }
    }

    #[test]
    fn what_is_chosen_is_older_and_another_one(steps in any_steps(), keep in 0..40_usize) {
        let (all, _) = history(&steps);
        let all = &all[..keep.min(all.len())];
        if let Some(last) = Live::last(all) {
            let releases = releases(all, &[]);
            if let Ok(one) = choose(&releases, Some(&last), None, "web") {
                prop_assert!(one.first.origin < last.origin && !one.is(&last));
            }
        }
    }

    #[test]
    fn records_are_bounded_and_the_newest_good_ones_stay(
        good in proptest::collection::vec(prop::bool::weighted(0.2), 0..120)
    ) {
        let all: Vec<Record> =
            good.iter().enumerate().rev().map(|(n, good)| record(n, *good)).collect();
        let gone = surplus(&all);
        prop_assert_eq!(gone.len(), all.len().saturating_sub(KEPT));
        let newest = all.iter().filter(|one| one.is_good()).take(KEPT_GOOD);
        for one in newest {
            prop_assert!(!gone.contains(&one.entry.deploy_id.as_str()));
        }
        if let Some(newest) = all.first() {
            prop_assert!(!gone.contains(&newest.entry.deploy_id.as_str()));
        }
    }

    #[test]
    fn a_record_reads_back(n in 0..9999_usize, good: bool, text in "\\PC{0,20}") {
        let mut one = record(n, good);
        one.entry.tag = Some(text.clone());
        one.entry.error = Some(Reported { code: "x".to_owned(), message: text });
        let read = Record::from_volume(&one.volume("web")).unwrap();
        prop_assert_eq!(read.entry.text(), one.entry.text());
        prop_assert_eq!(read.spec, one.spec);
    }
}
