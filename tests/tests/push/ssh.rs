//! imgpush sends an image to a host without a registry, and remote-swap runs it there.

use std::process::Command;

use serde_json::{Value, json};
use slipway_tests::lab::{App, Run, app_engine, run};
use slipway_tests::process::with_input;
use slipway_tests::{from_run_sh, project, tool};

use crate::site::{built, named};

/// The port that the server listens on in its container.
const INSIDE: u16 = 8000;

/// An application whose images are on the server alone.
struct Site {
    app: App,
    images: Vec<String>,
}

/// A version of it, as imgbuild tells it.
struct Built {
    version: &'static str,
    document: Value,
}

impl Built {
    fn id(&self) -> &str {
        self.document["image"]["id"].as_str().unwrap()
    }
}

impl Site {
    fn new(name: &'static str, port: u16) -> Self {
        Self { app: App::empty(name, port), images: Vec::new() }
    }

    fn name(&self) -> String {
        named(self.app.name)
    }

    fn built(&self, version: &'static str) -> Built {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        // The layers are this application's alone: others are sent to the same host meanwhile.
        let server = project().join("tests/tests/swap/server.py");
        let server = std::fs::read_to_string(server).unwrap();
        write("server.py", &format!("{server}\n# {}\n", self.app.name));
        write("version", version);
        write(
            "Dockerfile",
            "FROM python:3-slim\nCOPY server.py /\nCOPY version /\nCMD [\"python3\", \"/server.py\"]\n",
        );
        let id = built(directory.path(), &[]);
        let image = json!({"name": self.name(), "tag": version, "id": id});
        Built { version, document: json!({"schema": "slipway.release/v1", "image": image}) }
    }

    fn send(&mut self, built: &Built) -> Run {
        let mut push = tool("imgpush");
        push.env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
            .args(["--to", &format!("ssh://{}", from_run_sh("LAB_SSH"))])
            .args(["--identity", &from_run_sh("LAB_SSH_KEY")])
            .args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")]);
        let sent = Run::of(&with_input(&mut push, &built.document.to_string())).good();
        self.images.push(format!("{}:{}", self.name(), built.version));
        assert_eq!(sent.document["push"]["image_id"], built.id());
        assert!(sent.document["push"]["reference"].is_null());
        let there = app_engine(&["image", "inspect", "-f", "{{.Id}}", &self.images[0]]);
        assert!(there.starts_with("sha256:"), "{there}");
        sent
    }

    fn swap(&self, command: &[&str], strategy: &str, document: &Value) -> Run {
        let mut swap = tool("remote-swap");
        swap.args(command).args(["--app", self.app.name, "--strategy", strategy]);
        swap.args(["--health-interval", "100ms", "--soak", "1s"]).args(self.app.ssh().split(' '));
        swap.args(["--publish", &format!("{}:{INSIDE}", self.app.port)]);
        Run::of(&with_input(&mut swap, &document.to_string()))
    }

    fn serves(&self, built: &Built) {
        let (status, text) = self.app.get("/").expect("it answers");
        assert!(status == 200 && text.starts_with(built.version), "{status} {text}");
        let label = format!("label=dev.slipway.app={}", self.app.name);
        let listed = app_engine(&["ps", "-q", "--no-trunc", "--filter", &label]);
        let mut images = listed.split_whitespace().map(image_of);
        assert!(images.any(|image| image == built.id()));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let label = format!("label=dev.slipway.app={}", self.app.name);
        for id in app_engine(&["ps", "-aq", "--filter", &label]).split_whitespace() {
            let _ = app_engine(&["rm", "-f", id]);
        }
        for name in &self.images {
            let mut docker = Command::new("docker");
            docker.args(["image", "rm", "-f", name]);
            let _gone = docker.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")).output();
        }
    }
}

fn image_of(container: &str) -> String {
    app_engine(&["inspect", "-f", "{{.Image}}", container]).trim().to_owned()
}

fn number(run: &Run, field: &str) -> u64 {
    run.document["push"][field].as_u64().unwrap()
}

/// Deploys two versions of which the second differs in one small layer, and goes back.
fn deploys_what_was_sent(name: &'static str, port: u16, strategy: &str) {
    let mut site = Site::new(name, port);
    let (one, two) = (site.built("one"), site.built("two"));
    let first = site.send(&one);
    let _ = site.swap(&[], strategy, &first.document).good();
    site.serves(&one);
    let second = site.send(&two);
    assert_eq!(number(&second, "layers_uploaded"), 1, "{}", second.told);
    let bytes = number(&second, "bytes_uploaded");
    assert!(bytes > 0 && bytes < 10_000, "one small file travelled: {bytes} bytes");
    assert_eq!(second.document["push"]["via"], "ssh");
    let deployed = site.swap(&[], strategy, &second.document).good();
    site.serves(&two);
    let reference = deployed.document["deploy"]["hosts"][0]["reference"].as_str().unwrap();
    assert!(reference.ends_with(two.id()), "{reference}");
    let _ = site.swap(&["rollback"], strategy, &deployed.document).good();
    site.serves(&one);
    let again = site.send(&two);
    assert_eq!(again.document["push"]["already_present"], true);
    assert_eq!(number(&again, "bytes_uploaded"), 0);
}

#[test]
fn only_the_changed_layer_travels_and_recreate_runs_it() {
    deploys_what_was_sent("sent-recreate", 8230, "recreate");
}

#[test]
fn only_the_changed_layer_travels_and_blue_green_runs_it() {
    deploys_what_was_sent("sent-green", 8231, "blue-green");
}

#[test]
fn what_is_not_on_the_host_is_refused_before_anything_is_changed() {
    let mut site = Site::new("sent-missing", 8232);
    let one = site.built("one");
    let sent = site.send(&one);
    let mut document = sent.document;
    document["push"]["image_id"] = json!(format!("sha256:{}", "0".repeat(64)));
    let bad = site.swap(&[], "recreate", &document).bad("remote-swap", 1, "image_not_found");
    assert!(bad.document["error"]["hint"].as_str().unwrap().contains("imgpush --to"));
    let label = format!("label=dev.slipway.app={}", site.app.name);
    assert_eq!(app_engine(&["ps", "-aq", "--filter", &label]), "");
}

#[test]
fn a_rollback_to_an_image_that_was_removed_says_why_it_cannot() {
    let mut site = Site::new("sent-removed", 8233);
    let (one, two) = (site.built("one"), site.built("two"));
    for built in [&one, &two] {
        let sent = site.send(built);
        let _ = site.swap(&[], "recreate", &sent.document).good();
    }
    let label = format!("label=dev.slipway.app={}", site.app.name);
    let listed = app_engine(&["ps", "-aq", "--no-trunc", "--filter", &label]);
    for id in listed.split_whitespace().filter(|id| image_of(id) == one.id()) {
        let _ = app_engine(&["rm", id]);
    }
    let _ = app_engine(&["image", "rm", "-f", one.id()]);
    let bad = site.swap(&["rollback"], "recreate", &two.document);
    let bad = bad.bad("remote-swap", 6, "rollback_impossible");
    let message = bad.document["error"]["message"].as_str().unwrap();
    assert!(message.contains("no registry has it"), "{message}");
    site.serves(&two);
}

#[test]
fn an_export_without_a_way_to_the_host_is_not_begun() {
    let mut push = tool("imgpush");
    push.env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
    push.args(["--to", &from_run_sh("LAB_SSH"), "--host-key"]);
    push.arg("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let site = Site::new("sent-nowhere", 8234);
    let one = site.built("one");
    let output = with_input(&mut push, &one.document.to_string());
    let _ = Run::of(&output).bad("imgpush", 4, "host_key_mismatch");
    let listed = run(Command::new("docker")
        .args(["image", "ls", "-q", &site.name()])
        .env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")));
    assert_eq!(listed, "");
}
