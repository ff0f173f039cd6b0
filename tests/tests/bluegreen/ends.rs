//! A deploy that is ended in the middle, by a signal or without a word.

use rustix::process::Signal;
use slipway_tests::lab::app_engine;
use slipway_tests::process::until;

use super::place::{Place, Talk, place};
use super::site::{Deploying, INSIDE, Release, host, one, running, text_of, two};

/// Waits until this release runs beside what serves.
fn started(app: &Place, other: &str) {
    until("the new one", || running(app, "release", other));
}

#[test]
fn a_signal_while_the_new_one_is_proved_leaves_the_old_one() {
    let app = place("green-term", 8230);
    let id = app.turned(one(), &[]);
    for (signal, exit) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let deploying = Deploying::new(&mut app.swap_with(&["--env", "WARM_UP=3600"]), two());
        let deploying = deploying.until_told("proving the new container");
        started(&app, &id);
        let ended = deploying.signal(signal).bad("remote-swap", exit, "interrupted");
        assert_eq!(host(&ended)["outcome"], "failed");
        assert_eq!(app.assert_live(one()), id);
        assert_eq!(app.of_role("release").len(), 1);
    }
    app.turned(two(), &[]);
}

#[test]
fn a_signal_in_the_soak_leaves_the_new_one() {
    let app = place("green-term-soak", 8231);
    app.turned(one(), &[]);
    let deploying = Deploying::new(&mut app.swap_with(&["--soak", "1h"]), two());
    let ended = deploying.until_told("watching the new container").signal(Signal::TERM);
    // It was nearer to its end than to its beginning, and is there.
    assert_eq!(host(&ended)["outcome"], "deployed", "{}", ended.told);
    assert_eq!(host(&ended)["container_id"], app.assert_live(two()));
}

#[test]
fn a_signal_in_the_drain_leaves_the_new_one() {
    let app = place("green-term-drain", 8232);
    let args = ["--drain-timeout", "1h"];
    app.turned(one(), &args);
    let mut slow = Talk::to(&app);
    slow.send("GET /slow?seconds=600 HTTP/1.1\r\nHost: app\r\n\r\n").head();
    let deploying = Deploying::new(&mut app.swap_with(&args), two());
    let ended = deploying.until_told("draining the old one").signal(Signal::INT);
    assert_eq!(host(&ended)["outcome"], "deployed", "{}", ended.told);
    assert_eq!(host(&ended)["container_id"], app.assert_live(two()));
}

/// When a deploy is killed.
const STEPS: [&str; 10] = [
    "connecting",
    "connected",
    "pulling",
    "pulled",
    "proving the new container",
    "it is healthy",
    "turning the front",
    "the new container answers",
    "watching the new container",
    "it holds",
];

#[test]
fn killed_anywhere_one_serves_and_a_plain_rerun_converges() {
    let app = place("green-kill", 8233);
    let first = Release::new("killed", "");
    app.turned(&first, &[]);
    let mut serving = first;
    for step in STEPS {
        let next = Release::new("next", "");
        let args = ["--env", "WARM_UP=1"];
        Deploying::new(&mut app.swap_with(&args), &next).until_told(step).kill();
        let (status, text) = app.get("/health").unwrap();
        assert!(status == 200, "{step}: {text}");
        assert!([serving.version, "next"].contains(&text.as_str()), "{step}: {text}");
        let again = app.turn(&next, &args).good();
        assert_eq!(host(&again)["container_id"], app.assert_live(&next), "{step}");
        assert!(app.of_role("release").len() <= 3, "{step}");
        serving = next;
    }
}

#[test]
fn killed_after_the_switch_to_one_that_dies_the_rerun_goes_back() {
    let app = place("green-kill-bad", 8234);
    let old = app.turned(one(), &[]);
    let args = ["--soak", "1h", "--env", "SICK_WHEN_SERVED=2", "--restart", "on-failure"];
    let deploying = Deploying::new(&mut app.swap_with(&args), two());
    deploying.until_told("watching the new container").kill();
    // An old process of the front may still pass to the old one while all is well with the new one.
    let releases = app.of_role("release");
    let new = releases.iter().map(|one| text_of(one, "Id")).find(|id| *id != old).unwrap();
    let health = format!(
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', {INSIDE}); c.request('GET', '/health'); print(c.getresponse().status)"
    );
    let status = || app_engine(&["exec", new, "python3", "-c", &health]);
    until("its sickness", || (status().trim() == "503").then_some(()));
    // The front sees that it is sick, and passes to the old one, which still runs.
    let serves = || app.get("/health").ok().filter(|answer| *answer == (200, "one".to_owned()));
    until("the old one", serves);
    let again = app.turn(one(), &[]).good();
    assert_eq!(text_of(host(&again), "container_id"), old);
    assert_eq!(app.assert_live(one()), old);
}
