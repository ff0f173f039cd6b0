//! Podman's service, which speaks Docker's API.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::process::until;

/// Podman with images of its own; ends with the test.
pub struct Podman {
    environment: Vec<(String, String)>,
    service: Child,
    directory: tempfile::TempDir,
}

impl Podman {
    /// Starts it with this beside its environment, such as a proxy.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(environment: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut podman = podman(directory.path(), &environment);
        podman.args(["system", "service", "--time", "0"]);
        podman.arg(format!("unix://{}/sock", directory.path().display()));
        let service = podman.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Self { environment, service, directory };
        until("podman's socket", || {
            std::os::unix::net::UnixStream::connect(started.directory.path().join("sock")).ok()
        });
        started
    }

    /// What `DOCKER_HOST` is for it.
    pub fn host(&self) -> String {
        format!("unix://{}/sock", self.directory.path().display())
    }

    /// Runs a command of podman on the same images; answers its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, args: &[&str]) -> String {
        crate::lab::run(podman(self.directory.path(), &self.environment).args(args))
    }

    /// Gives it an image that the lab's engine has.
    ///
    /// # Panics
    /// If either fails.
    pub fn load(&self, id: &str) {
        let archive = self.directory.path().join("archive.tar");
        let path = archive.to_str().unwrap();
        crate::lab::ci_engine(&["save", "-o", path, id]);
        self.run(&["load", "-i", path]);
        std::fs::remove_file(archive).unwrap();
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

fn podman(directory: &Path, environment: &[(String, String)]) -> Command {
    let mut podman = Command::new("podman");
    for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        podman.arg(option).arg(directory.join(name));
    }
    podman.args(["--storage-driver", "vfs"]).envs(environment.iter().cloned());
    podman
}
