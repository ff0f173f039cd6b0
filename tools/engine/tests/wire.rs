//! What goes over the wire, seen from an engine that answers by script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use slipway_engine::{Auth, Engine, Error, LayerState, Reference, RegistryFault};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// One request as the engine saw it.
#[derive(Debug)]
struct Seen {
    line: String,
    auth: Option<String>,
}

/// An engine that gives these answers, one a connection, and keeps the
/// connection open after the last; it tells what it saw and when a client left.
struct Script {
    answers: Arc<Mutex<VecDeque<String>>>,
    seen: mpsc::UnboundedReceiver<Option<Seen>>,
    engine: Engine,
}

impl Script {
    async fn new(api: &str, answers: &[String]) -> Self {
        let ping = format!("HTTP/1.1 200 OK\r\nApi-Version: {api}\r\nContent-Length: 0\r\n\r\n");
        let answers = Arc::new(Mutex::new(
            std::iter::once(ping).chain(answers.iter().cloned()).collect::<VecDeque<_>>(),
        ));
        let (tell, mut seen) = mpsc::unbounded_channel();
        let script = answers.clone();
        let engine = Engine::connect_over("test", move || {
            let answer = script.lock().unwrap().pop_front();
            let (ours, theirs) = UnixStream::pair().unwrap();
            tokio::spawn(serve(theirs, answer, tell.clone()));
            async move { Ok::<_, std::io::Error>(ours) }
        })
        .await
        .unwrap();
        assert_eq!(seen.recv().await.unwrap().unwrap().line, "GET /_ping HTTP/1.1");
        Self { answers, seen, engine }
    }

    async fn saw(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.seen.recv().await.unwrap() {
                return seen;
            }
        }
    }
}

async fn serve(
    stream: UnixStream,
    answer: Option<String>,
    tell: mpsc::UnboundedSender<Option<Seen>>,
) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() <= 2 {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let auth = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-registry-auth").then(|| value.to_owned())
    });
    let _ = tell.send(Some(Seen { line: lines[0].clone(), auth }));
    if let Some(answer) = answer {
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    // Until the client leaves.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let _ = tell.send(None);
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn name() -> Reference {
    "r.example:5000/team/app:1".parse().unwrap()
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn the_version_is_the_older_of_both_in_every_request() {
    for (api, version) in [("1.41", "v1.41"), ("1.999", "v1.53")] {
        let mut script = Script::new(api, &[ok("{}"), ok("{}")]).await;
        script.engine.docker().version().await.unwrap();
        assert_eq!(script.saw().await.line, format!("GET /{version}/version HTTP/1.1"));
        script.engine.tag("sha256:00", &name()).await.unwrap();
        let wanted = format!(
            "POST /{version}/images/sha256:00/tag?repo=r.example%3A5000%2Fteam%2Fapp&tag=1 HTTP/1.1"
        );
        assert_eq!(script.saw().await.line, wanted);
    }
}

#[tokio::test]
async fn a_push_tells_its_layers_and_its_digest() {
    let body = format!(
        "{{\"status\":\"The push refers to repository [x]\"}}\r\n\
         {{\"status\":\"Preparing\",\"progressDetail\":{{}},\"id\":\"ab\"}}\r\n\
         {{\"status\":\"Layer already exists\",\"progressDetail\":{{}},\"id\":\"cd\"}}\r\n\
         {{\"status\":\"Pushing\",\"progressDetail\":{{\"current\":5,\"total\":9}},\"id\":\"ab\"}}\r\n\
         {{\"status\":\"Pushed\",\"progressDetail\":{{}},\"id\":\"ab\"}}\r\n\
         {{\"progressDetail\":{{}},\"aux\":{{\"Tag\":\"1\",\"Digest\":\"{DIGEST}\",\"Size\":528}}}}\r\n"
    );
    let mut script = Script::new("1.41", &[ok(&body)]).await;
    let auth = Auth::new("AWS", "~~~???>>>");
    let mut events = Vec::new();
    let pushed = script
        .engine
        .push(&name(), Some(&auth), |p| events.push((p.layer.to_owned(), p.state, p.current)))
        .await;
    let pushed = pushed.unwrap();
    let pushed = pushed.unwrap();
    assert_eq!((pushed.digest.as_str(), pushed.size), (DIGEST, 528));
    let layer = |id: &str, state, current| (id.to_owned(), state, current);
    assert_eq!(
        events,
        [
            layer("ab", LayerState::Waiting, None),
            layer("cd", LayerState::Exists, None),
            layer("ab", LayerState::Transferring, Some(5)),
            layer("ab", LayerState::Done, None),
        ]
    );
    let seen = script.saw().await;
    assert_eq!(seen.line, "POST /v1.41/images/r.example:5000/team/app/push?tag=1 HTTP/1.1");
    let auth: serde_json::Value =
        serde_json::from_slice(&URL_SAFE.decode(seen.auth.unwrap()).unwrap()).unwrap();
    assert_eq!(
        (&auth["password"], &auth["serveraddress"]),
        (&"~~~???>>>".into(), &"r.example:5000".into())
    );
}

#[tokio::test]
async fn failures_inside_a_good_answer() {
    let refused = "{\"status\":\"Preparing\",\"id\":\"ab\"}\n{\"errorDetail\":{\"message\":\"no basic auth credentials\"},\"error\":\"no basic auth credentials\"}\n";
    let full =
        "{\"errorDetail\":{\"message\":\"write /x: no space left on device\"},\"error\":\"x\"}\n";
    let script = Script::new(
        "1.41",
        &[ok(refused), ok(full), ok("{\"status\":\"done\"}\n"), ok("{\"status\":\"cut")],
    )
    .await;
    let engine = &script.engine;
    let error = engine.push(&name(), None, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Registry { fault: RegistryFault::Unauthorized, .. }), "{error}");
    let error = engine.pull(&name(), None, None, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    let untold = engine.push(&name(), None, |_| {}).await.unwrap();
    assert!(untold.is_none(), "an engine that does not tell what it pushed");
    let error = engine.pull(&name(), None, None, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert!(script.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_transient() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"status\":\"x\"}\n".to_owned();
    let script = Script::new("1.41", &[cut, String::new()]).await;
    let by_digest = name().with_digest(DIGEST).unwrap();
    for _ in 0..2 {
        let error = script.engine.pull(&by_digest, None, None, |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }) && error.transient(), "{error}");
    }
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let mut script = Script::new("1.41", &[]).await;
    let engine = script.engine.clone();
    let name = name();
    let call = tokio::spawn(async move { engine.pull(&name, None, None, |_| {}).await });
    assert!(script.saw().await.line.starts_with("POST /v1.41/images/create?fromImage="));
    call.abort();
    // Ends only when the engine saw the client leave.
    while script.seen.recv().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_stream_that_cannot_be_opened() {
    let open = |kind: std::io::ErrorKind| async move {
        let open = move || async move { Err::<UnixStream, _>(std::io::Error::from(kind)) };
        Engine::connect_over("ssh://host", open).await.unwrap_err()
    };
    let error = open(std::io::ErrorKind::ConnectionRefused).await;
    assert_eq!(error.to_string(), "no Docker engine answers at ssh://host: connection refused");
    let error = open(std::io::ErrorKind::PermissionDenied).await;
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
}
