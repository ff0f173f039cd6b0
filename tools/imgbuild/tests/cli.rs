//! What imgbuild does where there is no image to be had: bad input, bad
//! directories, engines that are not as they should be. Builds themselves are
//! tried against a real engine in the end-to-end tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory that could be built, and an engine's address that leads nowhere.
fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    dir
}

fn tool(dir: &Path) -> assert_cmd::Command {
    let mut command = cargo_bin_cmd!("imgbuild");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("DOCKER_HOST", format!("unix://{}", dir.join("engine.sock").display()))
        .current_dir(dir);
    command
}

/// Runs it, expects this failure, and returns the document's error.
fn failed(command: &mut assert_cmd::Command, exit: i32, code: &str) -> Value {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["code"], code, "{stderr}");
    assert_eq!(document["error"]["tool"], "imgbuild");
    let said = stderr.lines().filter(|line| line.starts_with("imgbuild: error: ")).count();
    assert_eq!(said, 1, "one line says what failed: {stderr}");
    assert!(document.get("image").is_none());
    document["error"].clone()
}

fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap()
}

#[test]
fn bad_flags_are_told_before_the_engine_is_asked() {
    let dir = project();
    for (args, words) in [
        (&["--tag", "Web:1"][..], "lowercase"),
        (&["--tag", "web:"], "tag"),
        (&["--build-arg", "NO_SUCH_VARIABLE_HERE"], "NO_SUCH_VARIABLE_HERE"),
        (&["--label", "=x"], "key"),
        (&["--network", "bridge"], "bridge"),
        (&["--secret", "src=x"], "id"),
        (&["--secret", "id=a,src=x,env=Y"], "both"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let error = failed(tool(dir.path()).arg("--no-input").args(args), 2, "usage");
        assert!(message(&error).contains(words), "{args:?}: {error}");
    }
}

#[test]
fn a_value_given_by_mistake_is_not_repeated() {
    let dir = project();
    let secret = "canary-of-a-secret";
    for args in [["--secret", &format!("id=a,{secret}")], ["--build-arg", &format!("={secret}")]] {
        let output = tool(dir.path()).arg("--no-input").args(args).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(secret), "{args:?}");
    }
}

#[test]
fn missing_things_are_named() {
    let dir = project();
    let run = |args: &[&str], code: &str| {
        let error = failed(tool(dir.path()).arg("--no-input").args(args), 1, code);
        message(&error).to_owned()
    };
    assert!(run(&["nowhere"], "context_not_found").contains("nowhere does not exist"));
    assert!(run(&["Dockerfile"], "context_not_found").contains("neither a directory nor a tar"));
    assert!(run(&["--file", "nope"], "dockerfile_not_found").contains("nope"));
    assert!(run(&["--secret", "id=a,src=nope"], "build_secret_missing").contains("nope"));
    assert!(
        run(&["--secret", "id=a,env=NOPE"], "build_secret_missing").contains("NOPE is not set")
    );
    fs::write(dir.path().join("empty"), "").unwrap();
    assert!(run(&["--secret", "id=a,src=empty"], "build_secret_missing").contains("is empty"));
    assert!(run(&["--file", "empty"], "dockerfile_invalid").contains("empty"));
    fs::write(dir.path().join(".dockerignore"), "a[\n").unwrap();
    assert!(run(&[], "dockerfile_invalid").contains(".dockerignore line 1: a `[`"));
}

#[test]
fn a_dockerfile_is_looked_for_where_the_user_stands() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("app")).unwrap();
    fs::write(dir.path().join("app/Dockerfile.prod"), "FROM scratch\n").unwrap();
    let args = ["app", "--file", "Dockerfile.prod", "--no-input"];
    let error = failed(tool(dir.path()).args(args), 1, "dockerfile_not_found");
    assert!(error["hint"].as_str().unwrap().contains("--file app/Dockerfile.prod"), "{error}");
}

#[test]
fn documents_that_cannot_be_used() {
    let dir = project();
    for (input, code) in [
        ("", "bad_input"),
        (r#"{"schema":"slipway.release/v1","#, "bad_input"),
        ("not json", "bad_input"),
        (r#"{"schema":"other/v9"}"#, "schema_mismatch"),
        (
            r#"{"schema":"slipway.release/v1","settings":{"imgbuild":{"tagg":["a"]}}}"#,
            "unknown_setting",
        ),
        (r#"{"schema":"slipway.release/v1","settings":{"imgbuild":{"tag":7}}}"#, "bad_setting"),
        (r#"{"schema":"slipway.release/v1","registry":7}"#, "bad_section"),
    ] {
        failed(tool(dir.path()).write_stdin(input), 3, code);
    }
}

#[test]
fn an_earlier_error_is_passed_on() {
    let dir = project();
    let input = json!({
        "schema": "slipway.release/v1",
        "x-mine": [1, 2],
        "error": {"tool": "ecrlogin", "code": "aws_unreachable", "exit": 5, "message": "no", "retryable": true},
    });
    let output = tool(dir.path()).write_stdin(input.to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), input);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn engines_that_cannot_be_reached() {
    let dir = project();
    let error = failed(tool(dir.path()).arg("--no-input"), 5, "engine_unreachable");
    assert!(message(&error).contains("engine.sock") && error["retryable"] == true, "{error}");
    let error = failed(
        tool(dir.path()).arg("--no-input").env("DOCKER_HOST", "ssh://deployer@host"),
        2,
        "usage",
    );
    assert!(message(&error).contains("unix:///"), "{error}");
}

/// An engine that answers every connection with these bytes after the head of
/// its first request, and keeps it open when `hold` is set.
fn engine(dir: &Path, answer: fn(&str) -> Option<&'static str>) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(dir.join("engine.sock")).unwrap();
    let (told, asked) = mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let Some(line) = head(&stream) else { continue };
            let answer = answer(&line);
            let _ = told.send(line);
            match answer {
                Some(text) => {
                    let _ = stream.write_all(text.as_bytes());
                }
                None => held.push(stream),
            }
        }
    });
    asked
}

/// Reads a request's head and returns its first line.
fn head(stream: &UnixStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    Some(first.trim().to_owned())
}

const PING: &str =
    "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";

#[test]
fn engines_that_are_not_as_they_should_be() {
    type Answer = fn(&str) -> Option<&'static str>;
    let cases: [(Answer, i32, &str); 3] = [
        (|_| Some("SSH-2.0-OpenSSH_9.2\r\n"), 1, "engine_error"),
        (|line| Some(if line.contains("_ping") { PING } else { "" }), 5, "engine_unreachable"),
        (
            |line| {
                Some(if line.contains("_ping") {
                    PING
                } else {
                    "HTTP/1.1 500 No\r\nContent-Length: 26\r\n\r\n{\"message\":\"out of order\"}\n"
                })
            },
            1,
            "engine_error",
        ),
    ];
    for (answer, exit, code) in cases {
        let dir = project();
        let _asked = engine(dir.path(), answer);
        failed(tool(dir.path()).arg("--no-input"), exit, code);
    }
}

#[test]
fn what_an_engine_without_buildkit_cannot_do_is_said_before_the_build() {
    for (option, value) in [
        ("--secret", "id=a,src=Dockerfile"),
        ("--build-context", "a=."),
        ("--no-cache-filter", "a"),
        ("--cache-to", "type=inline"),
        ("--platform", "linux/amd64,linux/arm64"),
    ] {
        let dir = project();
        let asked = engine(dir.path(), |_| {
            Some("HTTP/1.1 200 OK\r\nApi-Version: 1.38\r\nContent-Length: 2\r\n\r\n{}")
        });
        let args = ["--no-input", option, value];
        let error = failed(tool(dir.path()).args(args), 1, "engine_unsupported");
        assert!(message(&error).contains(option), "{error:#}");
        assert!(asked.try_iter().all(|line| !line.contains("/build")));
    }
}

#[test]
fn sigterm_ends_it_in_the_middle_of_its_work() {
    let dir = project();
    let asked = engine(dir.path(), |line| line.contains("_ping").then_some(PING));
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("imgbuild"))
        .arg("--no-input")
        .env("DOCKER_HOST", format!("unix://{}", dir.path().join("engine.sock").display()))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !asked.recv().unwrap().contains("/info") {}
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut document = String::new();
    child.stdout.take().unwrap().read_to_string(&mut document).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["error"]["code"], "interrupted");
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let dir = project();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(assert_cmd::cargo::cargo_bin!("imgbuild"))
        .arg("--no-input")
        .env("DOCKER_HOST", "unix:///nonexistent")
        .current_dir(dir.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}
