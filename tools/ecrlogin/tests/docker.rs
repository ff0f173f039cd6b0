//! What is taken out of Docker's configuration, and by which name. What is put there is tried with
//! Docker itself in the end-to-end tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use slipway_shell::{Input, Output as Stdout, OutputKind, Streams, Ui};

const ONE: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const OTHER: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";

/// A machine with logins to two registries of Amazon ECR and to another one, and a helper for each
/// of the two.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let login = json!({"auth": "eDp5"});
        let config = json!({
            "auths": {ONE: login, OTHER: login, "quay.io": login},
            "credHelpers": {ONE: "ecrlogin", OTHER: "ecrlogin-prod", "quay.io": "pass"},
        });
        fs::write(home.path().join("config.json"), config.to_string()).unwrap();
        Self(home)
    }

    fn command(&self) -> Command {
        let mut command = self.command_with_input();
        command.arg("--no-input").stdin(Stdio::null());
        command
    }

    fn command_with_input(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecrlogin"));
        command.env_clear().env("HOME", self.0.path()).env("DOCKER_CONFIG", self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// The registries that are left in a part of the configuration after this.
    fn left(args: &[&str], part: &str) -> Vec<String> {
        let machine = Self::new();
        let output = machine.run(args);
        assert!(output.status.success(), "{output:?}");
        machine.registries(part)
    }

    fn registries(&self, part: &str) -> Vec<String> {
        let text = fs::read_to_string(self.0.path().join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        config[part].as_object().unwrap().keys().cloned().collect()
    }
}

#[test]
fn logout_is_from_the_registries_that_are_meant() {
    let left = |args: &[&str]| Machine::left(&[&["logout"], args].concat(), "auths");
    assert_eq!(left(&[]), ["quay.io"]);
    assert_eq!(left(&["--registry", &format!("https://{ONE}")]), [OTHER, "quay.io"]);
    assert_eq!(left(&["--registry-id", "123456789012"]), [OTHER, "quay.io"]);
    assert_eq!(left(&["--region", "us-east-1"]), [ONE, "quay.io"]);
    assert_eq!(left(&["--region", "us-west-1"]), [ONE, OTHER, "quay.io"]);
}

#[test]
fn logout_at_the_end_of_a_pipe_is_from_all_that_the_pipe_logged_in_to() {
    let machine = Machine::new();
    let registry = json!({"host": ONE, "others": [{"host": OTHER, "password": "canary"}]});
    let settings = json!({"ecrlogin": {"registry_id": "123456789012", "region": "eu-central-1"}});
    let document =
        json!({"schema": "slipway.release/v1", "settings": settings, "registry": registry});
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecrlogin"));
    command.env_clear().env("HOME", machine.0.path()).env("DOCKER_CONFIG", machine.0.path());
    command.arg("logout").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("canary"));
    assert_eq!(machine.registries("auths"), ["quay.io"]);
}

#[test]
fn logout_leaves_other_registries_alone() {
    let machine = Machine::new();
    let document =
        json!({"schema": "slipway.release/v1", "registry": {"host": "quay.io", "password": "p"}});
    let mut child = machine.command_with_input().arg("logout").spawn().unwrap();
    child.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(machine.registries("auths"), [ONE, OTHER, "quay.io"], "nor does a document");
    let output = machine.run(&["logout", "--registry", "quay.io"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(machine.registries("auths"), [ONE, OTHER, "quay.io"]);
}

#[test]
fn the_helper_is_removed_from_the_registries_that_are_meant() {
    let left = |args: &[&str]| Machine::left(&[&["remove-helper"], args].concat(), "credHelpers");
    assert_eq!(left(&[]), ["quay.io"]);
    assert_eq!(left(&["--registry", &format!("https://{ONE}/")]), [OTHER, "quay.io"]);
    assert_eq!(left(&["--registry-id", "210987654321"]), [ONE, "quay.io"]);
    assert_eq!(left(&["--profile", "prod"]), [ONE, "quay.io"]);
    assert_eq!(left(&["--registry", "quay.io"]), [ONE, OTHER, "quay.io"]);
}

#[test]
fn nothing_of_that_kind_is_told_from_nothing() {
    let machine = Machine::new();
    let told = |args: &[&str]| String::from_utf8(machine.run(args).stderr).unwrap();
    let elsewhere = ["logout", "--region", "us-west-1"];
    assert!(told(&elsewhere).contains("no such login"), "{}", told(&elsewhere));
    let elsewhere = ["remove-helper", "--region", "us-west-1"];
    assert!(told(&elsewhere).contains("for no such registry"), "{}", told(&elsewhere));
    assert!(told(&["logout"]).contains("login removed"));
    assert!(told(&["logout"]).contains("no login"));
    assert!(told(&["remove-helper"]).contains("no longer names"));
    assert!(told(&["remove-helper"]).contains("for no registry"));
}

#[test]
fn a_helper_that_hangs_is_waited_for_until_the_deadline() {
    let machine = Machine::new();
    let path = machine.0.path().join("docker-credential-pass");
    fs::write(&path, "#!/bin/sh\nexec tail -f /dev/null\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({"credsStore": "pass", "auths": {ONE: {}}});
    fs::write(machine.0.path().join("config.json"), config.to_string()).unwrap();
    let mut command = machine.command();
    command.env("PATH", format!("{}:/usr/bin:/bin", machine.0.path().display()));
    let output = command.args(["logout", "--timeout", "300ms"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(124), "{told}");
    assert!(told.contains("no answer within 300ms"), "{told}");
    assert_eq!(machine.registries("auths"), [ONE], "it may have it still");
}

/// What was written, as far as it is known.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What people see of it: the exit code, stdout and stderr.
fn seen(kind: OutputKind, directory: &str) -> (u8, String, String) {
    let (stdout, stderr) = (Written::default(), Written::default());
    let streams = Streams {
        input: Input::None,
        output: Stdout::new(Box::new(stdout.clone()), kind),
        ui: Ui::new("ecrlogin", Box::new(stderr.clone()), false),
    };
    let docker = format!("--docker-config={directory}");
    let args = ["ecrlogin", "remove-helper", &docker].map(OsString::from);
    let exit = slipway_shell::run::<ecrlogin::EcrLogin>(args, streams);
    let text = |of: &Written| String::from_utf8(of.0.lock().unwrap().clone()).unwrap();
    (exit, text(&stdout), text(&stderr))
}

#[test]
fn people_see_what_was_done_and_no_document_without_anything_in_it() {
    let machine = Machine::new();
    let directory = machine.0.path().to_str().unwrap();
    let (exit, stdout, stderr) = seen(OutputKind::Terminal, directory);
    assert_eq!((exit, stdout.as_str()), (0, ""));
    assert!(stderr.contains(ONE) && stderr.contains("no longer names"), "{stderr}");
    let (exit, stdout, _) = seen(OutputKind::Pipe, directory);
    assert_eq!((exit, stdout.as_str()), (0, "{\"schema\":\"slipway.release/v1\"}\n"));

    fs::write(machine.0.path().join("config.json"), "{").unwrap();
    let (exit, stdout, stderr) = seen(OutputKind::Terminal, directory);
    assert_eq!((exit, stdout.as_str()), (1, ""));
    assert!(stderr.contains("error: "), "{stderr}");
}
