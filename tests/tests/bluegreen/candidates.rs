//! A release that does not get to serve.

use slipway_tests::process::until;

use super::place::{Place, place};
use super::site::{Deploying, Site, host, one, text_of, two};
use serde_json::Value;
use slipway_tests::lab::Run;

/// Deploys a bad release beside a good one, of which nobody may notice anything.
fn refused(app: &Place, args: &[&str], code: &str) -> Run {
    let id = app.turned(one(), &[]);
    let before = app.containers();
    let mut deploying = Deploying::new(&mut app.swap_with(args), two());
    // Whoever waits for something that cannot come any more is not here after a minute.
    until("the end", || deploying.child.try_wait().unwrap());
    let bad = deploying.finish().bad("remote-swap", 1, code);
    assert_eq!(host(&bad)["outcome"], "failed");
    assert_eq!(app.assert_live(one()), id);
    assert_eq!(app.containers(), before, "the old one is as it was, and nothing is left over");
    bad
}

fn evidence(run: &Run) -> &Value {
    let evidence = &run.document["error"]["evidence"];
    assert_eq!(evidence["phase"], "candidate");
    assert_eq!(evidence["log_tail"][0], "serving two", "{evidence:#}");
    evidence
}

#[test]
fn a_sick_one_is_refused_with_its_last_answer() {
    let app = place("green-sick", 8203);
    let bad = refused(&app, &["--env", "SICK=1", "--health-timeout", "8s"], "unhealthy");
    assert_eq!(evidence(&bad)["probe"]["status"], 503);
    assert_eq!(evidence(&bad)["probe"]["body"], "sick on purpose");
    assert_eq!(evidence(&bad)["container"]["state"], "running");
}

#[test]
fn one_that_crashes_is_given_up_at_once() {
    let app = place("green-crash", 8204);
    let bad = refused(&app, &["--env", "CRASHES=1", "--health-timeout", "1h"], "candidate_exited");
    assert_eq!(evidence(&bad)["container"]["exit_code"], 7);
    assert_eq!(evidence(&bad)["log_tail"][1], "no such database");
    assert!(bad.told.contains("  | no such database"), "{}", bad.told);
}

#[test]
fn one_that_never_listens_is_refused() {
    let app = place("green-deaf", 8205);
    let bad = refused(&app, &["--env", "DEAF=1", "--health-timeout", "8s"], "unhealthy");
    let reason = text_of(&evidence(&bad)["probe"], "error");
    assert!(reason.contains("connect failed"), "{reason}");
}

#[test]
fn the_first_of_all_leaves_nothing_behind_when_it_is_bad() {
    let app = place("green-first", 8206);
    let args = ["--env", "SICK=1", "--health-timeout", "1s"];
    let bad = app.turn(two(), &args).bad("remote-swap", 1, "unhealthy");
    assert_eq!(host(&bad)["outcome"], "failed");
    assert_eq!(app.containers(), Vec::<Value>::new());
    app.turned(one(), &[]);
}
