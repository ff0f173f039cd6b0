//! What others on the host can see of a front, and what it could do to them.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use slipway_tests::from_run_sh;
use slipway_tests::lab::app_engine;

use super::place::place;
use super::site::{one, text_of, two};

/// Everything that the command lines of this machine hold while it looks, the lab's included.
struct CommandLines {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl CommandLines {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopping.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(line) = std::fs::read(process.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                std::thread::yield_now();
            }
            seen
        });
        Self { stop, thread }
    }

    fn seen(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().into_iter().collect::<Vec<_>>().join("\n")
    }
}

/// `docker events` on the application server.
struct Events(Child);

impl Events {
    fn watch() -> Self {
        let mut docker = Command::new("docker");
        docker
            .args(["events", "--since", "0s"])
            .env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"));
        Self(docker.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn seen(mut self) -> String {
        self.0.kill().unwrap();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        text
    }
}

#[test]
fn the_token_is_nowhere_to_be_seen_and_never_the_same() {
    let app = place("green-secret", 8245);
    let (lines, events) = (CommandLines::watch(), Events::watch());
    app.turned(one(), &[]);
    let first = app.token();
    app.turned(two(), &["--drain-timeout", "9s"]);
    let second = app.token();
    let front = app.front();
    let id = text_of(&front, "Id");
    let seen = [
        ("command lines", lines.seen()),
        ("events", events.seen()),
        ("inspect", front.to_string()),
        ("logs", app_engine(&["logs", id])),
        ("processes", app_engine(&["top", id])),
    ];
    assert!(
        seen[0].1.contains("haproxy -c") && seen[1].1.contains("exec_create"),
        "it was looked at"
    );
    for (place, text) in seen {
        assert!(!text.contains(&first) && !text.contains(&second), "{place}");
    }
    assert_ne!(first, second);
    assert_eq!(app.control(&second).0, "200");
    assert_eq!(app.control(&first).0, "404", "the old one is worth nothing");
    let file = app_engine(&["exec", id, "stat", "-c", "%a %U", "/slipway/haproxy.cfg"]);
    assert_eq!(file.trim(), "640 root");
    let left = app_engine(&["exec", id, "ls", "/slipway"]);
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["haproxy.cfg", "live.map"]);
}

#[test]
fn a_front_may_do_nothing_but_its_work() {
    let app = place("green-hard", 8246);
    app.turned(one(), &[]);
    let front = app.front();
    let config = &front["HostConfig"];
    assert_eq!(config["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(config["ReadonlyRootfs"], true);
    assert_eq!(config["PidsLimit"], 4096);
    let id = text_of(&front, "Id");
    let status = app_engine(&["exec", id, "cat", "/proc/1/status"]);
    for line in ["Uid:\t99\t99", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // As itself it can change neither its configuration nor anything else.
    let write = "for file in /slipway/haproxy.cfg /slipway/x /tmp/x /x; do echo x >$file && echo $file; done; true";
    assert_eq!(app_engine(&["exec", "--user", "99:99", id, "sh", "-c", write]), "");
    // It goes with all that is its own.
    let volume = text_of(&front["Mounts"][0], "Name").to_owned();
    let id = id.to_owned();
    app_engine(&["tag", "haproxy:3.2", "green-front:hard"]);
    let _ = app.turn(two(), &["--front-image", "green-front:hard"]).good();
    assert_ne!(text_of(&app.front(), "Id"), id);
    assert!(!app_engine(&["volume", "ls", "-q"]).contains(&volume), "its volume is left behind");
}

#[test]
fn a_front_listens_at_low_ports_too() {
    let app = place("green-low", 8247);
    let run = app.turn(one(), &["--publish", "8248:80", "--health-port", "8000"]).good();
    assert!(!run.told.contains("Permission"), "{}", run.told);
    app.assert_live(one());
}
