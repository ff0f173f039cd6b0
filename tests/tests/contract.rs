//! What all five tools promise at their edges, tried on each of them as a binary.

use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_tests::process::{Silence, into_file, signal_and_wait, with_input, without_input};
use slipway_tests::{TOOLS, document, tool};

const SCHEMA: &str = "slipway.release/v1";

/// A tool in an empty directory with an engine that is not there: whatever it does, it cannot
/// touch anything.
fn bare(name: &str) -> Command {
    let mut command = tool(name);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let nothing = std::env::temp_dir().join("slipway-empty");
    std::fs::create_dir_all(&nothing).unwrap();
    command.current_dir(nothing);
    command
}

fn stderr(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!text.contains("panicked") && !text.contains("a defect of the tool"), "{text}");
    text
}

/// Checks that the tool failed in this way, told it once, and wrote it into its document.
fn failed(name: &str, output: &Output, exit: i32, code: &str) -> Value {
    failed_with(document(&output.stdout), name, output, exit, code)
}

/// The same of a document whose settings, passed on as they came, do not fit the schema.
fn failed_by_settings(name: &str, output: &Output, code: &str) -> Value {
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document.as_object_mut().unwrap().remove("settings");
    slipway_tests::assert_valid(&document);
    failed_with(document, name, output, 3, code)
}

fn failed_with(document: Value, name: &str, output: &Output, exit: i32, code: &str) -> Value {
    let told = stderr(output);
    assert_eq!(output.status.code(), Some(exit), "{name}: {told}{document}");
    assert_eq!(document["error"]["code"], code, "{name}: {document}");
    assert_eq!(document["error"]["exit"], exit, "{name}");
    assert_eq!(document["error"]["tool"], name);
    assert!(document["error"]["hint"].is_string(), "{name} says what to do next: {document}");
    let errors = told.lines().filter(|line| line.starts_with(&format!("{name}: error: "))).count();
    assert_eq!(errors, 1, "{name} says once what failed: {told}");
    document
}

#[test]
fn empty_stdin_is_bad_input() {
    for name in TOOLS {
        failed(name, &with_input(&mut bare(name), ""), 3, "bad_input");
        failed(name, &with_input(&mut bare(name), "\n"), 3, "bad_input");
    }
}

#[test]
fn half_an_object_is_bad_input() {
    for name in TOOLS {
        let input = r#"{"schema":"slipway.release/v1","image":{"id":"sha2"#;
        let document = failed(name, &with_input(&mut bare(name), input), 3, "bad_input");
        assert!(document["error"]["message"].as_str().unwrap().contains("cut off"), "{document}");
    }
}

#[test]
fn what_is_not_a_document_names_no_input() {
    for name in TOOLS {
        let document = failed(name, &with_input(&mut bare(name), "cd app\n"), 3, "bad_input");
        assert!(document["error"]["hint"].as_str().unwrap().contains("--no-input"), "{document}");
    }
}

#[test]
fn a_wrong_schema_is_refused() {
    for name in TOOLS {
        for schema in [r#""slipway.release/v2""#, "1", "null"] {
            let input = format!(r#"{{"schema":{schema}}}"#);
            failed(name, &with_input(&mut bare(name), &input), 3, "schema_mismatch");
        }
        failed(name, &with_input(&mut bare(name), "{}"), 3, "schema_mismatch");
    }
}

#[test]
fn an_unknown_setting_is_named() {
    for name in TOOLS {
        let input = json!({"schema": SCHEMA, "settings": {name: {"hots": true}}}).to_string();
        let document =
            failed_by_settings(name, &with_input(&mut bare(name), &input), "unknown_setting");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("settings.{name}.hots")), "{message}");
    }
}

#[test]
fn a_setting_of_the_wrong_type_is_named() {
    for name in TOOLS {
        let option = match name {
            "imgbuild" => "tag",
            "ecrlogin" => "region",
            "imgpush" => "repository",
            "remote-swap" => "host",
            _ => "interval",
        };
        let input = json!({"schema": SCHEMA, "settings": {name: {option: {"a": 1}}}}).to_string();
        let document =
            failed_by_settings(name, &with_input(&mut bare(name), &input), "bad_setting");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("settings.{name}.{option}")), "{message}");
    }
}

#[test]
fn the_settings_of_other_tools_do_not_matter() {
    for name in TOOLS {
        let input = json!({"schema": SCHEMA, "settings": {"other-tool": {"x": 1}}}).to_string();
        let output = with_input(&mut bare(name), &input);
        let document = document(&output.stdout);
        assert_ne!(document["error"]["code"], "unknown_setting", "{document}");
        assert_eq!(document["settings"]["other-tool"]["x"], 1);
    }
}

#[test]
fn an_error_travels_to_the_end_untouched_and_unsaid() {
    for name in TOOLS {
        let input = format!(
            r#"{{"schema":"{SCHEMA}","x":1.50,"registry":{{"password":"p"}},"error":{{"tool":"t","code":"some_new_code","exit":5,"message":"m","retryable":true,"more":[]}}}}"#
        );
        let output = with_input(&mut bare(name), &input);
        assert_eq!(output.status.code(), Some(5), "{name}: {}", stderr(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{input}\n"), "{name}");
        assert_eq!(stderr(&output), "", "{name}");
    }
}

#[test]
fn an_earlier_error_goes_before_a_wrong_command_line() {
    for name in TOOLS {
        let input = format!(r#"{{"schema":"{SCHEMA}","error":{{"exit":4}}}}"#);
        let output = with_input(bare(name).arg("--no-such-flag"), &input);
        assert_eq!(output.status.code(), Some(4), "{name}: {}", stderr(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{input}\n"), "{name}");
    }
}

#[test]
fn a_wrong_command_line_travels_too() {
    for name in TOOLS {
        let input = format!(r#"{{"schema":"{SCHEMA}","x":1}}"#);
        let output = with_input(bare(name).arg("--no-such-flag"), &input);
        let document = failed(name, &output, 2, "usage");
        assert_eq!(document["x"], 1, "{name} keeps the document");
        assert!(document["error"]["message"].as_str().unwrap().contains("--no-such-flag"));
        failed(name, &without_input(bare(name).arg("--no-such-flag")), 2, "usage");
    }
}

/// What each tool says at the head of a pipe, where nothing is given to it.
fn at_the_head(name: &str) -> (i32, &'static str) {
    match name {
        "imgbuild" => (1, "dockerfile_not_found"),
        "ecrlogin" => (2, "region_missing"),
        "imgpush" | "remote-swap" => (3, "missing_section"),
        _ => (2, "no_target"),
    }
}

#[test]
fn no_stdin_is_the_head_of_a_pipe() {
    for name in TOOLS {
        let (exit, code) = at_the_head(name);
        failed(name, &without_input(&mut bare(name)), exit, code);
        let mut closed = Command::new("sh");
        closed.args(["-c", r#"exec "$0" <&-"#]).arg(slipway_tests::binary(name));
        closed
            .env_clear()
            .envs(bare(name).get_envs().filter_map(|(key, value)| Some((key, value?))));
        closed.current_dir(std::env::temp_dir().join("slipway-empty"));
        failed(name, &without_input(&mut closed), exit, code);
        // Something that is no document is not read when it is said that there is none.
        failed(name, &with_input(bare(name).arg("--no-input"), "set -e\n"), exit, code);
    }
}

#[test]
fn a_socket_as_stdin_must_hold_a_document() {
    for name in TOOLS {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = bare(name)
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(ours);
        failed(name, &child.wait_with_output().unwrap(), 3, "bad_input");
    }
}

#[test]
fn a_closed_stdout_is_not_a_panic() {
    for name in TOOLS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child =
            bare(name).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(at_the_head(name).0), "{name}: {told}");
        assert!(told.contains("could not be written to stdout"), "{name}: {told}");
    }
}

#[test]
fn a_full_disk_under_stdout_is_told() {
    for name in TOOLS {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output =
            bare(name).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert!(stderr(&output).contains("could not be written to stdout"), "{name}");
        assert_ne!(output.status.code(), Some(0), "{name}");
    }
}

/// A tool in the middle of its work: connected to something that never answers.
fn at_work(
    name: &str,
    input: &Value,
    silence: &Silence,
    command: &mut Command,
) -> std::process::Child {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    silence.connected();
    child
}

#[test]
fn a_signal_in_the_middle_of_work_ends_a_tool_with_its_document() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let digest = "0".repeat(64);
    for (signal, name_of_signal, exit) in
        [(Signal::TERM, "SIGTERM", 143), (Signal::INT, "SIGINT", 130)]
    {
        for name in TOOLS {
            let mut command = bare(name);
            let silence = match name {
                "imgbuild" | "imgpush" => {
                    let socket = directory.path().join(format!("{name}-{exit}.sock"));
                    let silence = Silence::unix(&socket);
                    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
                    if name == "imgbuild" {
                        command.arg(directory.path());
                    }
                    silence
                }
                _ => {
                    let (silence, port) = Silence::tcp();
                    match name {
                        "ecrlogin" => command
                            .args(["--region", "eu-west-1"])
                            .env("AWS_ACCESS_KEY_ID", "a")
                            .env("AWS_SECRET_ACCESS_KEY", "b")
                            .arg(format!("--endpoint-url=http://127.0.0.1:{port}")),
                        "remote-swap" => command
                            .args([
                                "--host-key",
                                "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                            ])
                            .args(["--publish", "8000:5000"])
                            .arg(format!("--host=deployer@127.0.0.1:{port}")),
                        _ => command.arg(format!("http://127.0.0.1:{port}/")).args([
                            "--try-timeout",
                            "60s",
                            "--timeout",
                            "120s",
                        ]),
                    };
                    silence
                }
            };
            let input = json!({
                "schema": SCHEMA, "x": 1,
                "image": {"name": "web", "tag": "1", "id": format!("sha256:{digest}")},
                "registry": {"host": "r.example", "username": "u", "password": "p"},
                "push": {"repository": "web", "digest": format!("sha256:{digest}"),
                         "reference": format!("r.example/web@sha256:{digest}")},
            });
            let child = at_work(name, &input, &silence, &mut command);
            let output = signal_and_wait(child, signal);
            let document = failed(name, &output, exit, "interrupted");
            assert_eq!(document["x"], 1, "{name} keeps the document");
            assert!(
                document["error"]["message"].as_str().unwrap().contains(name_of_signal),
                "{document}"
            );
        }
    }
}

#[test]
fn a_signal_while_waiting_for_the_document_ends_a_tool() {
    for name in TOOLS {
        // Nothing is ever written: the tool before is still at work.
        let child = bare(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its handlers are in place once the runtime's thread reads.
        let status = format!("/proc/{}/status", child.id());
        slipway_tests::process::until("signal handlers", || {
            let status = std::fs::read_to_string(&status).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
            (caught & (1 << 14) != 0).then_some(())
        });
        // Its own handle of the pipe's write end is kept until it has ended.
        let output = signal_and_wait(child, Signal::TERM);
        failed(name, &output, 143, "interrupted");
    }
}

#[test]
fn a_secret_goes_into_a_pipe_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    for name in TOOLS {
        let input = json!({
            "schema": SCHEMA,
            "registry": {"host": "r.example", "username": "AWS", "password": "canary-password"},
            "error": {"exit": 1},
        })
        .to_string();
        let piped = with_input(&mut bare(name), &input);
        assert!(String::from_utf8_lossy(&piped.stdout).contains("canary-password"), "{name}");

        let path = directory.path().join(name);
        let (output, saved) = into_file(&mut bare(name), &input, &path);
        assert!(saved.contains("r.example") && !saved.contains("canary"), "{name}: {saved}");
        let told = stderr(&output);
        assert!(told.contains("--reveal") && !told.contains("canary"), "{name}: {told}");

        let (_, saved) = into_file(bare(name).arg("--reveal"), &input, &path);
        assert!(saved.contains("canary-password"), "{name}: {saved}");
    }
}

#[test]
fn help_version_and_schema_need_no_input_and_touch_nothing() {
    for name in TOOLS {
        for flag in ["--help", "-h", "--version", "--schema"] {
            let output = with_input(bare(name).arg(flag), "");
            assert_eq!(output.status.code(), Some(0), "{name} {flag}: {}", stderr(&output));
            assert_eq!(stderr(&output), "", "{name} {flag}");
            assert!(output.stdout.ends_with(b"\n"), "{name} {flag}");
        }
        let output = without_input(bare(name).arg("--schema"));
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["properties"]["settings"]["properties"][name].is_object(), "{name}");
    }
}

#[test]
fn the_last_status_of_a_pipe_is_the_first_failure() {
    // sh has no pipefail: what it sees is the last tool's exit code.
    let nothing = std::env::temp_dir().join("slipway-empty");
    std::fs::create_dir_all(&nothing).unwrap();
    let [a, b, c, d, e] = TOOLS.map(|name| slipway_tests::binary(name).display().to_string());
    for (script, exit, who) in [
        (format!("{a} /nonexistent | {b} | {c} | {d} --host u@h | {e}"), 1, "imgbuild"),
        (format!("{b} --region Mars | {c} | {d} --host u@h | {e}"), 2, "ecrlogin"),
        (format!("{b} --no-such | {c} --no-such | {d} --no-such | {e}"), 2, "ecrlogin"),
        (format!("false | {c} | {d} --host u@h | {e}"), 3, "imgpush"),
    ] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&script).current_dir(&nothing).env("HOME", "/nonexistent");
        let output = without_input(&mut shell);
        let document = document(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{script}: {}", stderr(&output));
        assert_eq!(document["error"]["tool"], who, "{script}");
        if !script.contains("--no-such") {
            let errors = stderr(&output).matches(": error: ").count();
            assert_eq!(errors, 1, "said once, by the tool that failed: {}", stderr(&output));
        }
    }
}
