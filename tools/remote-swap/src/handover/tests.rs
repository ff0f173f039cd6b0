//! The scripts, run by a real shell against a docker client that is a script itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::*;

const SOCKET: &str = "/var/run/docker.sock";

/// Containers are files that hold whether they run; `refuse-ID` is there if the engine does not
/// start it, `away` as often as its lines say if it does not answer, `hang` while stops hang.
const DOCKER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >>calls
test "$1 $2" = "-H unix:///var/run/docker.sock" || exit 9
shift 2
if test -s away; then sed -i 1d away; exit 1; fi
for id; do :; done
case $1 in
version) ;;
stop) while test -e hang; do sleep 0.05; done; test ! -e stubborn && echo false >"$id" ;;
start) test -e "$id" && test ! -e "refuse-$id" && echo true >"$id" ;;
rm) rm -- "$id" ;;
container) cat -- "$id" ;;
esac
"#;

const EXCHANGE_IT: Order<'_> = Order::Exchange { old: "01d", seconds: 7, new: "0e3" };
const RESTORE_IT: Order<'_> = Order::Restore { new: "0e3", seconds: 1, volumes: true, old: "01d" };

struct Server(tempfile::TempDir);

impl Server {
    fn new(old: bool, new: bool) -> Self {
        let server = Self(tempfile::tempdir().unwrap());
        server.write("docker", DOCKER);
        std::fs::set_permissions(server.path("docker"), PermissionsExt::from_mode(0o755)).unwrap();
        server.write("01d", &format!("{old}\n"));
        server.write("0e3", &format!("{new}\n"));
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn running(&self) -> [bool; 2] {
        ["01d", "0e3"].map(|name| self.read(name) == "true\n")
    }

    /// Begins as sshd does, up to the word that it is ready.
    fn begin(&self, order: &Order<'_>) -> Child {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", &order.command(SOCKET).unwrap()])
            .env("PATH", path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn hand_over(&self, order: &Order<'_>) -> Handed {
        let mut child = self.begin(order);
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        end(told.strip_prefix("ready\n").unwrap()).unwrap()
    }
}

#[test]
fn nothing_but_plain_words_stands_outside_the_quotes() {
    for order in [EXCHANGE_IT, RESTORE_IT] {
        let command = order.command(SOCKET).unwrap();
        assert_eq!(command.matches('\'').count(), 4, "{command}");
        assert!(!command.contains(['!', '\\', '\n', '`']), "{command}");
        let quoted: Vec<&str> = command.split('\'').collect();
        assert_eq!((quoted[0], quoted[2]), ("sh -c ", " "));
        let plain = |c: char| c.is_ascii_alphanumeric() || " /.-".contains(c);
        assert!(quoted[4].chars().all(plain), "{command}");
    }
    let with = |old| Order::Exchange { old, seconds: 1, new: "0e3" }.command(SOCKET);
    assert!(with("01d").is_some());
    for bad in ["", "x", "0 1", "$(id)", "-f", "'"] {
        assert_eq!(with(bad), None, "{bad}");
    }
    for bad in ["docker.sock", "/a b", "/a;b", "/a'b", "/$a"] {
        assert_eq!(EXCHANGE_IT.command(bad), None, "{bad}");
    }
    let negative = Order::Exchange { old: "01d", seconds: -1, new: "0e3" };
    assert_eq!(negative.command(SOCKET), None);
}

#[test]
fn the_new_one_takes_the_place_of_the_old_one() {
    let server = Server::new(true, false);
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Done);
    assert_eq!(server.running(), [false, true]);
    assert!(server.read("calls").contains("stop -t 7 01d\n"));
    // Once more, as after a connection that broke.
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Done);
    assert_eq!(server.running(), [false, true]);
}

#[test]
fn what_cannot_be_started_leaves_the_place_to_the_old_one() {
    let server = Server::new(true, false);
    server.write("refuse-0e3", "");
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Undone);
    assert_eq!(server.running(), [true, false]);
    server.write("refuse-01d", "");
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Failed);
}

#[test]
fn what_cannot_be_stopped_is_left_alone() {
    let server = Server::new(true, false);
    server.write("stubborn", "");
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Kept);
    assert_eq!(server.running(), [true, false]);
    // One that was removed is as good as stopped.
    std::fs::remove_file(server.path("01d")).unwrap();
    assert_eq!(server.hand_over(&EXCHANGE_IT), Handed::Done);
}

#[test]
fn an_engine_that_is_away_is_waited_for() {
    for (old, end) in [(true, Handed::Kept), (false, Handed::Done)] {
        let server = Server::new(old, false);
        let mut child = server.begin(&EXCHANGE_IT);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut told = String::new();
        stdout.read_line(&mut told).unwrap();
        assert_eq!(told, "ready\n");
        // From the stop on, and once it is asked for.
        server.write("away", "x\nx\n");
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        told.clear();
        stdout.read_line(&mut told).unwrap();
        assert_eq!(super::end(&told), Some(end), "{told}");
        assert_eq!(server.running(), [old, !old]);
        child.wait().unwrap();
    }
}

#[test]
fn the_old_one_is_put_back() {
    let server = Server::new(false, true);
    assert_eq!(server.hand_over(&RESTORE_IT), Handed::Done);
    assert_eq!(server.running(), [true, false]);
    assert!(server.read("calls").contains("rm -fv 0e3\n"));
    assert_eq!(server.hand_over(&RESTORE_IT), Handed::Done);
    server.write("refuse-01d", "");
    assert_eq!(server.hand_over(&RESTORE_IT), Handed::Failed);
}

#[test]
fn without_the_word_nothing_is_done() {
    for word in ["", "g"] {
        let server = Server::new(true, false);
        let mut child = server.begin(&EXCHANGE_IT);
        child.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"ready\n");
        assert!(!server.read("calls").contains("stop"));
    }
}

#[test]
fn where_there_is_no_docker_client_it_is_not_ready() {
    let server = Server::new(true, false);
    server.write("docker", "#!/bin/sh\nexit 1\n");
    let output = server.begin(&EXCHANGE_IT).wait_with_output().unwrap();
    assert!(output.stdout.is_empty());
}

#[test]
fn it_goes_on_when_the_session_is_gone() {
    let server = Server::new(true, false);
    server.write("hang", "");
    let mut child = server.begin(&EXCHANGE_IT);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        for _ in 0..600 {
            if what() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!("waited for half a minute");
    };
    wait(&|| server.read("calls").contains("stop"));
    // The whole session, with the launcher.
    let kill = format!("kill -KILL -{}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    child.wait().unwrap();
    let mut rest = String::new();
    // Nothing holds the session's streams open.
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ready\n");
    std::fs::remove_file(server.path("hang")).unwrap();
    wait(&|| server.running() == [false, true]);
}
