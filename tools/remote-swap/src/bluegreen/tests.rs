//! The strategy against an engine in memory, with each of its calls failing in turn.

use slipway_release::{Code, Document, Outcome, exit};
use slipway_shell::{Tool, Ui};

use super::deploy;
use crate::container::{Container, Role, Status, label};
use crate::front::{self, DEFAULT_IMAGE, Subnet};
use crate::job::Job;
use crate::record::Key;
use crate::recreate::fake::{Fake, Fault};
use crate::recreate::{self, Report};
use crate::spec::tests::options;

pub(super) fn job_with(name: &str, more: &[&str]) -> Job {
    let hex = "0".repeat(64);
    let image = format!("--image=r.example/{name}@sha256:{hex}");
    let mut args = vec![
        "--app=web",
        "-p=8000:5000",
        "--health-timeout=10s",
        "--soak=1s",
        "--host=a@b",
        &image,
    ];
    args.extend(more);
    Job::new(&options(&args), &Document::default(), &|_| None)
        .unwrap_or_else(|failure| panic!("{}", failure.message))
        .on_host(&Key::TEST)
}

pub(super) fn job(name: &str) -> Job {
    job_with(name, &[])
}

pub(super) async fn run(fake: &Fake, job: &Job) -> Report {
    let ui = Ui::new("test", Box::new(std::io::sink()), false);
    deploy(fake, "host", job, &ui, &fake.cancelled, None).await
}

async fn run_recreate(fake: &Fake, job: &Job) -> Report {
    let ui = Ui::new("test", Box::new(std::io::sink()), false);
    recreate::deploy(fake, "host", job, &ui, &fake.cancelled, None).await
}

/// A host on which `old` serves and the one before it is kept.
pub(super) async fn host() -> Fake {
    let fake = Fake::new();
    for name in ["older", "old"] {
        let report = run(&fake, &job(name)).await;
        let told = report.failure.map(|failure| failure.message);
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{told:?}");
    }
    fake.again(Fault::None)
}

/// A host on which `old` serves at a port of its own.
async fn host_without_front() -> Fake {
    let fake = Fake::new();
    let report = run_recreate(&fake, &job("old")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    fake.again(Fault::None)
}

fn serving(fake: &Fake) -> String {
    fake.serving().map_or("-".to_owned(), |reference| {
        reference.trim_start_matches("r.example/").split('@').next().unwrap().to_owned()
    })
}

pub(super) fn named(fake: &Fake, which: impl Fn(&Container) -> bool) -> Vec<String> {
    let all = fake.containers.borrow();
    let name = |one: &Container| {
        let reference = one.label(label::REFERENCE).unwrap_or_default();
        reference.trim_start_matches("r.example/").split('@').next().unwrap().to_owned()
    };
    all.iter().filter(|one| which(one)).map(name).collect()
}

/// What has to hold after a deploy that went well: one front, one release that serves, both brought
/// back by the engine, and what is kept is stopped.
pub(super) fn assert_tidy(fake: &Fake, name: &str, context: &str) {
    assert_eq!(serving(fake), name, "{context}");
    let up = |one: &Container| one.status == Status::Running;
    assert_eq!(named(fake, |one| up(one) && one.role() == Role::Release), [name], "{context}");
    assert_eq!(named(fake, |one| one.role() == Role::Front).len(), 1, "{context}");
    assert!(named(fake, |one| up(one) != one.kept_alive).is_empty(), "{context}");
    assert!(named(fake, |one| one.status == Status::Created).is_empty(), "{context}");
    assert!(named(fake, |one| one.role() == Role::Candidate).is_empty(), "{context}");
    assert!(named(fake, |one| !up(one)).len() <= 2, "{context}");
}

async fn rerun(fake: Fake, name: &str, context: &str) {
    let fake = fake.again(Fault::None);
    let report = run(&fake, &job(name)).await;
    let done = matches!(report.outcome.outcome, Some(Outcome::Deployed | Outcome::Unchanged));
    assert!(done, "{context}: {:?}", report.outcome);
    assert_tidy(&fake, name, context);
}

async fn calls(name: &str) -> usize {
    let fake = host().await;
    run(&fake, &job(name)).await;
    fake.calls.get()
}

#[tokio::test(start_paused = true)]
async fn three_are_kept_and_the_rest_is_removed() {
    let fake = host().await;
    let report = run(&fake, &job("new")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    assert!(report.outcome.previous.unwrap().contains("/old@"));
    assert_eq!(report.outcome.unserved_ms, None);
    assert_tidy(&fake, "new", "");
    assert_eq!(named(&fake, |one| !one.is_up()), ["older", "old"]);
    rerun(fake, "newer", "").await;
}

#[tokio::test(start_paused = true)]
async fn what_serves_already_is_left_alone() {
    let fake = host().await;
    fake.touched.borrow_mut().clear();
    assert_eq!(run(&fake, &job("old")).await.outcome.outcome, Some(Outcome::Unchanged));
    assert!(fake.touched.borrow().is_empty());
    // Another specification is another release.
    let report = run(&fake, &job_with("old", &["-e=A=1"])).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_well_never_serves() {
    for (name, code) in [("sick", Code::Unhealthy), ("crash", Code::CandidateExited)] {
        let fake = host().await;
        let before = fake.containers.borrow().clone();
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed));
        assert_eq!(*fake.containers.borrow(), before, "{name}");
        let failure = report.failure.unwrap();
        assert_eq!((failure.code, failure.exit), (code, exit::FAILED));
        assert_eq!(failure.evidence.unwrap()["phase"], "candidate");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_is_returned_from() {
    for (name, code) in [("trap", Code::Unhealthy), ("dies", Code::CandidateExited)] {
        let fake = host().await;
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::RolledBack), "{name}");
        let failure = report.failure.unwrap();
        assert_eq!((failure.code, failure.exit), (code, exit::FAILED), "{}", failure.message);
        assert_tidy(&fake, "old", name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_fails_leaves_nothing() {
    for name in ["sick", "crash", "trap", "dies"] {
        let fake = Fake::new();
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed), "{name}");
        assert!(fake.containers.borrow().is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_of_its_own_is_taken_over_and_given_back() {
    let fake = host_without_front().await;
    let report = run(&fake, &job("new")).await;
    assert!(report.outcome.unserved_ms.is_some());
    assert_tidy(&fake, "new", "");
    for name in ["trap", "dies"] {
        let fake = host_without_front().await;
        let before = fake.containers.borrow().clone();
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::RolledBack), "{name}");
        assert_eq!(*fake.containers.borrow(), before, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_taken_over_when_it_is_named() {
    let publish = || ["8000:80".parse().unwrap()];
    let fake = Fake::new();
    fake.stranger(&publish());
    let failure = run(&fake, &job("new")).await.failure.unwrap();
    assert_eq!(failure.code, Code::PortInUse);
    assert!(fake.touched.borrow().is_empty());
    let adopt = ["--adopt=stranger"];
    let report = run(&fake, &job_with("trap", &adopt)).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::RolledBack));
    assert!(fake.containers.borrow()[0].status == Status::Running);
    let report = run(&fake, &job_with("new", &adopt)).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    assert!(report.outcome.unserved_ms.is_some());
    let adopted = fake.containers.borrow()[0].clone();
    assert!(adopted.status == Status::Stopped && !adopted.kept_alive);
    // It is done; the option may stay where it is.
    let report = run(&fake, &job_with("newer", &adopt)).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    let missing = run(&Fake::new(), &job_with("new", &adopt)).await.failure.unwrap();
    assert_eq!(missing.code, Code::Usage);
}

#[tokio::test(start_paused = true)]
async fn a_front_that_has_to_be_another_is_replaced() {
    for more in [&["-p=9000:5000"][..], &["--front-image=haproxy:9"]] {
        let fake = host().await;
        let report = run(&fake, &job_with("new", more)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
        assert!(report.outcome.unserved_ms.is_some());
        assert_tidy(&fake, "new", "");
        let fake = host().await;
        let before = fake.containers.borrow().clone();
        let report = run(&fake, &job_with("trap", more)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::RolledBack));
        assert_eq!(*fake.containers.borrow(), before);
        assert_eq!(serving(&fake), "old");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_call_fails_something_serves_and_a_rerun_converges() {
    let start = host().await;
    for name in ["new", "trap", "dies"] {
        for n in 0..calls(name).await {
            for fault in [Fault::Refuse(n), Fault::Unanswered(n)] {
                let fake = start.copy().again(fault);
                let report = run(&fake, &job(name)).await;
                let context = format!("{name} {fault:?} {:?}", fake.journal.borrow().get(n));
                let expected = match report.outcome.outcome.unwrap() {
                    Outcome::Deployed => "new",
                    Outcome::Failed | Outcome::RolledBack => "old",
                    // The one call that was needed to go back.
                    Outcome::Broken if name != "new" => {
                        rerun(fake, "new", &context).await;
                        continue;
                    }
                    other => panic!("{context}: {other:?}"),
                };
                assert_eq!(serving(&fake), expected, "{context}");
                rerun(fake, "new", &context).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_any_call_something_serves_and_a_rerun_converges() {
    let start = host().await;
    for name in ["new", "trap", "dies"] {
        for n in 0..calls(name).await {
            for fault in [Fault::Cut(n), Fault::Gone(n)] {
                for next in ["new", "old", "other", "crash"] {
                    let fake = start.copy().again(fault);
                    let ended = run(&fake, &job(name)).await.outcome.outcome;
                    let context =
                        format!("{name} {fault:?} {:?}, then {next}", fake.journal.borrow().get(n));
                    let serves = serving(&fake);
                    // What dies after the switch is covered by the old one.
                    assert!(["old", name].contains(&serves.as_str()), "{context}: {serves}");
                    if matches!(ended, Some(Outcome::Failed | Outcome::RolledBack)) {
                        assert_eq!(serves, "old", "{context}");
                    }
                    if next == "crash" {
                        let fake = fake.again(Fault::None);
                        let report = run(&fake, &job(next)).await;
                        assert_eq!(report.outcome.outcome, Some(Outcome::Failed), "{context}");
                        assert!(["old", name].contains(&serving(&fake).as_str()), "{context}");
                    } else {
                        rerun(fake, next, &context).await;
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_is_cut_off_at_any_call_leaves_something_serving() {
    let start = host_without_front().await;
    let all = start.copy();
    run(&all, &job("new")).await;
    for n in 0..all.calls.get() {
        for fault in [Fault::Cut(n), Fault::Gone(n), Fault::Refuse(n), Fault::Unanswered(n)] {
            let fake = start.copy().again(fault);
            run(&fake, &job("new")).await;
            let context = format!("{fault:?} {:?}", fake.journal.borrow().get(n));
            assert!(["old", "new"].contains(&serving(&fake).as_str()), "{context}");
            rerun(fake, "new", &context).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_engine_restarted_at_any_call_it_says_what_serves() {
    let fronts = ["--front-image=haproxy:9"];
    for (start, args) in
        [(host().await, [].as_slice()), (host().await, &fronts), (host_without_front().await, &[])]
    {
        let whole = start.copy();
        run(&whole, &job_with("new", args)).await;
        for n in 0..whole.calls.get() {
            let fake = start.copy().again(Fault::Restart(n));
            let report = run(&fake, &job_with("new", args)).await;
            let context = format!("{args:?} at {:?}", fake.journal.borrow().get(n));
            let deployed = report.outcome.outcome == Some(Outcome::Deployed);
            assert_eq!(serving(&fake), if deployed { "new" } else { "old" }, "{context}");
            rerun(fake, "new", &context).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_end_at_any_call_it_ends_soon_and_something_serves() {
    let start = host().await;
    for name in ["new", "trap"] {
        for n in 0..calls(name).await {
            let fake = start.copy().again(Fault::Signal(n));
            let report = run(&fake, &job(name)).await;
            let context = format!("{name} signal at {:?}", fake.journal.borrow().get(n));
            let took = fake.signalled.get().unwrap().elapsed();
            assert!(took < crate::RemoteSwap::GRACE, "{context}: {took:?}");
            let expected = match report.outcome.outcome.unwrap() {
                Outcome::Deployed => name,
                Outcome::Failed | Outcome::RolledBack => "old",
                other => panic!("{context}: {other:?}"),
            };
            assert_eq!(serving(&fake), expected, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_front_nothing_is_done_to_what_has_one() {
    let fake = host().await;
    fake.touched.borrow_mut().clear();
    let report = run_recreate(&fake, &job("new")).await;
    assert_eq!(report.failure.unwrap().code, Code::PortInUse);
    assert!(fake.touched.borrow().is_empty());
    assert_eq!(serving(&fake), "old");
}

#[tokio::test(start_paused = true)]
async fn a_plan_touches_nothing_and_tells_what_the_deploy_does() {
    let actions = async |fake: &Fake, job: &Job| {
        fake.touched.borrow_mut().clear();
        let ui = Ui::new("test", Box::new(std::io::sink()), false);
        let swap = recreate::Swap::new(fake, "host", job, &ui, &fake.cancelled, None);
        let (steps, changes) = swap.plan_slot().await.unwrap();
        assert!(fake.touched.borrow().is_empty());
        (steps.into_iter().map(|step| step.action).collect::<Vec<_>>().join(" "), changes)
    };
    let fake = Fake::new();
    assert_eq!(actions(&fake, &job("new")).await, ("start start watch".to_owned(), true));
    let fake = host().await;
    assert_eq!(actions(&fake, &job("new")).await, ("start turn watch stop".to_owned(), true));
    assert_eq!(actions(&fake, &job("old")).await, (String::new(), false));
    let drain = job_with("new", &["--drain-timeout=7s"]);
    assert_eq!(actions(&fake, &drain).await.0, "start configure turn watch stop");
    let image = job_with("new", &["--front-image=haproxy:9"]);
    assert_eq!(actions(&fake, &image).await.0, "start replace watch stop");
    let fake = host_without_front().await;
    assert_eq!(actions(&fake, &job("new")).await.0, "start replace watch stop");
    // What was cut short is told, too.
    let fake = host().await;
    run(&fake, &job("new")).await;
    let started = fake.journal.borrow().iter().position(|call| call.starts_with("start ")).unwrap();
    let fake = host().await.again(Fault::Gone(started));
    run(&fake, &job("new")).await;
    let (told, _) = actions(&fake.again(Fault::None), &job("new")).await;
    assert!(told.starts_with("remove "), "{told}");
}

#[test]
fn a_front_may_take_as_long_to_end_as_the_application() {
    let subnet = Subnet::parse("172.18.0.0/16").unwrap();
    let body = front::body(&job_with("new", &["--stop-timeout=3s"]), DEFAULT_IMAGE, subnet);
    assert_eq!(body.stop_timeout, Some(3));
}
