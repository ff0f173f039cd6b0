//! What users copy from `examples/` works as it stands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use slipway_tests::lab::{App, run, shell};
use slipway_tests::process::without_input;
use slipway_tests::{assert_valid, from_run_sh, project};

/// A user's repository: `app/` and `examples/`, committed; and the user's home with key and known
/// hosts where ssh looks for them.
struct Checkout {
    directory: tempfile::TempDir,
    // Owns the application's containers on the server: `examples/slipway.json` calls it web.
    _web: App,
}

impl Checkout {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("repository");
        let listed = run(Command::new("git")
            .args(["ls-files", "-z", "app", "examples"])
            .current_dir(project()));
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            let to = top.join(file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(project().join(file), to).unwrap();
        }
        for args in [
            &["init", "-q"][..],
            &["add", "-A"],
            &[
                "-c",
                "user.name=Test",
                "-c",
                "user.email=test@example.com",
                "commit",
                "-qm",
                "first",
            ],
        ] {
            run(Command::new("git").args(args).current_dir(&top));
        }
        let ssh = directory.path().join("home/.ssh");
        std::fs::create_dir_all(&ssh).unwrap();
        std::fs::copy(from_run_sh("LAB_SSH_KEY"), ssh.join("id_ed25519")).unwrap();
        std::fs::copy(from_run_sh("LAB_KNOWN_HOSTS"), ssh.join("known_hosts")).unwrap();
        Self { directory, _web: App::empty("web", 8000) }
    }

    fn top(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Runs a line in the repository, as its user.
    fn sh(&self, line: &str, env: &[(&str, &Path)]) -> Output {
        let mut command = shell(line);
        command
            .current_dir(self.top())
            .env("HOME", self.home())
            .env("DEPLOY_HOST", from_run_sh("LAB_SSH"))
            .envs(env.iter().copied());
        // What the quickstart gives as a flag; here as a user who copies the example would.
        if let Some((_, secret)) = slipway_tests::lab::pip_ca().split_once(' ') {
            command.env("IMGBUILD_SECRET", secret);
        }
        let output = without_input(&mut command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {told}");
        output
    }

    fn document(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.top().join(name)).unwrap();
        let document = serde_json::from_str(&text).unwrap();
        assert_valid(&document);
        document
    }
}

/// The shell steps of the Jenkinsfile, in their order.
fn jenkins_steps() -> Vec<String> {
    let text = std::fs::read_to_string(project().join("examples/Jenkinsfile")).unwrap();
    let mut steps = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("sh '") {
        let after = &rest[at + 3..];
        let quote = if after.starts_with("'''") { "'''" } else { "'" };
        let body = &after[quote.len()..];
        let end = body.find(quote).expect("the step ends");
        steps.push(body[..end].to_owned());
        rest = &body[end..];
    }
    steps
}

#[test]
fn deploy_sh_and_the_jenkinsfile_deploy() {
    let checkout = Checkout::new();
    checkout.sh("examples/deploy.sh", &[]);
    let first = checkout.document("release.json");
    assert_eq!(first["deploy"]["hosts"][0]["outcome"], "deployed", "{first:#}");
    assert_eq!(first["health"]["targets"][0]["version"], first["image"]["tag"]);
    assert_eq!(first["settings"]["remote-swap"]["app"], "web", "the settings travel");

    // Jenkins runs each step in a shell of its own, with -xe and /dev/null as stdin, and archives
    // the documents.
    let steps = jenkins_steps();
    assert_eq!(steps.len(), 5, "{steps:?}");
    let env_file = checkout.directory.path().join("app-env");
    std::fs::write(&env_file, "GREETING_OF=jenkins\n").unwrap();
    let key = checkout.home().join(".ssh/id_ed25519");
    let known = checkout.home().join(".ssh/known_hosts");
    let env: [(&str, &Path); 3] =
        [("SSH_KEY_FILE", &key), ("APP_ENV", &env_file), ("KNOWN_HOSTS", &known)];
    for step in &steps {
        checkout.sh(&format!("set -xe\n{step}"), &env);
    }
    let last = checkout.document("5-healthwait.json");
    assert_eq!(
        last["deploy"]["hosts"][0]["outcome"], "deployed",
        "its environment changed: {last:#}"
    );
    assert_eq!(last["deploy"]["hosts"][0]["previous"], first["push"]["reference"]);
    for archived in ["1-imgbuild", "2-ecrlogin", "3-imgpush", "4-remote-swap", "5-healthwait"] {
        let document = checkout.document(&format!("{archived}.json"));
        assert!(document["registry"].get("password").is_none(), "{archived} holds the password");
    }
}
