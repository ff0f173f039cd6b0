//! Waiting for real servers, by the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]

mod common;

use std::net::TcpListener;

use common::{Running, Server, answer, run, run_with};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use serde_json::{Value, json};

fn ok() -> Option<String> {
    answer(200, &json!({"status": "ok"}))
}

#[test]
fn it_waits_until_the_service_is_ready() {
    let server =
        Server::new(|n| if n < 3 { answer(503, &json!({"status": "starting"})) } else { ok() });
    let url = server.url("/health");
    let ended = run(&[&url]).expect(0);
    let target = ended.target(0);
    assert_eq!(target["url"], url);
    assert_eq!(target["healthy"], true);
    assert_eq!(target["attempts"], 5);
    assert_eq!(target["status"], 200);
    assert_eq!(target["body"], r#"{"status":"ok"}"#);
    assert_eq!(target.get("reason"), None);
    assert_eq!(ended.states(0), ["status 503, expected 2xx", "ok"]);
    assert_eq!(target["timeline"][0]["tries"], 3);
    let told = ended.stderr.lines().filter(|line| line.contains("status 503")).count();
    assert_eq!(told, 1, "one line a change: {}", ended.stderr);
    assert!(ended.stderr.lines().last().unwrap().contains("healthy"), "{}", ended.stderr);
}

#[test]
fn one_good_answer_is_not_enough_unless_asked_for() {
    let flapping = || Server::new(|n| if n % 2 == 0 { ok() } else { answer(500, &json!({})) });
    let server = flapping();
    let ended = run(&[&server.url("/"), "--timeout=300ms"]).expect(124);
    assert_eq!(ended.target(0)["healthy"], false);
    let server = flapping();
    run(&[&server.url("/"), "--consecutive=1"]).expect(0);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn at_the_deadline_it_tells_what_it_saw() {
    let server = Server::new(|_| answer(500, &json!({"why": "no database"})));
    let url = server.url("/");
    let ended = run(&[&url, "--timeout=1s"]).expect(124);
    let error = &ended.document["error"];
    assert_eq!(error["code"], "deadline_exceeded");
    assert_eq!(error["retryable"], true);
    let message = error["message"].as_str().unwrap();
    assert_eq!(message, format!("not healthy within 1s: {url}: status 500, expected 2xx"));
    assert_eq!(error["evidence"]["targets"], ended.document["health"]["targets"]);
    assert_eq!(ended.target(0)["body"], r#"{"why":"no database"}"#);
    assert_eq!(ended.target(0)["reason"], "status 500, expected 2xx");
}

#[test]
fn a_server_that_hangs_does_not_hold_it_up() {
    let server = Server::new(|_| None);
    // The try alone would go on for an hour.
    let ended = run(&[&server.url("/"), "--timeout=200ms", "--try-timeout=1h"]).expect(124);
    assert_eq!(ended.states(0), ["no answer yet"]);

    let server = Server::new(|n| if n == 0 { None } else { ok() });
    let ended = run(&[&server.url("/"), "--try-timeout=1s"]).expect(0);
    assert_eq!(ended.states(0), ["timed out after 1s before an answer came", "ok"]);
}

#[test]
fn it_outlasts_a_port_that_refuses() {
    // Bound but not listening: connections are refused, and nobody else can take the port.
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    let address: std::net::SocketAddr = getsockname(&socket).unwrap().try_into().unwrap();
    let mut running = Running::start(&[&format!("tcp://{address}")]);
    running.until("connection refused");
    listen(&socket, 16).unwrap();
    let ended = running.end().expect(0);
    assert_eq!(ended.states(0), ["connection refused", "ok"]);
    assert_eq!(ended.target(0).get("status"), None);
}

#[test]
fn all_targets_have_to_be_healthy() {
    let (good, bad) = (Server::new(|_| ok()), Server::new(|_| answer(404, &json!({}))));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("tcp://{}", listener.local_addr().unwrap());
    let ended = run(&[&good.url("/"), &bad.url("/"), &tcp, "--timeout=2s"]).expect(124);
    let healthy = [0, 1, 2].map(|index| ended.target(index)["healthy"] == true);
    assert_eq!(healthy, [true, false, true]);
    let message = ended.document["error"]["message"].as_str().unwrap();
    assert!(message.contains(&bad.url("/")) && !message.contains(&good.url("/")), "{message}");
    assert_eq!(good.requests().len(), 2, "a healthy target is left alone");
    run(&[&good.url("/"), &tcp]).expect(0);
}

#[test]
fn every_condition_has_to_be_met() {
    let server = Server::new(|_| {
        Some(
            "HTTP/1.1 201 Created\r\nX-Node: a\r\nContent-Length: 35\r\n\r\n\
             {\"status\": \"ok\", \"checks\": [{\"n\":1}]}"
                .replace("35", "37"),
        )
    });
    let url = server.url("/");
    for (args, reason) in [
        (vec!["--expect-status=200,202-204"], "status 201, expected 200,202-204"),
        (vec!["--expect-header=X-Node: b"], "header x-node is \"a\", expected \"b\""),
        (vec!["--expect-body=\"status\": *\"fine"], "the body does not match"),
        (vec!["--expect-json=/checks/0/n=1", "--expect-json=/status=up"], "/status is \"ok\""),
        (vec!["--expect-version=v1"], "the answer tells no version, expected v1"),
    ] {
        let ended = Running::start(&[&[url.as_str()], &args[..]].concat()).stop_at(reason);
        let seen = ended.target(0)["reason"].as_str().unwrap();
        assert!(seen.starts_with(reason), "{args:?}: {seen}");
    }
    let all = [
        &url,
        "--expect-status=2xx",
        "--expect-header=x-node",
        "--expect-body=^\\{.status",
        "--expect-json=/checks/0/n=1",
        "--expect-json=/status=ok",
    ];
    run(&all).expect(0);
}

#[test]
fn the_request_carries_the_headers_that_were_asked_for() {
    let server = Server::new(|_| ok());
    let args = [
        &server.url("/health?full=1"),
        "--consecutive=1",
        "--header=Host: app.example",
        "--header-env=Authorization=PROBE_TOKEN",
    ];
    let ended = run_with(&args, None, &[("PROBE_TOKEN", "Bearer hunter2")]).expect(0);
    let head = server.requests()[0].to_lowercase();
    assert!(head.starts_with("get /health?full=1 http/1.1\r\n"), "{head}");
    for line in ["host: app.example", "authorization: bearer hunter2", "user-agent: healthwait/"] {
        assert_eq!(head.matches(&format!("\r\n{line}")).count(), 1, "{line}: {head}");
    }
    let told = format!("{}{}", ended.stderr, ended.document);
    assert!(!told.contains("hunter2"), "{told}");
}

fn deployed(server: &Server, fields: Value) -> Value {
    let mut document = json!({
        "image": {"tag": "v2", "revision": "0123456789abcdef0123456789abcdef01234567"},
        "push": {"digest": format!("sha256:{}", "feed".repeat(16))},
        "deploy": {"health_path": "/health", "hosts": [
            {"host": "app.example", "url": server.url(""), "outcome": "deployed"},
        ]},
        "x_other": 1.50,
    });
    for (key, value) in fields.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

#[test]
fn the_release_of_the_document_has_to_answer() {
    let server = Server::new(|n| answer(200, &json!({"version": if n < 2 { "v1" } else { "v2" }})));
    let ended = run_with(&[], Some(deployed(&server, json!({}))), &[]).expect(0);
    assert_eq!(ended.states(0), ["version v1 answers, expected v2", "ok"]);
    assert_eq!(ended.target(0)["version"], "v2");
    assert_eq!(ended.target(0)["url"], server.url("/health"));
    assert_eq!(ended.document["x_other"], 1.5);
    assert!(ended.stderr.contains("healthy, version v2"), "{}", ended.stderr);
}

#[test]
fn the_old_release_never_counts_unless_that_is_said() {
    let server = Server::new(|_| answer(200, &json!({"version": "v1"})));
    let args = ["--timeout=1s"];
    let ended = run_with(&args, Some(deployed(&server, json!({}))), &[]).expect(124);
    let hint = ended.document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--no-version-check"), "{hint}");
    let settings = json!({"settings": {"healthwait": {"no_version_check": true}}});
    run_with(&[], Some(deployed(&server, settings)), &[]).expect(0);
}

#[test]
fn a_target_that_tells_no_version_is_accepted_with_a_word() {
    let server = Server::new(|_| ok());
    let ended = run_with(&[], Some(deployed(&server, json!({}))), &[]).expect(0);
    assert_eq!(ended.stderr.matches("not proven that v2 is what answers").count(), 1);
    assert_eq!(ended.target(0).get("version"), None);
}

#[test]
fn a_signal_ends_it_with_what_it_saw() {
    let server = Server::new(|_| answer(503, &json!({})));
    let ended = Running::start(&[&server.url("/")]).stop_at("status 503");
    assert_eq!(ended.document["error"]["code"], "interrupted");
    assert_eq!(ended.target(0)["healthy"], false);
    assert_eq!(ended.states(0), ["status 503, expected 2xx"]);
}

#[test]
fn a_wrong_header_is_not_repeated() {
    let env = [("HEALTHWAIT_HEADER", "Bearer hunter2")];
    let ended = run_with(&["http://127.0.0.1:1/"], None, &env).expect(2);
    let told = format!("{}{}", ended.stderr, ended.document);
    assert!(told.contains("--header: write 'NAME: VALUE'") && !told.contains("hunter2"), "{told}");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let server = Server::new(|_| ok());
    let url = server.url("/");
    for (args, word) in [
        (vec!["localhost:8000"], "http://localhost:8000"),
        (vec!["ftp://a"], "none of http"),
        (vec![url.as_str(), "--expect-status=6xx"], "6xx"),
        (vec![&url, "--expect-body=(a"], "unclosed group"),
        (vec![&url, "--expect-json=status=ok"], "JSON pointer"),
        (vec![&url, "--version-pointer=version"], "JSON pointer"),
        (vec![&url, "--consecutive=0"], "0"),
        (vec![&url, "--header-env=X-Key=NOT_SET"], "NOT_SET"),
        (vec!["tcp://127.0.0.1:1", "--expect-body=x"], "only HTTP"),
        (vec!["unix:///run/a", "--expect-status=200"], "only HTTP"),
        (vec![], "no target"),
    ] {
        let ended = run(&args).expect(2);
        let message = ended.document["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{args:?}: {message}");
    }
    for (key, value) in [
        ("expect_body", json!("(a")),
        ("expect_status", json!("6xx")),
        ("target", json!([url, "b"])),
        ("consecutive", json!(0)),
        ("interval", json!("5")),
    ] {
        let mut settings = json!({});
        settings[key] = value;
        let input = json!({"settings": {"healthwait": settings}});
        // --interval on the command line would go before the setting.
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("healthwait");
        let output =
            command.env_clear().write_stdin(common::document(input).to_string()).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{key}: {document}");
        assert_eq!(document["error"]["code"], "bad_setting", "{key}");
        assert!(document["error"]["message"].as_str().unwrap().contains(key), "{document}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}
