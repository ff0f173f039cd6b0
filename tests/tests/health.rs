//! healthwait against real services: HAProxy for HTTP/2 and client certificates, the application
//! server's sshd, its engine's health checks.

#[path = "health/place.rs"]
mod place;

use std::io::BufReader;
use std::process::Command;

use place::{Container, Pki, Relay, Silent, haproxy, wait};
use slipway_tests::lab::Run;
use slipway_tests::process::{piped, until, until_told, without_input};
use slipway_tests::{from_run_sh, tool};

/// The first target of a run.
fn target(run: &Run) -> &serde_json::Value {
    &run.document["health"]["targets"][0]
}

#[test]
fn tls_settles_the_version_of_http() {
    let pki = Pki::new(&from_run_sh("LAB_APP_ADDR"));
    let server = haproxy(&pki);
    let https = format!("https://{}/x", server.published(8443));
    let ask =
        |args: &[&str]| wait(&[&[https.as_str(), "--ca-file", &pki.authority()], args].concat());
    let settled = ask(&["--expect-body=^2.0 GET [^ ]+ /x$"]).good();
    assert!(target(&settled)["certificate_expires_at"].is_string(), "{:#}", settled.document);
    let _ = ask(&["--http-version=1.1", "--expect-body=^1.1 "]).good();
    let body = ask(&["--http-version=2", "--body=hello", "--expect-body=^2.0 POST "]).good();
    assert_eq!(target(&body)["status"], 200);
    let tls = format!("tls://{}", server.published(8443));
    let _ = wait(&[&tls, "--ca-file", &pki.authority(), "--expect-certificate=1d"]).good();
}

#[test]
fn http2_without_tls_is_known_beforehand() {
    let server = haproxy(&Pki::new("app.invalid"));
    let h2c = format!("h2c://{}/", server.published(8080));
    let _ =
        wait(&[&h2c, "--header=Host: app.example", "--expect-body=^2.0 GET app.example /"]).good();
    let http = h2c.replace("h2c:", "http:");
    let _ = wait(&[&http, "--http-version=2", "--expect-body=^2.0 "]).good();
}

#[test]
fn a_server_may_want_a_certificate() {
    let pki = Pki::new(&from_run_sh("LAB_APP_ADDR"));
    let server = haproxy(&pki);
    let https = format!("https://{}/", server.published(9443));
    let (authority, own) = (pki.authority(), pki.client());
    for version in ["1.1", "2"] {
        let ask = |args: &[&str]| {
            let version = format!("--http-version={version}");
            wait(&[&[https.as_str(), "--ca-file", &authority, &version], args].concat())
        };
        let _ = ask(&["--client-cert", &own, "--expect-body=client.example"]).good();
        let run = ask(&["--timeout=1s"]).bad("healthwait", 124, "deadline_exceeded");
        let reason = target(&run)["reason"].as_str().unwrap();
        assert!(reason.contains("certificate"), "{reason}");
    }
}

#[test]
fn what_is_closed_to_us_is_reached_through_the_host() {
    let server = haproxy(&Pki::new("app.invalid"));
    let relay = Relay::new();
    let inside = format!("h2c://{}:8080/", server.address());
    let engine = "http+unix:///var/run/docker.sock:/_ping";
    let mut args = relay.via();
    let targets = [inside.as_str(), "tcp://localhost:22", "unix:///var/run/docker.sock", engine];
    args.extend(targets.map(str::to_owned));
    let run = Run::of(&without_input(tool("healthwait").args(args))).good();
    assert_eq!(run.document["health"]["targets"].as_array().unwrap().len(), 4);
    assert_eq!(relay.connections(), 1, "one connection for all targets and all tries");
}

#[test]
fn a_target_that_swallows_packets_holds_up_no_other() {
    let silent = Silent::new(&from_run_sh("LAB_HOST_ADDR"));
    let relay = Relay::new();
    let mut ask = tool("healthwait");
    ask.args(relay.via()).args(["--any", "--timeout=40s", "--try-timeout=1s"]);
    let run = Run::of(&without_input(ask.args([silent.target(), "tcp://localhost:22".to_owned()])));
    let run = run.good();
    assert_eq!(run.document["health"]["targets"][0]["healthy"], false);
    assert_eq!(run.document["health"]["targets"][1]["healthy"], true);
    assert_eq!(relay.connections(), 3, "the one that is held up, one aside, one for the rest");
}

#[test]
fn a_connection_that_breaks_is_made_anew() {
    let server = Container::run(&["haproxy:3.2", "sleep", "300"]);
    let relay = Relay::new();
    let mut waiting = tool("healthwait");
    waiting.args(relay.via()).arg(format!("tcp://{}:8080", server.address()));
    let mut waiting = piped(waiting.arg("--no-input").arg("--timeout=60s"));
    // Not before something went through the first connection, or the cut hits its handshake.
    let mut told = BufReader::new(waiting.stderr.take().unwrap());
    until_told(&mut told, "cannot connect to");
    assert_eq!(relay.connections(), 1);
    relay.cut();
    until("the second connection", || (relay.connections() == 2).then_some(()));
    server.exec(&[
        "sh",
        "-c",
        "printf 'listen a\\n bind :8080\\n' > /tmp/a.cfg; haproxy -D -f /tmp/a.cfg",
    ]);
    let run = Run::of(&waiting.wait_with_output().unwrap()).good();
    assert_eq!(target(&run)["healthy"], true);
    assert_eq!(relay.connections(), 2);
}

#[test]
fn a_host_that_lets_nobody_in_is_not_waited_for() {
    let user = format!("--via=ssh://nobody@{}", from_run_sh("LAB_APP_ADDR"));
    let mut ask = tool("healthwait");
    ask.args([&user, "--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")]).args([
        "--identity",
        &from_run_sh("LAB_SSH_KEY"),
        "--timeout=1h",
        "tcp://localhost:22",
    ]);
    let _ = Run::of(&without_input(&mut ask)).bad("healthwait", 4, "ssh_auth_failed");
}

/// healthwait on the server's own engine, seen from here or through SSH.
fn checks(relay: Option<&Relay>) -> Command {
    let mut command = tool("healthwait");
    match relay {
        Some(relay) => command.args(relay.via()),
        None => command.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")),
    };
    command
}

#[test]
fn a_container_s_own_check_has_to_pass() {
    let check = "test -e /tmp/ready || { echo no database; exit 1; }";
    let args = ["--health-cmd", check, "--health-interval=200ms", "--health-retries=2"];
    let server = Container::run(&[&args[..], &["haproxy:3.2", "sleep", "300"]].concat());
    let relay = Relay::new();
    let name = format!("container://{}", server.name());
    let through = piped(checks(Some(&relay)).args([&name, "--no-input"]));
    let mut failing = checks(None);
    let failed = Run::of(&without_input(failing.args([&name, "--timeout=3s"])));
    let failed = failed.bad("healthwait", 124, "deadline_exceeded");
    assert_eq!(target(&failed)["reason"], "the container is unhealthy: no database");
    server.exec(&["touch", "/tmp/ready"]);
    let _ = Run::of(&through.wait_with_output().unwrap()).good();
    let _ = Run::of(&without_input(checks(None).arg(&name))).good();
    assert_eq!(relay.connections(), 1);
}

#[test]
fn a_container_that_cannot_become_healthy_is_told_apart() {
    let unchecked = Container::run(&["haproxy:3.2", "sleep", "300"]);
    let name = format!("container://{}", unchecked.name());
    let run = Run::of(&without_input(checks(None).arg(&name))).bad("healthwait", 2, "usage");
    assert!(run.told.contains("has no HEALTHCHECK"), "{}", run.told);

    let ended = Container::run(&["--health-cmd=true", "haproxy:3.2", "sh", "-c", "exit 3"]);
    let name = format!("container://{}", ended.name());
    let run = Run::of(&without_input(checks(None).args([&name, "--fail-fast"])));
    let run = run.bad("healthwait", 1, "given_up");
    assert_eq!(target(&run)["reason"], "the container ended with exit code 3");

    let run = Run::of(&without_input(checks(None).args(["container://nowhere", "--timeout=1s"])));
    let run = run.bad("healthwait", 124, "deadline_exceeded");
    assert_eq!(target(&run)["reason"], "no such container");
}
