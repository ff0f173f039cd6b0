//! The output forms beside the document.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use crate::endpoint::{Endpoint, KEYS, TOKEN, closed, run};

fn printed(format: &str, url: &str) -> (Option<i32>, String) {
    let output = run(&["--endpoint-url", url, "--format", format], &KEYS, None);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn each_form_prints_the_token_and_nothing_else() {
    let url = Endpoint::new(&[TOKEN]).url;
    assert_eq!(printed("token", &url), (Some(0), "canary\n".to_owned()));
    let (code, text) = printed("docker-credential", &url);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(answer["Username"], "AWS");
    assert_eq!(answer["Secret"], "canary");
    assert_eq!(answer["ServerURL"], "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    assert_eq!(answer["ExpiresAt"], "2100-01-01T00:00:00Z");
}

#[test]
fn a_form_that_fails_prints_no_document() {
    let url = closed();
    for (format, text) in [("token", ""), ("docker-credential", ""), ("env", "false\n")] {
        assert_eq!(printed(format, &url), (Some(5), text.to_owned()), "{format}");
    }
}

/// What a shell makes of the lines.
fn evaluated(url: &str) -> (Option<i32>, String) {
    let script = r#"set -e; eval "$("$0" --no-input --endpoint-url "$1" --format env 2>/dev/null)"
        printf %s "$REGISTRY_USERNAME:$REGISTRY_PASSWORD@$REGISTRY_HOST $REGISTRY_EXPIRES_AT""#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(cargo_bin!("ecrlogin"))
        .arg(url)
        .envs(KEYS)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_shell_evaluates_the_lines_and_sees_that_they_failed() {
    let url = Endpoint::new(&[TOKEN]).url;
    let wanted = "AWS:canary@123456789012.dkr.ecr.eu-west-1.amazonaws.com 2100-01-01T00:00:00Z";
    assert_eq!(evaluated(&url), (Some(0), wanted.to_owned()));
    assert_eq!(evaluated(&closed()), (Some(1), String::new()));
}

#[test]
fn a_secret_is_printed_into_a_pipe_only() {
    let url = Endpoint::new(&[TOKEN]).url;
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = |reveal: bool| {
        let mut command = Command::new(cargo_bin!("ecrlogin"));
        command.args(["--no-input", "--endpoint-url", &url, "--format", "token"]).envs(KEYS);
        if reveal {
            command.arg("--reveal");
        }
        command.stdout(file.reopen().unwrap()).stderr(std::process::Stdio::piped());
        let output = command.output().unwrap();
        (output.status.code(), std::fs::read_to_string(file.path()).unwrap())
    };
    assert_eq!(run(false), (Some(2), String::new()));
    assert_eq!(run(true), (Some(0), "canary\n".to_owned()));
}

#[test]
fn one_form_is_for_one_registry() {
    let ids = ["--registry-id", "123456789012", "--registry-id", "210987654321"];
    let output = run(&[&ids[..], &["--format", "token"]].concat(), &KEYS, None);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is for one registry"));
}
