//! One deploy of an application at a time: who waits for whom, and what ends the wait.

use super::cuts::Relay;
use super::*;

use slipway_tests::process::{until, without_input};

const BUILD: &str = "https://ci.example/job/web/7/";

/// A deploy of the second release that is proving its candidate, and does so until it is let.
struct Held {
    deploying: Deploying,
    candidate: String,
}

impl Held {
    fn new(app: &App, command: &mut Command) -> Self {
        command.args(["--env", "WARM_UP=3"]).env("BUILD_URL", BUILD).env("USER", "ada");
        let deploying = Deploying::new(command, two()).until_told("proving a candidate");
        let candidate = until("the candidate", || running(app, "candidate", ""));
        app_engine(&["pause", &candidate]);
        Self { deploying, candidate }
    }

    fn go_on(self) -> Deploying {
        app_engine(&["unpause", &self.candidate]);
        self.deploying
    }
}

/// What `lock` tells of the first host.
fn lock(app: &App, args: &[&str]) -> Value {
    let mut command = app.bare();
    command.arg("lock").args(args).arg("--no-input").args(app.ssh().split(' '));
    let run = Run::of(&without_input(&mut command)).good();
    assert_eq!(run.document["lock"]["app"], app.name);
    run.document["lock"]["hosts"][0].clone()
}

#[test]
fn the_second_of_two_deploys_waits_and_then_deploys() {
    let app = site("swap-two", 8170);
    app.deployed(one(), &[]);
    let held = Held::new(&app, &mut app.swap(&[]));
    let mut second = app.swap(&["--env", "NOTE=second", "--wait-lock", "10m"]);
    let second = Deploying::new(&mut second, one()).until_told("waiting for another deploy");
    let line = second.told.lines().last().unwrap().to_owned();
    assert!(line.contains("ada@") && line.contains(BUILD), "{line}");

    // One that may not wait.
    let before = app.containers();
    let refused = app.deploy_release(one(), &["--wait-lock", "0s"]);
    let refused = refused.bad("remote-swap", 1, "locked");
    let message = text_of(&refused.document["error"], "message");
    assert!(message.contains("ada@") && message.contains(BUILD), "{message}");
    assert_eq!(refused.document["error"]["retryable"], true);
    assert_eq!(host(&refused)["outcome"], "failed");
    assert_eq!(app.containers(), before);

    let seen = lock(&app, &[]);
    assert_eq!((&seen["held"], &seen["build_url"]), (&json!(true), &json!(BUILD)));
    assert!(text_of(&seen, "owner").starts_with("ada@"), "{seen}");
    assert!(seen["broken"] != true && seen["dead"] != true, "{seen}");
    let age = |seen: &Value| seen["age_ms"].as_u64().unwrap();
    until("an age that grows", || (age(&lock(&app, &[])) > age(&seen)).then_some(()));

    let first = held.go_on().finish().good();
    assert_eq!(host(&first)["outcome"], "deployed");
    assert_eq!(seen["deploy_id"], first.document["deploy"]["deploy_id"]);
    assert!(message.contains(text_of(&seen, "deploy_id")), "{message}");
    let second = second.finish().good();
    assert_eq!(host(&second)["outcome"], "deployed");
    assert_eq!(host(&second)["previous"], two().reference(), "it came after the first");
    app.assert_serves(one());
    assert_eq!(app.get("/").unwrap().1, "one second");
    let free = lock(&app, &[]);
    assert!(free["held"] != true && free.get("owner").is_none(), "{free}");
    assert_unlocked(&app);
}

#[test]
fn a_deploy_whose_lock_is_broken_ends_before_it_switches() {
    for (strategy, name, port) in
        [("recreate", "swap-broken", 8171), ("blue-green", "green-broken", 8172)]
    {
        let app = site(name, port);
        let _ = deploy(&mut app.swap_by(strategy, &["--soak", "0s"]), one()).good();
        let before = app.containers().len();
        let mut command = app.swap_by(strategy, &["--env", "WARM_UP=3"]);
        command.env("BUILD_URL", BUILD);
        let deploying = Deploying::new(&mut command, two()).until_told("proving");
        let new = until("the new one", || {
            let up = app.containers();
            let new = up.iter().find(|one| one["Config"]["Image"] == two().reference());
            new.filter(|one| one["State"]["Running"] == true)
                .map(|one| text_of(one, "Id").to_owned())
        });
        app_engine(&["pause", &new]);
        let broken = lock(&app, &["break"]);
        assert_eq!((&broken["held"], &broken["broken"]), (&json!(true), &json!(true)));
        assert_eq!(broken["build_url"], BUILD);
        app_engine(&["unpause", &new]);
        let lost = deploying.finish().bad("remote-swap", 1, "lock_lost");
        assert!(text_of(&lost.document["error"], "message").contains("broken"), "{}", lost.told);
        assert_eq!(host(&lost)["outcome"], "failed");
        assert_eq!(app.containers().len(), before, "{strategy}: something was left behind");
        assert_eq!(app.get("/").unwrap().1, "one", "{strategy}");
        assert_unlocked(&app);
        // Nobody holds it now, and that is no error.
        let free = lock(&app, &["break"]);
        assert!(free["held"] != true && free["broken"] != true, "{free}");
    }
}

#[test]
fn nobody_waits_for_a_deploy_that_was_killed_on_this_machine() {
    let app = site("swap-killed", 8173);
    app.deployed(one(), &[]);
    Held::new(&app, &mut app.swap(&[])).deploying.kill();
    assert_eq!(lock(&app, &[])["held"], true, "it could not give it back");
    let again = app.deploy_release(two(), &["--wait-lock", "0s"]).good();
    assert_eq!(host(&again)["container_id"], app.assert_serves(two()));
    assert_eq!(app.containers().len(), 2, "the candidate is gone");
    assert_unlocked(&app);
}

/// The same, as a process that no other one of this machine can look up.
fn elsewhere(command: &Command) -> Command {
    let mut hidden = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        hidden.arg("--map-root-user");
    }
    hidden.args(["--pid", "--fork", "--kill-child", "--"]);
    hidden.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => hidden.env(name, value),
            None => hidden.env_remove(name),
        };
    }
    hidden
}

#[test]
fn a_deploy_that_vanished_with_its_connection_is_waited_for_in_vain_and_not_long() {
    let app = site("swap-vanished", 8174);
    app.deployed(one(), &[]);
    let relay = Relay::new();
    let held = Held::new(&app, &mut elsewhere(&relay.swap(&app, &[])));
    relay.freeze();
    held.deploying.kill();
    let mut next = app.swap(&["--wait-lock", "60s"]);
    let next = Deploying::new(&mut next, two()).until_told("waiting for another deploy").finish();
    assert_eq!(host(&next.good())["container_id"], app.assert_serves(two()));
    assert_eq!(app.containers().len(), 2, "the candidate is gone");
    assert_unlocked(&app);
}
