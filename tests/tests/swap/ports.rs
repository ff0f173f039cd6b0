//! A port that belongs to somebody else is left to them.

use super::*;

/// A container of somebody else; goes with the test.
struct Stranger(String);

impl Stranger {
    fn run(name: &str, port: u16) -> Self {
        let _ = Command::new("docker")
            .args(["rm", "-f", name])
            .env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"))
            .output();
        let publish = format!("{port}:{INSIDE}");
        let id = app_engine(&[
            "run",
            "-d",
            "--name",
            name,
            "-p",
            &publish,
            "-e",
            "NOTE=stranger",
            one().reference(),
        ]);
        Self(id.trim().to_owned())
    }

    /// When it was started, if it still runs.
    fn running_since(&self) -> String {
        let seen = inspect(&self.0);
        assert_eq!(seen["State"]["Running"], true, "{:#}", seen["State"]);
        text_of(&seen["State"], "StartedAt").to_owned()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.0]);
    }
}

#[test]
fn a_strangers_container_keeps_its_port() {
    let app = site("swap-stranger", 8127);
    app.deployed(one(), &[]);
    let stranger = Stranger::run("swap-a-stranger", 8128);
    let since = stranger.running_since();
    let before = app.containers();
    let bad = app.deploy_release(two(), &["--publish", "8128:8000"]);
    let bad = bad.bad("remote-swap", 1, "port_in_use");
    let message = text_of(&bad.document["error"], "message");
    assert!(message.contains("8128") && message.contains("swap-a-stranger"), "{message}");
    assert_eq!(host(&bad)["outcome"], "failed");
    assert_eq!(app.containers(), before);
    assert_eq!(stranger.running_since(), since);

    // Also one that has a name like ours; and a good deploy leaves it alone, too.
    app_engine(&["rename", &stranger.0, "swap-stranger-20200101-000000-000-0000"]);
    app.deployed(two(), &[]);
    app.assert_serves(two());
    assert_eq!(stranger.running_since(), since);
}

/// Listens on a port, says so, and holds it until its stdin ends.
const LISTENER: &str = "
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == 'udp' else socket.SOCK_STREAM
held = socket.socket(socket.AF_INET, kind)
held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
held.bind(('0.0.0.0', int(sys.argv[2])))
if kind == socket.SOCK_STREAM:
    held.listen()
print('listening', flush=True)
sys.stdin.read()
";

fn listener(kind: &str, port: &str) -> OnServer {
    let (held, ready) = OnServer::start(&["python3", "-c", LISTENER, kind, port], "");
    assert_eq!(ready, "listening");
    held
}

#[test]
fn a_plain_process_keeps_its_port() {
    let app = site("swap-process", 8139);
    let held = listener("tcp", "8139");
    let bad = app.deploy_release(one(), &[]).bad("remote-swap", 1, "port_in_use");
    let message = text_of(&bad.document["error"], "message");
    assert!(message.contains("8139") && message.contains("no container"), "{message}");
    assert_eq!(app.containers(), Vec::<Value>::new());
    drop(held);
    app.deployed(one(), &[]);
    app.assert_serves(one());
}

#[test]
fn a_port_that_only_the_start_finds_taken_is_put_back() {
    let app = site("swap-taken", 8134);
    let good = app.deploy_release(one(), &[]).good();
    // Nobody can see from outside whether a UDP port is held.
    let _held = listener("udp", "8135");
    let bad = app.deploy_release(two(), &["--publish", "8135:5353/udp"]);
    let bad = bad.bad("remote-swap", 1, "port_in_use");
    assert_eq!(host(&bad)["outcome"], "rolled_back");
    assert!(host(&bad)["unserved_ms"].as_u64().unwrap() > 0, "{}", host(&bad));
    assert_eq!(app.assert_serves(one()), host(&good)["container_id"]);
    assert_eq!(app.containers().len(), 1);
}
