//! What the tests of remote-swap share: releases of a small server, and the server they are deployed to.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_tests::lab::{App, Run, app_engine, run};
use slipway_tests::process::{signal_and_wait, until, until_told, with_input};
use slipway_tests::{from_run_sh, project, tool};

/// The port that the server listens on in its container.
pub(crate) const INSIDE: u16 = 8000;

/// The port of an application that publishes none.
pub(crate) const UNPUBLISHED: u16 = 0;

/// An image in the registry, and the document that imgpush printed of it.
pub(crate) struct Release {
    pub(crate) version: &'static str,
    pub(crate) document: Value,
}

impl Release {
    /// Builds and pushes the server as an image that no other run has; `more` ends its Dockerfile.
    pub(crate) fn new(version: &'static str, more: &str) -> Self {
        Self::built(version, more, &mut tool("imgbuild"))
    }

    /// The same as this build.
    pub(crate) fn built(version: &'static str, more: &str, build: &mut Command) -> Self {
        let from = "FROM python:3-slim\nCOPY server.py version unique /\n";
        let dockerfile = format!("{from}{more}\nCMD [\"python3\", \"/server.py\"]\n");
        Self::of(version, &dockerfile, build)
    }

    /// The same of any Dockerfile.
    pub(crate) fn of(version: &'static str, dockerfile: &str, build: &mut Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        let server = project().join("tests/tests/swap/server.py");
        std::fs::copy(server, directory.path().join("server.py")).unwrap();
        write("version", version);
        write("unique", directory.path().to_str().unwrap());
        write("Dockerfile", dockerfile);
        let built = run(build
            .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
            .args(["--no-input", "--tag", &format!("swap/{version}:{}", std::process::id())])
            .arg(directory.path()));
        let mut built: Value = serde_json::from_str(&built).unwrap();
        let host = from_run_sh("LAB_REGISTRY");
        built["registry"] = json!({"host": host, "username": "AWS", "password": password()});
        let mut push = tool("imgpush");
        push.env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
        let pushed = Run::of(&with_input(&mut push, &built.to_string())).good();
        Self { version, document: pushed.document }
    }

    pub(crate) fn reference(&self) -> &str {
        self.document["push"]["reference"].as_str().unwrap()
    }
}

/// The first of two releases that the tests share.
pub(crate) fn one() -> &'static Release {
    static ONE: OnceLock<Release> = OnceLock::new();
    ONE.get_or_init(|| Release::new("one", ""))
}

/// The second.
pub(crate) fn two() -> &'static Release {
    static TWO: OnceLock<Release> = OnceLock::new();
    TWO.get_or_init(|| Release::new("two", ""))
}

/// The registry's password, as the lab's ECR API hands it out.
pub(crate) fn password() -> String {
    format!("{}-auth-token", &from_run_sh("LAB_REGISTRY")[..12])
}

/// An application of its own on the server, which no container of an earlier run is left of.
pub(crate) fn site(name: &'static str, port: u16) -> App {
    drop(App::empty(name, port));
    App::empty(name, port)
}

/// What the tests do with an application.
pub(crate) trait Site {
    /// remote-swap with the application's name, by the strategy `recreate`.
    fn bare(&self) -> Command;
    /// The same with the way in and the published port.
    fn swap(&self, args: &[&str]) -> Command;
    /// The same by this strategy.
    fn swap_by(&self, strategy: &str, args: &[&str]) -> Command;
    /// The options that say where it answers.
    fn serving(&self) -> [String; 2];
    /// Deploys a release well.
    fn deployed(&self, release: &Release, args: &[&str]);
    /// Deploys a release, however that ends.
    fn deploy_release(&self, release: &Release, args: &[&str]) -> Run;
    /// What the engine says of all of its containers.
    fn containers(&self) -> Vec<Value>;
    /// Checks that this release serves, in the only container that runs, with at most two others
    /// that are kept; answers its id.
    fn assert_serves(&self, release: &Release) -> String;
}

impl Site for App {
    fn bare(&self) -> Command {
        bare_by("recreate", self)
    }

    fn swap(&self, args: &[&str]) -> Command {
        self.swap_by("recreate", args)
    }

    fn swap_by(&self, strategy: &str, args: &[&str]) -> Command {
        let mut command = bare_by(strategy, self);
        command.args(self.ssh().split(' '));
        command.args(self.serving()).args(args);
        command
    }

    fn serving(&self) -> [String; 2] {
        match self.port {
            UNPUBLISHED => ["--health-port".to_owned(), INSIDE.to_string()],
            port => ["--publish".to_owned(), format!("{port}:{INSIDE}")],
        }
    }

    fn deployed(&self, release: &Release, args: &[&str]) {
        let run = self.deploy_release(release, args).good();
        assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
    }

    fn deploy_release(&self, release: &Release, args: &[&str]) -> Run {
        deploy(&mut self.swap(args), release)
    }

    fn containers(&self) -> Vec<Value> {
        let label = format!("label=dev.slipway.app={}", self.name);
        let listed = app_engine(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        listed.split_whitespace().filter_map(inspect_if_there).collect()
    }

    fn assert_serves(&self, release: &Release) -> String {
        let all = self.containers();
        let (up, down): (Vec<&Value>, Vec<&Value>) =
            all.iter().partition(|one| one["State"]["Running"] == true);
        let statuses: Vec<&Value> = all.iter().map(|one| &one["State"]["Status"]).collect();
        assert!(up.len() == 1 && down.len() <= 2, "{statuses:?}");
        assert!(down.iter().all(|one| one["State"]["Status"] == "exited"), "{statuses:?}");
        assert!(down.iter().all(|one| one["HostConfig"]["RestartPolicy"]["Name"] == "no"));
        assert_eq!(up[0]["Config"]["Image"], release.reference());
        assert_eq!(
            up[0]["HostConfig"]["RestartPolicy"]["Name"], "always",
            "it would not come back"
        );
        if self.port != UNPUBLISHED {
            let (status, text) = self.get("/").expect("it answers");
            assert!(status == 200 && text.starts_with(release.version), "{status} {text}");
        }
        text_of(up[0], "Id").to_owned()
    }
}

fn bare_by(strategy: &str, app: &App) -> Command {
    let mut command = tool("remote-swap");
    command.args(["--app", app.name, "--health-interval", "100ms", "--strategy", strategy]);
    command
}

/// Whether the server has the image.
pub(crate) fn is_pulled(reference: &str) -> bool {
    // A reference by digest is a filter, and no image of this name is no error.
    !app_engine(&["image", "ls", "-q", "--no-trunc", reference]).is_empty()
}

/// Checks that nobody's lock of the application is left on the server.
pub(crate) fn assert_unlocked(app: &App) {
    let label = format!("label=dev.slipway.lock={}", app.name);
    assert_eq!(app_engine(&["volume", "ls", "-q", "--filter", &label]), "");
}

pub(crate) fn deploy(command: &mut Command, release: &Release) -> Run {
    Run::of(&with_input(command, &release.document.to_string()))
}

pub(crate) fn inspect(container: &str) -> Value {
    inspect_if_there(container).unwrap_or_else(|| panic!("{container} is gone"))
}

/// What the engine says of a container; none if it was removed since it was listed.
pub(crate) fn inspect_if_there(container: &str) -> Option<Value> {
    let mut docker = Command::new("docker");
    docker.args(["container", "inspect", container]);
    let output = docker.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || told.contains("No such container"), "{told}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer.get(0).cloned()
}

pub(crate) fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {value:#}"))
}

/// What the document says of the first host.
pub(crate) fn host(run: &Run) -> &Value {
    &run.document["deploy"]["hosts"][0]
}

/// A named volume of the server, empty, that goes with the test.
pub(crate) struct Volume(&'static str);

impl Volume {
    pub(crate) fn new(name: &'static str) -> Self {
        let _ = app_engine(&["volume", "rm", "-f", name]);
        Self(name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = app_engine(&["volume", "rm", "-f", self.0]);
    }
}

/// A deploy under way.
pub(crate) struct Deploying {
    pub(crate) child: Child,
    pub(crate) stderr: BufReader<ChildStderr>,
    pub(crate) told: String,
}

impl Deploying {
    pub(crate) fn new(command: &mut Command, release: &Release) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(release.document.to_string().as_bytes()).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, told: String::new() }
    }

    /// Reads what it tells up to the line that holds this.
    pub(crate) fn until_told(mut self, text: &str) -> Self {
        self.told.push_str(&until_told(&mut self.stderr, text));
        self
    }

    /// Sends a signal and waits for its end, which is to come within 10 s.
    pub(crate) fn signal(self, signal: Signal) -> Run {
        Self::ended(&signal_and_wait(self.child, signal), self.stderr, self.told)
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Run {
        let output = self.child.wait_with_output().unwrap();
        Self::ended(&output, self.stderr, self.told)
    }

    pub(crate) fn ended(
        output: &Output,
        mut stderr: BufReader<ChildStderr>,
        mut told: String,
    ) -> Run {
        std::io::Read::read_to_string(&mut stderr, &mut told).unwrap();
        let exit = output.status.code().expect("not killed");
        Run { exit, document: slipway_tests::document(&output.stdout), told }
    }

    /// kill -9
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "it had ended already: {}", self.told);
    }
}

/// Waits until this container was told to stop, which a stubborn one does not at once.
pub(crate) fn told_to_stop(id: &str) {
    let told = || app_engine(&["logs", "--since", "30s", id]).contains("told to stop");
    until("the stop", || told().then_some(()));
}

/// The container of this role that runs, other than that one.
pub(crate) fn running(app: &App, role: &str, other: &str) -> Option<String> {
    app.containers().into_iter().find_map(|one| {
        let ours = one["Config"]["Labels"]["dev.slipway.role"] == role;
        let up = one["State"]["Running"] == true;
        let id = text_of(&one, "Id");
        (ours && up && id != other).then(|| id.to_owned())
    })
}

/// A process on the application server, root there. It ends with its stdin, so with this value.
pub(crate) struct OnServer {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl OnServer {
    /// Starts it and reads its first line, which it prints when it is ready.
    pub(crate) fn start(command: &[&str], input: &str) -> (Self, String) {
        let mut child = Command::new(project().join("tests/lab/lab.sh"))
            .args(["enter", "app", "--dir", &from_run_sh("LAB_DIR"), "--"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, stdin: Some(stdin), stdout };
        let ready = this.line();
        assert!(!ready.is_empty(), "{command:?} ended at once");
        (this, ready)
    }

    pub(crate) fn python(script: &str, input: &str) -> (Self, String) {
        Self::start(&["python3", "-c", script], input)
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}
