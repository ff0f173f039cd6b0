//! What is in flight when the front is turned ends where it began.

use slipway_tests::lab::app_engine;
use slipway_tests::process::until;

use super::place::{Place, Talk, place};
use super::site::{Deploying, host, inspect, one, two};

/// Deploys the second release until the front is turned to it.
fn turning(app: &Place, args: &[&str]) -> Deploying {
    Deploying::new(&mut app.swap_with(args), two()).until_told("the new container answers")
}

#[test]
fn a_response_in_flight_ends_well() {
    let app = place("green-slow", 8210);
    app.turned(one(), &["--drain-timeout", "10m"]);
    let mut slow = Talk::to(&app);
    slow.send("GET /slow?seconds=6 HTTP/1.1\r\nHost: app\r\n\r\n");
    let head = slow.head();
    assert!(head.to_ascii_lowercase().contains("x-version: one"), "{head}");
    slow.bytes(1);
    let deploying = turning(&app, &["--drain-timeout", "10m"]);
    let (_, text) = app.get("/").unwrap();
    assert_eq!(text, "two", "new requests are the new one's");
    assert_eq!(slow.bytes(9), b".........");
    // And then nothing is waited for any more: ten minutes are not over.
    let ended = deploying.finish().good();
    assert!(host(&ended)["drain_ms"].as_u64().unwrap() > 0);
    app.assert_live(two());
}

#[test]
fn a_response_in_flight_ends_well_also_where_the_front_is_changed() {
    let app = place("green-slow-too", 8220);
    app.turned(one(), &["--drain-timeout", "10m"]);
    let mut slow = Talk::to(&app);
    slow.send("GET /slow?seconds=6 HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    slow.head();
    slow.bytes(1);
    let deploying = turning(&app, &["--drain-timeout", "9m"]);
    assert_eq!(slow.bytes(9), b".........");
    let ended = deploying.finish().good();
    assert!(ended.told.contains("changing the front"), "{}", ended.told);
    app.assert_live(two());
}

/// A masked text frame, as clients send them.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A WebSocket that echoes.
fn socket(app: &Place) -> Talk {
    let mut talk = Talk::to(app);
    talk.send(
        "GET /socket HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = talk.head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_ascii_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    talk
}

fn echo(talk: &mut Talk, text: &str) -> String {
    use std::io::Write;
    talk.stream.write_all(&frame(text)).unwrap();
    let length = talk.bytes(2)[1];
    String::from_utf8(talk.bytes(usize::from(length))).unwrap()
}

#[test]
fn a_websocket_stays_until_it_is_closed() {
    let app = place("green-socket", 8211);
    app.turned(one(), &["--drain-timeout", "10m"]);
    let mut socket = socket(&app);
    assert_eq!(echo(&mut socket, "before"), "one before");
    let mut deploying = turning(&app, &["--drain-timeout", "10m"]);
    for _ in 0..20 {
        assert_eq!(echo(&mut socket, "after"), "one after");
        assert!(deploying.child.try_wait().unwrap().is_none(), "it is waited for");
        app.get("/").unwrap();
    }
    drop(socket);
    let ended = deploying.finish().good();
    assert!(!ended.told.contains("cut off"), "{}", ended.told);
    app.assert_live(two());
}

#[test]
fn a_websocket_is_cut_off_when_the_drain_is_over() {
    let app = place("green-cut", 8212);
    let old = app.turned(one(), &["--drain-timeout", "2s"]);
    let mut socket = socket(&app);
    let deploying = turning(&app, &["--drain-timeout", "2s"]);
    assert_eq!(echo(&mut socket, "after"), "one after");
    let ended = deploying.finish().good();
    assert!(ended.told.contains("1 requests to the old one are cut off"), "{}", ended.told);
    assert!(host(&ended)["drain_ms"].as_u64() >= Some(2000), "{:#}", host(&ended));
    assert!(socket.is_over());
    assert_eq!(inspect(&old)["State"]["Running"], false);
    app.assert_live(two());
}

#[test]
fn idle_connections_hold_nothing_up_and_are_kept() {
    let app = place("green-idle", 8213);
    let old = app.turned(one(), &["--drain-timeout", "1h"]);
    let mut idle: Vec<Talk> = (0..4).map(|_| Talk::to(&app)).collect();
    for talk in &mut idle {
        assert_eq!(talk.ask("/", "").1, "one");
    }
    // A drain that waited for them would not be over for an hour.
    let mut deploying = turning(&app, &["--drain-timeout", "1h"]);
    until("the end", || deploying.child.try_wait().unwrap());
    let ended = deploying.finish().good();
    assert_eq!(inspect(&old)["State"]["Running"], false);
    for talk in &mut idle {
        assert_eq!(talk.ask("/", "").1, "two", "{}", ended.told);
    }
    app.assert_live(two());
}

#[test]
fn an_old_one_that_does_not_stop_is_killed_at_its_stop_timeout() {
    let app = place("green-stubborn", 8214);
    let old = app.turned(one(), &["--env", "STUBBORN=1", "--stop-timeout", "1s"]);
    app.turned(two(), &[]);
    assert_eq!(inspect(&old)["State"]["ExitCode"], 137);
    assert!(app_engine(&["logs", &old]).contains("told to stop"), "it was asked first");
}
