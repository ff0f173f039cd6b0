//! What fails is told with what was seen of it, and what served before serves on.

use super::*;

#[test]
fn one_that_is_good_as_a_candidate_and_bad_in_place_is_put_back() {
    let _volume = Volume::new("swap-back");
    let app = site("swap-back", 8125);
    let good = app.deploy_release(one(), &[]).good();
    let old = text_of(host(&good), "container_id");
    let args = ["--volume", "swap-back:/data", "--env", "SICK_AT=2", "--health-timeout", "4s"];
    let bad = app.deploy_release(two(), &args).bad("remote-swap", 1, "unhealthy");

    assert_eq!(host(&bad)["outcome"], "rolled_back");
    assert_eq!(host(&bad)["container_id"], old);
    assert_eq!(host(&bad)["previous"], one().reference());
    assert!(host(&bad)["unserved_ms"].as_u64().unwrap() > 0, "{}", host(&bad));
    let evidence = &bad.document["error"]["evidence"];
    assert_eq!(evidence["phase"], "release");
    assert_eq!(evidence["probe"], json!({"status": 503, "body": "sick on purpose"}));
    assert_eq!(evidence["container"]["state"], "running");
    assert!(evidence["log_tail"].to_string().contains("serving two"), "{evidence:#}");
    assert_eq!(app.assert_serves(one()), old);
    assert_eq!(app.containers().len(), 1, "what failed is gone");

    // The volume remembers that it was started: the candidate, and once in place.
    let again = app.deploy_release(two(), &[]).good();
    assert_eq!(host(&again)["outcome"], "deployed");
    app.assert_serves(two());
}

/// Answers well to everybody, but its own HEALTHCHECK never agrees.
const DOUBTING: &str = "HEALTHCHECK --interval=1s --retries=2 CMD echo not today && exit 1";

#[test]
fn a_healthcheck_that_never_agrees_goes_before_good_answers() {
    let app = site("swap-doubt", 8126);
    let good = app.deploy_release(one(), &[]).good();
    let doubting = Release::new("doubting", DOUBTING);
    let bad = app.deploy_release(&doubting, &["--health-timeout", "4s"]);
    let bad = bad.bad("remote-swap", 1, "unhealthy");
    assert_eq!(host(&bad)["outcome"], "failed");
    assert!(host(&bad)["unserved_ms"].is_null(), "{}", host(&bad));
    let evidence = &bad.document["error"]["evidence"];
    assert_eq!(evidence["phase"], "candidate");
    assert_eq!(evidence["probe"]["status"], 200);
    assert_eq!(evidence["container"]["healthcheck"]["status"], "unhealthy");
    assert_eq!(evidence["container"]["healthcheck"]["output"], "not today\n");
    let message = text_of(&bad.document["error"], "message");
    assert!(message.contains("HEALTHCHECK"), "{message}");
    assert_eq!(app.assert_serves(one()), host(&good)["container_id"]);
    assert_eq!(app.containers().len(), 1);
}

#[test]
fn a_healthcheck_that_agrees_is_waited_for() {
    let app = site("swap-agree", UNPUBLISHED);
    let check = "HEALTHCHECK --interval=1h --retries=1 CMD test -e /version";
    let agreeing = Release::new("agreeing", check);
    let good = app.deploy_release(&agreeing, &[]).good();
    let id = app.assert_serves(&agreeing);
    assert_eq!(host(&good)["container_id"], id);
    // The candidate was asked more often than that; what serves is asked as the image says.
    let hour = 3_600_000_000_000_u64;
    assert_eq!(inspect(&id)["Config"]["Healthcheck"]["Interval"], hour);
}

#[test]
fn an_answer_that_is_not_good_is_not_healthy() {
    let app = site("swap-path", UNPUBLISHED);
    let bad = app.deploy_release(one(), &["--health-timeout", "10s", "--env", "WARM_UP=3600"]);
    let bad = bad.bad("remote-swap", 1, "unhealthy");
    let evidence = &bad.document["error"]["evidence"];
    assert_eq!(evidence["probe"], json!({"status": 503, "body": "warming up"}));
    assert_eq!(app.containers(), Vec::<Value>::new(), "a first deploy that fails leaves nothing");
}
