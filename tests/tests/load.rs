//! The load of the benchmarks counts what a server did to it, one by one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use slipway_tests::load::drive::Driver;
use slipway_tests::load::http::{Connection, Idle};
use slipway_tests::load::tally::Tally;
use slipway_tests::load::{Kind, Plan, Stream};
use slipway_tests::process::until;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Answer,
    AnswerAndClose,
    Reset,
    Close,
    CutOff,
    Sick,
    Silent,
    Mixed,
}

const DEEDS: [Deed; 8] = [
    Deed::Answer,
    Deed::AnswerAndClose,
    Deed::Reset,
    Deed::Close,
    Deed::CutOff,
    Deed::Sick,
    Deed::Silent,
    Deed::Mixed,
];

/// Does one deed after another, whatever the connection, and keeps books.
#[derive(Default)]
struct Server {
    asked: AtomicU64,
    done: Mutex<BTreeMap<Deed, u64>>,
}

impl Server {
    fn start(deeds: &'static [Deed]) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self::default());
        let serving = Arc::clone(&server);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.unwrap(), Arc::clone(&serving));
                std::thread::spawn(move || server.serve(stream, deeds));
            }
        });
        (server, address)
    }

    fn serve(&self, mut stream: TcpStream, deeds: &[Deed]) {
        while let Some(body) = request(&mut stream) {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let deed = deeds[usize::try_from(number).unwrap() % deeds.len()];
            // Only a POST's answer is looked at.
            let deed = if deed == Deed::Mixed && body.is_empty() { Deed::Answer } else { deed };
            *self.done.lock().unwrap().entry(deed).or_default() += 1;
            if !act(deed, &mut stream, &body) {
                return;
            }
        }
    }

    fn done(&self, deed: Deed) -> u64 {
        self.done.lock().unwrap().get(&deed).copied().unwrap_or_default()
    }
}

/// Whether the connection goes on.
fn act(deed: Deed, stream: &mut TcpStream, body: &str) -> bool {
    let length = body.len();
    let text = match deed {
        Deed::Answer => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"),
        Deed::AnswerAndClose => {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
        Deed::Sick => "HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n".to_owned(),
        Deed::Mixed => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother".to_owned(),
        Deed::CutOff => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut".to_owned(),
        Deed::Close | Deed::Silent => String::new(),
        Deed::Reset => {
            set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
            String::new()
        }
    };
    stream.write_all(text.as_bytes()).unwrap();
    if deed == Deed::Silent {
        // Until the client gives up.
        let _ = stream.read(&mut [0]);
    }
    deed == Deed::Answer
}

/// The body of the next request, if there is one.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut bytes = [0; 1024];
    loop {
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .split_once("Content-Length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse::<usize>().unwrap());
            if body.len() == length {
                return Some(body.to_owned());
            }
        }
    }
}

fn plan(address: SocketAddr) -> Plan {
    Plan {
        address,
        new_rate: 200,
        get: Stream { rate: 200, connections: 5 },
        post: Stream { rate: 200, connections: 5 },
        slow: 2,
        path: "/".to_owned(),
        slow_path: "/slow".to_owned(),
        echo: true,
        timeout: Duration::from_millis(300),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Loads until `enough`, and answers the report.
fn load(plan: Plan, mut enough: impl FnMut(&Tally) -> bool) -> Value {
    runtime().block_on(async {
        let (stop, stopping) = watch::channel(false);
        let (sender, mut notes) = mpsc::unbounded_channel();
        Driver::new(plan, stopping, sender).start();
        let mut tally = Tally::default();
        while let Some(note) = notes.recv().await {
            tally.note(note);
            if enough(&tally) {
                stop.send_replace(true);
            }
        }
        tally.report()
    })
}

#[test]
fn what_a_server_does_is_what_is_counted() {
    let (server, address) = Server::start(&DEEDS);
    // Nobody would wait as long for a slow one as for these, were there silence.
    let plan = Plan { slow: 0, ..plan(address) };
    let report = load(plan, |_| server.asked.load(Ordering::Relaxed) >= 800);
    let done = |deed| server.done(deed);
    assert_eq!(report["requests"], server.asked.load(Ordering::Relaxed), "none is sent twice");
    assert_eq!(report["ok"], done(Deed::Answer) + done(Deed::AnswerAndClose));
    assert!(DEEDS.iter().all(|deed| done(*deed) > 0), "{:?}", server.done.lock().unwrap());
    assert_eq!(
        report["failed_by_kind"],
        json!({
            "reset": done(Deed::Reset),
            "eof": done(Deed::Close) + done(Deed::CutOff),
            "status": done(Deed::Sick),
            "timeout": done(Deed::Silent),
            "body": done(Deed::Mixed),
        })
    );
}

#[test]
fn a_server_that_behaves_fails_nothing() {
    let (_server, address) = Server::start(&[Deed::Answer, Deed::AnswerAndClose]);
    // In time is what a test on a busy machine cannot ask for.
    let plan = Plan { timeout: Duration::from_secs(60), ..plan(address) };
    let report = load(plan, |tally| tally.totals().0 >= 800);
    assert_eq!(report["failed"], 0, "{report:#}");
    for class in ["new_connection", "keep_alive_get", "keep_alive_post", "slow"] {
        assert_ne!(report["classes"][class]["ok"], 0, "{report:#}");
    }
    let connections = &report["classes"]["keep_alive_get"]["connections"];
    assert_ne!(connections["closed_as_told"], 0, "{report:#}");
}

#[test]
fn where_nobody_listens_all_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = load(plan(address), |tally| tally.totals().1 >= 100);
    assert_eq!(report["ok"], 0);
    assert_eq!(report["failed_by_kind"], json!({ "refused": report["failed"] }));
    assert_eq!(report["longest_gap"], Value::Null);
}

/// A connection to a server that answers once and then does this, and the runtime that it needs.
fn after_an_answer(then: impl FnOnce(TcpStream) + Send + 'static) -> (Connection, Runtime) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let body = request(&mut stream).unwrap();
        assert!(act(Deed::Answer, &mut stream, &body));
        stream
    });
    let runtime = runtime();
    let connection = runtime.block_on(async {
        let mut connection = Connection::open(address).await.unwrap();
        connection.ask(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(connection.idle(), Idle::Open);
        connection
    });
    then(server.join().unwrap());
    (connection, runtime)
}

#[test]
fn a_connection_closed_between_two_requests_is_seen_before_the_next() {
    let (closed, _runtime) = after_an_answer(drop);
    until("the end of the stream", || (closed.idle() == Idle::Closed).then_some(()));
    let (reset, _runtime) = after_an_answer(|stream| {
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    until("the reset", || (reset.idle() == Idle::Reset).then_some(()));
    let (unasked, _runtime) = after_an_answer(|mut stream| {
        stream.write_all(b"HTTP/1.1 408 Too late\r\n\r\n").unwrap();
        // Dropped here, but what was sent before comes first.
    });
    until("what nobody asked for", || (unasked.idle() == Idle::Unasked).then_some(()));
}

#[test]
fn a_connection_that_closes_as_the_request_is_sent_fails_it() {
    let (mut connection, runtime) = after_an_answer(drop);
    until("the end of the stream", || (connection.idle() == Idle::Closed).then_some(()));
    let result = runtime.block_on(connection.ask(b"GET / HTTP/1.1\r\n\r\n"));
    let kind = result.unwrap_err().kind;
    assert!(matches!(kind, Kind::Eof | Kind::Reset), "{kind:?}");
}
