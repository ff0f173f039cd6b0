//! A front whose image is out of date, and one that an older version set up.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::Value;
use slipway_tests::from_run_sh;
use slipway_tests::lab::{Run, app_engine, run};
use slipway_tests::process::{until, without_input};

use super::place::{Load, Place, place};
use super::site::{Site, host, one, text_of, two};

/// Makes this name mean an image that no other is the same as; answers its id.
fn new_image(name: &str, number: u32) -> String {
    let dockerfile = format!("FROM haproxy:3.2\nLABEL number={number}\n");
    let mut docker = Command::new("docker");
    docker.args(["build", "-q", "-t", name, "-"]).env("DOCKER_BUILDKIT", "0");
    docker.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"));
    let mut child = docker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(dockerfile.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn status(app: &Place) -> Value {
    let mut command = app.bare();
    command.args(["status", "--no-input"]).args(app.ssh().split(' '));
    let run = Run::of(&without_input(&mut command)).good();
    run.document["status"]["hosts"][0].clone()
}

#[test]
fn a_front_of_an_old_image_is_told_of_and_replaced_when_asked() {
    const NAME: &str = "green-front:moving";
    let app = place("green-patched", 8253);
    let old = new_image(NAME, 1);
    app.turned(one(), &["--front-image", NAME]);
    let front = text_of(&app.front(), "Id").to_owned();
    let seen = status(&app);
    assert_eq!(seen["front"]["image_id"], old.as_str(), "{seen:#}");
    assert!(seen["front"]["image_created"].is_string() && seen["front"]["since"].is_string());
    assert_eq!(seen["drift"], serde_json::json!([]));

    let new = new_image(NAME, 2);
    let told = "newer image";
    assert!(status(&app)["drift"].to_string().contains(told), "{:#}", status(&app));
    // Not asked for: it is told, and nothing is unserved.
    let run = app.turn(two(), &["--front-image", NAME]).good();
    assert!(run.told.contains(told) && run.told.contains("--front-update"), "{}", run.told);
    assert!(host(&run).get("unserved_ms").is_none(), "{:#}", host(&run));
    assert_eq!(text_of(&app.front(), "Id"), front);
    // A registry that does not have it: told before anything is changed.
    let run =
        app.turn(one(), &["--front-update", "pull"]).bad("remote-swap", 5, "registry_unreachable");
    assert!(run.document["error"]["message"].to_string().contains(NAME), "{:#}", run.document);
    app.assert_live(two());

    let run = app.turn(two(), &["--front-update", "local"]).good();
    assert!(run.told.contains("connections are refused"), "{}", run.told);
    assert_ne!(text_of(&app.front(), "Id"), front);
    assert_eq!(app.front()["Image"], new.as_str());
    assert_eq!(app.front()["Config"]["Image"], NAME, "the name stays");
    app.assert_live(two());
    // And then there is nothing to do.
    let run = app.turn(two(), &["--front-update", "local"]).good();
    assert_eq!(host(&run)["outcome"], "unchanged", "{}", run.told);
}

/// Puts a front as version 0.1.0 made it into the place of the one that runs.
fn as_before(app: &Place) -> String {
    let front = app.front();
    let read = |file: &str| {
        app_engine(&["exec", text_of(&front, "Id"), "cat", &format!("/slipway/{file}")])
    };
    let network = format!("slipway-{}", app.name);
    let address = text_of(&front["NetworkSettings"]["Networks"][&network], "IPAddress");
    let address: u32 = address.parse::<Ipv4Addr>().unwrap().into();
    // The front has the second address.
    let own = |number: u32| Ipv4Addr::from(address - 2 + number).to_string();
    let text = include_str!("front-v1.cfg");
    let text = text.replace("BLUE", &own(3)).replace("GREEN", &own(4));
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().join("slipway");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("haproxy.cfg"), text.replace("HOST", &app.port.to_string()))
        .unwrap();
    std::fs::write(directory.join("live.map"), read("live.map")).unwrap();
    app_engine(&["rm", "-f", "-v", text_of(&front, "Id")]);
    let labels = front["Config"]["Labels"].as_object().unwrap().iter();
    let labels: Vec<String> = labels
        .flat_map(|(name, value)| ["--label".into(), format!("{name}={}", value.as_str().unwrap())])
        .collect();
    let mut docker = Command::new("docker");
    docker.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST"));
    docker.args(["create", "--restart", "always", "--network", &network, "--ip", &own(2)]);
    docker
        .args(["--publish", &format!("{}:8000", app.port), "--entrypoint", "haproxy"])
        .args(labels);
    docker.args(["haproxy:3.2", "-W", "-db", "-f", "/slipway/haproxy.cfg"]);
    let id = run(&mut docker).trim().to_owned();
    app_engine(&["cp", directory.to_str().unwrap(), &format!("{id}:/")]);
    app_engine(&["start", &id]);
    until("its answer", || app.get("/").ok());
    id
}

#[test]
fn a_front_of_an_older_version_is_changed_without_a_lost_request() {
    let app = place("green-grown", 8254);
    app.turned(one(), &[]);
    let id = as_before(&app);
    let load = Load::on(&app);
    for release in [two(), one()] {
        let run = app.turn(release, &[]).good();
        assert!(host(&run).get("unserved_ms").is_none(), "{:#}", host(&run));
        load.more(50);
    }
    load.finish_well();
    assert_eq!(text_of(&app.front(), "Id"), id, "it is the same one");
    app.assert_live(one());
    let text = app_engine(&["exec", &id, "cat", "/slipway/haproxy.cfg"]);
    assert!(text.contains("\"version\":2") && text.contains("abortonclose"), "{text}");
    assert_ne!(app.token(), "0123456789abcdef0123456789abcdef");
    let file = app_engine(&["exec", &id, "stat", "-c", "%a", "/slipway/haproxy.cfg"]);
    assert_eq!(file.trim(), "640");
}
