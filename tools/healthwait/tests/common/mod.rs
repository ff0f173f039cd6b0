//! Small servers for the tests, and running the tool against them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};

/// A server that answers the n-th connection, from 0, as it is told.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers with what `answer` makes of the number of the connection: the bytes to send, or
    /// none to keep the connection open in silence.
    pub(crate) fn new(answer: impl FnMut(usize) -> Option<String> + Send + 'static) -> Self {
        Self::with(answer, |stream| stream)
    }

    /// The same with something around each connection, such as TLS.
    pub(crate) fn with<S: Read + Write + Send + 'static>(
        mut answer: impl FnMut(usize) -> Option<String> + Send + 'static,
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, end) = (Arc::clone(&requests), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let count = AtomicUsize::new(0);
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = wrap(stream);
                let Some(head) = head(&mut stream) else { continue };
                seen.lock().unwrap().push(head);
                match answer(count.fetch_add(1, Ordering::SeqCst)) {
                    Some(bytes) => {
                        let _ = stream.write_all(bytes.as_bytes());
                        let _ = stream.flush();
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { address, requests, ended, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the server up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request's head, or none if the other side went away first.
fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

/// An HTTP answer with a JSON body.
pub(crate) fn answer(status: u16, body: &Value) -> Option<String> {
    let body = body.to_string();
    Some(format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// How the tool ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) document: Value,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn target(&self, index: usize) -> &Value {
        &self.document["health"]["targets"][index]
    }

    pub(crate) fn states(&self, index: usize) -> Vec<&str> {
        let timeline = self.target(index)["timeline"].as_array().unwrap();
        timeline.iter().map(|entry| entry["state"].as_str().unwrap()).collect()
    }

    /// That it ended so.
    pub(crate) fn expect(self, exit: i32) -> Self {
        assert_eq!(self.status.code(), Some(exit), "{}\n{}", self.stderr, self.document);
        let error = self.document.get("error");
        assert_eq!(error.is_some(), exit != 0, "{}", self.document);
        if let Some(error) = error {
            assert_eq!(error["exit"], exit);
            assert_eq!(error["tool"], "healthwait");
        }
        self
    }
}

/// A document for the tool's stdin.
pub(crate) fn document(mut fields: Value) -> Value {
    fields["schema"] = json!("slipway.release/v1");
    fields
}

/// Runs the tool at the head of a pipe. The tries follow each other quickly.
pub(crate) fn run(args: &[&str]) -> Ended {
    run_with(args, None, &[])
}

pub(crate) fn run_with(args: &[&str], input: Option<Value>, env: &[(&str, &str)]) -> Ended {
    let mut command = cargo_bin_cmd!("healthwait");
    command.env_clear().envs(env.iter().copied()).arg("--interval=5ms");
    match input {
        Some(input) => command.write_stdin(document(input).to_string()),
        None => command.arg("--no-input"),
    };
    command.args(args);
    let output = command.output().unwrap();
    ended(output.status, &output.stdout, &output.stderr)
}

fn ended(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Ended {
    let stderr = String::from_utf8_lossy(stderr).into_owned();
    let document = serde_json::from_slice(stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{stderr}", String::from_utf8_lossy(stdout)));
    Ended { status, document, stderr }
}

/// The tool under way.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    pub(crate) fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("healthwait"))
            .env_clear()
            .envs(env.iter().copied())
            .args(["--interval=5ms", "--no-input"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// Reads on until it says this.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.said.contains(text) {
            let count = self.stderr.read_line(&mut self.said).unwrap();
            assert_ne!(count, 0, "it ended without \"{text}\": {}", self.said);
        }
    }

    /// Waits until it says this, and ends it.
    pub(crate) fn stop_at(mut self, text: &str) -> Ended {
        self.until(text);
        self.terminate();
        self.end().expect(143)
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        let status = self.child.wait().unwrap();
        ended(status, &stdout, self.said.as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
