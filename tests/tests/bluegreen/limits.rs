//! What a front bears, and what it passes on.

use std::net::TcpStream;

use slipway_tests::process::until;

use super::place::{Place, Talk, place};
use super::site::{host, one, two};

/// Connections of one client that say nothing, as many as there can be.
fn hold(app: &Place, count: usize) -> Vec<TcpStream> {
    (0..count).filter_map(|_| TcpStream::connect(app.address()).ok()).collect()
}

/// What another client gets, which asks from the application server.
fn other_client(app: &Place) -> String {
    const ASK: &str =
        "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())";
    let told = app.on_server(&["python3", "-c", ASK, &format!("http://{}/", app.address())]);
    told.trim().to_owned()
}

/// How many connections of clients the front has.
fn connections(app: &Place) -> u64 {
    let (status, state) = app.control(&app.token());
    assert_eq!(status, "200");
    state["connections"][0].as_u64().unwrap_or_else(|| panic!("{state:#}"))
}

#[test]
fn one_client_that_holds_connections_takes_nothing_down() {
    let app = place("green-idle-flood", 8255);
    app.turned(one(), &[]);
    let held = hold(&app, 4200);
    assert_eq!(other_client(&app), "one");
    let run = app.turn(two(), &[]).good();
    assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
    assert_eq!(other_client(&app), "two");
    drop(held);
    until("room for this one", || app.get("/").ok().filter(|(status, _)| *status == 200));
    app.assert_live(two());
}

#[test]
fn a_deploy_goes_on_where_all_connections_are_in_use() {
    let app = place("green-full", 8256);
    let options = [
        ["--front-connections", "20"],
        ["--front-connections-per-source", "0"],
        ["--front-request-timeout", "5m"],
    ];
    let options = options.as_flattened();
    app.turned(one(), options);
    let held = hold(&app, 20);
    until("full", || (connections(&app) == 20).then_some(()));
    let run = app.turn(two(), options).good();
    assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
    assert!(run.told.contains("20 of 20 connections"), "{}", run.told);
    drop(held);
    until("room for this one", || app.get("/").ok());
    app.assert_live(two());
}

#[test]
fn clients_that_left_are_let_go() {
    let app = place("green-left", 8257);
    app.turned(one(), &[]);
    let mut gone: Vec<Talk> = (0..5).map(|_| Talk::to(&app)).collect();
    for talk in &mut gone {
        talk.send("GET /events HTTP/1.1\r\nHost: app\r\nAccept: text/event-stream\r\n\r\n").head();
    }
    assert!(connections(&app) >= 5);
    drop(gone);
    until("their end", || (connections(&app) == 0).then_some(()));
}

#[test]
fn long_heads_and_raw_paths_are_passed_on() {
    let app = place("green-heads", 8258);
    app.turned(one(), &[]);
    let long = format!("Cookie: {}\r\n", "c".repeat(30_000));
    let (head, body) = Talk::to(&app).ask("/headers", &long);
    assert!(head.starts_with("HTTP/1.1 200") && body.contains(&"c".repeat(30_000)), "{head}");
    let head = Talk::to(&app).send("GET /large?bytes=30000 HTTP/1.1\r\nHost: app\r\n\r\n").head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let raw = "GET /caf\u{e9}/\u{65e5}\u{672c}?q=\u{fc} HTTP/1.1\r\nHost: app\r\n\r\n";
    assert!(Talk::to(&app).send(raw).head().starts_with("HTTP/1.1 200"));

    // What else is against the rules is refused still.
    for (what, bad) in [
        (
            "a name that is none",
            "GET / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding : chunked\r\n\r\n",
        ),
        ("a fragment", "GET /#top HTTP/1.1\r\nHost: app\r\n\r\n"),
        ("another version", "GET / HTTP/9.9\r\nHost: app\r\n\r\n"),
        ("another host", "GET http://other/ HTTP/1.1\r\nHost: app\r\n\r\n"),
        ("a tunnel", "CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n"),
        ("a control character", "GET /\u{1} HTTP/1.1\r\nHost: app\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: app\r\nX-Nul: a\0b\r\n\r\n"),
        (
            "a socket without a key",
            "GET /socket HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        let head = Talk::to(&app).send(bad).head();
        assert!(head.starts_with("HTTP/1.1 400"), "{what}: {head}");
    }

    app.turned(one(), &["--front-header-size", "64k"]);
    let head = Talk::to(&app).send("GET /large?bytes=60000 HTTP/1.1\r\nHost: app\r\n\r\n").head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn how_long_things_may_take_is_asked_for() {
    let app = place("green-times", 8259);
    let options = [
        ["--front-response-timeout", "1s"],
        ["--front-request-timeout", "1s"],
        ["--front-keep-alive", "1s"],
        ["--front-client-timeout", "1s"],
        ["--front-tunnel-timeout", "1s"],
    ];
    app.turned(one(), options.as_flattened());
    let head = Talk::to(&app).send("GET /go HTTP/1.1\r\nHost: app\r\n").head();
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let mut idle = Talk::to(&app);
    idle.ask("/", "");
    assert!(idle.is_over());
    let mut slow = Talk::to(&app);
    slow.send("GET /slow?seconds=600 HTTP/1.1\r\nHost: app\r\n\r\n");
    slow.head();
    assert!(slow.is_over(), "an answer that does not go on");
    let mut upload = Talk::to(&app);
    upload.send("POST /echo HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nx");
    let head = upload.head();
    assert!(["HTTP/1.1 4", "HTTP/1.1 5"].iter().any(|bad| head.starts_with(bad)), "{head}");
    let mut socket = Talk::to(&app);
    socket.send("GET /socket HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    socket.head();
    assert!(socket.is_over());
}
