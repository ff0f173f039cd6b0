//! What can be waited for and on which ways, by the real binary against real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Running, Server, answer, run, run_with};
use serde_json::json;

/// A server of one answer behind a Unix socket, until the test's process ends.
fn behind_socket(directory: &Path) -> PathBuf {
    let path = directory.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let Ok(count) = stream.read(&mut request) else { continue };
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let ok = answer(200, &json!({"path": path})).unwrap();
            let _ = stream.write_all(ok.as_bytes());
        }
    });
    path
}

#[test]
fn a_unix_socket_is_a_target() {
    let directory = tempfile::tempdir().unwrap();
    let socket = behind_socket(directory.path());
    let socket = socket.to_str().unwrap();
    let http = format!("http+unix://{socket}:/health?a=b");
    let ended = run(&[&format!("unix://{socket}"), &http, "--expect-json=/path=/health?a=b"]);
    let ended = ended.expect(0);
    assert_eq!(ended.target(1)["url"], http);
    let escaped = format!("http+unix://{}/x", socket.replace('/', "%2F"));
    run(&[&escaped, "--expect-json=/path=/x"]).expect(0);
    let missing = format!("unix://{socket}.missing");
    Running::start(&[&missing]).stop_at("no such file or directory");
}

#[test]
fn one_healthy_target_is_enough_if_that_was_asked() {
    let good = Server::new(|_| answer(200, &json!({})));
    let bad = Server::new(|_| answer(503, &json!({})));
    let ended = run(&[&bad.url("/"), &good.url("/"), "--any"]).expect(0);
    assert_eq!(ended.target(0)["healthy"], false);
    assert_eq!(ended.target(1)["healthy"], true);
}

#[test]
fn a_request_has_the_method_and_the_body_that_were_asked_for() {
    let server = Server::new(|_| answer(200, &json!({})));
    let url = server.url("/check");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    std::fs::write(&file, "hello").unwrap();
    run(&[&url, "--consecutive=1", "--method=delete"]).expect(0);
    run(&[&url, "--consecutive=1", "--body=abc"]).expect(0);
    let from_file = format!("--body=@{}", file.display());
    run(&[&url, "--consecutive=1", &from_file, "--method=PUT"]).expect(0);
    let heads = server.requests();
    assert!(heads[0].starts_with("DELETE /check "), "{}", heads[0]);
    assert!(heads[1].starts_with("POST /check "), "{}", heads[1]);
    assert!(heads[1].to_lowercase().contains("content-length: 3\r\n"), "{}", heads[1]);
    assert!(heads[2].starts_with("PUT /check "), "{}", heads[2]);
    assert!(heads[2].to_lowercase().contains("content-length: 5\r\n"), "{}", heads[2]);
    let ended = run(&[&url, "--body=@/does/not/exist"]).expect(1);
    assert_eq!(ended.document["error"]["code"], "file_unreadable");
}

fn moved(to: &str) -> Option<String> {
    Some(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn redirects_are_followed_only_if_that_was_asked_and_without_secrets() {
    let last = Server::new(|_| answer(200, &json!({"here": true})));
    let to = last.url("/last");
    let server = Server::new(move |n| if n % 2 == 0 { moved("/second") } else { moved(&to) });
    let url = server.url("/first");
    let secret = ["--header-env=Authorization=TOKEN", "--consecutive=1"];
    let env = [("TOKEN", "Bearer hunter2")];
    let ask = |args: &[&str]| run_with(&[&[url.as_str()], &secret[..], args].concat(), None, &env);
    let ended = ask(&["--follow=2", "--expect-json=/here=true"]).expect(0);
    assert_eq!(ended.target(0)["status"], 200);
    let (asked, there) = (server.requests(), last.requests());
    assert!(asked[1].starts_with("GET /second "), "{}", asked[1]);
    assert!(asked[1].contains("hunter2") && !there[0].contains("hunter2"), "{there:?}");
    assert_eq!(there[0].to_lowercase().matches(&format!("host: {}", last.address)).count(), 1);

    let ended = ask(&["--follow=1", "--timeout=300ms"]).expect(124);
    let reason = ended.target(0)["reason"].as_str().unwrap();
    assert!(reason.starts_with("more than 1 redirect, the last to"), "{reason}");
    let ended = ask(&["--timeout=300ms"]).expect(124);
    // Which of the two it asked last depends on how many tries there were.
    let reason = ended.target(0)["reason"].as_str().unwrap();
    assert!(reason.starts_with("status 302 to ") && reason.ends_with(", expected 2xx"), "{reason}");
}

#[test]
fn a_name_can_be_given_its_address() {
    let server = Server::new(|_| answer(200, &json!({})));
    let port = server.address.port();
    let url = format!("http://app.invalid:{port}/");
    // The first address refuses.
    let resolve = format!("--resolve=app.invalid:{port}:127.0.0.2,127.0.0.1");
    run(&[&url, &resolve]).expect(0);
    let head = server.requests()[0].to_lowercase();
    assert!(head.contains(&format!("host: app.invalid:{port}\r\n")), "{head}");
    Running::start(&[&url]).until("name");
}

/// A proxy that keeps the heads of what it was asked, until the test's process ends. It tunnels
/// where it is told to, and answers plain requests itself.
fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).is_ok_and(|count| count == 1)
            {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
            let far = to.map(TcpStream::connect);
            seen.lock().unwrap().push(head.clone());
            match far {
                Some(Ok(far)) => tunnel(near, far),
                Some(Err(_)) => near.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap(),
                None => {
                    let ok = answer(200, &json!({"by": "the proxy"})).unwrap();
                    near.write_all(ok.as_bytes()).unwrap();
                }
            }
        }
    });
    (address, heads)
}

fn tunnel(mut near: TcpStream, mut far: TcpStream) {
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut back, mut there) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut near, &mut far);
        let _ = far.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut there);
        let _ = there.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_proxy_is_used_only_if_that_was_asked() {
    let (address, heads) = proxy();
    let server = Server::new(|_| answer(200, &json!({"by": "the server"})));
    let env = format!("http://me:hunter2@{address}");
    let env = [("http_proxy", env.as_str()), ("HTTPS_PROXY", &env), ("ALL_PROXY", &env)];
    let ended = run_with(&[&server.url("/")], None, &env).expect(0);
    assert_eq!(heads.lock().unwrap().len(), 0);
    let by_proxy = "--expect-json=/by=the proxy";
    run_with(&["http://app.invalid/x", "--proxy=env", by_proxy], None, &env).expect(0);
    let head = heads.lock().unwrap().remove(0).to_lowercase();
    assert!(head.starts_with("get http://app.invalid:80/x http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nproxy-authorization: basic ") && head.contains("host: app.invalid\r\n")
    );
    let told = format!("{}{}", ended.stderr, ended.document);
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_port_behind_a_proxy_is_reached_by_a_tunnel() {
    let (address, heads) = proxy();
    let server = Server::new(|_| answer(200, &json!({})));
    let given = format!("--proxy=http://{address}");
    let tcp = format!("tcp://{}", server.address);
    run(&[&tcp, &given]).expect(0);
    let head = heads.lock().unwrap().remove(0);
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)), "{head}");
    Running::start(&["tcp://127.0.0.1:1", &given]).stop_at("status 502 to CONNECT 127.0.0.1:1");
    let ended = run_with(&[&tcp], None, &[("HEALTHWAIT_PROXY", "socks5://me:hunter2@a:1")]);
    let ended = ended.expect(2);
    let told = format!("{}{}", ended.stderr, ended.document);
    assert!(told.contains("--proxy: write") && !told.contains("hunter2"), "{told}");
}

#[test]
fn ways_that_exclude_each_other_are_refused() {
    for (args, word) in [
        (vec!["--via=ssh://a@b", "--proxy=http://c:1"], "--via and --proxy"),
        (vec!["--client-key=k"], "--client-cert"),
        (vec!["--via=ssh://-a@b"], "--via"),
        (vec!["--resolve=a"], "HOST:PORT:ADDRESS"),
        (vec!["--http-version=3"], "1.1 and 2"),
        (vec!["--method=a b"], "method"),
    ] {
        let ended = run(&[&["http://127.0.0.1:1/"], &args[..]].concat()).expect(2);
        let error = ended.document["error"].to_string();
        assert!(error.contains(word), "{args:?}: {error}");
    }
}
