//! What the document may decide, tried on each tool as a binary: whoever writes it decides what is
//! built, what is deployed and how it runs on hosts that are trusted already, and nothing else.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use slipway_tests::process::with_input;
use slipway_tests::{TOOLS, project, schema, tool};

/// The marks that an option may have, as docs/security.md explains them.
const MARKS: [&str; 11] = [
    "document",
    "command-line",
    "path",
    "path:context",
    "path:named",
    "path:keys",
    "path:typed",
    "path:at",
    "variable:value",
    "variable:destination",
    "target",
];

/// The options of a tool as the schema shows them.
fn options(name: &str) -> serde_json::Map<String, Value> {
    let schema = schema();
    let settings = &schema["properties"]["settings"]["properties"][name];
    let settings = match settings["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).expect("there"),
        None => settings,
    };
    settings["properties"].as_object().expect("options").clone()
}

fn given(command: &mut Command, name: &str, key: &str, value: &Value) -> Output {
    let input = json!({"schema": "slipway.release/v1", "settings": {name: {key: value}}});
    with_input(command, &input.to_string())
}

fn code(output: &Output) -> String {
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    document["error"]["code"].as_str().unwrap_or("none").to_owned()
}

/// A tool in a directory of its own, whose engine and credentials are not there.
fn bare(name: &str, directory: &Path) -> Command {
    let mut command = tool(name);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").current_dir(directory);
    command
}

/// A value that the option takes.
fn value(key: &str, option: &Value) -> Value {
    let text = match key {
        "format" => "env",
        "action" => "break",
        "resolve" => "a.example:80:10.0.0.1",
        "proxy" => "http://10.0.0.1:3128",
        "network" => "host",
        "command" if option["type"] != "array" => match option.to_string() {
            it if it.contains("#/$defs/Command2") => "rollback",
            _ => "logout",
        },
        _ => "x",
    };
    let kinds = option["type"].to_string();
    if kinds.contains("boolean") { json!(true) } else { json!(text) }
}

#[test]
fn every_option_says_who_may_decide_it() {
    let page = std::fs::read_to_string(project().join("docs/security.md")).expect("the page");
    for mark in MARKS {
        assert!(page.contains(&format!("`{mark}`")), "docs/security.md explains {mark}");
    }
    for name in TOOLS {
        for (key, option) in options(name) {
            let mark = option["x-trust"].as_str().unwrap_or("none");
            assert!(MARKS.contains(&mark), "{name}.{key} has the mark {mark}");
        }
    }
}

#[test]
fn what_only_a_flag_may_decide_is_refused_unless_the_document_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    for name in TOOLS {
        for (key, option) in options(name) {
            if option["x-trust"] != "command-line" {
                continue;
            }
            let value = match (name, key.as_str()) {
                ("remote-swap", "command") => json!("rollback"),
                _ => value(&key, &option),
            };
            let output = given(&mut bare(name, place.path()), name, &key, &value);
            assert_eq!(output.status.code(), Some(3), "{name}.{key}: {output:?}");
            assert_eq!(code(&output), "untrusted_setting", "{name}.{key}: {output:?}");
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(told.lines().count(), 2, "one error and one hint: {told}");
            assert!(told.contains(&format!("settings.{name}.{key}")), "{told}");
            assert!(told.contains("SLIPWAY_TRUST_SETTINGS=true"), "{told}");
        }
    }
}

#[test]
fn a_trusted_document_decides_all() {
    let place = tempfile::tempdir().unwrap();
    for (name, key, value) in [
        ("imgbuild", "network", json!("host")),
        ("imgpush", "known_hosts", json!("/nonexistent")),
        ("ecrlogin", "region", json!("eu-central-1")),
        ("remote-swap", "identity", json!("/nonexistent")),
        ("healthwait", "ca_file", json!("/nonexistent")),
    ] {
        let flag = given(bare(name, place.path()).arg("--trust-settings"), name, key, &value);
        let mut by_variable = bare(name, place.path());
        by_variable.env("SLIPWAY_TRUST_SETTINGS", "true");
        let variable = given(&mut by_variable, name, key, &value);
        for output in [flag, variable] {
            assert_ne!(code(&output), "untrusted_setting", "{name}.{key}: {output:?}");
        }
    }
}

#[test]
fn a_document_runs_no_program_and_reads_no_file_of_this_machine() {
    let place = tempfile::tempdir().unwrap();
    let work = place.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(place.path().join("secret"), "canary-of-a-file").unwrap();
    std::os::unix::fs::symlink("../secret", work.join("link")).unwrap();
    let outside = place.path().join("secret").display().to_string();
    let marker = place.path().join("ran");
    let touch = json!(["touch", marker]);
    for (name, key, value) in [
        ("healthwait", "command", touch),
        ("healthwait", "body", json!(format!("@{outside}"))),
        ("healthwait", "body", json!("@link")),
        ("healthwait", "header_env", json!(["X-Key=CANARY"])),
        ("healthwait", "target", json!("http+unix:///var/run/docker.sock:/info")),
        ("healthwait", "target", json!("http://169.254.169.254/latest/meta-data/")),
        ("imgbuild", "secret", json!(format!("id=x,src={outside}"))),
        ("imgbuild", "secret", json!("id=x,src=link")),
        ("imgbuild", "secret", json!("id=x,env=CANARY")),
        ("imgbuild", "build_arg", json!("CANARY")),
        ("imgbuild", "ssh", json!("default")),
        ("imgbuild", "context", json!("..")),
        ("imgbuild", "file", json!(outside)),
        ("imgbuild", "cache_to", json!(format!("type=local,dest={outside}"))),
        ("imgpush", "attach", json!(format!("{outside}=text/plain"))),
        ("imgpush", "sbom", json!("../secret")),
        ("imgpush", "plain_http", json!(true)),
        ("ecrlogin", "endpoint_url", json!("http://127.0.0.1:1")),
        ("ecrlogin", "docker_config", json!(place.path())),
        ("ecrlogin", "lifecycle_policy", json!("link")),
        ("remote-swap", "env_file", json!("link")),
        ("remote-swap", "docker_socket", json!("/tmp/x")),
    ] {
        let output =
            given(bare(name, &work).env("CANARY", "canary-of-a-variable"), name, key, &value);
        assert_eq!(code(&output), "untrusted_setting", "{name}.{key} {value}: {output:?}");
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert!(!all.contains("canary-of"), "{name}.{key}: {all}");
    }
    assert!(!marker.exists(), "the program ran");
}

#[test]
fn a_variable_goes_where_a_flag_says() {
    let place = tempfile::tempdir().unwrap();
    let mut command = bare("healthwait", place.path());
    command.args(["http://127.0.0.1:1/", "--timeout", "100ms"]).env("CANARY", "x");
    let output = given(&mut command, "healthwait", "header_env", &json!(["X-Key=CANARY"]));
    assert_eq!(code(&output), "deadline_exceeded", "{output:?}");
}

#[test]
fn settings_of_no_tool_are_told_once() {
    let place = tempfile::tempdir().unwrap();
    let input = json!({"schema": "slipway.release/v1", "settings": {
        "remote_swap": {"hots": "a@b"}, "helthwait": {}, "kamal": {}
    }});
    let mut told = String::new();
    for name in TOOLS {
        let output = with_input(&mut bare(name, place.path()), &input.to_string());
        told += &String::from_utf8_lossy(&output.stderr);
        if name == "remote-swap" {
            assert_eq!(code(&output), "unknown_setting", "an underscore is a hyphen");
        }
    }
    assert_eq!(told.matches("settings.helthwait").count(), 1, "{told}");
    assert!(told.contains("healthwait: warning: settings.helthwait"), "{told}");
    assert!(told.contains("healthwait is meant, maybe"), "{told}");
    assert_eq!(told.matches("settings.kamal").count(), 1, "{told}");
}

#[test]
fn a_bad_value_of_the_document_is_no_wrong_command_line() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    for (name, key, value) in [
        ("imgbuild", "ulimit", json!("files=1")),
        ("imgbuild", "shm_size", json!("huge")),
        ("remote-swap", "parallel", json!("0")),
        ("healthwait", "jitter", json!("200%")),
    ] {
        let mut command = bare(name, place.path());
        if name == "remote-swap" {
            command.args(["--publish", "8000:5000", "--host", "a@b.invalid", "--image"]);
            command.arg(format!("r.invalid/a@sha256:{}", "0".repeat(64)));
        }
        if name == "healthwait" {
            command.args(["tcp://127.0.0.1:1", "--timeout", "100ms"]);
        }
        let output = given(&mut command, name, key, &value);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), code(&output).as_str()),
            (Some(3), "bad_setting"),
            "{told}"
        );
        assert!(told.contains(&format!("settings.{name}.{key}")), "{told}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let mut command = bare("healthwait", place.path());
    command.args(["tcp://127.0.0.1:1"]).env("HEALTHWAIT_TIMEOUT", "soon");
    let output = slipway_tests::process::without_input(&mut command);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the variable HEALTHWAIT_TIMEOUT"), "{told}");
    let mut command = bare("imgbuild", place.path());
    command.env("IMGBUILD_ULIMIT", "files=1");
    let output = slipway_tests::process::without_input(&mut command);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("IMGBUILD_ULIMIT"), "{told}");
}

#[test]
fn a_misspelt_option_is_no_command() {
    let place = tempfile::tempdir().unwrap();
    let output = slipway_tests::process::without_input(
        bare("healthwait", place.path()).args(["tcp://127.0.0.1:1", "--insecure"]),
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!told.contains("-- --insecure"), "{told}");
}
