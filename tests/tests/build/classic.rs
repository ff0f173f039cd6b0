//! An engine without BuildKit: the lab's own, behind a door that has no `/session`, so that it is its
//! classic builder which builds.

use super::*;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use slipway_tests::lab::shell;

/// The door: a socket that leads to the engine and answers for `/session` as Podman does.
struct Door {
    directory: tempfile::TempDir,
}

impl Door {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        // It ends with the process: nothing else would wake it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || pass(stream));
            }
        });
        Self { directory }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("engine.sock").display())
    }

    fn run(&self, project: &Project, args: &[&str]) -> Run {
        let mut command = project.imgbuild();
        Run::of(&without_input(command.env("DOCKER_HOST", self.host()).args(args)))
    }

    /// Builds without the cache: that of this builder looks at every image when a stage begins with
    /// `scratch`, and stumbles over those that other tests remove meanwhile.
    fn build(&self, project: &Project, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--no-cache"]).collect();
        self.run(project, &args).good().document["image"].clone()
    }
}

/// Passes one connection on, whose first line tells what it is for.
fn pass(client: UnixStream) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    if first.contains("/session") || first.contains("/grpc") {
        let answer =
            "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nNot Found";
        return (&client).write_all(answer.as_bytes()).ok();
    }
    let host = from_run_sh("DOCKER_HOST");
    let mut engine = UnixStream::connect(host.strip_prefix("unix://")?).ok()?;
    engine.write_all(first.as_bytes()).ok()?;
    let (mut back, mut to) = (engine.try_clone().ok()?, client);
    let answering = std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut engine);
    let _ = engine.shutdown(std::net::Shutdown::Write);
    answering.join().ok()
}

#[test]
fn files_arrive_as_they_are() {
    let (door, project) = (Door::open(), Project::new("classic", COPY_ALL));
    // This builder itself loses the bit for another user in a COPY.
    for (file, mode) in [("plain", 0o644), ("run.sh", 0o755), ("private", 0o600)] {
        project.write(file, file);
        let path = project.path().join(file);
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    project.write("big", &"content ".repeat(200_000));
    project.write("empty", "");
    project.write(&"n".repeat(255), "a long name");
    project.write(&format!("{0}/{0}/{0}/{0}/file", "d".repeat(200)), "a long path");
    for odd in ["-rf", "ümläut 日本", "quote\"'`$x", "*", "[a", "back\\slash"] {
        project.write(odd, odd);
    }
    let long = format!("{0}/{0}", "t".repeat(120));
    for (target, link) in [("plain", "link"), ("/etc/passwd", "link away"), (&long, "long link")] {
        std::os::unix::fs::symlink(target, project.path().join(link)).unwrap();
    }
    let image = door.build(&project, &[]);
    assert_eq!(files_of(text(&image, "id")), tree(&project.path()));
    // The same once more, with BuildKit: the same files.
    let other = project.build(&[]);
    assert_eq!(files_of(text(&other, "id")), tree(&project.path()));
}

#[test]
fn rules_are_followed_as_with_buildkit() {
    let (door, project) = (Door::open(), Project::new("classic-ignore", COPY_ALL));
    for path in ["a.txt", "b.log", "sub/a.txt", "sub/keep.log", "sub/deep/x.log"] {
        project.write(path, path);
    }
    let outside = project.beside("outside.Dockerfile");
    std::fs::write(&outside, COPY_ALL).unwrap();
    let outside = outside.to_str().unwrap();
    let paths = |image: &Value| {
        files_of(text(image, "id"))
            .into_keys()
            .filter(|path| !path.starts_with(".docker"))
            .collect::<Vec<_>>()
    };
    for (rules, args) in [
        ("", &[][..]),
        ("**/*.log\n!sub/keep.log\n", &[]),
        ("*\n!sub/deep\n", &[]),
        ("Dockerfile\n.dockerignore\n", &[]),
        ("sub\n", &["-f", outside]),
        (".dockerignore\n", &["-f", outside]),
    ] {
        project.write(".dockerignore", rules);
        let (classic, buildkit) = (door.build(&project, args), project.build(args));
        assert_eq!(paths(&classic), paths(&buildkit), "{rules:?} {args:?}");
    }
    project.write(".dockerignore", "*\n");
    project.write("Dockerfile.dockerignore", "sub\n");
    assert_eq!(paths(&door.build(&project, &[])), paths(&project.build(&[])));
}

#[test]
fn options_arrive() {
    let tells = format!(
        "FROM {BASE} AS first\nARG GIVEN\nLABEL given=$GIVEN\n\
         RUN grep -q '10.1.2.3.*db' /etc/hosts && test $(ulimit -n) = 123 && \
         df -k /dev/shm | grep -q 131072\nFROM scratch\n"
    );
    let (door, project) = (Door::open(), Project::new("classic-options", &tells));
    let name = format!("{}:7", project.name);
    let options = [
        "--build-arg",
        "GIVEN=a=b c",
        "--target",
        "first",
        "--label",
        "mine=x y",
        "-t",
        &name,
        "--add-host",
        "db:10.1.2.3",
        "--ulimit",
        "nofile=123:456",
        "--shm-size",
        "128m",
    ];
    let image = door.build(&project, &options);
    assert_eq!(image["labels"]["given"], "a=b c");
    assert_eq!(image["labels"]["mine"], "x y");
    assert_eq!(project.images()[&name], text(&image, "id"));
    let again = door.run(&project, &options).good().document["image"].clone();
    // To this builder a label is a step, and FROM is one that has no cache.
    let (steps, cached) = (again["steps"].as_u64().unwrap(), again["cached_steps"].as_u64());
    assert!(steps >= 4 && cached == Some(steps - 1), "{again:#}");
}

#[test]
fn a_failing_step_is_told_with_its_place_and_its_last_words() {
    let failing =
        format!("FROM {BASE}\n\nRUN echo first && \\\n    echo last words >&2 && exit 3\n");
    let (door, project) = (Door::open(), Project::new("classic-fails", &failing));
    let bad = door.run(&project, &[]).bad("imgbuild", 1, "build_failed");
    let evidence = &bad.document["error"]["evidence"];
    assert_eq!((evidence["exit_code"].as_i64(), evidence["line"].as_u64()), (Some(3), Some(3)));
    assert!(evidence["log"].to_string().contains("last words"), "{evidence:#}");
    // The engine of today says this one in the middle of the answer, too.
    project.write("Dockerfile", "FROM scratch\nCOPY missing /\n");
    let bad = door.run(&project, &["--no-cache"]).bad("imgbuild", 1, "build_failed");
    assert_eq!(bad.document["error"]["evidence"]["line"], 2);
    let bad = door.run(&project, &["--ssh", "default=/no"]).bad("imgbuild", 1, "file_unreadable");
    assert!(bad.document.get("image").is_none());
}

#[test]
fn archives_and_private_base_images_work() {
    let (door, project) = (Door::open(), Project::new("classic-archive", COPY_ALL));
    project.write("sub/a", "a");
    let path = project.beside("context.tgz").display().to_string();
    run(Command::new("tar").args(["-czf", &path, "."]).current_dir(project.path()));
    let name = format!("{}:1", project.name);
    let mut command = tool("imgbuild");
    command.args(["--no-input", "--no-cache", "-t", &name, &path]).env("DOCKER_HOST", door.host());
    let built = Run::of(&without_input(&mut command)).good();
    assert_eq!(files_of(text(&built.document["image"], "id")), tree(&project.path()));

    let reference = registry::pushed_base(&project);
    let derived =
        Project::new("classic-derived", &format!("FROM {reference}\nCOPY Dockerfile /mine\n"));
    let _ = door.run(&derived, &["--no-cache"]).bad("imgbuild", 4, "registry_denied");
    let line = format!(
        "ecrlogin --registry-id {} | imgbuild --no-cache {}",
        &from_run_sh("LAB_REGISTRY")[..12],
        derived.path().display()
    );
    let built = Run::of(&without_input(shell(&line).env("DOCKER_HOST", door.host()))).good();
    assert_eq!(file_of(text(&built.document["image"], "id"), "context/sub/a"), "a");
}

#[test]
fn as_many_rules_and_sources_as_with_buildkit() {
    let door = Door::open();
    let project = files::ruled("classic-rules");
    assert_eq!(files::kept(text(&door.build(&project, &[]), "id")), ["kept"]);
    let project = files::many_sources("classic-sources");
    let image = door.build(&project, &[]);
    assert_eq!(files_of(text(&image, "id")).len(), files::SOURCES);
}

#[test]
fn names_that_are_no_text_arrive() {
    let (door, project) = (Door::open(), files::latin("classic-latin"));
    let image = door.build(&project, &[]);
    assert_eq!(files::raw_names(text(&image, "id")), files::LATIN);
}

#[test]
fn what_a_dockerfile_says_is_not_repeated_where_it_is_no_dockerfile() {
    let (door, project) = (Door::open(), Project::new("classic-quote", "FROM scratch\nAKIA0 x\n"));
    let bad = door.run(&project, &[]).bad("imgbuild", 1, "dockerfile_invalid");
    let message = text(&bad.document["error"], "message");
    assert!(message.contains("Dockerfile line 2: ") && !message.contains("AKIA0"), "{message}");
}
