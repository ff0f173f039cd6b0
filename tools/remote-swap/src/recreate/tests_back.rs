//! Records and rollbacks against the engine in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use slipway_release::{Code, DeployKind, Document, Outcome, exit};
use slipway_shell::Ui;

use super::Report;
use super::fake::{Fake, Fault};
use crate::container::{Container, Role, Status, label};
use crate::fleet;
use crate::job::Job;
use crate::options::Strategy;
use crate::record::{self, Record};
use crate::rollback::{Back, Done, on_host};
use crate::spec::tests::options;

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn job(name: &str) -> Job {
    let image = format!("--image=r.example/{name}@{DIGEST}");
    let note = format!("--env=NOTE={name}");
    let args = [
        "--app=web",
        "--strategy=recreate",
        "-p=8000:5000",
        "--health-timeout=10s",
        "--env=HIDDEN",
        &note,
        &image,
    ];
    let lookup = |name: &str| (name == "HIDDEN").then(|| "canary-hidden".to_owned());
    let job = Job::new(&options(&args), &Document::default(), &lookup)
        .unwrap_or_else(|failure| panic!("{}", failure.message));
    let id = next_id();
    Job { origin: id.clone(), deploy_id: id, ..job }
}

/// Names sort by time: two of one millisecond would not.
fn next_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("d{:06}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn ui() -> Ui {
    Ui::new("test", Box::new(std::io::sink()), false)
}

async fn deploy(fake: &Fake, name: &str) -> Report {
    fleet::swap(fake, "host", &job(name), &ui(), &fake.cancelled, None).await
}

async fn back(fake: &Fake, args: &[&str], only_from: Option<&str>) -> Done {
    let options = options(&[&["--app=web", "--health-timeout=10s"], args].concat());
    let back = Back::new("web".to_owned(), &options, &Document::default(), &|_| None)
        .unwrap_or_else(|failure| panic!("{}", failure.message));
    on_host(
        fake,
        "host",
        &Back { only_from, deploy_id: next_id(), ..back },
        &ui(),
        &fake.cancelled,
        None,
    )
    .await
}

async fn went_back(fake: &Fake, args: &[&str]) -> Job {
    let done = back(fake, args, None).await;
    assert_eq!(done.report.outcome.outcome, Some(Outcome::Deployed), "{:?}", done.report.failure);
    done.job.unwrap()
}

/// A host on which these were deployed, in this order.
async fn host(names: &[&str]) -> Fake {
    let fake = Fake::new();
    for name in names {
        let report = deploy(&fake, name).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{:?}", report.failure);
    }
    fake
}

fn live(fake: &Fake) -> Container {
    let all = fake.containers.borrow();
    let up = |one: &&Container| one.status == Status::Running && one.role() == Role::Release;
    all.iter().find(up).unwrap().clone()
}

fn serving(fake: &Fake) -> String {
    let reference = fake.serving().unwrap();
    reference.trim_start_matches("r.example/").split('@').next().unwrap().to_owned()
}

async fn records(fake: &Fake) -> Vec<Record> {
    record::list(fake, "web").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_end_is_written_down_and_no_secret_with_it() {
    let fake = host(&["one"]).await;
    deploy(&fake, "sick").await;
    deploy(&fake, "trap").await;
    // Nothing was changed, so there is nothing to tell.
    let again = deploy(&fake, "one").await;
    assert_eq!(again.outcome.outcome, Some(Outcome::Unchanged));
    let all = records(&fake).await;
    let outcomes: Vec<Outcome> = all.iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::RolledBack, Outcome::Failed, Outcome::Deployed]);
    assert_eq!(all[0].entry.error.as_ref().unwrap().code, "unhealthy");
    assert_eq!(all[1].entry.replaced.as_ref(), Some(&all[2].entry.deploy_id));
    let specs: Vec<bool> = all.iter().map(|record| record.spec.is_some()).collect();
    assert_eq!(specs, [false, false, true]);
    for volume in fake.volumes.borrow().iter() {
        let deploy = volume.labels.get("dev.slipway.deploy");
        assert!(deploy.is_none_or(|text| !text.contains("canary")));
    }
    // Of a container's labels none has a value, since monitoring collects them.
    let labels = format!("{:?}", live(&fake).labels);
    assert!(!labels.contains("canary") && labels.contains("HIDDEN"), "{labels}");
}

#[tokio::test(start_paused = true)]
async fn each_rollback_goes_one_release_further_back() {
    let fake = host(&["one", "two", "three"]).await;
    let environment = |fake: &Fake| fake.environments.borrow()[&live(fake).id].clone();
    for name in ["two", "one"] {
        let job = went_back(&fake, &[]).await;
        assert_eq!(serving(&fake), name);
        assert_eq!(job.kind, DeployKind::Rollback);
        assert_ne!(job.origin, job.deploy_id);
        assert_eq!(environment(&fake), ["HIDDEN=canary-hidden", &format!("NOTE={name}")]);
        assert_eq!(live(&fake).label(label::DEPLOY_ID), Some(job.deploy_id.as_str()));
        assert_eq!(job.scrub.text("a canary-hidden b"), "a [secret] b");
    }
    let end = back(&fake, &[], None).await.report.failure.unwrap();
    assert_eq!((end.code, end.exit), (Code::RollbackImpossible, exit::NEEDS_PERSON));
    assert_eq!(serving(&fake), "one");

    // From a later one back to what it replaced: never to one that was left before.
    deploy(&fake, "four").await;
    went_back(&fake, &[]).await;
    assert_eq!(serving(&fake), "one");
}

#[tokio::test(start_paused = true)]
async fn one_can_be_named() {
    let fake = host(&["one", "two", "three"]).await;
    let first = records(&fake).await[2].entry.deploy_id.clone();
    went_back(&fake, &["--to", &first]).await;
    assert_eq!(serving(&fake), "one");
    went_back(&fake, &["--to", &format!("r.example/three@{DIGEST}")]).await;
    assert_eq!(serving(&fake), "three");
    let done = back(&fake, &["--to=sha256:nothing"], None).await;
    let failure = done.report.failure.unwrap();
    assert_eq!(failure.code, Code::RollbackImpossible);
    assert!(failure.message.contains(&first), "{}", failure.message);
    // What is live already needs nothing.
    let same = back(&fake, &["--to", &format!("r.example/three@{DIGEST}")], None).await;
    assert_eq!(same.report.outcome.outcome, Some(Outcome::Unchanged));
}

#[tokio::test(start_paused = true)]
async fn without_records_the_containers_are_enough() {
    let fake = host(&["one", "two"]).await;
    fake.volumes.borrow_mut().clear();
    went_back(&fake, &[]).await;
    assert_eq!(serving(&fake), "one");
    assert!(fake.environments.borrow()[&live(&fake).id].contains(&"HIDDEN=canary-hidden".into()));

    let fake = host(&["one", "two"]).await;
    fake.containers.borrow_mut().retain(|one| one.status == Status::Running);
    went_back(&fake, &[]).await;
    assert_eq!(serving(&fake), "one");
}

#[tokio::test(start_paused = true)]
async fn what_is_impossible_changes_nothing() {
    for hurt in ["image", "spec", "all"] {
        let fake = host(&["one", "two"]).await;
        match hurt {
            "image" => *fake.pruned.borrow_mut() = Some("/one@".to_owned()),
            "spec" => {
                fake.containers.borrow_mut().retain(|one| one.status == Status::Running);
                for volume in fake.volumes.borrow_mut().iter_mut() {
                    volume.labels.insert("dev.slipway.spec".into(), "canary".into());
                }
            }
            _ => {
                fake.containers.borrow_mut().clear();
                fake.volumes.borrow_mut().clear();
            }
        }
        fake.touched.borrow_mut().clear();
        let failure = back(&fake, &[], None).await.report.failure.unwrap();
        assert_eq!((failure.code, failure.exit), (Code::RollbackImpossible, 6), "{hurt}");
        assert!(!failure.message.contains("canary") && failure.hint.is_some());
        assert!(fake.touched.borrow().is_empty(), "{hurt}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_was_replaced_meanwhile_is_not_undone() {
    let fake = host(&["one", "two"]).await;
    let two = live(&fake).label(label::DEPLOY_ID).unwrap().to_owned();
    let report = deploy(&fake, "three").await;
    assert_eq!(report.outcome.previous_deploy_id.as_ref(), Some(&two));
    let failure = back(&fake, &["--to", "x"], Some(&two)).await.report.failure.unwrap();
    assert!(failure.message.contains(&two), "{}", failure.message);
    assert_eq!(serving(&fake), "three");
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_any_call_the_next_run_writes_what_is_missing() {
    let whole = host(&["one"]).await.again(Fault::None);
    deploy(&whole, "two").await;
    for n in 0..whole.calls.get() {
        for next in ["two", "three"] {
            let fake = host(&["one"]).await.again(Fault::Cut(n));
            deploy(&fake, "two").await;
            let context = format!("{:?}, then {next}", fake.journal.borrow().get(n));
            let served = fake.serving().is_some_and(|name| name.contains("two"));
            let fake = fake.again(Fault::None);
            let report = deploy(&fake, next).await;
            assert!(report.failure.is_none(), "{context}");
            let all = records(&fake).await;
            let one = record::releases(&all, &[]);
            let named = |name: &str| one.iter().any(|one| one.first.reference.contains(name));
            assert!(named("/one@") && named(&format!("/{next}@")), "{context}");
            assert!(!served || named("/two@"), "{context}");
            went_back(&fake, &[]).await;
            let before = if next == "three" && served { "two" } else { "one" };
            assert_eq!(serving(&fake), before, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_leaves_what_serves() {
    let whole = host(&["one", "two"]).await.again(Fault::None);
    went_back(&whole, &[]).await;
    for n in 0..whole.calls.get() {
        let fake = host(&["one", "two"]).await.again(Fault::Refuse(n));
        let done = back(&fake, &[], None).await;
        let context = format!("{:?}", fake.journal.borrow().get(n));
        let expected = if done.report.failure.is_none() { "one" } else { "two" };
        assert_eq!(serving(&fake), expected, "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_front_it_goes_back_by_the_same_strategy() {
    let fake = Fake::new();
    for name in ["one", "two", "three"] {
        let job = Job { strategy: Strategy::BlueGreen, ..job(name) };
        let report = fleet::swap(&fake, "host", &job, &ui(), &fake.cancelled, None).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{:?}", report.failure);
    }
    let passes_to = |fake: &Fake| {
        let id = fake.passes_to().unwrap();
        let all = fake.containers.borrow();
        let one = all.iter().find(|one| one.id == id).unwrap();
        one.label(label::REFERENCE).unwrap().to_owned()
    };
    for name in ["two", "one"] {
        let job = went_back(&fake, &[]).await;
        assert_eq!(job.strategy, Strategy::BlueGreen);
        assert!(passes_to(&fake).contains(&format!("/{name}@")), "{}", passes_to(&fake));
    }
    assert!(back(&fake, &[], None).await.report.failure.is_some());
}

#[tokio::test(start_paused = true)]
async fn no_image_outlasts_the_releases_that_are_kept() {
    let images = |fake: &Fake| {
        let mut names: Vec<String> = fake.image_names.borrow().iter().cloned().collect();
        names.sort();
        let name = |one: &String| one.split(['/', '@']).nth(1).unwrap().to_owned();
        names.iter().map(name).collect::<Vec<_>>()
    };
    let kept = async |fake: &Fake, name: &str| {
        let job = Job { keep: 2, ..job(name) };
        fleet::swap(fake, "host", &job, &ui(), &fake.cancelled, None).await
    };
    // A run that ends anywhere, as between a container and its image.
    let begin = async || {
        let fake = Fake::new();
        for name in ["one", "two"] {
            kept(&fake, name).await;
        }
        fake.again(Fault::None)
    };
    let whole = begin().await;
    kept(&whole, "three").await;
    assert_eq!(images(&whole), ["three", "two"]);
    for n in 0..whole.calls.get() {
        let fake = begin().await.again(Fault::Gone(n));
        kept(&fake, "three").await;
        let context = format!("{:?}", fake.journal.borrow().get(n));
        let fake = fake.again(Fault::None);
        assert!(kept(&fake, "three").await.failure.is_none(), "{context}");
        assert_eq!(images(&fake), ["three", "two"], "{context}");
    }
    // One that never served.
    assert!(kept(&whole, "crash").await.failure.is_some());
    assert_eq!(images(&whole), ["crash", "three", "two"]);
    kept(&whole, "three").await;
    assert_eq!(images(&whole), ["three", "two"]);
}
