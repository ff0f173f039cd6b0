//! Login shells whose start files print, end, or never come to an end.

use super::*;

/// A user of the test's own, who may use the engine, with this start file.
const USER: &str = r#"
set -e
name=$1
home=/home/$name
if ! grep -q "^$name:" /etc/passwd; then
    gid=$(getent group docker | cut -d: -f3)
    echo "$name:x:$2:$gid::$home:/bin/bash" >>/etc/passwd
fi
mkdir -p "$home/.ssh"
cp /home/deployer/.ssh/authorized_keys "$home/.ssh/"
cat >"$home/.bashrc"
chown -R "$name:docker" "$home"
chmod 700 "$home" "$home/.ssh"
echo made >&3
"#;

struct User {
    name: &'static str,
    app: App,
}

impl User {
    fn new(name: &'static str, number: &str, start_file: &str) -> Self {
        let script = format!("exec 3>&1; ({USER}) <<'END'\n{start_file}\nEND\ncat >/dev/null");
        let (_made, told) = OnServer::start(&["bash", "-c", &script, "user", name, number], "");
        assert_eq!(told, "made");
        Self { name, app: site(name, UNPUBLISHED) }
    }

    /// remote-swap as this user, at a port of the host.
    fn swap(&self, port: &str) -> Command {
        let lab = from_run_sh("LAB_SSH");
        let (_, host) = lab.split_once('@').unwrap();
        let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
        let pin = listed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
        let mut swap = self.app.bare();
        swap.args(["--host", &format!("{}@{host}:{port}", self.name)])
            .args(["--identity", &from_run_sh("LAB_SSH_KEY"), "--host-key", pin])
            .args(self.app.serving());
        swap
    }

    fn deploy(&self, release: &Release) -> Run {
        deploy(&mut self.swap("22"), release)
    }

    /// The same through a server that forwards no sockets.
    fn deploy_by_client(&self, port: &str, release: &Release) -> Run {
        let _sshd = login::sshd(port, &["AllowStreamLocalForwarding=no"]);
        deploy(&mut self.swap(port), release)
    }
}

#[test]
fn what_a_start_file_prints_changes_nothing() {
    let user = User::new("swapprints", "2601", "echo Welcome to the server; printf 'node 18 '");
    let first = user.deploy(one()).good();
    assert_eq!(host(&first)["outcome"], "deployed");
    let second = user.deploy(two()).good();
    assert!(!second.told.contains("an interruption"), "{}", second.told);
    user.app.assert_serves(two());
    // What is printed would be the head of the engine's first answer.
    let _ = user.deploy_by_client("2131", one()).good();
    user.app.assert_serves(one());
}

#[test]
fn a_start_file_that_ends_the_shell_is_named() {
    let user = User::new("swapends", "2602", "echo not for you; exit 0");
    let _ = user.deploy(one()).good();
    let id = user.app.assert_serves(one());
    // By the socket alone a deploy is good, but it has a gap, for a reason that is told.
    let told = user.deploy(two()).good().told;
    let warning = told.lines().find(|line| line.contains("an interruption")).unwrap();
    assert!(warning.contains("~/.bashrc") && warning.contains("not for you"), "{warning}");
    assert_ne!(user.app.assert_serves(two()), id);
    let refused = user.deploy_by_client("2132", one());
    let refused = refused.bad("remote-swap", 5, "engine_unreachable");
    let error = &refused.document["error"];
    assert!(text_of(error, "message").contains("not for you"), "{error:#}");
    assert!(text_of(error, "hint").contains("~/.bashrc"), "{error:#}");
}

#[test]
fn a_start_file_without_end_is_given_up() {
    let user = User::new("swapfloods", "2603", "yes");
    let refused = user.deploy_by_client("2133", one());
    let refused = refused.bad("remote-swap", 5, "engine_unreachable");
    let error = &refused.document["error"];
    assert!(text_of(error, "message").contains("prints without end"), "{error:#}");
}

/// Podman's service at a socket that everybody may open; ends with its stdin.
const PODMAN: &str = r#"
podman --root "$1/root" --runroot "$1/run" --tmpdir "$1/tmp" --storage-driver vfs \
    system service --time 0 "unix://$1/sock" >/dev/null 2>&1 &
pid=$!
until [ -S "$1/sock" ]; do kill -0 $pid || exit; read -rt 0.05 -u 9 9<><(:); done
chmod 755 "$1"
chmod 666 "$1/sock"
echo listening
cat >/dev/null
kill $pid
wait $pid
rm -rf "$1"
"#;

#[test]
fn podman_is_told_before_anything_is_done() {
    let app = site("swap-podman", 8199);
    let place = "/run/swap-test-podman";
    let script = format!("mkdir -p \"$1\"; {PODMAN}");
    let (_podman, ready) = OnServer::start(&["bash", "-c", &script, "podman", place], "");
    assert_eq!(ready, "listening");
    for strategy in ["recreate", "blue-green"] {
        let mut swap = app.swap_by(strategy, &["--docker-socket", &format!("{place}/sock")]);
        let refused = deploy(&mut swap, one()).bad("remote-swap", 1, "engine_unsupported");
        let error = &refused.document["error"];
        assert!(text_of(error, "message").contains("Podman"), "{error:#}");
        assert!(text_of(error, "hint").contains("--docker-socket"), "{error:#}");
    }
    let asked = OnServer::start(
        &[
            "bash",
            "-c",
            "podman --root \"$0/root\" --runroot \"$0/run\" --tmpdir \"$0/tmp\" --storage-driver vfs volume ls -q | wc -l",
            place,
        ],
        "",
    );
    assert_eq!(asked.1, "0", "not even a lock");
}
