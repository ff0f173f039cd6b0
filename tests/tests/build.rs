//! imgbuild on the lab's real engine: what is asked for is what is in the image.

#[path = "build/again.rs"]
mod again;
#[path = "build/classic.rs"]
mod classic;
#[path = "build/contexts.rs"]
mod contexts;
#[path = "build/ends.rs"]
mod ends;
#[path = "build/failures.rs"]
mod failures;
#[path = "build/files.rs"]
mod files;
#[path = "build/hidden.rs"]
mod hidden;
#[path = "build/options.rs"]
mod options;
#[path = "build/podman.rs"]
mod podman;
#[path = "build/registry.rs"]
mod registry;
#[path = "build/room.rs"]
mod room;
#[path = "build/skip.rs"]
mod skip;
#[path = "build/source.rs"]
mod source;
#[path = "build/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use slipway_tests::lab::{Run, ci_engine, run};
use slipway_tests::process::without_input;
use slipway_tests::{from_run_sh, tool};

/// The image that steps with a shell are built on; the lab has it.
const BASE: &str = "python:3-slim";

/// Copies the whole context to where [`files_of`] looks for it.
const COPY_ALL: &str = "FROM scratch\nCOPY . /context/\n";

/// A directory to build. The name of its images is that of no other test and of no other run on
/// the same lab; they go with it.
struct Project {
    name: String,
    directory: tempfile::TempDir,
}

impl Project {
    fn new(name: &str, dockerfile: &str) -> Self {
        let name = format!("build-{name}-{}", std::process::id());
        let project = Self { name, directory: tempfile::tempdir().unwrap() };
        project.write("Dockerfile", dockerfile);
        project
    }

    /// The directory that is built. It has the image's name, which is what imgbuild takes it from.
    fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// A path outside of that directory.
    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.path().join(file)).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let output = run(Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
            .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false"])
            .args(args)
            .current_dir(self.path()));
        output.trim().to_owned()
    }

    fn imgbuild(&self) -> Command {
        let mut command = tool("imgbuild");
        command.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).arg("--no-input").arg(self.path());
        command.env("XDG_CACHE_HOME", self.beside("cache"));
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(&without_input(self.imgbuild().args(args)))
    }

    /// Builds it and answers the document's section.
    fn build(&self, args: &[&str]) -> Value {
        self.run(args).good().document["image"].clone()
    }

    /// Builds it, which must fail in this way and leave no image, and answers the error.
    fn fails(&self, args: &[&str], exit: i32, code: &str) -> Value {
        let before = self.images();
        let bad = self.run(args).bad("imgbuild", exit, code);
        assert!(bad.document.get("image").is_none(), "{:#}", bad.document);
        assert_eq!(self.images(), before, "a failed build changes no image");
        bad.document["error"].clone()
    }

    /// The names and ids of its images in the engine.
    fn images(&self) -> BTreeMap<String, String> {
        let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        run(&mut self.list_images()).lines().filter_map(pair).collect()
    }

    fn list_images(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).args(["images", "--no-trunc"]);
        command.args(["--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        for pattern in [self.name.clone(), format!("{}-*", self.name)] {
            command.arg("--filter").arg(format!("reference={pattern}"));
        }
        command
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Nothing here may panic: a test may be failing already. Other builds' images may share an
        // id with these, so only the names are taken away.
        let Ok(listed) = self.list_images().output() else { return };
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            let mut remove = Command::new("docker");
            remove.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).args(["rmi", name]);
            let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {value:#}"))
}

/// What the engine itself says of an image.
fn inspect(image: &str) -> Value {
    let answer: Value = serde_json::from_str(&ci_engine(&["inspect", image])).unwrap();
    answer[0].clone()
}

/// An image's whole file system, unpacked.
fn unpacked(image: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let container = ci_engine(&["create", image, "none"]);
    let exported = Command::new("docker")
        .args(["export", "-o", archive.to_str().unwrap(), container.trim()])
        .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
        .output()
        .unwrap();
    ci_engine(&["rm", container.trim()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    // Whatever stands in an image, no device is made here; modes are kept though umask is not.
    run(Command::new("tar")
        .args(["-x", "-p", "--exclude=dev/*", "-f"])
        .arg(&archive)
        .arg("-C")
        .arg(&tree));
    directory
}

/// One file of an image.
fn file_of(image: &str, path: &str) -> String {
    let directory = unpacked(image);
    std::fs::read_to_string(directory.path().join("tree").join(path))
        .unwrap_or_else(|error| panic!("{path} of {image}: {error}"))
}

/// Everything below `/context` of an image: each path with its kind, mode and content.
fn files_of(image: &str) -> BTreeMap<String, String> {
    let directory = unpacked(image);
    tree(&directory.path().join("tree/context"))
}

/// Everything below a directory: `dir 755`, `file 644 text`, `link target`.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let what = if meta.is_dir() {
                open.push(path.clone());
                format!("dir {mode:o}")
            } else if meta.is_symlink() {
                format!("link {}", path.read_link().unwrap().display())
            } else if meta.is_file() {
                let content = std::fs::read(&path).unwrap();
                format!("file {mode:o} {}", String::from_utf8_lossy(&content))
            } else {
                format!("special {:o}", meta.mode())
            };
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, what);
        }
    }
    found
}
