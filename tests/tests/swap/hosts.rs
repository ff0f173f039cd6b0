//! Several hosts are done in order, and the first that fails keeps the rest from being touched.

use super::*;

fn outcomes(run: &Run) -> Vec<&str> {
    let hosts = run.document["deploy"]["hosts"].as_array().unwrap();
    hosts.iter().map(|host| text_of(host, "outcome")).collect()
}

/// Deploys on the lab's host and on one that is not there, in this order.
fn both(app: &App, bad_first: bool) -> Run {
    let good = from_run_sh("LAB_SSH");
    // A port of the server that nothing listens on.
    let bad = format!("{good}:9");
    let (first, second) = if bad_first { (&bad, &good) } else { (&good, &bad) };
    let mut swap = app.bare();
    swap.args(["--host", first, "--host", second])
        .args(["--identity", &from_run_sh("LAB_SSH_KEY")])
        .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")])
        .args(app.serving());
    deploy(&mut swap, one())
}

#[test]
fn the_second_host_fails_alone() {
    let app = site("swap-second", UNPUBLISHED);
    let run = both(&app, false).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["deployed", "failed"]);
    assert_eq!(host(&run)["container_id"], app.assert_serves(one()));
    let reason = text_of(&run.document["deploy"]["hosts"][1], "error");
    assert!(reason.contains("port 9"), "{reason}");
}

#[test]
fn after_a_failed_host_the_next_one_is_not_touched() {
    let app = site("swap-first", UNPUBLISHED);
    let run = both(&app, true).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["failed", "skipped"]);
    assert_eq!(app.containers(), Vec::<Value>::new());
}
