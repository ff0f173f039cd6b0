//! Several hosts are done in order, and what the failure of one means for the others.

use super::*;

fn outcomes(run: &Run) -> Vec<&str> {
    let hosts = run.document["deploy"]["hosts"].as_array().unwrap();
    hosts.iter().map(|host| text_of(host, "outcome")).collect()
}

/// Deploys on the lab's host and on one that is not there, in this order.
fn both(app: &App, bad_first: bool, args: &[&str]) -> Run {
    let good = from_run_sh("LAB_SSH");
    // A port of the server that nothing listens on.
    let bad = format!("{good}:9");
    let (first, second) = if bad_first { (&bad, &good) } else { (&good, &bad) };
    let mut swap = app.bare();
    swap.args(["--host", first, "--host", second])
        .args(["--identity", &from_run_sh("LAB_SSH_KEY")])
        .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")])
        .args(["--connect-timeout", "2s"])
        .args(app.serving())
        .args(args);
    deploy(&mut swap, one())
}

#[test]
fn the_second_host_fails_alone() {
    let app = site("swap-second", UNPUBLISHED);
    let run = both(&app, false, &[]).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["deployed", "failed"]);
    assert_eq!(host(&run)["container_id"], app.assert_serves(one()));
    let reason = text_of(&run.document["deploy"]["hosts"][1], "error");
    assert!(reason.contains("port 9"), "{reason}");
    // A first deploy has nothing to go back to.
    assert!(
        run.told.contains("it keeps the new release: nothing served there before"),
        "{}",
        run.told
    );
}

#[test]
fn after_a_failed_host_the_next_one_is_not_touched() {
    let app = site("swap-first", UNPUBLISHED);
    let run = both(&app, true, &[]).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["failed", "skipped"]);
    assert_eq!(app.containers(), Vec::<Value>::new());
}

#[test]
fn failures_are_borne_where_enough_hosts_succeed() {
    let app = site("swap-quorum", UNPUBLISHED);
    let borne = ["--on-failure", "continue", "--quorum", "50%"];
    let run = both(&app, true, &borne).good();
    assert_eq!(outcomes(&run), ["failed", "deployed"]);
    assert!(run.told.contains("warning: ") && run.told.contains("port 9"), "{}", run.told);
    app.assert_serves(one());
    let run = both(&app, true, &borne[..2]).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["failed", "unchanged"]);
}

#[test]
fn a_rollout_that_halts_leaves_what_is_done() {
    let app = site("swap-halt", UNPUBLISHED);
    app.deployed(two(), &[]);
    let run =
        both(&app, false, &["--on-failure", "halt"]).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(outcomes(&run), ["deployed", "failed"]);
    app.assert_serves(one());
}

#[test]
fn options_of_a_rollout_that_mean_nothing() {
    let app = site("swap-nonsense", UNPUBLISHED);
    for args in [&["--parallel", "0"][..], &["--parallel", "101%"], &["--quorum", "1"]] {
        let run = both(&app, false, args).bad("remote-swap", 2, "usage");
        assert!(text_of(&run.document["error"], "message").contains(args[0]), "{}", run.told);
    }
}
