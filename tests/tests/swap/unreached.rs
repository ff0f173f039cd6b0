//! Applications that nobody but their host reaches, in a whole pipe: what is well is left alone.

use std::path::Path;

use serde_json::json;
use slipway_tests::from_run_sh;
use slipway_tests::lab::{App, Run, shell};
use slipway_tests::process::without_input;

use super::*;

/// Deploys in a real pipe, waits for what the document names, and undoes the deploy if it is bad.
fn piped(app: &App, release: &Release, swap: &str, wait: &str) -> Run {
    let document = app.beside("document.json");
    std::fs::write(&document, release.document.to_string()).unwrap();
    let (name, ssh, document) = (app.name, app.ssh(), document.display());
    let line = format!(
        "remote-swap --app {name} {ssh} --soak 0s --health-interval 100ms {swap} <{document} \
         | healthwait {wait} | remote-swap rollback --on-error {ssh}",
    );
    Run::of(&without_input(&mut shell(&line)))
}

/// How healthwait logs in, with this file of known hosts.
fn login(known_hosts: &Path) -> String {
    format!("--identity {} --known-hosts {}", from_run_sh("LAB_SSH_KEY"), known_hosts.display())
}

fn loopback(strategy: &str, app: &App) {
    let swap = format!("--strategy {strategy} --publish 127.0.0.1:{}:{INSIDE}", app.port);
    let good = login(Path::new(&from_run_sh("LAB_KNOWN_HOSTS")));
    let url = format!("http://127.0.0.1:{}/health", app.port);
    for release in [one(), two()] {
        let run = piped(app, release, &swap, &good).good();
        assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
        let target = &run.document["health"]["targets"][0];
        assert_eq!((&target["url"], &target["healthy"]), (&json!(url), &json!(true)));
        assert_eq!(target["via"], host(&run)["host"]);
    }

    // healthwait that is not let in has found nothing out about the release.
    let nobody = app.beside("known_hosts");
    std::fs::write(&nobody, "").unwrap();
    let denied = piped(app, one(), &swap, &login(&nobody));
    let denied = denied.bad("healthwait", 4, "host_key_unknown");
    assert_eq!(host(&denied)["outcome"], "deployed", "{}", denied.told);
    assert!(denied.told.contains("nothing is undone"), "{}", denied.told);

    // One that answers otherwise than it should is undone all the same.
    let bad = format!("{good} --timeout 2s --expect-body ^nonsense$");
    let undone = piped(app, two(), &swap, &bad).bad("healthwait", 124, "deadline_exceeded");
    assert_eq!(host(&undone)["outcome"], "rolled_back", "{}", undone.told);
}

#[test]
fn a_loopback_port_is_asked_through_its_host() {
    loopback("recreate", &site("swap-alone", 8306));
}

#[test]
fn a_loopback_port_behind_the_front_is_asked_through_its_host() {
    loopback("blue-green", &site("green-alone", 8307));
}

#[test]
fn a_worker_has_nothing_to_ask_and_stays() {
    let app = site("swap-worker", UNPUBLISHED);
    for release in [one(), two()] {
        let run = piped(&app, release, "--strategy recreate", "").good();
        assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
        assert_eq!(run.document["health"]["targets"], json!([]));
        assert_eq!(run.told.matches("there is nothing to ask").count(), 1, "{}", run.told);
        app.assert_serves(release);
    }
    // Neither a slip in its options nor a command that is not there says anything of the release.
    for (release, wait, exit, code) in [
        (one(), "--expect-status=200", 2, "usage"),
        (two(), "tcp://127.0.0.1:1 -- /does/not/exist", 127, "command_not_found"),
    ] {
        let run = piped(&app, release, "--strategy recreate", wait).bad("healthwait", exit, code);
        assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
        assert!(run.told.contains("nothing is undone"), "{}", run.told);
        app.assert_serves(release);
    }
}
