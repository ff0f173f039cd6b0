//! Services that somebody made to harm who asks for their health.
//!
//! healthwait runs with 64 MiB for its data (RLIMIT_DATA): what it would take beyond that ends it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use slipway_tests::binary;
use slipway_tests::lab::Run;
use slipway_tests::process::without_input;

/// How much data healthwait may have, in KiB.
const DATA: u32 = 64 * 1024;

/// A service: what it does with each connection, until the test's process ends.
struct Service {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Service {
    fn new(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (serve, asked) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                // It ends with the connection, as healthwait leaves it.
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, asked }
    }

    /// Reads a request's head, then sends this, then one of those again and again.
    fn flood(first: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Self {
        let (first, again) = (first.into(), again.into());
        Self::new(move |mut stream| {
            head(&mut stream)?;
            stream.write_all(&first)?;
            if again.is_empty() {
                // Silence, until the other side has enough.
                return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
            }
            loop {
                stream.write_all(&again)?;
            }
        })
    }

    /// The same byte by byte, each when the one before has gone.
    fn answer(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut stream| {
            head(&mut stream)?;
            stream.write_all(&bytes)
        })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Reads up to the end of a request's head; of HTTP/2 its preface has such an end, too.
fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        seen.push(byte[0]);
    }
    Ok(())
}

fn moved(to: &str) -> Service {
    let to = to.to_owned();
    Service::answer(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))
}

/// healthwait with little memory and short deadlines.
fn ask(args: &[&str]) -> Run {
    let mut command = Command::new("sh");
    let tool = binary("healthwait");
    let line = format!("ulimit -d {DATA}; exec {} \"$@\"", tool.display());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.args(["-c", &line, "healthwait", "--no-input"]);
    command.args(["--timeout=3s", "--try-timeout=1s", "--interval=50ms"]);
    Run::of(&without_input(command.args(args)))
}

/// That this is not healthy within the deadline, with one error, for this reason.
fn bad(args: &[&str], reason: &str) -> Value {
    let run = ask(args).bad("healthwait", 124, "deadline_exceeded");
    let target = run.document["health"]["targets"][0].clone();
    let told = target["reason"].as_str().unwrap();
    assert!(told.contains(reason), "{told}");
    assert!(!run.told.contains(|c: char| c.is_control() && c != '\n'), "{:?}", run.told);
    assert!(run.document.to_string().len() < 64 * 1024);
    target
}

#[test]
fn a_redirect_leads_to_no_socket_and_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    for to in [
        format!("http+unix://{}:/info", socket.display()),
        format!("unix://{}", socket.display()),
        "file:///etc/passwd".to_owned(),
        "container://web".to_owned(),
        "http://me:hunter2@127.0.0.1:1/".to_owned(),
    ] {
        let service = moved(&to);
        let target = bad(&[&service.url("http"), "--follow=5"], "is not followed");
        assert!(!target.to_string().contains("hunter2") && !target.to_string().contains("root:"));
    }
    let kind = listener.accept().unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::WouldBlock, "nobody has connected");
}

#[test]
fn what_was_given_for_one_origin_stays_there() {
    let other = Service::new(|mut stream| {
        let mut request = vec![0; 4096];
        let count = stream.read(&mut request)?;
        let told = String::from_utf8_lossy(&request[..count]).to_lowercase();
        let leaked = told.contains("hunter2") || told.contains("authorization");
        let status = if leaked { "500 Leaked" } else { "200 OK" };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
    });
    let service = moved(&other.url("http"));
    let url = format!("http://me:hunter2@{}/", service.address);
    let secrets = ["--header=X-Key: hunter2", "--header=Authorization: hunter2", "--follow=1"];
    let run = ask(&[&[url.as_str()], &secrets[..]].concat()).good();
    assert!(!format!("{}{}", run.told, run.document).contains("hunter2"));
    let keeping = Service::answer(format!(
        "HTTP/1.1 307 Go\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        other.url("http")
    ));
    bad(&[&keeping.url("http"), "--body=hunter2", "--follow=1"], "the request's body");
}

#[test]
fn redirects_come_to_an_end() {
    let service = moved("/again");
    bad(&[&service.url("http"), "--follow=3"], "more than 3 redirects, the last to");
    let told = bad(&[&moved("/health/").url("http")], "status 302 to /health/");
    assert_eq!(told["status"], 302);
}

#[test]
fn a_head_without_end_is_left() {
    let limit = "the head of the answer is larger than 64 KiB";
    for (first, again) in [
        ("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"),
        ("HTTP/1.1 200 OK\r\nX-A: ", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
    ] {
        bad(&[&Service::flood(first, again).url("http")], limit);
    }
    let hints = Service::flood("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    bad(&[&hints.url("http")], "timed out");
}

#[test]
fn a_body_without_end_is_read_to_its_limit() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
    ] {
        let service = Service::flood(first, chunk.clone());
        let _ = ask(&[&service.url("http")]).good();
        bad(&[&service.url("http"), "--expect-json=/a=1"], "too large to be judged");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let _ = ask(&[&Service::flood(chunked, chunk).url("http")]).good();
}

#[test]
fn a_drip_ends_with_its_try() {
    for first in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"] {
        bad(&[&Service::flood(first, "").url("http")], "timed out after 1s");
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn floods_of_http2_are_left() {
    let settings = frame(4, 0, 0, &[]);
    // A literal header field that is not indexed (RFC 7541, section 6.2.2).
    let field = [&[0, 1, b'a', 127, 0][..], &[b'b'; 127]].concat();
    for (name, first, again) in [
        ("settings", vec![], settings.clone()),
        ("pings", vec![], frame(6, 0, 0, &[7; 8])),
        ("continuations", frame(1, 0, 1, &[0x88]), frame(9, 0, 1, &field)),
        ("pushes", vec![], frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        ("resets", vec![], frame(3, 0, 1, &[0, 0, 0, 8])),
        ("unknown frames", vec![], frame(99, 0, 0, &[0; 9000])),
        ("data", frame(1, 4, 1, &[0x88]), frame(0, 0, 1, &[0; 9000])),
    ] {
        let service = Service::flood([settings.clone(), first].concat(), again);
        let run = ask(&[&service.url("h2c"), "--expect-json=/a=1"]);
        let run = run.bad("healthwait", 124, "deadline_exceeded");
        assert!(service.asked() > 0, "{name}: {}", run.told);
    }
}

#[test]
fn tls_without_end_is_left() {
    // Records of a handshake whose message never ends (RFC 8446, section 5.1), and silence.
    let record = [&[22, 3, 3, 0x40, 0][..], &[2, 0xff, 0xff, 0xff], &[0; 0x3ffc]].concat();
    for again in [record, Vec::new()] {
        let service = Service::new(move |mut stream| {
            stream.read_exact(&mut [0; 5])?;
            if again.is_empty() {
                return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
            }
            loop {
                stream.write_all(&again)?;
            }
        });
        for scheme in ["https", "tls"] {
            let url = service.url(scheme);
            let run = ask(&[url.trim_end_matches(|c| c == '/' && scheme == "tls")]);
            let _ = run.bad("healthwait", 124, "deadline_exceeded");
        }
    }
}

#[test]
fn what_an_answer_says_is_shown_cleaned() {
    let body = "{\"version\": \"\\u001b]0;owned\\u0007\\u202e\", \"a\": \"\\u001b[2J\"}";
    let service = Service::answer(format!(
        "HTTP/1.1 503 \u{1b}[2J\r\nX-A: \u{9b}2J\u{202e}\r\nLocation: /\u{1b}\r\n\r\n{body} \u{1b}[31mred\u{7}"
    ));
    let target = bad(&[&service.url("http")], "");
    assert!(!target["reason"].as_str().unwrap().contains('\u{1b}'));
    let service = Service::answer(format!(
        "HTTP/1.1 200 OK\r\nX-A: \u{202e}x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    ));
    let url = service.url("http");
    for condition in ["--expect-json=/a=1", "--expect-header=x-a: y", "--expect-version=v1"] {
        let target = bad(&[&url, condition], "expected");
        let told = target["reason"].as_str().unwrap();
        assert!(!told.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}']), "{told:?}");
    }
}

#[test]
fn a_command_s_environment_is_its_own() {
    let service = Service::answer(
        "HTTP/1.1 200 OK\r\nSet-Cookie: LD_PRELOAD=/x\r\nContent-Length: 15\r\n\r\n{\"version\":\"v\"}",
    );
    let mut command = Command::new(binary("healthwait"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TOKEN", "hunter2");
    command.args(["--no-input", &service.url("http"), "--header-env=X-Key=TOKEN", "--", "env"]);
    let output = without_input(&mut command);
    let told = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = told.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(json!(names), json!(["PATH", "TOKEN"]), "{told}");
}
