//! The front of the strategy `blue-green` while the engine of its server, or the whole server, fails.
//! Everybody on that server is struck by it, so these tests are a program of their own.

#[path = "bluegreen/place.rs"]
#[expect(dead_code, reason = "more of it is of use to the other tests of this strategy")]
mod place;
#[path = "swap/site.rs"]
#[expect(dead_code, reason = "more of it is of use to the other tests of remote-swap")]
mod site;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use place::{Place, place};
use site::{Deploying, Release, host, one, two};
use slipway_tests::lab::run;
use slipway_tests::process::until;
use slipway_tests::{from_run_sh, project};

/// One failure at a time.
static SERVER: Mutex<()> = Mutex::new(());

/// What happens to the server, in words of its own shell.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The engine is told to stop, and stops all containers.
    Restart,
    /// The engine is killed; its containers run on until the next one finds them.
    Kill,
    /// Everything ends at once, the containers' own processes included.
    PowerLoss,
}

const FAULTS: [Fault; 3] = [Fault::Restart, Fault::Kill, Fault::PowerLoss];

/// Sends a signal to the engine and waits for its end.
const SIGNAL: &str = r#"
for p in /proc/[0-9]*; do
    read -r name <"$p/comm" 2>/dev/null && test "$name" = dockerd || continue
    kill "-$1" "${p#/proc/}"
    tail -f /dev/null --pid="${p#/proc/}"
done
"#;

/// In a PID namespace that is all but its process 1, and only in one.
const ALL: &str = r#"tr '\0' ' ' </proc/1/cmdline | grep -q node-init && kill -KILL -1"#;

fn lab(command: &str, more: &[&str]) {
    let place = ["--dir", &from_run_sh("LAB_DIR")];
    let lab = project().join("tests/lab/lab.sh");
    run(Command::new(lab).args(command.split(' ')).args(place).args(more));
}

impl Fault {
    /// Strikes, and has the server start again as it would by itself.
    fn strike(self) {
        match self {
            Self::Restart => lab("enter app", &["--", "bash", "-c", SIGNAL, "sh", "TERM"]),
            Self::Kill => lab("enter app", &["--", "bash", "-c", SIGNAL, "sh", "KILL"]),
            Self::PowerLoss => lab("enter app", &["--", "bash", "-c", ALL]),
        }
        lab("up", &[]);
    }
}

/// The lab's server is whole again, whatever became of the test.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        lab("up", &[]);
    }
}

/// Waits until the application answers with nobody's help; what it says is the version.
fn comes_back(app: &Place) -> String {
    let answer = || app.get("/").ok().filter(|(status, _)| *status == 200);
    until("an answer", answer).1
}

#[test]
fn the_right_version_serves_again_by_itself() {
    let _one = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let _mended = Mended;
    let app = place("green-engine", 8240);
    app.turned(one(), &[]);
    // One that is not where the front passes to by default.
    let id = app.turned(two(), &[]);
    for fault in FAULTS {
        fault.strike();
        assert_eq!(comes_back(&app), "two", "{fault:?}");
        assert_eq!(app.assert_live(two()), id, "{fault:?}");
    }
    app.turned(one(), &[]);
}

/// When the fault strikes a deploy.
const STEPS: [&str; 4] = [
    "proving the new container",
    "turning the front",
    "the new container answers",
    "watching the new container",
];

fn struck_in_the_middle(name: &'static str, port: u16, fault: Fault) {
    let _one = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let _mended = Mended;
    let app = place(name, port);
    let args = ["--soak", "2s", "--env", "WARM_UP=1"];
    let (mut old, mut new): (&Release, &Release) = (one(), two());
    app.turned(old, &args);
    for step in STEPS {
        let deploying = Deploying::new(&mut app.swap_with(&args), new).until_told(step);
        fault.strike();
        let ended = deploying.finish();
        let version = comes_back(&app);
        match host(&ended)["outcome"].as_str() {
            Some("deployed") => assert_eq!(version, new.version, "{step}: {}", ended.told),
            _ => assert!([old.version, new.version].contains(&version.as_str()), "{step}"),
        }
        if step == STEPS[0] {
            assert_eq!(version, old.version, "nothing was switched yet");
        }
        if step == STEPS[2] && ended.exit != 0 && host(&ended)["outcome"] != "rolled_back" {
            assert_eq!(version, new.version, "it was switched: {}", ended.told);
        }
        let again = app.turn(new, &args).good();
        assert_eq!(host(&again)["container_id"], app.assert_live(new), "{step}");
        std::mem::swap(&mut old, &mut new);
    }
}

#[test]
fn a_deploy_whose_engine_is_restarted_converges() {
    struck_in_the_middle("green-engine-term", 8241, Fault::Restart);
}

#[test]
fn a_deploy_whose_engine_is_killed_converges() {
    struck_in_the_middle("green-engine-kill", 8242, Fault::Kill);
}

#[test]
fn a_deploy_whose_server_loses_its_power_converges() {
    struck_in_the_middle("green-power", 8243, Fault::PowerLoss);
}

#[test]
fn with_the_tool_gone_too_the_release_that_was_switched_to_serves() {
    let _one = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let _mended = Mended;
    let app = place("green-both", 8244);
    app.turned(one(), &[]);
    let (mut old, mut new): (&Release, &Release) = (one(), two());
    for fault in FAULTS {
        let deploying = Deploying::new(&mut app.swap_with(&["--soak", "1h"]), new);
        deploying.until_told("watching the new container").kill();
        fault.strike();
        // Until it is up again, the old one may stand in for it: it is still watched.
        until("the release that was switched to", || {
            (comes_back(&app) == new.version).then_some(())
        });
        let again = app.turn(new, &[]).good();
        assert_eq!(host(&again)["outcome"], "unchanged", "{fault:?}: {}", again.told);
        app.assert_live(new);
        std::mem::swap(&mut old, &mut new);
    }
    app.assert_live(old);
}
