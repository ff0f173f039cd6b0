//! A registry on loopback that gives these answers, one a request, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use slipway_registry::{Credentials, Options, Repository};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const DIGEST: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";
pub(crate) const OTHER: &str =
    "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// What comes of a request.
pub(crate) enum Then {
    /// This answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// So many bytes of its body are read, and the connection is cut.
    Cut(usize),
}

/// One request as it was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Script {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    pub(crate) async fn new(answers: Vec<Then>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answers)
    }

    pub(crate) fn on(listener: TcpListener, answers: Vec<Then>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers =
            Arc::new(Mutex::new(answers.into_iter().collect::<std::collections::VecDeque<_>>()));
        let saw = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&saw)));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    pub(crate) fn repository(&self, options: Options) -> Repository {
        Repository::new(&format!("127.0.0.1:{}", self.port), "team/app", options).unwrap()
    }
}

pub(crate) fn user() -> Options {
    let credentials = Credentials { username: "AWS".into(), password: "pass~word?>".into() };
    Options { credentials: Some(credentials), ..Options::default() }
}

pub(crate) fn ok() -> Then {
    status(200, "{}")
}

pub(crate) fn status(status: u16, body: &'static str) -> Then {
    Then::Answer(status, Vec::new(), body.to_owned())
}

type Answers = Arc<Mutex<std::collections::VecDeque<Then>>>;

async fn serve(stream: TcpStream, answers: Answers, saw: Arc<Mutex<Vec<Seen>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut seen) = head(&mut stream).await {
        let then = answers.lock().unwrap().pop_front();
        let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        let read = match then {
            Some(Then::Cut(bytes)) => bytes,
            _ => length,
        };
        let mut body = vec![0; read];
        stream.read_exact(&mut body).await.unwrap();
        seen.body = body;
        let is_head = seen.line.starts_with("HEAD");
        saw.lock().unwrap().push(seen);
        let (status, headers, body) = match then {
            Some(Then::Answer(status, headers, body)) => (status, headers, body),
            Some(Then::Cut(_)) => return,
            None => (418, Vec::new(), "the script is over".to_owned()),
        };
        let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        if !is_head {
            text.push_str(&body);
        }
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}

async fn head(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(seen);
        }
        match line.split_once(": ") {
            Some((name, value)) if !seen.line.is_empty() => {
                seen.headers.push((name.to_owned(), value.to_owned()));
            }
            _ => seen.line = line.trim_end_matches(" HTTP/1.1").to_owned(),
        }
    }
}
