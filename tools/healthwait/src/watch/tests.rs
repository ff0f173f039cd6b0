use super::*;
use crate::seen::Defect;
use proptest::prelude::*;

const RULE: Rule = Rule { consecutive: 2, stable: Duration::ZERO, gone: false, fail_fast: false };

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
    let mut watch = Watch::new("http://a/", None, RULE);
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
    let mut watch = Watch::new("http://a/", None, Rule { stable: at(100), ..RULE });
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
    let mut watch = Watch::new("http://a/", None, Rule { stable: at(1), consecutive: 3, ..RULE });
    watch.record(at(1), seen(None));
    assert_eq!(watch.record(at(9), seen(None)).next, GOOD);
}

#[test]
fn what_is_gone_stays_away() {
    let mut watch = Watch::new("http://a/", None, Rule { gone: true, ..RULE });
    assert_eq!(watch.record(at(1), seen(None)).next, bad(1));
    // That this side is out of sockets says nothing of the other.
    let local = || seen_why(Some("too many open files"), Why::Local);
    assert_eq!(watch.record(at(2), local()).next, bad(2));
    assert_eq!(watch.record(at(3), seen(Some("connection refused"))).next, GOOD);
    assert_eq!(watch.record(at(4), seen(Some("name not found"))).next, Ok(Ended::Healthy));
    assert_eq!(watch.state(), "gone after 0.00 s");
    let states: Vec<_> =
        watch.section(at(9)).timeline.into_iter().map(|entry| entry.state).collect();
    let expected =
        ["still there", "too many open files", "gone: connection refused", "gone: name not found"];
    assert_eq!(states, expected);
}

#[test]
fn what_is_hopeless_is_given_up_if_that_was_asked() {
    let hopeless = || seen_why(Some("status 404"), Why::Hopeless);
    let mut patient = Watch::new("http://a/", None, RULE);
    let mut watch = Watch::new("http://a/", None, Rule { fail_fast: true, ..RULE });
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
    let section = Watch::new("http://a/", None, RULE).section(at(9));
    assert_eq!(section.reason.as_deref(), Some("no answer yet"));
    assert_eq!((section.attempts, section.timeline[0].tries, section.waited_ms), (1, 1, 9));
    assert_eq!((section.latency_p99_ms, section.first_success_ms), (None, None));
}

#[test]
fn a_target_that_comes_and_goes_is_not_told_of_at_each_change() {
    let mut watch = Watch::new("http://a/", None, RULE);
    let mut told = Vec::new();
    for n in 0..250_u64 {
        if watch.record(at(n * 100), seen((n % 2 == 0).then_some("status 500"))).tell {
            told.push((n * 100, watch.state()));
        }
    }
    let again = || "status 500, after it was good".to_owned();
    let expected =
        [(0, "status 500".to_owned()), (200, again()), (10_200, again()), (20_200, again())];
    assert_eq!(told, expected);
}

#[test]
fn the_state_that_lasts_is_told_in_the_end() {
    let mut watch = Watch::new("http://a/", None, RULE);
    for n in 0..50 {
        watch.record(at(n), seen(Some(&format!("/left is {n}, expected 0"))));
    }
    let told: Vec<u64> = (1..300)
        .filter(|n| watch.record(at(n * 100), seen(Some("connection refused"))).tell)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn how_slow_an_answer_is_makes_no_other_state() {
    let mut watch = Watch::new("http://a/", None, RULE);
    let slow = |millis: u64| {
        let why = Why::Slow { limit: at(100) };
        seen_why(Some(&format!("took {millis}ms, expected at most 100ms")), why)
    };
    assert!(watch.record(at(1), slow(302)).tell);
    assert!(!watch.record(at(2), slow(306)).tell);
    let section = watch.section(at(9));
    assert_eq!(section.timeline.len(), 1);
    assert_eq!(section.timeline[0].state, "slower than 100ms");
    assert_eq!(section.reason.as_deref(), Some("took 306ms, expected at most 100ms"));
}

#[test]
fn a_state_that_changes_at_each_try_is_not_told_each_time() {
    let mut watch = Watch::new("http://a/", None, RULE);
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
        let mut watch = Watch::new("tcp://a:1", None, Rule { consecutive, gone, ..RULE });
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
