//! A connection that breaks in the middle of a deploy.

use super::*;

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use slipway_tests::process::until;

/// Something between here and the server's sshd that can break connections.
pub(crate) struct Relay {
    port: u16,
    connections: Arc<Mutex<Vec<Passing>>>,
    closed: Arc<AtomicBool>,
}

struct Passing {
    ends: [TcpStream; 2],
    frozen: Arc<AtomicBool>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let (connections, closed) = (Arc::clone(&relay.connections), Arc::clone(&relay.closed));
        let server = (from_run_sh("LAB_APP_ADDR"), 22);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let far = TcpStream::connect((server.0.as_str(), server.1)).unwrap();
                let frozen = Arc::<AtomicBool>::default();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let frozen = Arc::clone(&frozen);
                    std::thread::spawn(move || pass(from, to, &frozen));
                }
                connections.lock().unwrap().push(Passing { ends: [near, far], frozen });
            }
        });
        relay
    }

    /// Breaks all connections that there are; new ones are let through.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            for end in connection.ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Lets nothing more through those that there are, and does not say so; new ones are let through.
    pub(crate) fn freeze(&self) {
        for connection in &*self.connections.lock().unwrap() {
            connection.frozen.store(true, Ordering::SeqCst);
        }
    }

    /// Breaks all, and lets no new ones through.
    pub(crate) fn close(&self) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            // The listener's thread looks when somebody comes.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
        }
        self.cut();
    }

    /// remote-swap through this.
    pub(crate) fn swap(&self, app: &App, args: &[&str]) -> Command {
        let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
        let pin = listed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
        let mut swap = app.bare();
        swap.args(["--host", &format!("deployer@127.0.0.1:{}", self.port)])
            .args(["--identity", &from_run_sh("LAB_SSH_KEY"), "--host-key", pin])
            .args(app.serving())
            .args(args);
        swap
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        if frozen.load(Ordering::SeqCst) {
            continue_until_cut(&mut from, &mut buffer);
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Takes what comes and gives it to nobody.
fn continue_until_cut(from: &mut TcpStream, buffer: &mut [u8]) {
    while matches!(from.read(buffer), Ok(1..)) {}
}

#[test]
fn a_connection_that_breaks_is_made_anew() {
    let app = site("swap-cut", 8132);
    app.deployed(one(), &[]);
    let relay = Relay::new();
    let (mut release, mut next) = (two(), one());
    // While the candidate is proved, and while the new one is on its way.
    for (told, role) in [("proving a candidate", "candidate"), ("replacing", "release")] {
        let live = running(&app, "release", "").unwrap();
        let mut swap = relay.swap(&app, &["--env", "WARM_UP=2"]);
        let deploying = Deploying::new(&mut swap, release).until_told(told);
        until("the container", || running(&app, role, &live));
        relay.cut();
        let deployed = deploying.finish().good();
        assert_eq!(host(&deployed)["outcome"], "deployed");
        assert_eq!(host(&deployed)["container_id"], app.assert_serves(release));
        std::mem::swap(&mut release, &mut next);
    }
}

#[test]
fn a_connection_that_goes_silent_is_noticed_and_made_anew() {
    let app = site("swap-silent", UNPUBLISHED);
    app.deployed(one(), &[]);
    let relay = Relay::new();
    let mut swap = relay.swap(&app, &["--env", "WARM_UP=2"]);
    let deploying = Deploying::new(&mut swap, two()).until_told("proving a candidate");
    until("the candidate", || running(&app, "candidate", ""));
    relay.freeze();
    assert_eq!(host(&deploying.finish().good())["outcome"], "deployed");
    app.assert_serves(two());
}

#[test]
fn a_connection_that_cannot_be_made_anew_is_told_and_the_rerun_converges() {
    let app = site("swap-lost", 8135);
    app.deployed(one(), &[]);
    let relay = Relay::new();
    let live = running(&app, "release", "").unwrap();
    let mut swap = relay.swap(&app, &["--env", "WARM_UP=2"]);
    let deploying = Deploying::new(&mut swap, two()).until_told("replacing");
    until("the new one", || running(&app, "release", &live));
    relay.close();
    // Nobody here can know what serves there now.
    let lost = deploying.finish().bad("remote-swap", 6, "connection_lost");
    assert_eq!(host(&lost)["outcome"], "broken");
    let again = app.deploy_release(two(), &["--env", "WARM_UP=2"]).good();
    assert_eq!(host(&again)["container_id"], app.assert_serves(two()));
}
