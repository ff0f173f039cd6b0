//! What a request and its answer go through on their way.

use std::net::TcpStream;

use serde_json::Value;
use slipway_tests::process::until;

use super::place::{Talk, all_of, headers, place};
use super::site::one;

#[test]
fn the_application_gets_to_know_who_asked_for_what() {
    let app = place("green-headers", 8215);
    app.turned(one(), &[]);
    let mut talk = Talk::to(&app);
    let mine = talk.stream.local_addr().unwrap().ip().to_string();
    let (_, body) = talk.ask("/headers", "");
    let seen: Vec<(String, String)> = serde_json::from_str(&body).unwrap();
    assert_eq!(all_of(&seen, "x-forwarded-for"), [mine.as_str()]);
    assert_eq!(all_of(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(all_of(&seen, "x-forwarded-host"), ["app.example"]);
    assert_eq!(all_of(&seen, "x-forwarded-port"), ["8215"]);
    assert_eq!(all_of(&seen, "host"), ["app.example"]);
}

#[test]
fn the_front_tells_nothing_to_those_who_have_no_token() {
    let app = place("green-token", 8216);
    app.turned(one(), &[]);
    let token = app.token();
    let served_by = |headers: &str| {
        let (head, _) = Talk::to(&app).ask("/", headers);
        let line = |line: &str| line.to_ascii_lowercase().starts_with("x-slipway-served-by: blue");
        head.lines().any(line)
    };
    assert!(served_by(&format!("X-Slipway-Token: {token}\r\n")));
    assert!(!served_by("") && !served_by("X-Slipway-Token: guessed\r\n"));
    for sent in [token.as_str(), "guessed"] {
        let seen = headers(&app, &format!("X-Slipway-Token: {sent}\r\n"));
        assert!(all_of(&seen, "x-slipway-token").is_empty(), "{seen:?}");
    }

    assert_eq!(app.control(&token).0, "200");
    assert_eq!(app.control("guessed").0, "404");
    let front = app.front();
    let published: Vec<&String> =
        front["HostConfig"]["PortBindings"].as_object().unwrap().keys().collect();
    assert_eq!(published, ["8000/tcp"]);
    assert!(TcpStream::connect((app.address().ip(), 8404)).is_err(), "it is published nowhere");
}

#[test]
fn a_post_is_never_repeated() {
    let app = place("green-post", 8217);
    app.turned(one(), &[]);
    let post = "POST /cut HTTP/1.1\r\nHost: app\r\nContent-Length: 3\r\n\r\npay";
    let head = Talk::to(&app).send(post).head();
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    // Nor over a connection that has been used before, which just ends.
    let mut talk = Talk::to(&app);
    talk.ask("/", "");
    assert!(talk.send(post).is_over());
    // A GET is safe, and is.
    let (head, _) = Talk::to(&app).ask("/cut", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let cuts: Value = serde_json::from_str(&app.get("/cuts").unwrap().1).unwrap();
    assert_eq!((&cuts["POST"], &cuts["GET"]), (&Value::from(2), &Value::from(2)));
}

#[test]
fn a_request_body_streams() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 20;
    let app = place("green-upload", 8218);
    app.turned(one(), &[]);
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK));
    let uploaded = || app.get("/uploaded").unwrap().1.parse::<usize>().unwrap();
    let mut talk = Talk::to(&app);
    talk.send("POST /upload HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n");
    for sent in 1..=CHUNKS {
        talk.send(&chunk);
        // Before the next one is sent, this one is there.
        until("the chunk", || (uploaded() == sent * CHUNK).then_some(()));
    }
    let (_, body) = talk.send("0\r\n\r\n").answer();
    assert_eq!(body, (CHUNKS * CHUNK).to_string());
}

#[test]
fn a_response_streams() {
    let app = place("green-events", 8219);
    app.turned(one(), &[]);
    let mut talk = Talk::to(&app);
    talk.send("GET /events HTTP/1.1\r\nHost: app\r\nAccept: text/event-stream\r\n\r\n");
    talk.head();
    // The second comes only after somebody has seen the first.
    assert_eq!(talk.bytes(13), b"data: first\n\n");
    assert_eq!(app.get("/go").unwrap().1, "gone");
    assert_eq!(talk.bytes(14), b"data: second\n\n");
    assert!(talk.is_over());
}
