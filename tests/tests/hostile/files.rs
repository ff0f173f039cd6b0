//! Files of the context that lead elsewhere, never end, or are named to harm: imgbuild ends each time
//! with one clear error or a good image, soon and in little memory, and nothing of this machine is
//! told.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use slipway_tests::lab::{ci_engine, run};
use slipway_tests::process::as_root;
use slipway_tests::{document, from_run_sh, tool};
use slipway_untrusted::obeyed;

/// Stands in the environment of each run, and nowhere in what it tells.
const CANARY: &str = "canary-5d1f0c7e";
/// How much memory a run may take, in KiB.
const RESIDENT_MAX: u64 = 64 * 1024;
/// How long a run may take. It is a bound for a test that would otherwise hang, not a measure.
const DEADLINE: Duration = Duration::from_secs(300);

/// What came of a run.
struct Ran {
    exit: i32,
    document: Value,
    told: String,
}

impl Ran {
    /// Checks that it failed in this way, and answers the message.
    fn failed(&self, code: &str) -> &str {
        assert_ne!(self.exit, 0, "{:#}", self.document);
        assert_eq!(self.document["error"]["code"], code, "{:#}", self.document);
        assert_eq!(self.told.matches(": error: ").count(), 1, "{}", self.told);
        let message = self.document["error"]["message"].as_str().unwrap();
        assert!(message.len() < 8192 && !message.contains(['\n', '\u{1b}', '\0']), "{message:?}");
        message
    }

    fn built(&self) -> &str {
        assert_eq!(self.exit, 0, "{}\n{:#}", self.told, self.document);
        self.document["image"]["id"].as_str().unwrap()
    }
}

/// A context with a name of its own; its images go with it.
struct Context {
    name: String,
    directory: tempfile::TempDir,
}

impl Context {
    fn new(name: &str) -> Self {
        let name = format!("hostile-{name}-{}", std::process::id());
        let context = Self { name, directory: tempfile::tempdir().unwrap() };
        fs::create_dir(context.path()).unwrap();
        context.write("Dockerfile", "FROM scratch\nCOPY . /context/\n");
        context
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("c")
    }

    fn write(&self, file: impl AsRef<Path>, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn link(&self, target: &str, file: &str) {
        let path = self.path().join(file);
        let _none = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    fn fifo(&self, file: &str) {
        let path = self.path().join(file);
        let _none = fs::remove_file(&path);
        run(Command::new("mkfifo").arg(path));
    }

    fn tag(&self) -> String {
        format!("{}:1", self.name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let path = self.path();
        self.run_on(path.to_str().unwrap(), args)
    }

    /// Runs imgbuild, and checks what holds for every run.
    fn run_on(&self, context: &str, args: &[&str]) -> Ran {
        let (out, err) = (self.directory.path().join("out"), self.directory.path().join("err"));
        let mut command = tool("imgbuild");
        command
            .args(["--no-input", "-t", &self.tag(), context])
            .args(args)
            .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
            .env("XDG_CACHE_HOME", self.directory.path().join("cache"))
            .env("CANARY", CANARY);
        let (exit, resident) = wait(&command, &out, &err);
        let read = |path: &Path| {
            let mut text = Vec::new();
            // Whoever prints without end is not read without end.
            File::open(path).unwrap().take(1 << 20).read_to_end(&mut text).unwrap();
            text
        };
        let (stdout, stderr) = (read(&out), read(&err));
        let told = String::from_utf8(stderr).expect("stderr is UTF-8");
        for text in [&told, &String::from_utf8_lossy(&stdout).into_owned()] {
            // The engine tells an instruction in capitals.
            assert!(!text.to_lowercase().contains(CANARY), "the environment was told: {text}");
            let steers = |c: char| c != '\n' && obeyed(c);
            assert!(!text.contains(steers), "a terminal would obey: {text:?}");
        }
        assert!(resident <= RESIDENT_MAX, "{resident} KiB of memory: {told}");
        Ran { exit, document: document(&stdout), told }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut remove = Command::new("docker");
        remove.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).args(["rmi", "-f", &self.tag()]);
        let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
        // Deeper than what removes a directory by its path can reach.
        let _ = Command::new("rm").arg("-rf").arg(self.path()).status();
    }
}

/// Runs a command to its end; answers its exit code and the most memory that it had, in KiB.
///
/// # Panics
/// When it does not end within [`DEADLINE`].
fn wait(command: &Command, out: &Path, err: &Path) -> (i32, u64) {
    let usage = out.with_extension("usage");
    let mut measured = Command::new("python3");
    measured.args(["-c", MEASURE]).arg(&usage).arg(DEADLINE.as_secs().to_string());
    // By `env`, since Python itself needs the environment of this machine.
    measured.args(["env", "-i"]);
    for (name, value) in command.get_envs() {
        let pair = [name, OsStr::new("="), value.expect("nothing is taken away")];
        measured.arg(pair.into_iter().collect::<OsString>());
    }
    measured.arg(command.get_program()).args(command.get_args());
    measured.stdin(Stdio::null()).stdout(File::create(out).unwrap());
    let status = measured.stderr(File::create(err).unwrap()).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(err).unwrap());
    let usage = fs::read_to_string(usage).unwrap();
    let (exit, resident) = usage.split_once(' ').unwrap();
    (exit.parse().unwrap(), resident.parse().unwrap())
}

/// What the kernel tells of a child when it is waited for, which Rust's library does not hand on.
const MEASURE: &str = r#"
import os, subprocess, sys, threading
child = subprocess.Popen(sys.argv[3:])
timer = threading.Timer(float(sys.argv[2]), child.kill)
timer.start()
_, status, usage = os.wait4(child.pid, 0)
timer.cancel()
with open(sys.argv[1], "w") as told:
    told.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}")
"#;

#[test]
fn a_dockerfile_that_is_no_file_of_the_context_is_not_read() {
    let context = Context::new("dockerfile");
    fs::write(context.directory.path().join("secret"), CANARY).unwrap();
    for target in ["/proc/self/environ", "/dev/zero", "../secret", "/proc/self/fd/0"] {
        context.link(target, "Dockerfile");
        let file = context.path().join("Dockerfile").display().to_string();
        for args in [&[][..], &["--file", &file]] {
            let ran = context.run(args);
            let message = ran.failed("file_unreadable");
            assert!(message.contains("is a link that leads out of "), "{target}: {message}");
        }
    }
    context.link("Dockerfile", "Dockerfile");
    assert!(context.run(&[]).failed("file_unreadable").contains("back to itself"));
    context.link(".", "Dockerfile");
    assert!(context.run(&[]).failed("file_unreadable").contains("is a directory"));
    context.fifo("Dockerfile");
    assert!(context.run(&[]).failed("file_unreadable").contains("not a regular file"));
    fs::remove_file(context.path().join("Dockerfile")).unwrap();
    let _socket = UnixListener::bind(context.path().join("Dockerfile")).unwrap();
    assert!(context.run(&[]).failed("file_unreadable").contains("not a regular file"));
    // A link that stays in the context is followed, as docker does.
    fs::create_dir(context.path().join("deploy")).unwrap();
    context.write("deploy/web", "FROM scratch\nCOPY deploy /\n");
    context.link("deploy/web", "Dockerfile");
    context.run(&[]).built();
}

#[test]
fn an_ignore_file_that_is_no_file_of_the_context_is_not_read() {
    let context = Context::new("ignore");
    for name in [".dockerignore", "Dockerfile.dockerignore"] {
        for target in ["/proc/self/environ", "/dev/zero"] {
            context.link(target, name);
            let ran = context.run(&[]);
            let message = ran.failed("file_unreadable");
            assert!(message.contains(name) && message.contains("leads out of "), "{message}");
        }
        context.fifo(name);
        assert!(context.run(&[]).failed("file_unreadable").contains("not a regular file"));
        fs::remove_file(context.path().join(name)).unwrap();
    }
    context.write(".dockerignore", &format!("# {CANARY}\n{CANARY}[\n"));
    assert!(context.run(&[]).failed("dockerfile_invalid").contains(".dockerignore line 2: "));
}

#[test]
fn a_device_in_the_place_of_a_file_is_not_read() {
    let context = Context::new("device");
    let device = context.path().join("Dockerfile");
    fs::remove_file(&device).unwrap();
    let mut make = as_root(&["mknod", device.to_str().unwrap(), "c", "1", "5"], &[]);
    run(&mut make);
    assert!(context.run(&[]).failed("file_unreadable").contains("not a regular file"));
    fs::remove_file(&device).unwrap();
    context.write("Dockerfile", "FROM scratch\nCOPY . /context/\n");
    // As a part of the context it is a device, too, whose content nobody reads.
    run(&mut as_root(
        &["mknod", context.path().join("zero").to_str().unwrap(), "c", "1", "5"],
        &[],
    ));
    context.run(&[]).built();
}

#[test]
fn large_files_are_refused_by_their_size() {
    let context = Context::new("large");
    context.write("Dockerfile", &format!("FROM scratch\n{}", "#\n".repeat(1 << 20)));
    assert!(context.run(&[]).failed("dockerfile_invalid").contains("is larger than 1 MiB"));
    context.write("Dockerfile", "FROM scratch\nCOPY . /context/\n");
    context.write(".dockerignore", &"x\n".repeat(1 << 20));
    assert!(context.run(&[]).failed("dockerfile_invalid").contains("is larger than 1 MiB"));
}

#[test]
fn what_a_dockerfile_says_is_not_repeated_where_it_is_no_dockerfile() {
    let context = Context::new("quote");
    for text in [
        format!("FROM scratch\nAWS_SECRET={CANARY} x\n"),
        format!("FROM scratch\n{CANARY} x\n"),
        format!("FROM scratch\nENV a {CANARY}\nENV \"{CANARY}\n"),
        format!("FROM scratch\nLABEL \"{CANARY}\n"),
    ] {
        context.write("Dockerfile", &text);
        let ran = context.run(&[]);
        assert!(ran.failed("dockerfile_invalid").contains("Dockerfile"), "{}", ran.told);
    }
}

#[test]
fn names_that_would_steer_a_terminal_arrive_and_are_told_cleaned() {
    let context = Context::new("names");
    for name in [&b"a\nb"[..], b"\x1b]0;title\x07", b"\x1b[2J", b"caf\xe9", b"\xff\xfe", b"-rf"] {
        context.write(OsStr::from_bytes(name), "x");
    }
    let ran = context.run(&[]);
    let listed = listing(ran.built());
    for name in [&b"caf\xe9"[..], b"\xff\xfe", b"\x1b[2J"] {
        let name = [&b"context/"[..], name, b"\n"].concat();
        assert!(listed.windows(name.len()).any(|part| part == name), "{name:?}");
    }
    // One of them is the Dockerfile.
    let odd = context.path().join(OsStr::from_bytes(b"\x1b]0;x\x07"));
    fs::create_dir(&odd).unwrap();
    let ran = context.run(&["--file", odd.to_str().unwrap()]);
    assert!(ran.failed("file_unreadable").contains("\\u{1b}]0;x"), "{}", ran.told);
}

/// The paths of an image's file system, as `tar` lists them.
fn listing(image: &str) -> Vec<u8> {
    let container = ci_engine(&["create", image, "none"]);
    let script = "docker export \"$1\" | tar --quoting-style=literal -t";
    let listed = Command::new("sh")
        .args(["-c", script, "sh", container.trim()])
        .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
        .output()
        .unwrap();
    ci_engine(&["rm", container.trim()]);
    listed.stdout
}

#[test]
fn links_in_circles_are_links() {
    let context = Context::new("circles");
    context.link("b", "a");
    context.link("a", "b");
    context.link(".", "here");
    context.link("here/here/here", "more");
    context.run(&[]).built();
    // Asked for by name, they lead nowhere.
    context.write("Dockerfile", "FROM scratch\nCOPY a here/*/*/more/a /x/\n");
    context.run(&[]).failed("build_failed");
}

#[test]
fn a_directory_of_two_thousand_levels_ends() {
    let context = Context::new("deep");
    let mut here = rustix::fs::openat(
        rustix::fs::CWD,
        context.path(),
        OFlags::DIRECTORY | OFlags::RDONLY,
        Mode::empty(),
    )
    .unwrap();
    for _ in 0..2_000 {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
            .unwrap();
    }
    // The engine's own paths are longer by where it keeps its files: too long for it or not.
    let ran = context.run(&[]);
    if ran.exit != 0 {
        assert_eq!(ran.told.matches(": error: ").count(), 1, "{}", ran.told);
    }
    // Deeper than any path can name.
    for _ in 0..200 {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
            .unwrap();
    }
    assert!(context.run(&[]).failed("file_unreadable").contains("cannot be read"));
}

#[test]
fn a_hundred_thousand_rules_are_followed() {
    let context = Context::new("rules");
    let rules: String = (0..100_000).map(|n| format!("r{n:05}\n")).collect();
    context.write(".dockerignore", &rules);
    for name in ["r00000", "r99999", "kept"] {
        context.write(name, "x");
    }
    let listed = String::from_utf8(listing(context.run(&[]).built())).unwrap();
    assert!(listed.contains("context/kept") && !listed.contains("context/r"), "{listed}");
    // Without a name that is given, the rules are followed here before the engine is asked.
    let long = format!("{}*\n", "*a".repeat(2_000)).repeat(200);
    context.write(".dockerignore", &long);
    context.write("a".repeat(200), "x");
    context.run(&[]).built();
}

#[test]
fn a_file_that_grows_is_sent_to_the_length_that_it_had() {
    let context = Context::new("grows");
    let path = context.path().join("log");
    fs::write(&path, "x".repeat(1 << 20)).unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let growing = std::thread::spawn(move || {
        let mut file = File::options().append(true).open(path).unwrap();
        // Bounded, should nobody stop it.
        for _ in 0..20_000 {
            if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                return;
            }
            file.write_all(&[b'y'; 4096]).unwrap();
        }
    });
    let ran = context.run(&[]);
    drop(stop);
    growing.join().unwrap();
    ran.built();
}

#[test]
fn archives_that_reach_out_are_the_engines_to_refuse() {
    let context = Context::new("archive");
    let archive = context.directory.path().join("context.tar");
    let dockerfile = b"FROM scratch\nCOPY Dockerfile /\n";
    let good = entry("Dockerfile", b'0', dockerfile.len() as u64, "", dockerfile);
    for (what, odd) in [
        ("an absolute name", entry("/etc/canary", b'0', 1, "", b"x")),
        ("a name that climbs", entry("../../../../tmp/canary", b'0', 1, "", b"x")),
        ("a hard link out", entry("hard", b'1', 0, "/etc/passwd", b"")),
        ("a link out", entry("soft", b'2', 0, "/etc/passwd", b"")),
        ("a device", entry("device", b'3', 0, "", b"")),
        ("a size beyond its end", entry("huge", b'0', 8_589_934_591, "", b"x")),
        ("an unknown kind", entry("odd", b'Z', 0, "", b"")),
    ] {
        let bytes = [&good[..], &odd, &[0; 1024]].concat();
        fs::write(&archive, bytes).unwrap();
        let ran = context.run_on(archive.to_str().unwrap(), &[]);
        assert!(
            ran.exit == 0 || ran.told.matches(": error: ").count() == 1,
            "{what}: {}",
            ran.told
        );
        assert!(!Path::new("/etc/canary").exists() && !Path::new("/tmp/canary").exists(), "{what}");
    }
    fs::write(&archive, "FROM scratch\n").unwrap();
    let ran = context.run_on(archive.to_str().unwrap(), &[]);
    ran.failed("context_not_found");
    let ran = context.run_on("/dev/zero", &[]);
    ran.failed("context_not_found");
}

/// One entry of a tar archive, with as many zeros behind it as it takes.
fn entry(name: &str, kind: u8, size: u64, link: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, text: &[u8]| bytes[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn inputs_that_never_come_do_not_outlast_the_deadline() {
    let context = Context::new("never");
    context.fifo("fifo");
    let fifo = context.path().join("fifo").display().to_string();
    for (args, code) in [
        (["--secret".to_owned(), format!("id=a,src={fifo}")], "deadline_exceeded"),
        (["--ssh".to_owned(), format!("a={fifo}")], "deadline_exceeded"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--timeout", "2s"]).collect();
        context.run(&args).failed(code);
    }
    let args = ["--secret", "id=a,src=/dev/zero"];
    assert!(context.run(&args).failed("build_secret_missing").contains("500 KiB"));
    assert!(context.run(&["--ssh", "a=/dev/zero"]).failed("ssh_key_unusable").contains("64 KiB"));
    let ran = context.run_on(&fifo, &["--timeout", "2s"]);
    ran.failed("deadline_exceeded");
}
