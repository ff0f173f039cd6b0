//! Documents whose values would lead elsewhere: refused before anything is asked.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value, json};
use slipway_tests::lab::Run;
use slipway_tests::process::with_input;
use slipway_tests::tool;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Runs a tool whose every way leads to one listener, with a document of these sections.
fn refused(name: &str, args: &[&str], sections: Value, path: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut document = sections;
    document["schema"] = "slipway.release/v1".into();
    let directory = tempfile::tempdir().unwrap();
    let args = args.iter().map(|arg| arg.replace("PORT", &port.to_string()));
    let mut command = tool(name);
    command
        .args(args)
        .env("DOCKER_HOST", format!("tcp://127.0.0.1:{port}"))
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .current_dir(&directory);
    let text = document.to_string().replace("PORT", &port.to_string());
    let bad = Run::of(&with_input(&mut command, &text)).bad(name, 3, "bad_section");
    let message = bad.document["error"]["message"].as_str().unwrap();
    assert!(message.contains(path), "{name} {path}: {message}");
    assert!(message.contains("expected"), "{message}");
    for value in ["evil", "moved", "hunter2"] {
        assert!(!message.contains(value) && !bad.told.contains(value), "{message}");
    }
    let asked = listener.accept().unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::WouldBlock, "{name} {path}");
}

#[test]
fn an_image_that_is_none_is_not_pushed() {
    for id in ["web:moved", "../containers/json?x=", "sha256:evil", ""] {
        let registry = json!({"host": "127.0.0.1:PORT"});
        let image = json!({"name": "web", "tag": "1", "id": id});
        refused("imgpush", &[], json!({"image": image, "registry": registry}), "image.id");
        refused("imgpush", &["--to", "a@127.0.0.1:PORT"], json!({"image": image}), "image.id");
    }
    let image = json!({"name": "../../evil", "tag": "1", "id": DIGEST});
    refused("imgpush", &[], json!({"image": image}), "image.name");
}

#[test]
fn a_registry_that_is_no_host_is_not_asked() {
    for host in ["evil.example:99999", "user:hunter2@evil.example", "https://evil.example", "a/b"] {
        let registry = json!({"host": host, "username": "u", "password": "hunter2"});
        let image = json!({"name": "web", "tag": "1", "id": DIGEST});
        let sections = json!({"image": image, "registry": registry});
        refused("imgpush", &[], sections.clone(), "registry.host");
        refused("ecrlogin", &[], sections.clone(), "registry.host");
        refused("imgbuild", &[".", "--skip-if-pushed"], sections, "registry.host");
        let others = json!({"registry": {"others": [{"host": host}]}});
        refused("ecrlogin", &[], others, "registry.others[0].host");
    }
}

#[test]
fn two_images_in_one_push_are_not_deployed() {
    let deploy = ["--host", "a@127.0.0.1:PORT", "-p", "80:80"];
    let other = DIGEST.replace("0123", "3210");
    let reference = format!("r.example/web@{DIGEST}");
    for (push, path) in [
        (json!({"reference": reference, "digest": other}), "push"),
        (json!({"reference": reference, "repository": "other"}), "push"),
        (json!({"reference": "r.example/web:moved"}), "push.reference"),
        (json!({"reference": reference, "digest": "evil"}), "push.digest"),
        (json!({"repository": "web", "image_id": "web:moved"}), "push.image_id"),
    ] {
        refused("remote-swap", &deploy, json!({"push": push}), path);
    }
}

#[test]
fn a_deploy_that_names_no_place_is_not_waited_for() {
    let hosts = json!([{"host": "a", "url": "evil", "outcome": "deployed"}]);
    refused("healthwait", &[], json!({"deploy": {"hosts": hosts}}), "deploy.hosts[0].url");
}
