//! Running a tool with its streams being what the test wants them to be.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Runs a command with this text on its stdin, a pipe.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = piped(command.stdin(Stdio::piped()));
    // A tool that does not read its input, for a wrong command line say, closes the pipe early.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("waited")
}

/// Runs a command without a document: `/dev/null` is its stdin.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn without_input(command: &mut Command) -> Output {
    piped(command.stdin(Stdio::null())).wait_with_output().expect("waited")
}

/// Starts a command whose output is read at its end.
///
/// # Panics
/// When it cannot be started.
pub fn piped(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// A command that runs as root, by sudo where we are not, with this environment and the search path.
///
/// # Panics
/// When there is no search path.
#[must_use]
pub fn as_root(arguments: &[&str], environment: &[(&str, String)]) -> Command {
    let mut command = Command::new("env");
    if !rustix::process::geteuid().is_root() {
        command = Command::new("sudo");
        command.arg("env");
    }
    command.arg("-i").arg(format!("PATH={}", std::env::var("PATH").expect("a search path")));
    command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    command.args(arguments);
    command
}

/// Reads what a program tells up to the line that holds this, and answers all of it.
///
/// # Panics
/// When it ends without.
pub fn until_told(told: &mut impl BufRead, text: &str) -> String {
    let mut all = String::new();
    loop {
        let begin = all.len();
        let read = told.read_line(&mut all).expect("text");
        assert!(read > 0, "it ended before it told `{text}`: {all}");
        if all[begin..].contains(text) {
            return all;
        }
    }
}

/// Runs a command with its stdout being a file, and answers what the file then holds.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn into_file(command: &mut Command, input: &str, path: &Path) -> (Output, String) {
    let file = File::create(path).expect("created");
    let mut child =
        command.stdin(Stdio::piped()).stdout(file).stderr(Stdio::piped()).spawn().expect("started");
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("waited");
    (output, std::fs::read_to_string(path).expect("read"))
}

/// Waits until `ready` answers something, asking often.
///
/// # Panics
/// When it has not within a minute, saying what was waited for.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(result) = ready() {
            return result;
        }
        assert!(Instant::now() < end, "waited for a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Sends a signal to a child and waits for its end, for 10 seconds at most: the promise of the
/// contract.
///
/// # Panics
/// When the child is still there then.
#[must_use]
pub fn signal_and_wait(mut child: Child, signal: Signal) -> Output {
    let pid = Pid::from_child(&child);
    kill_process(pid, signal).expect("signalled");
    let sent = Instant::now();
    until("the end of a tool that was signalled", || child.try_wait().expect("waited"));
    assert!(sent.elapsed() < Duration::from_secs(10), "it took {:?}", sent.elapsed());
    child.wait_with_output().expect("waited")
}

/// Something that accepts connections, says nothing, and tells when one came.
pub struct Silence {
    accepted: std::sync::mpsc::Receiver<()>,
}

impl Silence {
    /// On a free TCP port of the loopback; answers the port too.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn tcp() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        (Self::keep(move || listener.accept().map(|(stream, _)| stream)), port)
    }

    /// On a Unix socket.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("bound");
        Self::keep(move || listener.accept().map(|(stream, _)| stream))
    }

    fn keep<S: Read + Send + 'static>(
        accept: impl Fn() -> std::io::Result<S> + Send + 'static,
    ) -> Self {
        let (sender, accepted) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            while let Ok(stream) = accept() {
                kept.push(stream);
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Self { accepted }
    }

    /// Waits until somebody has connected.
    ///
    /// # Panics
    /// When nobody has within a minute.
    pub fn connected(&self) {
        self.accepted.recv_timeout(Duration::from_secs(60)).expect("nobody connected");
    }
}
