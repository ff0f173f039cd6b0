//! The front of the engine in memory: one that is full, out of date, or behind its own disk.

use slipway_release::Outcome;

use super::tests::{assert_tidy, host, job, job_with, named, run};
use crate::container::Role;
use crate::front::DEFAULT_IMAGE;
use crate::recreate::fake::Fake;

fn front(fake: &Fake) -> String {
    let all = fake.containers.borrow();
    all.iter().find(|one| one.role() == Role::Front).unwrap().id.clone()
}

fn token(fake: &Fake) -> String {
    let fronts = fake.fronts.borrow();
    let disk = &fronts[&front(fake)].files;
    crate::front::Config::parse(&disk.config).unwrap().token
}

#[tokio::test(start_paused = true)]
async fn clients_that_take_all_connections_do_not_stop_a_deploy() {
    let fake = host().await;
    fake.full.set(true);
    let report = run(&fake, &job("new")).await;
    let told = report.failure.map(|failure| failure.message);
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{told:?}");
    assert_tidy(&fake, "new", "");
}

#[tokio::test(start_paused = true)]
async fn a_front_that_did_not_take_up_its_configuration_is_made_to() {
    let fake = host().await;
    let (id, before) = (front(&fake), token(&fake));
    fake.left_behind.set(true);
    let report = run(&fake, &job("new")).await;
    assert_eq!(report.outcome.outcome, Some(Outcome::Deployed));
    assert!(!fake.left_behind.get());
    assert_eq!(front(&fake), id);
    assert_ne!(token(&fake), before);
}

#[tokio::test(start_paused = true)]
async fn a_token_lasts_as_long_as_its_configuration() {
    let fake = host().await;
    let before = token(&fake);
    run(&fake, &job("new")).await;
    assert_eq!(token(&fake), before, "nothing was changed");
    run(&fake, &job_with("newer", &["--trusted-proxy=10.0.0.0/8"])).await;
    assert_ne!(token(&fake), before);
}

#[tokio::test(start_paused = true)]
async fn a_newer_image_is_taken_only_when_asked_for() {
    let fake = host().await;
    let id = front(&fake);
    *fake.moved.borrow_mut() = Some(DEFAULT_IMAGE.to_owned());
    for update in ["never", "local", "pull"] {
        let before = front(&fake);
        let option = format!("--front-update={update}");
        let report = run(&fake, &job_with("new", &[&option, &format!("-e=A={update}")])).await;
        assert_eq!(report.outcome.outcome, Some(Outcome::Deployed), "{update}");
        let replaced = update == "local";
        assert_eq!(front(&fake) != before, replaced, "{update}");
        assert_eq!(report.outcome.unserved_ms.is_some(), replaced, "{update}");
        assert_tidy(&fake, "new", update);
        let pulls = |call: &String| call.starts_with("pull image");
        assert_eq!(fake.journal.borrow().iter().any(pulls), update == "pull", "{update}");
    }
    assert_ne!(front(&fake), id);
    assert_eq!(named(&fake, |one| one.role() == Role::Front), [DEFAULT_IMAGE]);
}
