//! ecrlogin and Docker's own configuration, proved with Docker's own client against the lab's
//! registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use slipway_tests::lab::Run;
use slipway_tests::process::{with_input, without_input};
use slipway_tests::{from_run_sh, tool};

/// A directory with a configuration of Docker's.
struct Home(tempfile::TempDir);

impl Home {
    fn with(config: &Value) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::write(home.path(), config.to_string()).unwrap();
        home
    }

    fn directory(&self) -> &Path {
        self.0.path()
    }

    fn path(&self) -> PathBuf {
        self.directory().join("config.json")
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
    }

    /// ecrlogin as on a machine that is set up for AWS, with this configuration of Docker's.
    fn login(&self) -> Command {
        let mut command = tool("ecrlogin");
        command.env("DOCKER_CONFIG", self.directory());
        for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
        {
            command.env(name, from_run_sh(name));
        }
        command
    }

    /// Docker's client with this configuration, against the engine of the CI server.
    fn docker(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_CONFIG", self.directory())
            .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
        without_input(command.args(args))
    }

    /// What the registry says to a pull of something that it does not have.
    fn pull(&self) -> String {
        let image = format!("{}/login/none:1", from_run_sh("LAB_REGISTRY"));
        let output = self.docker(&["pull", &image]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

const LOGGED_IN: &str = "not found";
const LOGGED_OUT: &str = "no basic auth credentials";

/// A helper that appends what it is told to a file, and fails if told so.
fn helper(directory: &Path, name: &str, fails: bool) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let told = directory.join("told");
    let end = if fails { "echo not implemented; exit 1" } else { "exit 0" };
    let script = format!("#!/bin/sh\n(echo \"$1\"; cat; echo) >>{}\n{end}\n", told.display());
    let path = directory.join(format!("docker-credential-{name}"));
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    told
}

fn with_path(command: &mut Command, directory: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", directory.display()));
}

#[test]
fn docker_is_logged_in_and_out_and_keeps_all_else() {
    let other = json!({"auth": "eDp5"});
    let before = json!({"auths": {"r.example": other}, "detachKeys": "ctrl-e", "x": [1.5]});
    let home = Home::with(&before);
    assert!(home.pull().contains(LOGGED_OUT), "{}", home.pull());
    let got = Run::of(&without_input(home.login().arg("--docker-config"))).good();
    assert!(got.told.contains("unencrypted"), "{}", got.told);
    assert!(home.pull().contains(LOGGED_IN), "{}", home.pull());
    assert_eq!(home.config()["auths"]["r.example"], other);

    let document = got.document.to_string();
    let out = Run::of(&with_input(home.login().arg("logout"), &document)).good();
    assert_eq!(home.config(), before);
    assert!(home.pull().contains(LOGGED_OUT), "{}", home.pull());
    assert!(out.document["registry"].get("password").is_none(), "{}", out.document);
    assert_eq!(out.document["registry"]["host"], from_run_sh("LAB_REGISTRY"));
    let out = Run::of(&without_input(home.login().arg("logout"))).good();
    assert!(out.told.contains("no login"), "{}", out.told);
}

#[test]
fn docker_itself_can_log_out_and_in_again() {
    let home = Home::with(&json!({}));
    let _ = Run::of(&without_input(home.login().arg("--docker-config"))).good();
    let ours = home.config();
    let registry = from_run_sh("LAB_REGISTRY");
    assert!(home.docker(&["logout", &registry]).status.success());
    assert!(home.pull().contains(LOGGED_OUT));
    let got = Run::of(&without_input(&mut home.login())).good();
    let mut login = Command::new("docker");
    login.env("DOCKER_CONFIG", home.directory()).env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
    login.args(["login", "-u", "AWS", "--password-stdin", &registry]);
    let output = with_input(&mut login, got.document["registry"]["password"].as_str().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(home.config(), ours, "docker writes the same");
    let _ = Run::of(&without_input(home.login().arg("logout"))).good();
    assert_eq!(home.config(), json!({"auths": {}}));
}

#[test]
fn logout_is_done_after_an_error_of_the_pipe_too() {
    let home = Home::with(&json!({}));
    let got = Run::of(&without_input(home.login().arg("--docker-config"))).good();
    let mut document = got.document;
    document["error"] =
        json!({"tool": "imgpush", "code": "tag_conflict", "exit": 1, "message": "x"});
    let out = Run::of(&with_input(home.login().arg("logout"), &document.to_string()));
    assert_eq!((out.exit, &out.document["error"]["code"]), (1, &json!("tag_conflict")));
    assert_eq!(home.config(), json!({"auths": {}}));
}

#[test]
fn a_helper_that_the_configuration_names_gets_the_login() {
    let home = Home::with(&json!({"credsStore": "keeper"}));
    let told = helper(home.directory(), "keeper", false);
    let mut login = home.login();
    with_path(login.arg("--docker-config"), home.directory());
    let got = Run::of(&without_input(&mut login)).good();
    let registry = from_run_sh("LAB_REGISTRY");
    let text = fs::read_to_string(&told).unwrap();
    let (action, stored) = text.split_once('\n').unwrap();
    let stored: Value = serde_json::from_str(stored.trim()).unwrap();
    assert_eq!((action, &stored["ServerURL"]), ("store", &json!(registry)));
    assert_eq!(stored["Secret"], got.document["registry"]["password"]);
    let expected = json!({"credsStore": "keeper", "auths": {registry.as_str(): {}}});
    assert_eq!(home.config(), expected, "and no password");

    let mut logout = home.login();
    with_path(logout.arg("logout"), home.directory());
    let _ = Run::of(&without_input(&mut logout)).good();
    assert!(fs::read_to_string(&told).unwrap().ends_with(&format!("erase\n{registry}\n")));
    assert_eq!(home.config()["auths"], json!({}));
}

#[test]
fn a_helper_that_fails_is_told_with_its_words() {
    let registry = from_run_sh("LAB_REGISTRY");
    let before = json!({"credHelpers": {registry.as_str(): "ecr-login"}});
    let home = Home::with(&before);
    helper(home.directory(), "ecr-login", true);
    let mut login = home.login();
    with_path(login.arg("--docker-config"), home.directory());
    let bad = Run::of(&without_input(&mut login)).bad("ecrlogin", 1, "docker_config_failed");
    assert!(bad.told.contains("not implemented"), "{}", bad.told);
    assert!(bad.document["registry"]["host"].is_string(), "the login itself is done");
    assert_eq!(home.config(), before);
}

#[test]
fn a_broken_configuration_is_left_alone() {
    let home = Home::with(&json!({}));
    fs::write(home.path(), "{\"auths\": {\n\"canary\"").unwrap();
    let bad = Run::of(&without_input(home.login().arg("--docker-config")));
    let bad = bad.bad("ecrlogin", 1, "docker_config_failed");
    assert!(bad.told.contains("line 2") && !bad.told.contains("canary"), "{}", bad.told);
    assert!(fs::read_to_string(home.path()).unwrap().contains("canary"));
}

/// A directory of the search path for the helper's link.
fn install(home: &Home, more: &[&str]) -> Run {
    let mut install = home.login();
    with_path(&mut install, home.directory());
    install.arg("install-helper").arg("--helper-dir").arg(home.directory()).args(more);
    Run::of(&without_input(&mut install)).good()
}

/// A client of Docker's that builds with BuildKit: newer ones need a plugin for that.
fn buildkit_client() -> &'static str {
    let plugin = without_input(Command::new("docker").args(["buildx", "version"]));
    if plugin.status.success() { "docker" } else { "/usr/bin/docker" }
}

#[test]
fn docker_pulls_and_builds_with_the_helper() {
    let registry = from_run_sh("LAB_REGISTRY");
    let home = Home::with(&json!({"detachKeys": "ctrl-e"}));
    let installed = install(&home, &[]);
    assert!(installed.told.contains("now names ecrlogin in credHelpers"), "{}", installed.told);
    assert!(!installed.told.contains("warning"), "{}", installed.told);
    let expected = json!({"detachKeys": "ctrl-e", "credHelpers": {registry.as_str(): "ecrlogin"}});
    assert_eq!(home.config(), expected);
    assert!(install(&home, &[]).told.contains("already"));

    let run = |client: &str, args: &[&str], more: &[(&str, &str)]| {
        let mut command = home.login();
        with_path(&mut command, home.directory());
        let mut docker = Command::new(client);
        docker
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        docker.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).envs(more.iter().copied()).args(args);
        without_input(&mut docker)
    };
    let image = format!("{registry}/login/helper-{}:1", std::process::id());
    for args in
        [["tag", "python:3-slim", &image[..]].as_slice(), &["push", &image], &["pull", &image]]
    {
        let output = run("docker", args, &[]);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    // A layer that the engine does not have is asked for with a login of BuildKit's own.
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("Dockerfile"), format!("FROM {image}\nRUN true\n")).unwrap();
    let context = context.path().to_str().unwrap();
    let build = ["build", "--pull", "--no-cache", context];
    let output = run(buildkit_client(), &build, &[("DOCKER_BUILDKIT", "1")]);
    assert!(output.status.success(), "{output:?}");

    // Without AWS credentials it is not the registry's refusal alone that people see.
    let no_key = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let output = run("docker", &["pull", &image], &no_key);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(told.contains("no AWS credentials were found"), "{told}");
    let _ = run("docker", &["rmi", &image], &[]);

    // Docker tries a login before it gives it to the helper, so it is one that the registry takes.
    let got = Run::of(&without_input(&mut home.login())).good();
    let mut login = Command::new("docker");
    login.env("DOCKER_CONFIG", home.directory()).env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
    login.env("XDG_CACHE_HOME", home.directory());
    with_path(login.args(["login", "-u", "AWS", "--password-stdin", &registry]), home.directory());
    let output = with_input(&mut login, got.document["registry"]["password"].as_str().unwrap());
    assert!(output.status.success(), "{output:?}");
    let kept = [("XDG_CACHE_HOME", home.directory().to_str().unwrap())];
    let pull = || run("docker", &["pull", &image], &[no_key.as_slice(), &kept].concat());
    assert!(pull().status.success(), "{:?}", pull());
    assert!(run("docker", &["logout", &registry], &kept).status.success());
    assert!(!pull().status.success());
    assert_eq!(home.config()["auths"], json!({}));

    let mut remove = home.login();
    let removed = Run::of(&without_input(remove.arg("remove-helper"))).good();
    assert!(removed.told.contains(&registry), "{}", removed.told);
    let after = json!({"detachKeys": "ctrl-e", "credHelpers": {}, "auths": {}});
    assert_eq!(home.config(), after);
}

#[test]
fn an_installed_helper_says_what_it_replaces_and_what_is_left() {
    let registry = from_run_sh("LAB_REGISTRY");
    let login = json!({"auth": "QVdTOm9sZA=="});
    let home = Home::with(&json!({
        "auths": {registry.as_str(): login}, "credHelpers": {registry.as_str(): "ecr-login"},
    }));
    let other = "210987654321.dkr.ecr.us-east-1.amazonaws.com";
    let named = install(&home, &["--registry", other, "--profile", "prod"]);
    assert!(named.told.contains("docker-credential-ecrlogin-prod, a link to"), "{}", named.told);
    let replaced = install(&home, &["--registry", &registry]);
    assert!(replaced.told.contains("where it named ecr-login"), "{}", replaced.told);
    assert!(replaced.told.contains("still has a password"), "{}", replaced.told);
    let expected = json!({registry.as_str(): "ecrlogin", other: "ecrlogin-prod"});
    assert_eq!(home.config()["credHelpers"], expected);

    let mut logout = home.login();
    let _ = Run::of(&without_input(logout.args(["logout", "--registry", &registry]))).good();
    assert_eq!(home.config()["auths"], json!({}));
    let mut login = home.login();
    let got = Run::of(&without_input(login.arg("--docker-config"))).good();
    assert!(got.told.contains("docker asks ecrlogin itself"), "{}", got.told);
    assert_eq!(home.config()["auths"], json!({}));
    let mut remove = home.login();
    let _ = Run::of(&without_input(remove.args(["remove-helper", "--registry", other]))).good();
    assert_eq!(home.config()["credHelpers"], json!({registry.as_str(): "ecrlogin"}));
}

#[test]
fn a_helper_that_docker_would_not_find_is_told() {
    let home = Home::with(&json!({}));
    let mut install = home.login();
    install.args(["install-helper", "--helper-dir"]).arg(home.directory());
    let got = Run::of(&without_input(&mut install)).good();
    assert!(got.told.contains("is not in PATH"), "{}", got.told);
    let mut elsewhere = home.login();
    elsewhere.args(["install-helper", "--registry", "quay.io"]);
    let _ = Run::of(&without_input(&mut elsewhere)).bad("ecrlogin", 2, "usage");
}
