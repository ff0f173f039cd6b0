//! What is waited for, and when that is given up, by the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Running, Server, answer, run, run_with};
use serde_json::json;

fn ok() -> Option<String> {
    answer(200, &json!({"status": "ok", "lag": 7}))
}

/// A port that nothing listens on: it was free a moment ago.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[test]
fn json_is_compared() {
    let server = Server::new(|n| answer(200, &json!({"lag": 10 - 5 * n, "node": "web-1"})));
    let args = [&server.url("/"), "--expect-json=/lag<=5", "--expect-json=/node=~^web"];
    let ended = run(&args).expect(0);
    assert_eq!(ended.states(0), ["/lag is 10, expected <= 5", "ok"]);
    let target = ended.target(0);
    assert_eq!(target["last_failure"]["reason"], "/lag is 10, expected <= 5");
    assert_eq!(target["last_failure"]["status"], 200);
    assert_eq!(target["last_failure"]["body"], r#"{"lag":10,"node":"web-1"}"#);
    let latencies =
        ["min", "median", "p99"].map(|name| target[format!("latency_{name}_ms")].as_u64().unwrap());
    assert!(latencies.is_sorted(), "{latencies:?}");
    assert!(target["first_success_ms"].as_u64() <= target["waited_ms"].as_u64());
}

#[test]
fn an_answer_that_takes_too_long_does_not_count() {
    let server = Server::new(|_| ok());
    // No answer comes in no time.
    let ended =
        Running::start(&[&server.url("/"), "--expect-latency=1ns"]).stop_at("slower than 1ns");
    let reason = ended.target(0)["reason"].as_str().unwrap();
    assert!(reason.ends_with("expected at most 1ns"), "{reason}");
    run(&[&server.url("/"), "--expect-latency=1h"]).expect(0);
}

#[test]
fn a_target_has_to_stay_well_for_as_long_as_was_asked() {
    // One bad answer in the middle begins the time anew.
    let server = Server::new(|n| if n == 5 { answer(500, &json!({})) } else { ok() });
    let ended = run(&[&server.url("/"), "--stable=200ms"]).expect(0);
    let target = ended.target(0);
    assert_eq!(ended.states(0), ["ok", "status 500, expected 2xx", "ok"]);
    let since = target["timeline"][2]["at_ms"].as_u64().unwrap();
    let waited = target["waited_ms"].as_u64().unwrap();
    assert!(waited >= since + 199, "{waited} {since}");
    assert!(ended.stderr.contains("ok, has to stay so for 200ms"), "{}", ended.stderr);
    let ended =
        Running::start(&[&server.url("/"), "--stable=1h", "--timeout=2h"]).stop_at("to stay");
    let reason = ended.target(0)["reason"].as_str().unwrap();
    assert!(reason.contains(" of 1h") || reason.contains("1 of 2"), "{reason}");
}

#[test]
fn the_end_of_a_service_can_be_waited_for() {
    let up = Arc::new(AtomicBool::new(true));
    let serving = Arc::clone(&up);
    let server =
        Server::new(
            move |_| {
                if serving.load(Ordering::SeqCst) { ok() } else { Some(String::new()) }
            },
        );
    let input = json!({"image": {"tag": "another"}});
    let url = server.url("/");
    let mut running = Running::start(&["--not", &url]);
    running.until("still there, status 200");
    up.store(false, Ordering::SeqCst);
    let ended = running.end().expect(0);
    let states = ended.states(0);
    assert_eq!(states[0], "still there, status 200");
    assert!(states.last().unwrap().starts_with("gone: "), "{states:?}");
    assert!(ended.stderr.lines().last().unwrap().contains(": gone, "), "{}", ended.stderr);

    run(&["--not", &closed()]).expect(0);
    // A service that is not well is not gone, unless to be well is what was asked.
    let server = Server::new(|_| answer(503, &json!({})));
    let args = ["--not", &server.url("/"), "--timeout=100ms"];
    let ended = run_with(&args, Some(input.clone()), &[]).expect(124);
    let message = ended.document["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("not gone within 100ms: "), "{message}");
    run_with(&["--not", &server.url("/"), "--expect-status=2xx"], Some(input), &[]).expect(0);
}

#[test]
fn any_target_may_be_enough() {
    let server = Server::new(|n| if n < 3 { answer(503, &json!({})) } else { ok() });
    let ended = run(&["--any", &closed(), &server.url("/")]).expect(0);
    assert_eq!(ended.target(0)["healthy"], false);
    assert_eq!(ended.target(1)["healthy"], true);
    assert!(ended.stderr.contains("1 of 2 healthy"), "{}", ended.stderr);
    let table: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("  ")).collect();
    assert_eq!(table.len(), 3, "a head and a row a target: {}", ended.stderr);
}

#[test]
fn what_waiting_does_not_mend_is_given_up_if_asked() {
    let server = Server::new(|n| answer(if n == 0 { 429 } else { 404 }, &json!({"why": "typo"})));
    let ended = run(&["--fail-fast", &server.url("/helth"), &closed(), "--timeout=1h"]).expect(1);
    let error = &ended.document["error"];
    assert_eq!(error["code"], "given_up");
    assert_eq!(error["retryable"], false);
    assert!(error["message"].as_str().unwrap().contains("status 404"), "{error}");
    assert!(ended.stderr.contains(r#"answered: {"why":"typo"}"#), "{}", ended.stderr);
    assert_eq!(ended.states(0), ["status 429, expected 2xx", "status 404, expected 2xx"]);
    // With others that may do it is not the end.
    let good = Server::new(|n| if n < 9 { answer(503, &json!({})) } else { ok() });
    run(&["--fail-fast", "--any", &server.url("/"), &good.url("/")]).expect(0);
    let ended = run(&["--fail-fast", "--any", &server.url("/")]).expect(1);
    assert_eq!(ended.document["error"]["code"], "given_up");
}

#[test]
fn many_targets_are_told_of_in_few_lines() {
    let server = Server::new(|_| ok());
    let up = format!("tcp://{}", server.address);
    let (mut args, down) = (vec![up.as_str(); 299], closed());
    args.extend([down.as_str(), "--timeout=2s"]);
    let ended = run(&args).expect(124);
    assert_eq!(ended.document["health"]["targets"].as_array().unwrap().len(), 300);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() < 60, "{}", ended.stderr);
    assert!(ended.stderr.contains("and 260 more"), "{}", ended.stderr);
}
