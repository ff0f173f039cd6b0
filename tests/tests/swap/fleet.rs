//! Many hosts at once, and servers that are busy.
//!
//! There is one application server; a relay for each makes many hosts of it. So they share an
//! engine, and what is tried with many is what changes nothing.

use super::*;

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A way to a port of the server that is a host of its own to whoever connects.
struct Door {
    port: u16,
    closed: Arc<AtomicBool>,
}

impl Door {
    /// The first connections are refused as sshd does it beyond MaxStartups: closed without a word.
    fn new(to: u16, refused: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&closed);
        let server = from_run_sh("LAB_APP_ADDR");
        std::thread::spawn(move || {
            let coming = listener.incoming().take_while(|_| !seen.load(Ordering::SeqCst));
            for near in coming.skip(refused).flatten() {
                let far = TcpStream::connect((server.as_str(), to)).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, closed }
    }

    fn host(&self) -> String {
        format!("deployer@127.0.0.1:{}", self.port)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // The listener's thread looks when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// remote-swap on these hosts.
fn swap(app: &App, hosts: &[String]) -> Command {
    let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
    let pin = listed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
    let mut swap = app.bare();
    swap.args(hosts.iter().flat_map(|host| ["--host", host])).args([
        "--identity",
        &from_run_sh("LAB_SSH_KEY"),
        "--host-key",
        pin,
    ]);
    swap
}

/// The port of an sshd of the test's own, with the server's stock settings: connections of other
/// tests would count in the limits of the server's one.
const SSHD_PORT: u16 = 2250;

#[test]
fn fifty_hosts_behind_one_stock_sshd() {
    let app = site("swap-fifty", UNPUBLISHED);
    app.deployed(one(), &[]);
    let script = format!("/usr/sbin/sshd -D -e -p {SSHD_PORT} -o PidFile=none 2>&1 & cat; kill $!");
    let (mut sshd, _) = OnServer::start(&["sh", "-c", &script], "");
    let doors: Vec<Door> = (0..50).map(|_| Door::new(SSHD_PORT, 0)).collect();
    let hosts: Vec<String> = doors.iter().map(Door::host).collect();
    let asked = Run::of(&slipway_tests::process::without_input(swap(&app, &hosts).arg("status")));
    let asked = asked.good();
    drop(doors);
    drop(sshd.stdin.take());
    let mut log = String::new();
    sshd.stdout.read_to_string(&mut log).unwrap();
    assert_eq!(log.matches("Accepted publickey").count(), 50, "{log}");
    assert!(!log.contains("MaxStartups") && !log.contains("drop connection"), "{log}");
    let told = asked.document.to_string();
    let places: Vec<usize> = hosts.iter().map(|host| told.find(host.as_str()).unwrap()).collect();
    assert!(places.is_sorted(), "{:#}", asked.document);
    assert_eq!(told.matches(one().reference()).count(), 50, "{:#}", asked.document);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let app = site("swap-busy", UNPUBLISHED);
    let busy = Door::new(22, 3);
    let mut swap = swap(&app, &[busy.host()]);
    let deployed = deploy(swap.args(app.serving()), one()).good();
    assert_eq!(host(&deployed)["container_id"], app.assert_serves(one()));
    // One that stays so is told as what it is.
    let never = Door::new(22, usize::MAX);
    let mut swap = self::swap(&app, &[never.host()]);
    let bad = deploy(swap.args(["--connect-timeout", "1s"]).args(app.serving()), one());
    let bad = bad.bad("remote-swap", 5, "host_unreachable");
    assert!(text_of(&bad.document["error"], "message").contains("handshake"), "{:#}", bad.document);
}

#[test]
fn the_release_command_is_for_the_first_host_alone() {
    let app = site("swap-once", UNPUBLISHED);
    let doors = [Door::new(22, 0), Door::new(22, 0)];
    let hosts: Vec<String> = doors.iter().map(Door::host).collect();
    let mut swap = swap(&app, &hosts);
    let command = ["--release-command", "migrate --all", "plan"];
    let planned = deploy(swap.args(app.serving()).args(command), one()).good();
    let seen = &planned.document["plan"]["hosts"];
    let run = |host: usize| seen[host]["steps"].to_string().matches("migrate --all").count();
    assert_eq!((run(0), run(1)), (1, 0), "{seen:#}");
    // What it does for all hosts is the same beside that.
    let steps = |host: usize| seen[host]["steps"].as_array().unwrap().len();
    assert_eq!(steps(0), steps(1) + 1, "{seen:#}");
    assert_eq!(app.containers(), Vec::<Value>::new());
}
