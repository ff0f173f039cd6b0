//! After a whole run nothing that it left behind holds a secret: not the registry's token, not
//! what went through `--secret`, `--env-file` and `--env NAME`.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use slipway_tests::from_run_sh;
use slipway_tests::lab::{App, Run, app_engine, pip_ca, run, shell};
use slipway_tests::process::{as_root, without_input};

const BUILD: &str = "canary-of-build-3f9a1c";
const FILE: &str = "canary-of-env-file-77b2e0";
const NAMED: &str = "canary-of-env-name-c04d55";

/// What every process's command line is, all the time until told to stop; answers those that
/// held one of the secrets.
fn watch_command_lines(secrets: &[String], stop: &AtomicBool) -> Vec<String> {
    let mut found = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if secrets.iter().any(|secret| line.contains(secret.as_str())) {
                found.push(line);
            }
        }
    }
    found
}

/// Whether the path is one where an engine keeps the configuration of a container: what a container
/// is given in its environment has to stand there, for the engine to start it again. The records
/// of deploys have it, too, for a rollback when the container is gone: they are labels of volumes,
/// all of which the engine keeps in one database that root alone may read.
fn is_record_of_container(path: &str) -> bool {
    let engine = format!("{}/app/root", from_run_sh("LAB_DIR"));
    let Some(path) = path.strip_prefix(&engine) else { return false };
    (path.starts_with("/var/lib/docker/containers/") && path.ends_with("/config.v2.json"))
        || path == "/var/lib/docker/volumes/metadata.db"
        || path.starts_with("/var/lib/docker/containerd/daemon/io.containerd.metadata")
        || path.starts_with("/run/docker/containerd/daemon/io.containerd.runtime")
}

/// The files below these directories that hold the secret, but for image layers.
fn grep(secret: &str, directories: &[String]) -> Vec<String> {
    let grep = ["grep", "-rlaF", "--exclude-dir=overlay2", "--devices=skip", secret];
    let output = as_root(&grep, &[]).args(directories).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // 0: found, 1: not found; 2 also where a file went away in the middle.
    assert!(output.status.code().is_some(), "{told}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn no_secret_is_left_behind() {
    let app = App::copy("vault", 8110);
    app.edit(
        "Dockerfile",
        "USER 10001",
        "RUN --mount=type=secret,id=canary test \"$(cat /run/secrets/canary)\" = canary-of-build-\"3f9a1c\"\nUSER 10001",
    );
    app.commit("use a build secret");
    std::fs::write(app.beside("build-secret"), BUILD).unwrap();
    std::fs::write(app.beside("env"), format!("FROM_FILE={FILE}\n")).unwrap();
    let token = format!("{}-auth-token", &from_run_sh("LAB_REGISTRY")[..12]);
    let secrets = [BUILD, FILE, NAMED, &token].map(str::to_owned);

    // Every document between the stages is saved as a careful user would: by a file, not a pipe.
    let saved = app.beside("saved");
    std::fs::create_dir(&saved).unwrap();
    let line = format!(
        "cd {saved} && imgbuild {source} {pip} --secret id=canary,src={secret} >1.json 2>1.log \
         && ecrlogin --ensure-repository <1.json 2>2.log | imgpush >3.json 2>3.log \
         && ecrlogin <3.json 2>4.log | remote-swap {ssh} --publish 8110:5000 --env-file {env} --env FROM_NAME >5.json 2>5.log; \
         healthwait <5.json 2>6.log | tee 6.json",
        saved = saved.display(),
        source = app.source().display(),
        pip = pip_ca(),
        secret = app.beside("build-secret").display(),
        ssh = app.ssh(),
        env = app.beside("env").display(),
    );
    let stop = AtomicBool::new(false);
    let (output, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch_command_lines(&secrets, &stop));
        let output = without_input(shell(&line).env("FROM_NAME", NAMED));
        stop.store(true, Ordering::Relaxed);
        (output, watcher.join().unwrap())
    });
    let logs = run(Command::new("sh").arg("-c").arg(format!("cat {}/*.log", saved.display())));
    let run = Run::of(&output);
    assert_eq!(run.exit, 0, "{logs}\n{:#}", run.document);
    assert_eq!(seen, Vec::<String>::new(), "a secret stood in a command line");

    // The secrets did arrive where they are used.
    let container = run.document["deploy"]["hosts"][0]["container_id"].as_str().unwrap();
    let env = app_engine(&["inspect", "-f", "{{json .Config.Env}}", container]);
    assert!(env.contains(FILE) && env.contains(NAMED), "{env}");

    let lab = from_run_sh("LAB_DIR");
    let places = [saved.display().to_string(), lab.clone()];
    for secret in &secrets {
        let found: Vec<String> = grep(secret, &places)
            .into_iter()
            .filter(|path| !((secret == FILE || secret == NAMED) && is_record_of_container(path)))
            // The engine hands a HEALTHCHECK to its runtime in a file that is gone with its run.
            .filter(|path| !path.contains("/tmp/runc-process") || Path::new(path).exists())
            .collect();
        assert_eq!(found, Vec::<String>::new(), "{secret} was left behind");
    }

    // The search itself works: it finds what it is known to find.
    assert!(!grep(FILE, &[format!("{lab}/app/root/var/lib/docker/containers")]).is_empty());
}

#[test]
fn a_failing_release_that_prints_its_secrets_does_not_put_them_into_the_evidence() {
    let app = App::copy("gossip", 8111);
    app.edit("webapp/__init__.py", "def create_app", "import os\nprint('it is', os.environ['FROM_NAME'], flush=True)\nraise SystemExit(3)\n\n\ndef create_app");
    let line =
        app.pipeline(&slipway_tests::lab::More { swap: "--env FROM_NAME", ..Default::default() });
    let output = without_input(shell(&line).env("FROM_NAME", NAMED));
    let bad = Run::of(&output).bad("remote-swap", 1, "candidate_exited");
    let all = format!("{}{}", bad.document, bad.told);
    assert!(!all.contains(NAMED), "{all}");
    assert!(bad.document["error"]["evidence"].to_string().contains("it is"), "{:#}", bad.document);
}
