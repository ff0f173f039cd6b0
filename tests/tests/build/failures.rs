//! Bad input gets one clear error of its own kind, and the engine's images stay as they are.

use super::*;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;

use slipway_tests::binary;

#[test]
fn a_failing_step_is_told_with_its_place_and_its_last_words() {
    let project = Project::new("step", COPY_ALL);
    let tag = format!("{}:1", project.name);
    let good = project.build(&["-t", &tag]);
    project.write(
        "Dockerfile",
        &format!(
            "# syntax is what the engine has\nFROM {BASE} AS tools\nRUN echo tools {pid}\n\n\
             FROM {BASE} AS web\nCOPY Dockerfile /\n# a comment\nRUN for n in $(seq 400); do echo line $n; done \\\n\
             \x20 && echo the reason \\\n  && exit 42\nCOPY --from=tools /etc/hostname /x\n",
            pid = std::process::id()
        ),
    );
    let error = project.fails(&["-t", &tag], 1, "build_failed");
    let message = text(&error, "message");
    let place = format!("{} line 8", project.path().join("Dockerfile").display());
    for words in ["step 3/4 of stage web", &place, "exit code 42"] {
        assert!(message.contains(words), "no `{words}` in {message}");
    }
    let evidence = &error["evidence"];
    assert_eq!((&evidence["step"], &evidence["steps"]), (&Value::from(3), &Value::from(4)));
    assert_eq!((&evidence["line"], &evidence["exit_code"]), (&Value::from(8), &Value::from(42)));
    assert_eq!(evidence["stage"], "web");
    let log: Vec<&str> =
        evidence["log"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(log.last(), Some(&"the reason"));
    assert!(log.contains(&"line 400") && !log.contains(&"line 1"), "{log:?}");
    assert_eq!(error["retryable"], false);
    assert_eq!(project.images()[&tag], text(&good, "id"), "the tag names the last good build");
}

#[test]
fn mistakes_in_the_dockerfile_are_told_by_line() {
    let project = Project::new("mistakes", "");
    let (invalid, unreachable) = ("dockerfile_invalid", "registry_unreachable");
    for (dockerfile, args, exit, code, words) in [
        ("FROM scratch\n\nRUNN make\n", &[][..], 1, invalid, "Dockerfile line 3: "),
        ("FROM scratch\nCOPY one\n", &[], 1, invalid, "COPY"),
        ("LABEL a=b\n", &[], 1, invalid, "Dockerfile"),
        (" \n", &[], 1, invalid, "is empty"),
        ("FROM scratch AS a\nCOPY . /\n", &["--target", "nope"], 1, invalid, "`nope`"),
        ("FROM scratch\nCOPY not-here /\n", &[], 1, "build_failed", "Dockerfile line 2"),
        ("FROM scratch\nADD http://127.0.0.1:9/x /\n", &[], 1, "build_failed", "Dockerfile line 2"),
        ("FROM scratch\nCOPY --from=127.0.0.1:9/x /a /\n", &[], 5, unreachable, "127.0.0.1:9/x"),
        (
            "# syntax=127.0.0.1:9/x\nFROM scratch\n",
            &[],
            5,
            unreachable,
            "the Dockerfile frontend 127",
        ),
    ] {
        project.write("Dockerfile", dockerfile);
        let error = project.fails(args, exit, code);
        assert!(text(&error, "message").contains(words), "{dockerfile:?}: {error:#}");
    }
}

#[test]
fn a_long_instruction_that_fails_is_told_as_any_other() {
    let long = format!("FROM {BASE}\nRUN : {} && exit 3\n", "x".repeat(40_000));
    let project = Project::new("long", &long);
    let error = project.fails(&[], 1, "build_failed");
    assert_eq!(error["evidence"]["exit_code"], 3, "{error:#}");
    assert_eq!(error["evidence"]["line"], 2, "{error:#}");
}

#[test]
fn what_is_missing_is_named() {
    let project = Project::new("missing", COPY_ALL);
    std::fs::write(project.beside("empty"), "").unwrap();
    let empty = format!("id=a,src={}", project.beside("empty").display());
    for (args, code, words) in [
        (&["--file", "/nonexistent/Dockerfile"][..], "dockerfile_not_found", "/nonexistent/Dock"),
        (&["--secret", "id=a,src=/nonexistent/secret"], "build_secret_missing", "/nonexistent/s"),
        (&["--secret", "id=a,env=NOT_SET_HERE"], "build_secret_missing", "NOT_SET_HERE is not set"),
        (&["--secret", &empty], "build_secret_missing", "is empty"),
    ] {
        let error = project.fails(args, 1, code);
        assert!(text(&error, "message").contains(words), "{error:#}");
    }
    let step = format!("FROM {BASE}\nRUN --mount=type=secret,id=wanted,required=true true\n");
    project.write("Dockerfile", &step);
    let error = project.fails(&[], 1, "build_secret_missing");
    assert!(text(&error, "message").contains("`wanted`"), "{error:#}");
    assert!(text(&error, "hint").contains("--secret id=wanted"), "{error:#}");
    project.remove("Dockerfile");
    project.fails(&[], 1, "dockerfile_not_found");
    std::fs::remove_dir(project.path()).unwrap();
    project.fails(&[], 1, "context_not_found");
}

/// The engine's socket for everybody, for as long as the test goes on. Called with what a client
/// sends before the engine gets it.
fn relay(path: &Path, seen: impl Fn(&[u8]) + Clone + Send + 'static) {
    let engine = from_run_sh("DOCKER_HOST");
    let engine = engine.strip_prefix("unix://").expect("the lab's engine has a socket").to_owned();
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&engine).unwrap());
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let seen = seen.clone();
            std::thread::spawn(move || pump(client, server, seen));
            std::thread::spawn(move || pump(back.0, back.1, |_| ()));
        }
    });
}

/// The engine over TCP, at the port that is answered.
pub(crate) fn over_tcp() -> u16 {
    let engine = from_run_sh("DOCKER_HOST");
    let engine = engine.strip_prefix("unix://").expect("the lab's engine has a socket").to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), UnixStream::connect(&engine).unwrap());
            let (mut there, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut there);
                let _ = there.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut server, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

fn pump(mut from: UnixStream, mut to: UnixStream, seen: impl Fn(&[u8])) {
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_file_that_an_ordinary_user_may_not_read_is_named() {
    let project = Project::new("unreadable", COPY_ALL);
    project.write("sub/ok", "ok");
    project.write("sub/private", "private");
    let private = project.path().join("sub/private");
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o000)).unwrap();
    let open = project.directory.path();
    std::fs::set_permissions(open, PermissionsExt::from_mode(0o755)).unwrap();
    let (socket, copy) = (open.join("engine.sock"), open.join("imgbuild"));
    relay(&socket, |_| ());
    // Where the tools were built may be out of that user's reach.
    std::fs::copy(binary("imgbuild"), &copy).unwrap();
    let tag = format!("{}:1", project.name);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&copy);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .arg("--no-input")
            .arg(project.path())
            .args(args);
        if rustix::process::getuid().is_root() {
            command.uid(65534).gid(65534);
        }
        Run::of(&without_input(&mut command))
    };
    // With a tag it is found out while the engine asks for the files, without one before.
    for args in [&["-t", &tag][..], &[]] {
        let bad = as_nobody(args).bad("imgbuild", 1, "file_unreadable");
        let error = &bad.document["error"];
        assert!(text(error, "message").contains("sub/private cannot be read"), "{error:#}");
        assert!(text(error, "hint").contains(".dockerignore"), "{error:#}");
        assert!(project.images().is_empty());
    }
    // The hint is right.
    project.write(".dockerignore", "**/private\n");
    let built = as_nobody(&["-t", &tag]).good();
    let files = files_of(text(&built.document["image"], "id"));
    assert!(files.contains_key("sub/ok") && !files.contains_key("sub/private"), "{files:?}");
}

#[test]
fn a_name_that_moves_before_the_end_does_not_change_what_was_built() {
    let (ours, theirs) = (Project::new("moved", COPY_ALL), Project::new("mover", COPY_ALL));
    ours.write("whose", "ours");
    theirs.write("whose", "theirs");
    let other = text(&theirs.build(&[]), "id").to_owned();
    let tag = format!("{}:1", ours.name);
    let socket = ours.beside("engine.sock");
    let moved = {
        let (other, tag) = (other.clone(), tag.clone());
        move |sent: &[u8]| {
            // Whatever is asked of an image is asked after another build took the name.
            if sent.starts_with(b"GET ") && sent.windows(8).any(|part| part == b"/images/") {
                ci_engine(&["tag", &other, &tag]);
            }
        }
    };
    relay(&socket, moved);
    let output = without_input(
        ours.imgbuild()
            .args(["-t", &tag])
            .env("DOCKER_HOST", format!("unix://{}", socket.display())),
    );
    let built = Run::of(&output).good();
    assert_eq!(ours.images()[&tag], other, "the name did move");
    let files = files_of(text(&built.document["image"], "id"));
    assert_eq!(files["whose"], "file 644 ours");
}

#[test]
fn builds_at_once_under_one_name_each_answer_their_own() {
    let shared = Project::new("race", COPY_ALL);
    let name = format!("{}:1", shared.name);
    let projects: Vec<Project> = (0..4)
        .map(|n| {
            let project = Project::new(&format!("race-{n}"), COPY_ALL);
            project.write("whose", &project.name);
            project
        })
        .collect();
    let children: Vec<_> = projects
        .iter()
        .map(|project| {
            let mut command = project.imgbuild();
            command.args(["-t", &name]).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut ids = Vec::new();
    for (project, child) in projects.iter().zip(children) {
        let built = Run::of(&child.wait_with_output().unwrap()).good();
        let id = text(&built.document["image"], "id").to_owned();
        assert_eq!(files_of(&id)["whose"], format!("file 644 {}", project.name));
        ids.push(id);
    }
    assert!(ids.contains(&text(&inspect(&name), "Id").to_owned()), "the name is one of theirs");
}
