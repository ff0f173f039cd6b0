//! The tools without their binaries: one call with arguments and streams in memory.

use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use ecrlogin::EcrLogin;
use healthwait::HealthWait;
use imgbuild::ImgBuild;
use imgpush::ImgPush;
use remote_swap::RemoteSwap;
use slipway_shell::{Input, Output, OutputKind, Streams, Tool, Ui, run};
use slipway_tests::document;

/// A stream whose text can be read afterwards.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Ended {
    exit: u8,
    stdout: String,
    stderr: String,
}

fn call<T: Tool>(args: &[&str], input: Option<&str>, kind: OutputKind) -> Ended {
    let (stdout, stderr) = (Memory::default(), Memory::default());
    let streams = Streams {
        input: match input {
            Some(text) => Input::Document(Box::new(Cursor::new(text.to_owned()))),
            None => Input::None,
        },
        output: Output::new(Box::new(stdout.clone()), kind),
        ui: Ui::new(T::NAME, Box::new(stderr.clone()), false),
    };
    let args = std::iter::once(&T::NAME).chain(args).map(OsString::from);
    let exit = run::<T>(args, streams);
    Ended { exit, stdout: stdout.text(), stderr: stderr.text() }
}

fn an_error_passes<T: Tool>() {
    let input = r#"{"schema":"slipway.release/v1","error":{"exit":4,"x":[1.0]}}"#;
    let ended = call::<T>(&[], Some(input), OutputKind::Pipe);
    assert_eq!((ended.exit, ended.stdout.trim_end(), ended.stderr.as_str()), (4, input, ""));
}

fn an_empty_input_is_told_and_travels<T: Tool>() {
    let ended = call::<T>(&[], Some(""), OutputKind::Pipe);
    assert_eq!(ended.exit, 3, "{}", ended.stderr);
    let document = document(ended.stdout.as_bytes());
    assert_eq!(document["error"]["tool"], T::NAME);
    assert_eq!(ended.stderr.lines().count(), 2, "one line and a hint: {}", ended.stderr);
}

fn a_wrong_flag_is_not_hidden_by_a_document_on_a_terminal<T: Tool>() {
    let ended = call::<T>(&["--no-such"], None, OutputKind::Terminal);
    assert_eq!((ended.exit, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("--no-such") && ended.stderr.contains(": hint: "));
}

fn a_terminal_gets_it_indented_and_without_the_secret<T: Tool>() {
    let input = r#"{"schema":"slipway.release/v1","registry":{"host":"h","password":"p4ss"},"error":{"exit":1}}"#;
    let ended = call::<T>(&[], Some(input), OutputKind::Terminal);
    assert!(ended.stdout.contains("\n  \"registry\": {"), "{}", ended.stdout);
    assert!(
        !ended.stdout.contains("p4ss") && ended.stderr.contains("--reveal"),
        "{}",
        ended.stderr
    );
}

macro_rules! for_every_tool {
    ($($test:ident)+) => {$(
        #[test]
        fn $test() {
            super::$test::<ImgBuild>();
            super::$test::<EcrLogin>();
            super::$test::<ImgPush>();
            super::$test::<RemoteSwap>();
            super::$test::<HealthWait>();
        }
    )+};
}

mod every_tool {
    use super::{EcrLogin, HealthWait, ImgBuild, ImgPush, RemoteSwap};

    for_every_tool! {
        an_error_passes
        an_empty_input_is_told_and_travels
        a_wrong_flag_is_not_hidden_by_a_document_on_a_terminal
        a_terminal_gets_it_indented_and_without_the_secret
    }
}

#[test]
fn imgbuild_without_a_dockerfile() {
    let empty = tempfile::tempdir().unwrap();
    let ended = call::<ImgBuild>(&[empty.path().to_str().unwrap()], None, OutputKind::Pipe);
    assert_eq!(ended.exit, 1, "{}", ended.stderr);
    assert_eq!(document(ended.stdout.as_bytes())["error"]["code"], "dockerfile_not_found");
}

#[test]
fn ecrlogin_with_a_contradiction() {
    let args = ["--registry=123456789012.dkr.ecr.eu-central-1.amazonaws.com", "--region=us-east-1"];
    let ended = call::<EcrLogin>(&args, None, OutputKind::Pipe);
    assert_eq!(ended.exit, 2, "{}", ended.stderr);
    assert_eq!(document(ended.stdout.as_bytes())["error"]["code"], "region_conflict");
}

#[test]
fn imgpush_with_a_saved_document() {
    let id = format!("sha256:{}", "0a".repeat(32));
    let input = format!(
        r#"{{"schema":"slipway.release/v1","image":{{"name":"web","tag":"1","id":"{id}"}},"registry":{{"host":"r.example","username":"AWS"}}}}"#
    );
    let ended = call::<ImgPush>(&[], Some(&input), OutputKind::Pipe);
    assert_eq!(ended.exit, 4, "{}", ended.stderr);
}

#[test]
fn remote_swap_with_a_reference_that_is_no_digest() {
    let args = ["--host=u@127.0.0.1:1", "--image=r.example/web:latest", "--publish=8000:5000"];
    let ended = call::<RemoteSwap>(&args, None, OutputKind::Pipe);
    assert_eq!(ended.exit, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("digest"), "{}", ended.stderr);
}

#[test]
fn healthwait_takes_its_target_from_the_document() {
    // A port that was free a moment ago: nobody answers there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let input = format!(
        r#"{{"schema":"slipway.release/v1","deploy":{{"health_path":"/up","hosts":[{{"host":"h","url":"{url}","outcome":"deployed"}}]}}}}"#
    );
    let ended = call::<HealthWait>(&["--timeout=200ms"], Some(&input), OutputKind::Pipe);
    assert_eq!(ended.exit, 124, "{}", ended.stderr);
    let document = document(ended.stdout.as_bytes());
    assert_eq!(document["health"]["targets"][0]["url"], format!("{url}/up"));
    assert_eq!(document["health"]["targets"][0]["healthy"], false);
}
