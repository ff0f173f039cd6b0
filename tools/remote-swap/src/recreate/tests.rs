//! The strategy against an engine in memory, with each of its calls failing in turn.

use std::time::Duration;

use slipway_release::{Code, Document, Outcome, exit};
use slipway_shell::{Tool, Ui};

use super::fake::{Fake, Fault};
use super::{Report, deploy};
use crate::container::{Role, Status, label};
use crate::job::Job;
use crate::record::Key;
use crate::spec::tests::options;

fn job(name: &str) -> Job {
    job_with(name, &[])
}

fn job_with(name: &str, more: &[&str]) -> Job {
    let hex = "0".repeat(64);
    let image = format!("--image=r.example/{name}@sha256:{hex}");
    let mut args = vec!["--app=web", "-p=8000:5000", "--health-timeout=10s", "--host=a@b"];
    args.extend(["--keep=2", "--strategy=recreate", &image]);
    args.extend(more);
    Job::new(&options(&args), &Document::default(), &|_| None)
        .unwrap_or_else(|failure| panic!("{}", failure.message))
        .on_host(&Key::TEST)
}

async fn run(fake: &Fake, job: &Job) -> Report {
    let ui = Ui::new("test", Box::new(std::io::sink()), false);
    deploy(fake, "host", job, &ui, &fake.cancelled, None).await
}

/// A host on which `old` serves and the one before it is kept.
async fn host() -> Fake {
    let fake = Fake::new();
    for name in ["older", "old"] {
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    }
    fake.again(Fault::None)
}

/// What serves, by name; `-` if nothing does.
fn serving(fake: &Fake) -> String {
    fake.serving().map_or("-".to_owned(), |reference| {
        reference.trim_start_matches("r.example/").split('@').next().unwrap().to_owned()
    })
}

/// How many calls a deploy makes when nothing goes wrong.
async fn calls(name: &str) -> usize {
    let fake = host().await;
    run(&fake, &job(name)).await;
    fake.calls.get()
}

/// What has to hold after a deploy that went well: one that serves and is kept alive, one that is
/// kept, and nothing else.
fn assert_tidy(fake: &Fake, name: &str, context: &str) {
    assert_eq!(serving(fake), name, "{context}");
    let all = fake.containers.borrow();
    let (live, rest): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.status == Status::Running);
    assert!(live.len() == 1 && live[0].kept_alive, "{context}: {live:?}");
    assert!(rest.len() <= 1, "{context}: {rest:?}");
    assert!(rest.iter().all(|one| !one.kept_alive && one.role() == Role::Release), "{context}");
}

/// A fresh process deploys `name` and nothing goes wrong.
async fn rerun(fake: Fake, name: &str, context: &str) {
    let fake = fake.again(Fault::None);
    let report = run(&fake, &job(name)).await;
    let done = matches!(report.outcome.outcome, Some(Outcome::Deployed | Outcome::Unchanged));
    assert!(done, "{context}: {:?}", report.outcome);
    assert_tidy(&fake, name, context);
}

#[tokio::test(start_paused = true)]
async fn one_serves_and_one_is_kept() {
    let fake = host().await;
    let report = run(&fake, &job("new")).await;
    assert!(report.failure.is_none());
    let outcome = report.outcome;
    assert_eq!(outcome.outcome, Some(Outcome::Deployed));
    assert!(outcome.previous.unwrap().contains("/old@"));
    assert!(outcome.unserved_ms.is_some() && outcome.container_id.is_some());
    assert_tidy(&fake, "new", "");
    assert_eq!(fake.containers.borrow().len(), 2);
    let kept = fake.containers.borrow()[0].label(label::REFERENCE).unwrap().to_owned();
    assert!(kept.contains("/old@"), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn what_serves_already_is_left_alone() {
    let fake = host().await;
    fake.touched.borrow_mut().clear();
    let report = run(&fake, &job("old")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Unchanged));
    assert!(report.outcome.container_id.is_some());
    assert!(fake.touched.borrow().is_empty());
    // The same image with another specification is another release.
    let mut other = job("old");
    other.fingerprint = "other".into();
    assert_eq!(run(&fake, &other).await.outcome.outcome, Some(Outcome::Deployed));
}

#[tokio::test(start_paused = true)]
async fn what_speaks_no_http_is_left_to_its_healthcheck() {
    let fake = host().await;
    let report = run(&fake, &job("checked-greeter")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{:?}", report.outcome);
    assert_eq!(report.outcome.health.as_deref(), Some("container"));
    let labels = fake.containers.borrow().last().unwrap().labels.clone();
    assert_eq!(labels[label::HEALTH], "container");
    // It is known again.
    let again = run(&fake, &job("checked-greeter")).await;
    assert_eq!(again.outcome.outcome, Some(Outcome::Unchanged));
    assert_eq!(again.outcome.health.as_deref(), Some("container"));
    // Where HTTP is asked for, nothing else will do; nor without a HEALTHCHECK.
    let fake = host().await;
    for (name, more) in [("checked-greeter", &["--health-path=/"][..]), ("greeter", &[])] {
        let report = run(&fake, &job_with(name, more)).await;
        let failure = report.failure.unwrap();
        assert_eq!(
            (failure.code, report.outcome.outcome),
            (Code::Unhealthy, Some(Outcome::Failed))
        );
        assert!(failure.hint.unwrap().contains("--health tcp"));
    }
}

#[tokio::test(start_paused = true)]
async fn health_is_asked_for_as_the_option_says() {
    let deployed = async |name: &str, kind: &str| {
        let fake = host().await;
        let report = run(&fake, &job_with(name, &[&format!("--health={kind}")])).await;
        (report.outcome.outcome == Some(Outcome::Deployed), report.outcome.health.unwrap())
    };
    assert_eq!(deployed("greeter", "tcp").await, (true, "tcp".to_owned()));
    assert_eq!(deployed("greeter", "none").await, (true, "none".to_owned()));
    assert_eq!(deployed("sick", "none").await, (true, "none".to_owned()));
    assert_eq!(deployed("sick", "https").await, (false, "https".to_owned()));
    assert_eq!(deployed("sick-checked", "container").await, (true, "container".to_owned()));
    assert_eq!(deployed("new", "container").await, (false, "container".to_owned()));
    assert_eq!(deployed("crash", "none").await, (false, "none".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_fails_changes_nothing() {
    for (name, code) in [("sick", Code::Unhealthy), ("crash", Code::CandidateExited)] {
        let fake = host().await;
        let before = fake.containers.borrow().clone();
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed));
        assert_eq!(*fake.containers.borrow(), before, "{name}");
        let failure = report.failure.unwrap();
        assert_eq!((failure.code, failure.exit), (code, exit::FAILED));
        let evidence = failure.evidence.unwrap();
        assert_eq!(evidence["phase"], "candidate");
        assert_eq!(evidence["log_tail"][0], "the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_in_its_place_is_rolled_back() {
    let fake = host().await;
    let before = fake.containers.borrow().clone();
    let report = run(&fake, &job("trap")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::RolledBack));
    assert!(report.outcome.unserved_ms.is_some());
    assert_eq!(*fake.containers.borrow(), before);
    let failure = report.failure.unwrap();
    assert_eq!((failure.code, failure.exit), (Code::Unhealthy, exit::FAILED));
    assert_eq!(failure.evidence.unwrap()["probe"]["status"], 503);
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_fails_leaves_nothing() {
    for name in ["sick", "crash", "trap"] {
        let fake = Fake::new();
        let report = run(&fake, &job(name)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed), "{name}");
        assert!(fake.containers.borrow().is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_are_never_touched() {
    let fake = host().await;
    fake.stranger(&[]);
    run(&fake, &job("new")).await;
    assert!(!fake.touched.borrow().contains(&"stranger".to_owned()));

    let fake = Fake::new();
    fake.stranger(&["8000:80".parse().unwrap()]);
    let report = run(&fake, &job("new")).await;
    let failure = report.failure.unwrap();
    assert_eq!(failure.code, Code::PortInUse);
    assert!(failure.message.contains("blog"), "{}", failure.message);
    assert!(fake.touched.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_deploys_at_once_leave_one_of_them_serving() {
    let (one, other) = (job("new"), job("other"));
    for apart in 0..calls("new").await {
        let fake = host().await;
        let late = async {
            // Each call takes a millisecond.
            tokio::time::sleep(Duration::from_millis(apart.try_into().unwrap())).await;
            run(&fake, &other).await
        };
        let (first, second) = tokio::join!(run(&fake, &one), late);
        let ends = [first.outcome.outcome.unwrap(), second.outcome.outcome.unwrap()];
        let context = format!("{apart} calls apart: {ends:?}");
        assert!(!ends.contains(&Outcome::Broken), "{context}");
        assert!(["old", "new", "other"].contains(&serving(&fake).as_str()), "{context}");
        rerun(fake, "new", &context).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_call_fails_something_serves_and_a_rerun_converges() {
    for name in ["new", "trap"] {
        for n in 0..calls(name).await {
            for fault in [Fault::Refuse(n), Fault::Unanswered(n)] {
                let fake = host().await.again(fault);
                let report = run(&fake, &job(name)).await;
                let context = format!("{name} {fault:?} {:?}", fake.journal.borrow().get(n));
                let end = report.outcome.outcome.unwrap();
                match end {
                    Outcome::Deployed => assert_eq!(serving(&fake), "new", "{context}"),
                    Outcome::Failed | Outcome::RolledBack => {
                        assert_eq!(serving(&fake), "old", "{context}");
                    }
                    // The one call that was needed to bring the old one back.
                    Outcome::Broken => {
                        assert_eq!(report.failure.unwrap().exit, exit::NEEDS_PERSON, "{context}");
                    }
                    other => panic!("{context}: {other:?}"),
                }
                assert!(end != Outcome::Broken || name == "trap", "{context}");
                rerun(fake, "new", &context).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_any_call_something_serves_and_a_rerun_converges() {
    for name in ["new", "trap"] {
        for n in 0..calls(name).await {
            for fault in [Fault::Cut(n), Fault::Gone(n)] {
                for next in ["new", "old", "other", "crash"] {
                    let fake = host().await.again(fault);
                    let context = cut_off(&fake, name, n).await + ", then " + next;
                    // Nobody was there to see that the trap is sick in its place.
                    let up = fake.released();
                    assert!(up == "old" || up == name, "{context}: {up}");
                    converges(fake, next, &context).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_engine_restarted_at_any_call_it_says_what_serves() {
    for name in ["new", "trap"] {
        for n in 0..calls(name).await {
            let fake = host().await.again(Fault::Restart(n));
            let report = run(&fake, &job(name)).await;
            let context = format!("{name} at {:?}", fake.journal.borrow().get(n));
            let expected = match report.outcome.outcome {
                Some(Outcome::Deployed) => "new",
                _ => "old",
            };
            assert_eq!(serving(&fake), expected, "{context}");
            converges(fake, "new", &context).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_where_no_orders_are_taken_a_rerun_converges() {
    for name in ["new", "trap"] {
        for n in 0..calls(name).await {
            for next in ["new", "old", "other", "crash"] {
                let fake = host().await.again(Fault::Cut(n));
                fake.orders.set(false);
                let context = cut_off(&fake, name, n).await + ", then " + next;
                converges(fake, next, &context).await;
            }
        }
    }
}

/// Deploys with the connection cut at the call `n`; answers what was being done.
async fn cut_off(fake: &Fake, name: &str, n: usize) -> String {
    let report = run(fake, &job(name)).await;
    let fault = fake.fault.get();
    let context = format!("{name} {fault:?} at {:?}", fake.journal.borrow().get(n));
    // A deploy whose last calls only tidy up has done what was asked for.
    if let Some(failure) = report.failure {
        let broken = report.outcome.outcome == Some(Outcome::Broken);
        assert_eq!(failure.exit == exit::NEEDS_PERSON, broken, "{context}");
        assert!(broken || serving(fake) == "old", "{context}");
    }
    context
}

/// After a cut, with nobody there: what starts by itself is what was proved, and the next deploy
/// puts all right.
async fn converges(fake: Fake, next: &str, context: &str) {
    // Whatever starts by itself with the engine is what was proved.
    let all = fake.containers.borrow().clone();
    let proved = |text: &str| text.contains("/old@") || text.contains("/new@");
    let mut alive = all.iter().filter(|one| one.kept_alive);
    assert!(alive.clone().count() >= 1, "{context}");
    assert!(alive.all(|one| one.label(label::REFERENCE).is_some_and(proved)), "{context}");
    if next == "crash" {
        let fake = fake.again(Fault::None);
        let report = run(&fake, &job(next)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed), "{context}");
        assert!(proved(&format!("/{}@", serving(&fake))), "{context}");
    } else {
        rerun(fake, next, context).await;
    }
}

#[tokio::test(start_paused = true)]
async fn putting_right_what_was_cut_may_fail_as_well() {
    for n in 0..calls("trap").await {
        // The first calls of a deploy are those that put things right.
        for m in 0..8 {
            let fake = host().await.again(Fault::Cut(n));
            run(&fake, &job("trap")).await;
            let fake = fake.again(Fault::Refuse(m));
            let report = run(&fake, &job("new")).await;
            let context = format!("cut at {n}, refused at {:?}", fake.journal.borrow().get(m));
            match report.outcome.outcome.unwrap() {
                Outcome::Deployed => assert_tidy(&fake, "new", &context),
                Outcome::Failed => {}
                other => panic!("{context}: {other:?}"),
            }
            rerun(fake, "new", &context).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_end_at_any_call_it_ends_soon_and_something_serves() {
    for name in ["new", "trap"] {
        let orders = |n: usize| [(n, true), (n, false)];
        for (n, orders) in (0..calls(name).await).flat_map(orders) {
            let fake = host().await.again(Fault::Signal(n));
            fake.orders.set(orders);
            let report = run(&fake, &job(name)).await;
            let context = format!("{name} signal at {:?}", fake.journal.borrow().get(n));
            let took = fake.signalled.get().unwrap().elapsed();
            assert!(took < crate::RemoteSwap::GRACE, "{context}: {took:?}");
            let expected = match report.outcome.outcome.unwrap() {
                Outcome::Deployed => "new",
                Outcome::Failed | Outcome::RolledBack => "old",
                other => panic!("{context}: {other:?}"),
            };
            assert_tidy(&fake, expected, &context);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_one_that_does_not_come_back_needs_a_person() {
    // It serves no more because what it needs is gone: the rollback finds that out.
    let fake = host().await;
    for one in fake.containers.borrow_mut().iter_mut() {
        one.labels.insert(label::REFERENCE.into(), "r.example/crash@sha256:0".into());
    }
    let report = run(&fake, &job("trap")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Broken));
    let failure = report.failure.unwrap();
    assert_eq!((failure.code, failure.exit), (Code::RestoreFailed, exit::NEEDS_PERSON));
    rerun(fake, "new", "").await;
}

/// A deploy that is refused, with nothing changed; its failure.
async fn refused(fake: &Fake, job: &Job) -> slipway_release::Failure {
    fake.touched.borrow_mut().clear();
    let report = run(fake, job).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Failed));
    assert!(fake.touched.borrow().is_empty() && serving(fake) == "old");
    assert!(!fake.journal.borrow().iter().any(|call| call == "pull"));
    report.failure.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_speaks_against_a_deploy_is_told_before_the_pull() {
    let fake = host().await;
    fake.remotely.borrow_mut().bytes = Some(100 << 20);
    fake.free.set(Some(300 << 20));
    let full = refused(&fake, &job("unpulled")).await;
    assert_eq!(full.code, Code::DiskFull);
    assert!(
        full.message.contains("300 MiB") && full.message.contains("356 MiB"),
        "{}",
        full.message
    );
    // An image that is there takes nothing more.
    assert!(run(&host().await, &job("new")).await.failure.is_none());

    fake.free.set(None);
    fake.skew.set(jiff::SignedDuration::from_mins(-10));
    let skewed = refused(&fake, &job("unpulled")).await;
    assert_eq!(skewed.code, Code::ClockSkew);
    assert!(skewed.message.contains("600 s behind"), "{}", skewed.message);

    fake.skew.set(jiff::SignedDuration::ZERO);
    fake.api.set(slipway_engine::ApiVersion { major: 1, minor: 40 });
    let old = refused(&fake, &job("unpulled")).await;
    assert_eq!(old.code, Code::EngineUnsupported);
    assert!(old.message.contains("19.03.15") && old.message.contains("1.41"), "{}", old.message);

    fake.api.set(slipway_engine::ApiVersion { major: 1, minor: 41 });
    fake.remotely.borrow_mut().platforms = vec!["linux/arm64/v8".into(), "windows/amd64".into()];
    assert_eq!(refused(&fake, &job("unpulled")).await.code, Code::ArchMismatch);
    fake.remotely.borrow_mut().platforms.push("linux/amd64".into());
    // What cannot be learned keeps nobody from deploying.
    assert!(run(&fake, &job("unpulled")).await.failure.is_none());
    assert_eq!(serving(&fake), "unpulled");
}

#[tokio::test(start_paused = true)]
async fn an_older_build_is_refused_unless_it_is_allowed() {
    let fake = host().await;
    let numbered = |name: &str, number: u64| {
        let mut job = job(name);
        job.provenance.number = Some(number);
        job.provenance.job = Some("web/main".into());
        job
    };
    for name in ["old-41", "old"] {
        assert!(run(&fake, &numbered(name, 42)).await.failure.is_none());
    }
    let older = refused(&fake, &numbered("new", 41)).await;
    assert_eq!(older.code, Code::OlderBuild);
    assert!(older.message.contains("42") && older.message.contains("41"), "{}", older.message);
    let mut allowed = numbered("new", 41);
    allowed.allow_older = true;
    assert!(run(&fake, &allowed).await.failure.is_none());
    assert_eq!(serving(&fake), "new");
}

#[tokio::test(start_paused = true)]
async fn as_many_releases_are_kept_as_asked_for() {
    let fake = Fake::new();
    for name in ["a", "b", "c", "d"] {
        let mut job = job(name);
        job.keep = 3;
        assert!(run(&fake, &job).await.failure.is_none());
    }
    assert_eq!(fake.containers.borrow().len(), 3);
    let gone = fake.removed_images.borrow().clone();
    assert!(gone.len() == 1 && gone[0].starts_with("r.example/a@"), "{gone:?}");
    // One that is deployed again is needed, whatever became of its older container.
    assert!(run(&fake, &job("b")).await.failure.is_none());
    assert!(run(&fake, &job("c")).await.failure.is_none());
    let gone = fake.removed_images.borrow().clone();
    assert!(gone.iter().any(|one| one.starts_with("r.example/d@")), "{gone:?}");
    assert!(gone.iter().all(|one| !one.starts_with("r.example/b@")), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_command_runs_before_anything_is_switched() {
    let with = |name: &str, command: &str| {
        job_with(name, &[&format!("--release-command={command}"), "--release-timeout=60s"])
    };
    let fake = host().await;
    assert!(run(&fake, &with("new", "exit 0")).await.failure.is_none());
    assert_tidy(&fake, "new", "");
    let created = |fake: &Fake| {
        let journal = fake.journal.borrow();
        journal.iter().filter(|call| call.starts_with("create")).cloned().collect::<Vec<_>>()
    };
    assert!(created(&fake)[0].ends_with("-task"), "{:?}", created(&fake));
    // What serves already needs none.
    let fake = fake.again(Fault::None);
    assert_eq!(run(&fake, &with("new", "exit 1")).await.outcome.outcome, Some(Outcome::Unchanged));

    for (command, told) in [("exit 3", "exit code 3"), ("sleep", "longer than 60 s")] {
        let fake = host().await;
        let report = run(&fake, &with("new", command)).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Failed));
        let failure = report.failure.unwrap();
        assert_eq!(failure.code, Code::ReleaseCommandFailed);
        assert!(failure.message.contains(told), "{}", failure.message);
        assert_eq!(failure.evidence.unwrap()["log_tail"][0], "the end");
        assert_tidy(&fake, "old", command);
        assert_eq!(created(&fake).len(), 1, "no candidate");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_command_that_is_cut_short_leaves_nothing() {
    let job_with = |command| job_with("new", &["--release-command", command]);
    let fake = host().await;
    run(&fake, &job_with("exit 0")).await;
    for n in 0..fake.calls.get() {
        for fault in [Fault::Refuse(n), Fault::Unanswered(n), Fault::Cut(n), Fault::Signal(n)] {
            let fake = host().await.again(fault);
            run(&fake, &job_with("exit 0")).await;
            let context = format!("{fault:?} {:?}", fake.journal.borrow().get(n));
            rerun(fake, "new", &context).await;
        }
    }
    // Told to end while it runs.
    let fake = host().await;
    let sleeping = job_with("sleep");
    let run = run(&fake, &sleeping);
    let signal = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        fake.cancelled.cancel();
    };
    let (report, ()) = tokio::join!(run, signal);
    assert_eq!(report.failure.unwrap().code, Code::Interrupted);
    assert_tidy(&fake, "old", "signal");
}
