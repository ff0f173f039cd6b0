//! The lab that `tests/run.sh` has started, and deploys over it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::{document, from_run_sh, process, project};

/// One application of a test: a name and a port of its own on the shared application server.
pub struct App {
    /// The application's name, and that of its image and repository.
    pub name: &'static str,
    /// The published port.
    pub port: u16,
    directory: tempfile::TempDir,
}

/// What a run of the pipeline came to.
pub struct Run {
    /// The exit code of the last tool, which is all that plain `sh` sees.
    pub exit: i32,
    /// What the last tool printed.
    pub document: Value,
    /// What all tools told.
    pub told: String,
}

impl Run {
    /// Reads the output of a pipeline.
    ///
    /// # Panics
    /// When stdout is no document.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.stdout.is_empty(), "no document: {told}");
        Self {
            exit: output.status.code().expect("not killed"),
            document: document(&output.stdout),
            told,
        }
    }

    /// Checks that all went well.
    ///
    /// # Panics
    /// When it did not, with all that was told.
    #[must_use]
    pub fn good(self) -> Self {
        assert_eq!(self.exit, 0, "{}\n{:#}", self.told, self.document);
        assert!(self.document.get("error").is_none(), "{:#}", self.document);
        self
    }

    /// Checks that it failed in this way, and was told so once.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn bad(self, tool: &str, exit: i32, code: &str) -> Self {
        assert_eq!(self.exit, exit, "{}\n{:#}", self.told, self.document);
        assert_eq!(self.document["error"]["tool"], tool, "{:#}", self.document);
        assert_eq!(self.document["error"]["code"], code, "{:#}", self.document);
        assert_eq!(self.told.matches(": error: ").count(), 1, "{}", self.told);
        assert!(self.document["error"]["hint"].is_string(), "{:#}", self.document["error"]);
        self
    }
}

impl App {
    /// An application whose source is a copy of `app/`, committed to a git repository of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn copy(name: &'static str, port: u16) -> Self {
        let app = Self::empty(name, port);
        let listed =
            run(Command::new("git").args(["ls-files", "-z"]).current_dir(project().join("app")));
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            let to = app.source().join(file);
            std::fs::create_dir_all(to.parent().expect("below")).expect("created");
            std::fs::copy(project().join("app").join(file), &to).expect("copied");
        }
        app.commit("as it is");
        app
    }

    /// An application without any source yet.
    ///
    /// # Panics
    /// When its directory cannot be made.
    #[must_use]
    pub fn empty(name: &'static str, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let app = Self { name, port, directory };
        std::fs::create_dir(app.source()).expect("created");
        app
    }

    /// The directory of its source.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.directory.path().join(self.name)
    }

    /// A path beside the source, for what is no part of the image.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a text in a file of the source.
    ///
    /// # Panics
    /// When the text is not in it.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.source().join(file);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{from} is not in {file}");
        std::fs::write(path, text.replace(from, to)).expect("written");
    }

    /// Writes a file of the source.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.source().join(file), text).expect("written");
    }

    /// Commits the source as it is.
    ///
    /// # Panics
    /// When git fails.
    pub fn commit(&self, message: &str) -> String {
        let git = |args: &[&str]| {
            run(Command::new("git")
                .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false"])
                .args(args)
                .current_dir(self.source()))
        };
        git(&["init", "-q"]);
        git(&["add", "-A"]);
        git(&["commit", "-q", "--allow-empty", "-m", message]);
        git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The arguments with which remote-swap reaches the application server.
    #[must_use]
    pub fn ssh(&self) -> String {
        format!(
            "--host {} --identity {} --known-hosts {}",
            from_run_sh("LAB_SSH"),
            from_run_sh("LAB_SSH_KEY"),
            from_run_sh("LAB_KNOWN_HOSTS"),
        )
    }

    /// The whole pipeline, as a shell line; the words are further arguments of each tool.
    #[must_use]
    pub fn pipeline(&self, more: &More<'_>) -> String {
        format!(
            "imgbuild {source} {pip} {build} | ecrlogin --ensure-repository {login} | imgpush {push} \
             | remote-swap {ssh} --publish {port}:5000 {swap} | healthwait {wait}",
            source = self.source().display(),
            pip = pip_ca(),
            build = more.build,
            login = more.login,
            push = more.push,
            ssh = self.ssh(),
            port = self.port,
            swap = more.swap,
            wait = more.wait,
        )
    }

    /// Runs the whole pipeline in plain `sh`.
    ///
    /// # Panics
    /// When it prints no document.
    #[must_use]
    pub fn deploy(&self, more: &More<'_>) -> Run {
        Run::of(&process::without_input(&mut shell(&self.pipeline(more))))
    }

    /// Asks the application through its published port, as the world does.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        http_get(&from_run_sh("LAB_APP_ADDR"), self.port, path)
    }

    /// The application's answer at `/health`, as JSON.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn health(&self) -> Value {
        let (_, body) = self.get("/health").expect("it answers");
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // The lab goes with its run; a test that is repeated on a lab finds none of the old.
        let label = format!("label=dev.slipway.app={}", self.name);
        let listed = app_engine(&["ps", "-aq", "--filter", &label]);
        for id in listed.split_whitespace() {
            let _ = app_engine(&["rm", "-f", "-v", id]);
        }
        // That of a front: an engine has few ranges of addresses.
        let listed = app_engine(&["network", "ls", "-q", "--filter", &label]);
        for id in listed.split_whitespace() {
            let _ = app_engine(&["network", "rm", id]);
        }
        for label in ["record", "key-of"] {
            let label = format!("label=dev.slipway.{label}={}", self.name);
            let listed = app_engine(&["volume", "ls", "-q", "--filter", &label]);
            for name in listed.split_whitespace() {
                let _ = app_engine(&["volume", "rm", "-f", name]);
            }
        }
        let label = format!("label=dev.slipway.app={}", self.name);
        let listed = app_engine(&["network", "ls", "-q", "--filter", &label]);
        for id in listed.split_whitespace() {
            let _ = app_engine(&["network", "rm", id]);
        }
    }
}

/// Further arguments of the tools of a pipeline.
#[derive(Default)]
pub struct More<'a> {
    /// Of imgbuild.
    pub build: &'a str,
    /// Of ecrlogin.
    pub login: &'a str,
    /// Of imgpush.
    pub push: &'a str,
    /// Of remote-swap.
    pub swap: &'a str,
    /// Of healthwait.
    pub wait: &'a str,
}

/// Where pip needs the CA of a TLS proxy it is handed to the build.
#[must_use]
pub fn pip_ca() -> String {
    match std::env::var("PIP_CERT") {
        Ok(path) if Path::new(&path).is_file() => format!("--secret id=pip_ca,src={path}"),
        _ => String::new(),
    }
}

/// A line for plain `sh`, with the tools on the search path.
#[must_use]
pub fn shell(line: &str) -> Command {
    let path =
        format!("{}:{}", from_run_sh("SLIPWAY_BIN_DIR"), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("PATH", path);
    command
}

/// The Docker client against the application server's engine, as root would use it there.
///
/// # Panics
/// When the client fails.
pub fn app_engine(args: &[&str]) -> String {
    run(Command::new("docker").args(args).env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")))
}

/// The Docker client against the engine of the CI server.
///
/// # Panics
/// When the client fails.
pub fn ci_engine(args: &[&str]) -> String {
    run(Command::new("docker").args(args).env("DOCKER_HOST", from_run_sh("DOCKER_HOST")))
}

/// Runs a command and answers its stdout.
///
/// # Panics
/// When it fails, with what it told.
pub fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// One plain HTTP request.
///
/// # Errors
/// When nothing answers within 5 seconds.
pub fn http_get(host: &str, port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("not HTTP"))?;
    Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
}
