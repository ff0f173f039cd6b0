//! remote-swap while the engine of the application server is restarted. Everybody on that server is
//! struck by it, so these tests are a program of their own.

#[path = "swap/site.rs"]
#[expect(dead_code, reason = "more of it is of use to the other tests of remote-swap")]
mod site;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use site::*;
use slipway_tests::lab::{App, run};
use slipway_tests::process::until;
use slipway_tests::{from_run_sh, project};

/// One restart at a time.
static ENGINE: Mutex<()> = Mutex::new(());

/// kill -9 of the application server's engine, as nothing else ends it so surely in the middle.
const KILL: &str = r#"
for p in /proc/[0-9]*; do
    read -r name <"$p/comm" 2>/dev/null && test "$name" = dockerd && kill -KILL "${p#/proc/}"
done
:
"#;

fn lab(command: &str, more: &[&str]) {
    let place = ["--dir", &from_run_sh("LAB_DIR")];
    let lab = project().join("tests/lab/lab.sh");
    run(Command::new(lab).args(command.split(' ')).args(place).args(more));
}

/// Kills the engine, and has the lab start it again.
fn restart_the_engine() {
    lab("enter app", &["--", "bash", "-c", KILL]);
    lab("up", &[]);
}

/// The lab's engine answers again, whatever became of the test.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        lab("up", &[]);
    }
}

/// When the engine is restarted.
#[derive(Clone, Copy, Debug)]
enum At {
    Proving,
    /// The old one was told to stop, and does not yet.
    Stopping,
    /// The new one runs in its place, not yet proved.
    Halfway,
}

fn reach(at: At, app: &App, old: &str, deploying: Deploying) -> Deploying {
    match at {
        At::Proving => {
            let deploying = deploying.until_told("proving a candidate");
            until("the candidate", || running(app, "candidate", ""));
            deploying
        }
        At::Stopping => {
            let deploying = deploying.until_told("replacing");
            told_to_stop(old);
            deploying
        }
        At::Halfway => {
            let deploying = deploying.until_told("replacing");
            until("the new one", || running(app, "release", old));
            deploying
        }
    }
}

/// Waits until one of the two serves with nobody's help.
fn one_serves(app: &App, at: At) {
    let answers = || app.get("/health").ok().filter(|(status, _)| *status == 200);
    let (_, text) = until("an answer", answers);
    assert!(text.starts_with("one") || text.starts_with("two"), "{at:?}: {text}");
}

const SLOW: [&str; 6] = ["--env", "STUBBORN=1", "--stop-timeout", "3s", "--env", "WARM_UP=1"];

#[test]
fn the_engine_restarted_anywhere_one_serves_and_a_plain_rerun_converges() {
    let _one = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let _mended = Mended;
    let app = site("restart-engine", 8160);
    let (mut old, mut new) = (one(), two());
    app.deployed(old, &SLOW);
    for at in [At::Proving, At::Stopping, At::Halfway] {
        let id = app.assert_serves(old);
        let deploying = Deploying::new(&mut app.swap(&SLOW), new);
        let deploying = reach(at, &app, &id, deploying);
        restart_the_engine();
        let ended = deploying.finish();
        one_serves(&app, at);
        // Whatever the tool says serves does.
        match host(&ended)["outcome"].as_str().unwrap() {
            "deployed" => assert_eq!(host(&ended)["container_id"], app.assert_serves(new)),
            "rolled_back" => assert_eq!(host(&ended)["container_id"], app.assert_serves(old)),
            outcome => assert_eq!(outcome, "failed", "{at:?}: {}", ended.told),
        }
        let again = app.deploy_release(new, &SLOW).good();
        assert_eq!(host(&again)["container_id"], app.assert_serves(new), "{at:?}");
        std::mem::swap(&mut old, &mut new);
    }
}

#[test]
fn the_tool_killed_and_the_engine_restarted_between_stop_and_start_one_serves() {
    let _one = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let _mended = Mended;
    // The engine brings back the one, and not the other, which was told to stop.
    for restart in ["always", "unless-stopped"] {
        let app = site("restart-killed", 8161);
        let args = [&SLOW[..], &["--restart", restart]].concat();
        app.deployed(one(), &args);
        let old = running(&app, "release", "").unwrap();
        let deploying = Deploying::new(&mut app.swap(&args), two());
        reach(At::Stopping, &app, &old, deploying).kill();
        restart_the_engine();
        one_serves(&app, At::Stopping);
        let again = app.deploy_release(two(), &SLOW).good();
        assert_eq!(host(&again)["container_id"], app.assert_serves(two()), "{restart}");
        // The one that the killed deploy brought is a release of its own where it served meanwhile.
        assert!(app.containers().len() <= 3, "{restart}");
    }
}
