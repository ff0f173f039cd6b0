//! Endpoints that answer what they are told to, and the tool as it is run against them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

/// An endpoint, and what it was asked.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    /// Gives these answers in turn, and the last one from then on. An answer is a status, lines of a
    /// header if it has some, an empty line, and the body.
    pub(crate) fn new(answers: &[&str]) -> Self {
        let mut answers: Vec<String> = answers.iter().map(|it| (*it).to_owned()).collect();
        answers.reverse();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let url = listen(move |mut stream| {
            let request = request(&mut stream);
            if request.is_empty() {
                return;
            }
            log.lock().unwrap().push(request);
            let answer =
                if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            respond(&mut stream, &answer);
        });
        Self { url, asked }
    }

    /// What it was asked so far, each request whole.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Serves one connection after the other, and answers the URL.
fn listen(mut serve: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(&mut serve));
    url
}

/// An endpoint that takes connections and never answers.
pub(crate) fn silent() -> String {
    let mut kept = Vec::new();
    listen(move |stream| kept.push(stream))
}

/// An endpoint that answers with this, and then with this piece for ever.
pub(crate) fn endless(head: &'static str, piece: &'static str) -> String {
    listen(move |mut stream| {
        if request(&mut stream).is_empty() {
            return;
        }
        let piece = piece.repeat(4096);
        let mut sent = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{head}");
        while sent.is_ok() {
            sent = stream.write_all(piece.as_bytes());
        }
    })
}

/// An address that refuses connections.
pub(crate) fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return String::from_utf8(bytes).unwrap();
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::new(),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn respond(stream: &mut TcpStream, answer: &str) {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let (status, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Test\r\nContent-Type: application/x-amz-json-1.1\r\n{headers}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// Keys and a region in the environment.
pub(crate) const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
    ("AWS_SECRET_ACCESS_KEY", "canary-of-a-key"),
    ("AWS_REGION", "eu-west-1"),
];

/// "AWS:canary", in the form of the API, of a far future.
pub(crate) const TOKEN: &str = concat!(
    "200\n\n",
    r#"{"authorizationData":[{"authorizationToken":"QVdTOmNhbmFyeQ==","expiresAt":4102444800,"#,
    r#""proxyEndpoint":"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]}"#
);

/// Runs the tool with nothing but this environment; `input` is a document, if there is one.
pub(crate) fn run(args: &[&str], env: &[(&str, &str)], input: Option<&str>) -> Output {
    let mut command = cargo_bin_cmd!("ecrlogin");
    command.env_clear().env("HOME", "/nonexistent").envs(env.iter().copied()).args(args);
    match input {
        Some(input) => command.write_stdin(input),
        None => command.arg("--no-input"),
    };
    command.output().unwrap()
}

/// Runs the tool, which has to succeed, and answers its document and what it said.
pub(crate) fn good(args: &[&str], env: &[(&str, &str)], input: Option<&str>) -> (Value, String) {
    let output = run(args, env, input);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

/// Runs the tool, which has to fail like this, and answers the error of the document.
pub(crate) fn failed(args: &[&str], env: &[(&str, &str)], exit: i32, code: &str) -> Value {
    let output = run(args, env, None);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    assert_eq!(document["error"]["code"], code, "{stderr}");
    assert_eq!(document["error"]["exit"], exit);
    let errors = stderr.lines().filter(|line| line.starts_with("ecrlogin: error: ")).count();
    assert_eq!(errors, 1, "one line says what failed: {stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
    document["error"].clone()
}

/// The message of an error.
pub(crate) fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap()
}
