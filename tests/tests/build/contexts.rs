//! Contexts other than a directory.

use super::*;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Child;

use slipway_tests::lab::shell;
use slipway_tests::process::until;

/// A tar archive of the project, by the system's own tar.
fn archived(project: &Project, name: &str, flag: &str) -> String {
    let path = project.beside(name).display().to_string();
    run(Command::new("tar").args(["-c", flag, "-f", &path, "."]).current_dir(project.path()));
    path
}

/// Runs a line with bash, which has descriptors and process substitution.
fn bash(line: &str) -> Run {
    let mut command = shell("exec bash -c \"$0\"");
    Run::of(&without_input(command.arg(line).env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))))
}

#[test]
fn an_archive_is_built_from_a_file_and_from_a_descriptor() {
    let project = Project::new("archive", COPY_ALL);
    project.write("sub/a", "a");
    project.write(&"n".repeat(200), "a long name");
    project.write("Other", "FROM scratch\nLABEL from=other\nCOPY . /context/\n");
    let plain = archived(&project, "plain.tar", "-p");
    let packed = archived(&project, "packed.tgz", "-z");
    let tag = format!("{}:1", project.name);
    for context in [
        plain.clone(),
        packed.clone(),
        format!("/dev/fd/3 3<{packed}"),
        format!("/dev/fd/3 3< <(cat {plain})"),
        format!("<(cat {packed})"),
    ] {
        let built = bash(&format!("imgbuild --no-input -t {tag} {context}")).good();
        let image = &built.document["image"];
        assert_eq!(files_of(text(image, "id")), tree(&project.path()), "{context}");
        assert!(image.get("revision").is_none());
    }
    let other = bash(&format!("imgbuild --no-input -t {tag} -f Other {plain}")).good();
    assert_eq!(other.document["image"]["labels"]["from"], "other");
}

#[test]
fn what_is_no_archive_is_not_taken_for_a_dockerfile() {
    let project = Project::new("no-archive", COPY_ALL);
    let dockerfile = project.path().join("Dockerfile").display().to_string();
    let tag = format!("{}:1", project.name);
    for context in [dockerfile.clone(), format!("<(cat {dockerfile})"), "<(:)".to_owned()] {
        let bad = bash(&format!("imgbuild --no-input -t {tag} {context}"));
        let bad = bad.bad("imgbuild", 1, "context_not_found");
        assert!(text(&bad.document["error"], "message").contains("tar archive"), "{context}");
    }
    // Nothing names the image: there is neither a directory nor a commit.
    let plain = archived(&project, "plain.tar", "-p");
    for options in ["", "-t web"] {
        let run = bash(&format!("imgbuild --no-input {options} {plain}"));
        let _ = run.bad("imgbuild", 2, "usage");
    }
}

/// `git daemon` over one directory, seen by the engine at an address of the lab.
struct GitDaemon {
    child: Child,
    url: String,
}

impl GitDaemon {
    fn over(directory: &Path) -> Self {
        let host = from_run_sh("LAB_HOST_ADDR");
        // Asked for and given back: git daemon takes no port 0.
        let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap();
        let port = port.port();
        let child = Command::new("git")
            .args(["daemon", "--export-all", "--reuseaddr"])
            .args([format!("--listen={host}"), format!("--port={port}")])
            .arg(format!("--base-path={}", directory.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("git://{host}:{port}");
        let daemon = Self { child, url };
        until("git daemon answers", || TcpStream::connect((host.as_str(), port)).ok());
        daemon
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_a_repository_the_commit_is_built_that_the_document_tells() {
    let project = Project::new("repository", COPY_ALL);
    project.write("deploy/Dockerfile", "FROM scratch\nLABEL from=deploy\nCOPY . /context/\n");
    project.write("file", "first");
    project.git(&["init", "-q"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "first"]);
    project.git(&["tag", "-a", "-m", "v1", "v1"]);
    let first = project.git(&["rev-parse", "HEAD"]);
    project.write("file", "second");
    project.git(&["commit", "-q", "-a", "-m", "second"]);
    let second = project.git(&["rev-parse", "HEAD"]);

    let daemon = GitDaemon::over(project.path().parent().unwrap());
    let url = format!("{}/{}/.git", daemon.url, project.name);
    let build = |fragment: &str, options: &str| {
        bash(&format!("imgbuild --no-input {options} '{url}{fragment}'")).good()
    };
    let tag = format!("-t {}", project.name);
    for (fragment, commit, content) in [
        ("#v1", &first, "first"),
        ("", &second, "second"),
        ("#main", &second, "second"),
        (&format!("#{first}"), &first, "first"),
    ] {
        let built = build(fragment, &tag);
        let image = &built.document["image"];
        assert_eq!(text(image, "revision"), commit, "{fragment}");
        assert_eq!(text(image, "tag"), &commit[..12]);
        assert_eq!(image["dirty"], false);
        assert_eq!(file_of(text(image, "id"), "context/file"), content, "{fragment}");
    }
    let other = build("", &format!("{tag} -f deploy/Dockerfile"));
    assert_eq!(other.document["image"]["labels"]["from"], "deploy");
    // Docker 20.10 builds whole repositories only.
    let line = format!("imgbuild --no-input {tag} '{url}#main:deploy'");
    let bad = bash(&line).bad("imgbuild", 1, "engine_unsupported");
    assert!(text(&bad.document["error"], "message").contains("directory of a repository"));

    // A branch that is not there is not known, and without a commit there is no tag.
    let bad =
        bash(&format!("imgbuild --no-input {tag} '{url}#nowhere'")).bad("imgbuild", 2, "usage");
    assert!(bad.told.contains("no branch or tag `nowhere`"), "{}", bad.told);
    let bad = bash("imgbuild --no-input https://user:hunter2@127.0.0.1:9/web.git");
    let bad = bad.bad("imgbuild", 2, "usage");
    assert!(!format!("{}{}", bad.told, bad.document).contains("hunter2"));
}
