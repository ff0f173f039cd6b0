//! A release that is proved and does not hold once it serves.

use serde_json::Value;
use slipway_tests::lab::Run;

use super::place::{Load, Place, place};
use super::site::{Site, host, one, text_of, two};

/// Deploys a release that fails when it serves; the one before serves again by itself.
fn returned(app: &Place, args: &[&str], code: &str) -> Run {
    let id = app.assert_live(one());
    let before = app.containers().len();
    let bad = app.turn(two(), args).bad("remote-swap", 1, code);
    assert_eq!(host(&bad)["outcome"], "rolled_back");
    assert_eq!(host(&bad)["container_id"], id);
    assert_eq!(app.assert_live(one()), id);
    assert_eq!(app.containers().len(), before, "nothing is left over");
    assert_eq!(bad.document["error"]["evidence"]["phase"], "release");
    bad
}

#[test]
fn one_that_answers_badly_through_the_port_is_returned_from() {
    let app = place("green-port", 8207);
    app.turned(one(), &[]);
    let bad = returned(&app, &["--env", "BAD_BEHIND_FRONT=1"], "unhealthy");
    let message = text_of(&bad.document["error"], "message");
    assert!(message.contains("published port") && message.contains("503"), "{message}");
}

#[test]
fn one_that_dies_in_the_soak_is_returned_from() {
    let app = place("green-dies", 8208);
    app.turned(one(), &[]);
    let load = Load::on(&app);
    let args = ["--env", "DIES_WHEN_SERVED=1.5", "--soak", "1m"];
    let bad = returned(&app, &args, "candidate_exited");
    let seen: &Value = &bad.document["error"]["evidence"];
    let log = seen["log_tail"].to_string();
    assert!(log.contains("crashing on purpose"), "{log}");
    load.more(50);
    few_failed(&load.finish());
}

#[test]
fn one_that_falls_sick_in_the_soak_is_returned_from() {
    let app = place("green-falls-sick", 8209);
    app.turned(one(), &[]);
    let load = Load::on(&app);
    let args = ["--env", "SICK_WHEN_SERVED=1.5", "--soak", "1m"];
    let bad = returned(&app, &args, "unhealthy");
    assert_eq!(bad.document["error"]["evidence"]["probe"]["status"], 503);
    assert_eq!(bad.document["error"]["evidence"]["probe"]["body"], "sick since it serves");
    load.more(50);
    few_failed(&load.finish());
}

/// What was in flight when it died or was taken away is lost, and hardly anything else.
fn few_failed(report: &Value) {
    let versions = &report["versions"];
    assert!(versions["two"].as_u64() > Some(50), "it has served: {versions}");
    let (failed, all) = (report["failed"].as_u64().unwrap(), report["requests"].as_u64().unwrap());
    println!("{failed} of {all} requests failed: {}", report["failed_by_kind"]);
    assert!(failed <= 40, "{report:#}");
}
