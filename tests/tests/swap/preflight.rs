//! What speaks against a deploy is told before anything is pulled or changed.

use super::*;

use slipway_tests::process::until;

const STRATEGIES: [&str; 2] = ["recreate", "blue-green"];

/// Tries to deploy a release that the server has not got, and checks that it was refused with
/// nothing pulled and nothing changed; answers the message.
fn refused(app: &App, command: &mut Command, release: &Release, code: &str) -> String {
    let before = app.containers();
    let bad = deploy(command, release).bad("remote-swap", 1, code);
    assert_eq!(host(&bad)["outcome"], "failed");
    assert!(!is_pulled(release.reference()), "{}", bad.told);
    assert!(!bad.told.contains("pulling"), "{}", bad.told);
    assert_eq!(app.containers(), before);
    assert_unlocked(app);
    text_of(&bad.document["error"], "message").to_owned()
}

#[test]
fn a_disk_that_is_too_small_is_told_before_the_pull() {
    let app = site("swap-full", UNPUBLISHED);
    app.deployed(one(), &[]);
    let big = Release::new("big", "");
    let mut swap = app.swap(&["--min-free", "4p"]);
    // The registry's size of the image is asked for from here, over a way through the server.
    swap.env("SSL_CERT_FILE", from_run_sh("LAB_CA"));
    let message = refused(&app, &mut swap, &big, "disk_full");
    assert!(message.contains("4.0 PiB of --min-free"), "{message}");
    assert!(message.contains("of compressed layers"), "the image counts, too: {message}");
    assert!(message.contains("/var/lib/docker"), "{message}");
    // What the server has already needs only the floor.
    let held = app.deploy_release(one(), &["--min-free", "4p", "--env", "NOTE=new"]);
    let held = held.bad("remote-swap", 1, "disk_full");
    assert!(!text_of(&held.document["error"], "message").contains("layers"), "{}", held.told);
    app.deployed(&big, &["--min-free", "1m"]);
    app.assert_serves(&big);
}

/// A socket of the server that passes requests on to the engine's, one a connection, and changes
/// what the engine tells of itself: the time in /info by so many seconds, and the version of its
/// API.
const ENGINE: &str = r#"
import datetime, http.client, json, os, re, socket, sys, threading
path, skew, version = sys.argv[1], float(sys.argv[2]), sys.argv[3]

def splice(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(near):
    far = socket.socket(socket.AF_UNIX)
    far.connect("/var/run/docker.sock")
    head = b""
    while b"\r\n\r\n" not in head:
        data = near.recv(65536)
        if not data:
            return
        head += data
    line, rest = head.split(b"\r\n", 1)
    # One request a connection, so that each is seen.
    far.sendall(line + b"\r\nConnection: close\r\n" + rest)
    if not re.match(rb"GET (/v[0-9.]+)?/(info|_ping) ", line):
        threading.Thread(target=splice, args=(near, far), daemon=True).start()
        splice(far, near)
        return
    answer = http.client.HTTPResponse(far)
    answer.begin()
    body = answer.read()
    if b"/info " in line:
        told = json.loads(body)
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
        told["SystemTime"] = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = json.dumps(told).encode()
    near.sendall(f"HTTP/1.1 200 OK\r\nApi-Version: {version or answer.headers['Api-Version']}\r\n"
        f"Content-Type: {answer.headers['Content-Type']}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    near.close()

listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(64)

def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
print("listening", flush=True)
sys.stdin.read()
os.unlink(path)
"#;

/// Such a socket, and its path.
fn engine(name: &str, skew: i64, version: &str) -> (OnServer, String) {
    let path = format!("/run/slipway-test-{name}-{}.sock", std::process::id());
    let skew = skew.to_string();
    let (engine, ready) = OnServer::start(&["python3", "-c", ENGINE, &path, &skew, version], "");
    assert_eq!(ready, "listening");
    (engine, path)
}

#[test]
fn a_clock_that_is_far_off_is_told_with_its_direction() {
    let app = site("swap-clock", UNPUBLISHED);
    app.deployed(one(), &[]);
    let late = Release::new("late", "");
    for (name, skew, direction) in [("ahead", 900, "ahead of"), ("behind", -900, "behind")] {
        let (_engine, socket) = engine(name, skew, "");
        let mut swap = app.swap(&["--docker-socket", &socket]);
        let message = refused(&app, &mut swap, &late, "clock_skew");
        let seconds = message.split_once("clock is ").unwrap().1.split_once(" s ").unwrap().0;
        let seconds: i64 = seconds.parse().unwrap();
        assert!((800..=900).contains(&seconds), "{message}");
        assert!(message.contains(&format!(" s {direction} this machine's")), "{message}");
    }
    // One that is a little off is told, and deployed to.
    let (_engine, socket) = engine("little", 120, "");
    let warned = app.deploy_release(&late, &["--docker-socket", &socket]).good();
    assert!(warned.told.contains("ahead of this machine's"), "{}", warned.told);
    app.assert_serves(&late);
    assert_unlocked(&app);
}

#[test]
fn an_engine_that_is_too_old_is_told_by_its_version() {
    let app = site("swap-elder", UNPUBLISHED);
    app.deployed(one(), &[]);
    let (_engine, socket) = engine("elder", 0, "1.40");
    let elder = Release::new("elder", "");
    let mut swap = app.swap(&["--docker-socket", &socket]);
    let message = refused(&app, &mut swap, &elder, "engine_unsupported");
    assert!(message.contains("API 1.40") && message.contains("1.41 is needed"), "{message}");
    let version = app_engine(&["version", "-f", "{{.Server.Version}}"]);
    assert!(message.contains(version.trim()), "{message}");
}

#[test]
fn an_image_for_another_architecture_is_told_before_the_pull() {
    let here = app_engine(&["version", "-f", "{{.Server.Arch}}"]);
    let other = if here.trim() == "arm64" { "linux/amd64" } else { "linux/arm64" };
    let dockerfile = "FROM scratch\nCOPY server.py version unique /\nCMD [\"/server.py\"]\n";
    let mut build = tool("imgbuild");
    let foreign = Release::of("foreign", dockerfile, build.args(["--platform", other]));
    // As the document tells it, and as only the registry can.
    let told = foreign.document["image"]["platform"].as_str().unwrap().to_owned();
    let mut untold = foreign.document.clone();
    untold["image"].as_object_mut().unwrap().remove("platform");
    let untold = Release { version: "foreign", document: untold };
    for strategy in STRATEGIES {
        let app = site("swap-foreign", 8175);
        let _ = deploy(&mut app.swap_by(strategy, &["--soak", "0s"]), one()).good();
        for release in [&foreign, &untold] {
            let message = refused(&app, &mut app.swap_by(strategy, &[]), release, "arch_mismatch");
            assert!(message.contains(&format!("for {told}")), "{message}");
            assert!(message.contains(&format!("linux/{}", here.trim())), "{message}");
        }
    }
}

#[test]
fn a_port_that_is_held_is_told_before_the_pull() {
    const HOLD: &str = "
import socket, sys
held = socket.create_server(('0.0.0.0', 8176))
print('listening', flush=True)
sys.stdin.read()
";
    let held = Release::new("held", "");
    for strategy in STRATEGIES {
        let app = site("swap-held", 8176);
        let process = OnServer::python(HOLD, "");
        let message = refused(&app, &mut app.swap_by(strategy, &[]), &held, "port_in_use");
        assert!(message.contains("8176") && message.contains("no container"), "{message}");
        drop(process);
        let stranger = Stranger::new("swap-holder", &["-p", "8176:8000"]);
        let message = refused(&app, &mut app.swap_by(strategy, &[]), &held, "port_in_use");
        assert!(message.contains("8176") && message.contains("swap-holder"), "{message}");
        let up = inspect(&stranger.0)["State"]["Running"].clone();
        assert_eq!(up, true, "it was left alone");
    }
}

/// A container of somebody else; goes with the test.
pub(super) struct Stranger(pub(super) String);

impl Stranger {
    pub(super) fn new(name: &str, args: &[&str]) -> Self {
        Self::of(name, args, one().reference())
    }

    pub(super) fn of(name: &str, args: &[&str], image: &str) -> Self {
        // The engine has the image if anything was deployed before.
        let base = ["run", "-d", "--name", name];
        let run = [&base, args, &[image]].concat();
        let id = until("the port", || {
            let mut docker = Command::new("docker");
            docker.args(&run).env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"));
            let made = docker.output().unwrap();
            if !made.status.success() {
                let _ = app_engine(&["rm", "-f", name]);
                return None;
            }
            Some(String::from_utf8(made.stdout).unwrap())
        });
        Self(id.trim().to_owned())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.0]);
    }
}

/// The server as the build of this number in this CI job.
fn build_of(version: &'static str, number: &str, job: &str) -> Release {
    Release::built(version, "", tool("imgbuild").env("BUILD_NUMBER", number).env("JOB_NAME", job))
}

#[test]
fn an_older_build_is_refused_unless_that_is_asked_for() {
    let (seventh, sixth) =
        (build_of("seventh", "7", "web/main"), build_of("sixth", "6", "web/main"));
    let other = build_of("other", "5", "web/fix");
    for strategy in STRATEGIES {
        let app = site("swap-older", 8177);
        let swap = |args: &[&str]| {
            let mut swap = app.swap_by(strategy, &["--soak", "0s"]);
            swap.args(args);
            swap
        };
        let _ = deploy(&mut swap(&[]), &seventh).good();
        let before = app.containers();
        let older = deploy(&mut swap(&[]), &sixth).bad("remote-swap", 1, "older_build");
        let message = text_of(&older.document["error"], "message");
        for build in ["build 6 of web/main", "build 7 of web/main"] {
            assert!(message.contains(build), "{message}");
        }
        assert_eq!(app.containers(), before);
        assert_eq!(app.get("/").unwrap().1, "seventh");
        let _ = deploy(&mut swap(&["--allow-older"]), &sixth).good();
        assert_eq!(app.get("/").unwrap().1, "sixth");
        let _ = deploy(&mut swap(&[]), &seventh).good();
        // Another job counts for itself.
        let _ = deploy(&mut swap(&[]), &other).good();
        assert_eq!(app.get("/").unwrap().1, "other");
    }
}
