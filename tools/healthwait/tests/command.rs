//! The command that runs once all is healthy, by the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use common::{Server, answer, document};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn server() -> Server {
    Server::new(|n| answer(if n == 0 { 503 } else { 200 }, &json!({"status": "ok"})))
}

/// The tool with a command, as the child of a pipe: stdin with a document or with any text.
struct Run {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Run {
    fn start(options: &[&str], target: &str, words: &[&str], input: &str) -> Self {
        let mut child = Command::new(cargo_bin!("healthwait"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .arg("--interval=5ms")
            .args(options)
            .args([target, "--"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Exit status, stdout and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn input() -> String {
    document(json!({"image": {"tag": "v2"}})).to_string()
}

#[test]
fn without_a_document_the_tool_becomes_the_command() {
    let server = server();
    let script = r#"read line; echo "$0 $1 got $line"; exit 7"#;
    let run =
        Run::start(&["--no-input"], &server.url("/"), &["sh", "-c", script, "a", "b c"], "in\n");
    let pid = run.child.id();
    let (status, stdout, stderr) = run.end();
    assert_eq!((status, stdout.as_str()), (Some(7), "a b c got in\n"), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("healthy"), "{stderr}");
    // It is the same process, so that there is nobody between the command and a signal.
    let run =
        Run::start(&["--no-input"], &server.url("/"), &["sh", "-c", "echo $$; kill -9 $$"], "");
    assert_ne!(run.child.id(), pid);
    let own = run.child.id();
    let (status, stdout, _) = run.end();
    assert_eq!((status, stdout), (None, format!("{own}\n")));
}

#[test]
fn with_a_document_the_command_runs_beside_it() {
    let server = server();
    let run = Run::start(&[], &server.url("/"), &["sh", "-c", "cat; echo tested"], &input());
    let (status, stdout, stderr) = run.end();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.lines().any(|line| line == "tested"), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["image"]["tag"], "v2");
    assert_eq!(document["health"]["targets"][0]["healthy"], true);
    assert_eq!(document["health"]["command"]["program"], "sh");
    assert_eq!(document["health"]["command"]["exit"], 0);
    assert!(!stdout.contains("tested"), "arguments may hold secrets: {stdout}");
}

#[test]
fn the_command_s_failure_travels_with_its_exit_status() {
    let server = server();
    let run = Run::start(&[], &server.url("/"), &["sh", "-c", "exit 42"], &input());
    let (status, stdout, stderr) = run.end();
    assert_eq!(status, Some(42), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["error"]["code"], "command_failed");
    assert_eq!(document["error"]["exit"], 42);
    assert_eq!(document["error"]["message"], "the command sh exited with 42");
    assert_eq!(document["health"]["command"]["exit"], 42);
    assert_eq!(document["health"]["targets"][0]["healthy"], true);
}

#[test]
fn signals_reach_the_command() {
    let server = server();
    let script = "trap 'echo hup' HUP; trap 'echo bye; exit 3' TERM; echo ready; \
                  while :; do read line < /proc/self/stat; done";
    let mut run = Run::start(&[], &server.url("/"), &["sh", "-c", script], &input());
    let mut said = String::new();
    let mut until = |run: &mut Run, text: &str| {
        while !said.contains(text) {
            assert_ne!(run.stderr.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
    };
    until(&mut run, "ready\n");
    run.send(Signal::HUP);
    until(&mut run, "hup\n");
    run.send(Signal::TERM);
    until(&mut run, "bye\n");
    let (status, stdout, stderr) = run.end();
    assert_eq!(status, Some(143), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["error"]["code"], "interrupted");
    assert_eq!(document["health"]["command"]["exit"], 3);
}

#[test]
fn a_command_that_cannot_run_is_told_before_the_waiting() {
    let server = server();
    for (program, exit, reason) in
        [("no-such-program", 127, "is not found"), ("/etc/passwd", 126, "is not executable")]
    {
        let run = Run::start(&["--no-input"], &server.url("/"), &[program], "");
        let (status, stdout, stderr) = run.end();
        assert_eq!(status, Some(exit), "{stderr}");
        let document: Value = serde_json::from_str(&stdout).unwrap();
        let message = document["error"]["message"].as_str().unwrap();
        assert_eq!(message, format!("the command {program} {reason}"));
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn what_is_not_healthy_runs_no_command() {
    let server = Server::new(|_| answer(500, &json!({})));
    let run =
        Run::start(&["--timeout=50ms"], &server.url("/"), &["sh", "-c", "echo ran"], &input());
    let (status, stdout, stderr) = run.end();
    assert_eq!(status, Some(124), "{stderr}");
    assert!(!stderr.contains("ran\n"), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["health"].get("command"), None);
}
