//! The time between the stop of the old container and the start of the new one, in which nothing
//! may depend on the tool or its connection: it ends by itself.

use super::cuts::Relay;
use super::*;

use slipway_tests::process::until;

/// An old container that takes its time to stop, and the wish for that.
const SLOW: [&str; 4] = ["--env", "STUBBORN=1", "--stop-timeout", "3s"];

/// Waits until this release serves, in a container that was never there before.
fn serves_by_itself(app: &App, release: &Release, old: &str) {
    let new = until("the new one", || running(app, "release", old));
    assert_eq!(inspect(&new)["Config"]["Image"], release.reference());
    assert_ne!(inspect(old)["State"]["Running"], true);
    let answer = || app.get("/").ok().filter(|(_, text)| text.starts_with(release.version));
    until("its answer", answer);
}

#[test]
fn killed_between_stop_and_start_the_new_one_serves_by_itself() {
    let app = site("swap-gap-kill", 8150);
    app.deployed(one(), &SLOW);
    let old = app.assert_serves(one());
    let deploying = Deploying::new(&mut app.swap(&SLOW), two()).until_told("replacing");
    told_to_stop(&old);
    deploying.kill();
    serves_by_itself(&app, two(), &old);
    let again = app.deploy_release(two(), &SLOW).good();
    assert_eq!(host(&again)["container_id"], app.assert_serves(two()));
    assert_eq!(app.containers().len(), 2);
}

#[test]
fn cut_for_good_between_stop_and_start_the_new_one_serves_by_itself() {
    let app = site("swap-gap-cut", 8151);
    app.deployed(one(), &SLOW);
    let old = app.assert_serves(one());
    let relay = Relay::new();
    let mut swap = relay.swap(&app, &SLOW);
    let deploying = Deploying::new(&mut swap, two()).until_told("replacing");
    told_to_stop(&old);
    relay.close();
    serves_by_itself(&app, two(), &old);
    let lost = deploying.finish().bad("remote-swap", 6, "connection_lost");
    assert_eq!(host(&lost)["outcome"], "broken");
    let again = app.deploy_release(two(), &SLOW).good();
    assert_eq!(host(&again)["container_id"], app.assert_serves(two()));
}

/// Kills the two processes of sshd behind the session that was handed an order for a container.
const KILL_SSHD: &str = r#"
import os, signal, sys

def read(pid, name):
    with open(f'/proc/{pid}/{name}') as file:
        return file.read()

def parent(pid):
    return read(pid, 'status').split('PPid:')[1].split()[0]

container = sys.stdin.readline().strip()
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        command = read(pid, 'cmdline')
        if container not in command or not command.startswith('sh\0-c\0command -v setsid'):
            continue
        while read(pid, 'comm').strip() != 'sshd':
            pid = parent(pid)
    except (FileNotFoundError, ProcessLookupError):
        continue
    both = [int(pid), int(parent(pid))]
    for one in both:
        os.kill(one, signal.SIGKILL)
    print(*both, flush=True)
    break
"#;

#[test]
fn the_servers_process_killed_between_stop_and_start_the_tool_finds_its_work_done() {
    let app = site("swap-gap-sshd", 8152);
    app.deployed(one(), &SLOW);
    let old = app.assert_serves(one());
    let deploying = Deploying::new(&mut app.swap(&SLOW), two()).until_told("replacing");
    told_to_stop(&old);
    let (_server, killed) = OnServer::python(KILL_SSHD, &format!("{old}\n"));
    assert_eq!(killed.split(' ').count(), 2, "{killed}");
    let deployed = deploying.finish().good();
    assert_eq!(host(&deployed)["outcome"], "deployed");
    assert_eq!(host(&deployed)["container_id"], app.assert_serves(two()));
    assert!(host(&deployed)["unserved_ms"].as_u64().unwrap() > 0);
}

#[test]
fn a_rerun_that_comes_while_the_order_of_a_dead_one_is_carried_out() {
    let app = site("swap-gap-rerun", 8153);
    app.deployed(one(), &SLOW);
    let old = app.assert_serves(one());
    let deploying = Deploying::new(&mut app.swap(&SLOW), two()).until_told("replacing");
    told_to_stop(&old);
    deploying.kill();
    let again = app.deploy_release(two(), &["--stop-timeout", "1s"]).good();
    assert_eq!(host(&again)["container_id"], app.assert_serves(two()));
    assert_eq!(app.containers().len(), 2);
}

#[test]
fn a_host_that_takes_no_orders_is_told_of_before() {
    let app = site("swap-gap-refused", 8154);
    // Streams are forwarded, and no command of the user's is run.
    let through = |release| login::through(&app, "2123", &["ForceCommand=/bin/false"], release);
    let deployed = through(one()).good();
    assert!(!deployed.told.contains("an interruption"), "there was nothing to stop");
    let deployed = through(two()).good();
    assert_eq!(deployed.told.matches("an interruption between stop and start").count(), 1);
    assert_eq!(host(&deployed)["container_id"], app.assert_serves(two()));
}
