//! The ways in: keys, agents, host keys, and what the server may refuse.

use super::*;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use slipway_tests::process::until;

/// remote-swap on the lab's host, without a key yet.
fn keyless(app: &App) -> Command {
    let mut swap = app.bare();
    swap.args(["--host", &from_run_sh("LAB_SSH")])
        .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")])
        .args(app.serving());
    swap
}

/// Checks that this way in works, and leads to what serves there.
fn leads_in(app: &App, swap: &mut Command) {
    let run = deploy(swap, one()).good();
    assert_eq!(host(&run)["container_id"], app.assert_serves(one()));
}

/// A key that the server does not know.
fn other_key(app: &App) -> String {
    let path = app.beside("other");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path));
    path.to_str().unwrap().to_owned()
}

/// An agent of the test's own.
struct Agent {
    child: Child,
    socket: String,
}

impl Agent {
    fn new(socket: &Path) -> Self {
        let socket = socket.to_str().unwrap().to_owned();
        let child = Command::new("ssh-agent")
            .args(["-D", "-a", &socket])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the agent", || Path::new(&socket).exists().then_some(()));
        Self { child, socket }
    }

    fn add(&self, key: &str) {
        let mut add = Command::new("ssh-add");
        run(add.args(["-q", key]).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_from_the_environment_and_from_an_agent() {
    let app = site("swap-keys", UNPUBLISHED);
    let key = std::fs::read_to_string(from_run_sh("LAB_SSH_KEY")).unwrap();
    leads_in(&app, keyless(&app).args(["--identity-env", "THE_KEY"]).env("THE_KEY", &key));
    // As a CI server's form for secrets may leave it.
    for line_end in ["\r\n", " ", "\\n"] {
        let mangled = key.trim_end().replace('\n', line_end);
        leads_in(&app, keyless(&app).args(["--identity-env", "THE_KEY"]).env("THE_KEY", mangled));
    }
    let locked = app.beside("locked");
    std::fs::write(&locked, &key).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o600)).unwrap();
    let lock = ["-q", "-p", "-P", "", "-N", "open sesame", "-f"];
    run(Command::new("ssh-keygen").args(lock).arg(&locked));
    let with_key = || {
        let mut swap = keyless(&app);
        swap.args(["--identity", locked.to_str().unwrap()]);
        swap
    };
    let bad = deploy(&mut with_key(), one()).bad("remote-swap", 4, "ssh_key_unusable");
    let hint = text_of(&bad.document["error"], "hint");
    assert!(hint.contains("--identity-passphrase-env"), "{hint}");
    let opened = |phrase: &str| {
        let mut swap = with_key();
        swap.args(["--identity-passphrase-env", "PHRASE"]).env("PHRASE", phrase);
        swap
    };
    let bad = deploy(&mut opened("canary phrase"), one());
    let bad = bad.bad("remote-swap", 4, "ssh_key_unusable");
    assert!(text_of(&bad.document["error"], "message").contains("passphrase"));
    assert!(!format!("{}{}", bad.told, bad.document).contains("canary phrase"));
    leads_in(&app, &mut opened("open sesame"));

    let agent = Agent::new(&app.beside("agent"));
    let empty = deploy(keyless(&app).env("SSH_AUTH_SOCK", &agent.socket), one());
    let empty = empty.bad("remote-swap", 4, "ssh_auth_failed");
    let message = text_of(&empty.document["error"], "message");
    assert!(message.contains("agent"), "{message}");
    // The key that fits is not the first one.
    agent.add(&other_key(&app));
    agent.add(&from_run_sh("LAB_SSH_KEY"));
    leads_in(&app, keyless(&app).env("SSH_AUTH_SOCK", &agent.socket));
}

#[test]
fn keys_that_do_not_open() {
    let app = site("swap-locked", UNPUBLISHED);
    let other = other_key(&app);
    let wrong = deploy(keyless(&app).args(["--identity", &other]), one());
    let wrong = wrong.bad("remote-swap", 4, "ssh_auth_failed");
    assert!(text_of(&wrong.document["error"], "message").contains(&other));

    let open = app.beside("open");
    std::fs::copy(from_run_sh("LAB_SSH_KEY"), &open).unwrap();
    for mode in [0o644, 0o640] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        let bad = deploy(keyless(&app).args(["--identity", open.to_str().unwrap()]), one());
        let bad = bad.bad("remote-swap", 4, "ssh_key_unusable");
        assert!(text_of(&bad.document["error"], "hint").contains("chmod"), "{:#}", bad.document);
    }
    let missing = deploy(keyless(&app).args(["--identity", "/nonexistent/key"]), one());
    let _ = missing.bad("remote-swap", 4, "ssh_key_unusable");
    let secret = "not a key but a secret";
    let mut no_key = keyless(&app);
    no_key.args(["--identity-env", "THE_KEY"]).env("THE_KEY", secret);
    let bad = deploy(&mut no_key, one()).bad("remote-swap", 4, "ssh_key_unusable");
    assert!(!format!("{}{}", bad.told, bad.document).contains(secret));
    let unset = deploy(keyless(&app).args(["--identity-env", "THE_KEY"]), one());
    let _ = unset.bad("remote-swap", 2, "usage");

    // A key that fits is found behind those that do not.
    let good = from_run_sh("LAB_SSH_KEY");
    leads_in(&app, keyless(&app).args(["--identity", &other, "--identity", &good]));
}

#[test]
fn a_host_key_can_be_pinned() {
    let app = site("swap-pinned", UNPUBLISHED);
    let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
    let pins: Vec<&str> = listed.split_whitespace().filter(|w| w.starts_with("SHA256:")).collect();
    assert!(pins.len() > 1, "{listed}");
    let pinned = |pins: &[&str]| {
        let mut swap = app.bare();
        swap.args(["--host", &from_run_sh("LAB_SSH"), "--identity", &from_run_sh("LAB_SSH_KEY")]);
        swap.args(app.serving());
        swap.args(pins.iter().flat_map(|pin| ["--host-key", pin]));
        swap
    };
    // The one that the server shows by itself, and beside one that is going to be used.
    leads_in(&app, &mut pinned(&pins[..1]));
    let other = format!("SHA256:{}", "A".repeat(43));
    leads_in(&app, &mut pinned(&[&other, pins[0]]));
    let _ = deploy(&mut pinned(&["SHA256:short"]), one()).bad("remote-swap", 2, "usage");
}

/// A socket that only root may open, as the engine's is to whom the group docker does not hold.
const PRIVATE_SOCKET: &str = "
import os, socket, sys
path = '/run/swap-test-private.sock'
if os.path.exists(path):
    os.unlink(path)
os.umask(0o177)
held = socket.socket(socket.AF_UNIX)
held.bind(path)
held.listen()
print('listening', flush=True)
sys.stdin.read()
os.unlink(path)
";

#[test]
fn an_engine_that_may_not_be_used_or_is_not_there() {
    let app = site("swap-socket", UNPUBLISHED);
    let (_held, ready) = OnServer::python(PRIVATE_SOCKET, "");
    assert_eq!(ready, "listening");
    let denied = app.deploy_release(one(), &["--docker-socket", "/run/swap-test-private.sock"]);
    let denied = denied.bad("remote-swap", 4, "engine_denied");
    let error = &denied.document["error"];
    assert!(text_of(error, "message").contains("/run/swap-test-private.sock"), "{error:#}");
    assert!(text_of(error, "hint").contains("usermod"), "{error:#}");
    let down = app.deploy_release(one(), &["--docker-socket", "/run/swap-not-there.sock"]);
    let down = down.bad("remote-swap", 5, "engine_unreachable");
    assert!(text_of(&down.document["error"], "message").contains("/run/swap-not-there.sock"));
    assert_eq!(app.containers(), Vec::<Value>::new());
}

/// An sshd with options of its own that ends with its stdin.
const SSHD: &str = r#"
mkdir -p /run/sshd
"$(command -v sshd || echo /usr/sbin/sshd)" -D -o PidFile=none -o Port="$0" "$@" >/dev/null 2>&1 &
pid=$!
until (: <"/dev/tcp/127.0.0.1/$0") 2>/dev/null; do kill -0 $pid || exit; read -rt 0.05 -u 9 9<><(:); done
echo listening
cat >/dev/null
kill $pid
"#;

/// An sshd with these options at a port of the host.
pub(crate) fn sshd(port: &str, options: &[&str]) -> OnServer {
    let mut command = vec!["bash", "-c", SSHD, port];
    command.extend(options.iter().flat_map(|option| ["-o", option]));
    let (sshd, ready) = OnServer::start(&command, "");
    assert_eq!(ready, "listening");
    sshd
}

/// Deploys through an sshd with these options.
pub(crate) fn through(app: &App, port: &str, options: &[&str], release: &Release) -> Run {
    let _sshd = sshd(port, options);
    let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
    let pin = listed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
    let mut swap = app.bare();
    swap.args(["--host", &format!("{}:{port}", from_run_sh("LAB_SSH"))])
        .args(["--identity", &from_run_sh("LAB_SSH_KEY"), "--host-key", pin])
        .args(app.serving());
    deploy(&mut swap, release)
}

#[test]
fn a_server_that_forwards_less_is_used_as_far_as_it_goes() {
    let app = site("swap-forward", UNPUBLISHED);
    // Without sockets there is still the docker client.
    assert_eq!(through(&app, "2121", &["AllowStreamLocalForwarding=no"], one()).good().exit, 0);
    let id = app.assert_serves(one());
    let before = app.containers();
    // Without ports nobody could tell whether a container is healthy.
    let refused = through(&app, "2122", &["AllowTcpForwarding=no"], one());
    assert_eq!(refused.exit, 4, "{:#}", refused.document);
    let refused = refused.bad("remote-swap", 4, "ssh_forwarding_refused");
    assert!(text_of(&refused.document["error"], "hint").contains("AllowTcpForwarding"));
    assert_eq!(app.containers(), before);
    assert_eq!(app.assert_serves(one()), id);
}
