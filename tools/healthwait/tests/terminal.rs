//! The tool on a terminal, which `script` (util-linux) makes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use common::{Server, answer, document};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A shell command on a terminal of its own.
struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    fn run(command: &str) -> Self {
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", command, "/dev/null"])
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keyboard, screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        Self { script, keyboard, screen, shown: String::new() }
    }

    /// Reads until the screen has shown this.
    fn until(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.shown.contains(text) {
            let count = self.screen.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "it ended without {text}: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn press_ctrl_c(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// The number that was shown after this.
    fn number(&self, after: &str) -> i32 {
        let (_, rest) = self.shown.split_once(after).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// The exit status, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&rest));
        (self.script.wait().unwrap().code(), std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn server() -> Server {
    Server::new(|_| answer(200, &json!({"status": "ok"})))
}

/// A command that counts the interrupts until a hang-up, and exits with nine.
fn counting(input: &str, server: &Server) -> String {
    let tool = cargo_bin!("healthwait").display();
    let script = "trap \"echo caught\" INT; trap \"end=1\" HUP; echo parent=$PPID. self=$$.; \
                  while [ -z \"$end\" ]; do read line < /proc/self/stat; done; exit 9";
    // A shell in between would be interrupted, too.
    format!("exec '{tool}' {} -- sh -c '{script}' {input}", server.url("/"))
}

#[test]
fn ctrl_c_reaches_what_the_tool_has_become() {
    let server = server();
    let mut terminal = Terminal::run(&counting("", &server));
    terminal.until(".\r\n");
    terminal.press_ctrl_c();
    terminal.until("caught");
    let command = Pid::from_raw(terminal.number("self=")).unwrap();
    kill_process(command, Signal::HUP).unwrap();
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(9), "{shown}");
    assert_eq!(shown.matches("caught").count(), 1, "{shown}");
}

#[test]
fn ctrl_c_reaches_the_command_beside_the_tool_once() {
    let server = server();
    let mut input = tempfile::NamedTempFile::new().unwrap();
    input.write_all(document(json!({})).to_string().as_bytes()).unwrap();
    let from = format!("< '{}'", input.path().display());
    let mut terminal = Terminal::run(&counting(&from, &server));
    terminal.until(".\r\n");
    terminal.press_ctrl_c();
    terminal.until("caught");
    // It passes this on after what it had to do about the interrupt.
    let tool = Pid::from_raw(terminal.number("parent=")).unwrap();
    kill_process(tool, Signal::HUP).unwrap();
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(130), "{shown}");
    assert_eq!(shown.matches("caught").count(), 1, "{shown}");
    assert!(
        shown.contains("\"exit\": 9") && shown.contains("\"code\": \"interrupted\""),
        "{shown}"
    );
}

#[test]
fn ctrl_c_ends_the_waiting() {
    let server = Server::new(|_| answer(503, &json!({})));
    let tool = cargo_bin!("healthwait").display();
    let mut terminal = Terminal::run(&format!("exec '{tool}' {} -- echo ran", server.url("/")));
    terminal.until("status 503");
    terminal.press_ctrl_c();
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(130), "{shown}");
    assert!(shown.contains("interrupted while waiting"), "{shown}");
    assert!(!shown.contains("ran\r\n"), "{shown}");
}
