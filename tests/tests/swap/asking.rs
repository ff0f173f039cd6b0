//! `--health`: what speaks no HTTP is proved by what it does speak, with `recreate`.

use super::*;

use std::net::TcpStream;
use std::sync::OnceLock;

/// Greets whoever connects in a protocol of its own, and counts its start on /data if there is one.
const GREETER: &str = r#"
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("serving", open("/version").read(), flush=True)
if "DEAF" in os.environ:
    signal.pause()
server = socket.create_server(("", 8000))
while True:
    peer, _ = server.accept()
    peer.sendall(b"+OK ready\r\n")
    peer.close()
"#;

/// HTTP by TLS, with a certificate that nobody trusts.
const SECURED: &str = r#"
import http.server, os, signal, ssl
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/health" and "SICK" in os.environ else 200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"secured")
    def log_message(self, *_):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/pair.pem")
server = http.server.ThreadingHTTPServer(("", 8000), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("serving", flush=True)
server.serve_forever()
"#;

/// Serves nothing, and ends by itself after a while if it is told to.
const WORKER: &str = r#"
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("working", flush=True)
signal.signal(signal.SIGALRM, lambda *_: os._exit(5))
if "ENDS" in os.environ:
    signal.alarm(1)
signal.pause()
"#;

/// An image that runs this script; `more` ends its Dockerfile.
pub(super) fn scripted(version: &'static str, script: &str, more: &str) -> Release {
    let run = script.trim().replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
    let dockerfile = format!(
        "FROM python:3-slim\nCOPY version unique /\n{more}\nCMD [\"python3\", \"-c\", \"{run}\"]\n"
    );
    Release::of(version, &dockerfile, &mut tool("imgbuild"))
}

fn greeter() -> &'static Release {
    static ONE: OnceLock<Release> = OnceLock::new();
    ONE.get_or_init(|| scripted("greeter", GREETER, ""))
}

/// The same with a HEALTHCHECK that agrees.
fn checked() -> &'static Release {
    static ONE: OnceLock<Release> = OnceLock::new();
    let check = "HEALTHCHECK --interval=1s CMD true";
    ONE.get_or_init(|| scripted("checked", GREETER, check))
}

fn secured() -> &'static Release {
    static ONE: OnceLock<Release> = OnceLock::new();
    ONE.get_or_init(|| {
        let own = rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).unwrap();
        let pair = format!("{}{}", own.signing_key.serialize_pem(), own.cert.pem());
        let lines = pair.lines().map(|line| format!("'{line}'")).collect::<Vec<_>>().join(" ");
        let more = format!("RUN printf '%s\\n' {lines} >/pair.pem");
        scripted("secured", SECURED, &more)
    })
}

fn worker() -> &'static Release {
    static ONE: OnceLock<Release> = OnceLock::new();
    ONE.get_or_init(|| scripted("worker", WORKER, "HEALTHCHECK --interval=1s CMD false"))
}

/// An application that publishes nothing and is asked at no port.
fn silent(app: &App, args: &[&str], release: &Release) -> Run {
    let mut command = app.bare();
    command.args(app.ssh().split(' ')).args(args);
    deploy(&mut command, release)
}

#[test]
fn what_gives_no_http_answer_is_left_to_its_healthcheck() {
    let app = site("swap-checked", 8171);
    let good = app.deploy_release(checked(), &[]).good();
    assert_eq!(host(&good)["health"], "container");
    let address = from_run_sh("LAB_APP_ADDR");
    assert_eq!(host(&good)["url"], format!("tcp://{address}:8171"));
    assert!(TcpStream::connect((address.as_str(), 8171)).is_ok());
    // The next release of it is replaced the same way, the same one is left alone, and so is a
    // return to the first.
    let again = app.deploy_release(checked(), &[]).good();
    assert_eq!(host(&again)["outcome"], "unchanged");
    assert_eq!(host(&again)["health"], "container");
    let next = app.deploy_release(checked(), &["--env", "NOTE=2"]).good();
    assert_eq!(host(&next)["outcome"], "deployed");
    let mut back = app.bare();
    let back = back.arg("rollback").args(app.ssh().split(' '));
    let back = Run::of(&with_input(back, &next.document.to_string())).good();
    assert_eq!(
        (&host(&back)["outcome"], &host(&back)["health"]),
        (&json!("deployed"), &json!("container"))
    );
    // healthwait knows what to ask.
    let waited = with_input(&mut tool("healthwait"), &back.document.to_string());
    let _ = Run::of(&waited).good();
}

#[test]
fn without_a_healthcheck_it_says_what_to_write() {
    let app = site("swap-greeter", 8172);
    let bad = app.deploy_release(greeter(), &["--health-timeout", "3s"]).bad(
        "remote-swap",
        1,
        "unhealthy",
    );
    let hint = text_of(&bad.document["error"], "hint");
    assert!(hint.contains("--health tcp"), "{hint}");
    let good = app.deploy_release(greeter(), &["--health", "tcp"]).good();
    assert_eq!(host(&good)["health"], "tcp");
    let wanted = ["--health", "container", "--env", "NOTE=2"];
    let bad = app.deploy_release(greeter(), &wanted).bad("remote-swap", 1, "unhealthy");
    let message = text_of(&bad.document["error"], "message");
    assert!(message.contains("no HEALTHCHECK"), "{message}");
}

#[test]
fn a_port_that_nobody_listens_at_is_not_healthy_by_tcp_either() {
    let app = site("swap-deaf", 8173);
    let args = ["--health", "tcp", "--env", "DEAF=1", "--health-timeout", "3s"];
    let bad = app.deploy_release(greeter(), &args).bad("remote-swap", 1, "unhealthy");
    assert_eq!(host(&bad)["outcome"], "failed");
}

#[test]
fn tls_is_spoken_with_any_certificate() {
    let app = site("swap-tls", 8174);
    let good = app.deploy_release(secured(), &["--health", "https"]).good();
    assert_eq!(host(&good)["health"], "https");
    let address = from_run_sh("LAB_APP_ADDR");
    assert_eq!(host(&good)["url"], format!("https://{address}:8174"));
    let sick = ["--health", "https", "--env", "SICK=1", "--health-timeout", "3s"];
    let bad = app.deploy_release(secured(), &sick).bad("remote-swap", 1, "unhealthy");
    let evidence = &bad.document["error"]["evidence"];
    assert_eq!(evidence["probe"], json!({"status": 503, "body": "secured"}));
    let next = app.deploy_release(secured(), &["--health", "https", "--env", "NOTE=2"]).good();
    assert_eq!(host(&next)["outcome"], "deployed");
}

#[test]
fn a_worker_has_to_stay_up_and_nothing_else() {
    let app = site("swap-worker", UNPUBLISHED);
    let good = silent(&app, &["--health", "none"], worker()).good();
    assert_eq!((&host(&good)["health"], &host(&good)["url"]), (&json!("none"), &Value::Null));
    let old = text_of(host(&good), "container_id");
    let dies = silent(&app, &["--health", "none", "--env", "ENDS=1"], worker());
    let dies = dies.bad("remote-swap", 1, "candidate_exited");
    assert_eq!(host(&dies)["outcome"], "failed");
    assert_eq!(inspect(old)["State"]["Running"], true);
}
