//! A host that is somebody else's by now: behind a real sshd an engine that answers without end, lies
//! about sizes, and breaks off.
//!
//! Whatever it does, a tool tells one clear error, in bounded time and memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use slipway_tests::lab::Run;
use slipway_tests::process::without_input;
use slipway_tests::{binary, from_run_sh, project};

/// The most that a tool may have in memory, in KiB.
const MEMORY: u64 = 64 * 1024;

/// The image that is deployed: the fake engine has any.
const IMAGE: &str =
    "registry.example/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// `engine.py` on the lab's application server; ends with this value.
struct Engine {
    child: Child,
    stdin: Option<ChildStdin>,
    socket: String,
}

impl Engine {
    fn start(text: &str, answer: &str) -> Self {
        let name = text.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let socket = format!("/run/hostile-{}-{name}-{answer}.sock", std::process::id());
        let script = std::fs::read_to_string(project().join("tests/tests/hostile/engine.py"));
        let mut child = Command::new(project().join("tests/lab/lab.sh"))
            .args(["enter", "app", "--dir", &from_run_sh("LAB_DIR"), "--"])
            .args(["python3", "-c", &script.unwrap(), &socket, text, answer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "listening\n");
        let stdin = child.stdin.take();
        Self { child, stdin, socket }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}

/// Runs a program and writes down how much memory it had at most.
const MEASURE: &str = "
import resource, subprocess, sys
ended = subprocess.run(sys.argv[2:])
with open(sys.argv[1], 'w') as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(ended.returncode)
";

/// remote-swap on a host whose engine gives this answer to requests whose path holds the text.
fn remote_swap(args: &[&str], text: &str, answer: &str) -> Run {
    let engine = Engine::start(text, answer);
    let place = tempfile::tempdir().unwrap();
    let memory = place.path().join("memory");
    let mut measured = Command::new("python3");
    measured
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .args(["-c", MEASURE])
        .arg(&memory)
        .arg(binary("remote-swap"))
        .args(args)
        .args(["--app", "hostile", "--no-input", "--docker-socket", &engine.socket])
        .args(["--host", &from_run_sh("LAB_SSH"), "--identity", &from_run_sh("LAB_SSH_KEY")])
        .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")]);
    let run = Run::of(&without_input(&mut measured));
    let kib: u64 = std::fs::read_to_string(memory).unwrap().parse().unwrap();
    assert!(kib < MEMORY, "{answer} to {text}: {kib} KiB\n{}", run.told);
    let shown = format!("{}{}", run.told, run.document["error"]["message"]);
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!shown.contains(obeyed), "{answer} to {text}: {shown:?}");
    // A release command's output is passed on for as long as it runs.
    let passed_on = args.contains(&"--release-command");
    assert!(passed_on || shown.len() < 64 * 1024, "{answer} to {text}: {} bytes", shown.len());
    run
}

/// Checks that this is told as an error of the engine.
fn told(args: &[&str], text: &str, answer: &str, code: &str) {
    let run = remote_swap(args, text, answer);
    let error = &run.document["error"];
    assert_eq!(error["code"], code, "{answer} to {text}: {error:#}\n{}", run.told);
    assert_eq!(run.told.matches("error:").count(), 1, "{answer} to {text}: {}", run.told);
    assert!(error["hint"].is_string(), "{answer} to {text}: {error:#}");
}

#[test]
fn a_first_answer_of_any_kind() {
    for answer in ["head", "heads", "continue", "error", "noise", "half", "nothing"] {
        let code = match answer {
            "half" | "nothing" => "engine_unreachable",
            _ => "engine_error",
        };
        told(&["status"], "_ping", answer, code);
    }
}

#[test]
fn a_list_of_any_kind() {
    for answer in ["list", "text", "space", "deep", "values", "error", "json", "escape"] {
        told(&["status"], "/containers/json", answer, "engine_error");
    }
    told(&["status"], "/volumes", "volumes", "engine_error");
    for answer in ["length", "half", "extension"] {
        let run = remote_swap(&["status"], "/containers/json", answer);
        assert!(run.document["error"]["code"].is_string(), "{answer}: {}", run.told);
    }
}

#[test]
fn an_answer_that_does_not_come_to_its_end_is_not_waited_for() {
    told(&["status"], "_ping", "drip", "deadline_exceeded");
}

#[test]
fn a_container_of_any_kind() {
    let deploy = ["--image", IMAGE, "--strategy", "recreate", "--health-port", "8000"];
    for answer in ["mounts", "text", "error", "json"] {
        let run = remote_swap(&deploy, "ab/json", answer);
        let error = &run.document["error"];
        assert_eq!(error["code"], "engine_error", "{answer}: {error:#}\n{}", run.told);
    }
}

#[test]
fn a_log_of_any_kind() {
    let deploy = ["--image", IMAGE, "--strategy", "recreate", "--health-port", "8000"];
    for answer in ["frame", "line", "lines", "plain", "error", "noise"] {
        let run = remote_swap(&deploy, "/logs", answer);
        let error = &run.document["error"];
        // The log is evidence of what went wrong, and no more.
        assert_eq!(error["code"], "candidate_exited", "{answer}: {error:#}\n{}", run.told);
        assert!(error.to_string().len() < 64 * 1024, "{answer}: {} bytes", error.to_string().len());
    }
}

#[test]
fn a_release_command_that_prints_without_end_ends_in_time() {
    let run = remote_swap(
        &[
            "--image",
            IMAGE,
            "--strategy",
            "recreate",
            "--health-port",
            "8000",
            "--release-command",
            "x",
        ],
        "/logs",
        "line",
    );
    assert_eq!(run.document["error"]["code"], "release_command_failed", "{}", run.told);
}
