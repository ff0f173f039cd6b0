//! Podman, by its Docker API.

use std::process::{Child, Stdio};

use slipway_tests::lab::{Run, ci_engine};
use slipway_tests::process::{until, with_input};

use crate::site::{Site, document, image, layered, named, token};
use slipway_tests::from_run_sh;

/// Podman's service with images of its own; ends with the test.
struct Podman {
    site: Site,
    service: Child,
    directory: tempfile::TempDir,
}

impl Podman {
    fn start() -> Self {
        let (site, directory) = (Site::new(), tempfile::tempdir().unwrap());
        let mut podman = site.other("podman");
        podman.args(Self::places(&directory)).args(["system", "service", "--time", "0"]);
        podman.arg(format!("unix://{}/sock", directory.path().display()));
        let service = podman.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("podman's socket", || {
            std::os::unix::net::UnixStream::connect(directory.path().join("sock")).ok()
        });
        Self { site, service, directory }
    }

    fn places(directory: &tempfile::TempDir) -> Vec<String> {
        let place = |name: &str| directory.path().join(name).display().to_string();
        [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")]
            .iter()
            .flat_map(|(option, name)| [(*option).to_owned(), place(name)])
            .chain(["--storage-driver".to_owned(), "vfs".to_owned()])
            .collect()
    }

    /// Gives it an image that the lab's engine has.
    fn load(&self, id: &str) {
        let archive = self.directory.path().join("archive.tar");
        ci_engine(&["save", "-o", archive.to_str().unwrap(), id]);
        let mut load = self.site.other("podman");
        load.args(Self::places(&self.directory)).arg("load").arg("-i").arg(&archive);
        let loaded = load.output().unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        std::fs::remove_file(archive).unwrap();
    }

    fn push(&self, id: &str, repository: &str) -> Run {
        let mut push = self.site.tool();
        push.env("DOCKER_HOST", format!("unix://{}/sock", self.directory.path().display()));
        let document = document(id, repository, &from_run_sh("LAB_REGISTRY"), &token());
        Run::of(&with_input(&mut push, &document.to_string()))
    }

    /// The image that the registry has under this name.
    fn there(&self, repository: &str) -> String {
        let name = format!("docker://{}/{}:1", from_run_sh("LAB_REGISTRY"), named(repository));
        let mut skopeo = self.site.other("skopeo");
        skopeo.args(["inspect", "--raw", "--creds", &format!("AWS:{}", token()), &name]);
        let found = skopeo.output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let manifest: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
        manifest["config"]["digest"].as_str().unwrap().to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

#[test]
fn what_it_has_is_pushed_by_it_or_directly() {
    let podman = Podman::start();
    for (repository, id, via) in [
        ("podman/small", image("podman"), "engine"),
        ("podman/large", layered("scratch", &[("one", 20_000_000), ("two", 4)]), "direct"),
    ] {
        podman.load(&id);
        let pushed = podman.push(&id, repository).good();
        assert_eq!(pushed.document["push"]["via"], via, "{}", pushed.told);
        let counted = pushed.document["push"]["layers_uploaded"].as_u64();
        assert_eq!(counted, (via == "direct").then_some(2), "its engine tells nothing of layers");
        assert_eq!(podman.there(repository), id);
        let again = podman.push(&id, repository).good();
        assert_eq!(again.document["push"]["already_present"], true);
        assert_eq!(again.document["push"]["digest"], pushed.document["push"]["digest"]);
    }
}
