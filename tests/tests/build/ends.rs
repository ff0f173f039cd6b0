//! A build whose tool ends in the middle ends in the engine, too.

use super::*;

use rustix::process::Signal;
use slipway_tests::process::{signal_and_wait, until};

/// Whether a process with this text in its command line is there: a container's processes are
/// processes of the machine.
fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    })
}

/// A build in the middle of a step, and what its step's command line holds.
fn in_the_middle(project: &Project, number: u32, args: &[&str]) -> (std::process::Child, String) {
    let marker = format!("600.{number}{}", std::process::id());
    project.write("Dockerfile", &format!("FROM {BASE}\nRUN sleep {marker}\n"));
    let mut command = project.imgbuild();
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("the step", || runs(&marker).then_some(()));
    (child, marker)
}

#[test]
fn a_signal_ends_the_step_and_the_document_says_so() {
    let project = Project::new("signal", "");
    for (number, signal, exit) in [(1, Signal::TERM, 143), (2, Signal::INT, 130)] {
        let (child, marker) = in_the_middle(&project, number, &[]);
        let ended = Run::of(&signal_and_wait(child, signal)).bad("imgbuild", exit, "interrupted");
        assert!(ended.document.get("image").is_none(), "{:#}", ended.document);
        until("the step's end", || (!runs(&marker)).then_some(()));
        assert!(project.images().is_empty());
    }
}

#[test]
fn a_killed_tool_leaves_no_step_running() {
    let project = Project::new("kill", "");
    let (mut child, marker) = in_the_middle(&project, 3, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the step's end", || (!runs(&marker)).then_some(()));
    assert!(project.images().is_empty());
}

#[test]
fn a_deadline_ends_the_step() {
    let project = Project::new("deadline", "");
    let (child, marker) = in_the_middle(&project, 4, &["--timeout", "10s"]);
    let ended = Run::of(&child.wait_with_output().unwrap());
    let ended = ended.bad("imgbuild", 124, "deadline_exceeded");
    assert_eq!(ended.document["error"]["retryable"], true);
    until("the step's end", || (!runs(&marker)).then_some(()));
    assert!(project.images().is_empty());
}
