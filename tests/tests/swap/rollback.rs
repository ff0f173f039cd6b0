//! Back to what served before, whole, with and without the image, the container and the registry.

use super::options::{Network, configured};
use super::*;

use slipway_tests::lab::shell;
use slipway_tests::process::without_input;

/// Goes back, without any document and so without credentials for the registry.
fn back(app: &App, args: &[&str]) -> Run {
    let mut command = app.bare();
    command.args(["rollback", "--no-input"]).args(app.ssh().split(' ')).args(args);
    Run::of(&without_input(&mut command))
}

/// Goes back with a document that holds credentials.
fn back_with(app: &App, release: &Release, args: &[&str]) -> Run {
    let mut document = release.document.clone();
    document["registry"]["password"] = json!(password());
    let mut command = app.bare();
    command.arg("rollback").args(app.ssh().split(' ')).args(args);
    Run::of(&with_input(&mut command, &document.to_string()))
}

fn container(run: &Run) -> &str {
    text_of(host(run), "container_id")
}

/// How often somebody has asked the registry for a repository.
fn asked(release: &Release) -> usize {
    let log = std::fs::read_to_string(format!("{}/log/registry.log", from_run_sh("LAB_DIR")));
    let repository = text_of(&release.document["push"], "repository");
    log.unwrap().matches(&format!("/v2/{repository}/")).count()
}

#[test]
fn each_step_back_restores_the_whole_specification_without_the_registry() {
    let (_network, _volume) = (Network::new("swap-return"), Volume::new("swap-return"));
    let app = site("swap-return", 8160);
    let returning = Release::new("returning", "");
    std::fs::write(app.beside("env"), "FROM_FILE=canary of a file\nQUOTED=\"x\"\n").unwrap();
    let env_file = app.beside("env");
    let mut first = app.swap(&[
        "--env-file",
        env_file.to_str().unwrap(),
        "--env=NAMED",
        "--env=NOTE=the first",
        "--volume=swap-return:/data",
        "--volume=/etc/services:/bound/services:ro",
        "--network=swap-return",
        "--memory=64m",
        "--cpus=0.75",
        "--log-driver=json-file",
        "--log-opt=max-size=1m",
        "--restart=on-failure:4",
        "--stop-timeout=7s",
    ]);
    let first = deploy(first.env("NAMED", "canary of a name"), &returning).good();
    let whole = configured(container(&first));
    app.deployed(two(), &["--memory", "48m", "--env", "NOTE=the second"]);
    app.deployed(one(), &[]);

    let before = asked(&returning);
    assert!(before > 0, "the log tells of pulls");
    let second = back(&app, &[]).good();
    assert_eq!(second.document["deploy"]["kind"], "rollback");
    assert_eq!(second.document["deploy"]["app"], app.name);
    assert_eq!(host(&second)["outcome"], "deployed");
    assert_eq!(host(&second)["reference"], two().reference());
    assert_eq!(host(&second)["previous"], one().reference());
    assert_eq!(app.get("/").unwrap().1, "two the second");

    let third = back(&app, &[]).good();
    assert_eq!(app.get("/").unwrap().1, "returning the first");
    assert_eq!(configured(container(&third)), whole);
    assert_ne!(container(&third), container(&first), "a container of its own");
    assert_eq!(asked(&returning), before, "the registry is not needed");

    let end = back(&app, &[]).bad("remote-swap", 6, "rollback_impossible");
    assert_eq!(host(&end)["outcome"], "failed");
    assert_eq!(app.get("/").unwrap().1, "returning the first");
    // What healthwait is told suits what serves.
    assert_eq!(host(&third)["url"], format!("http://{}:8160", from_run_sh("LAB_APP_ADDR")));
    assert_eq!(third.document["deploy"]["health_path"], "/health");
    for run in [&second, &third, &end] {
        assert!(!format!("{}{}", run.told, run.document).contains("canary"), "{}", run.told);
    }
}

#[test]
fn after_pruning_it_is_pulled_again_with_the_documents_credentials() {
    let app = site("swap-pruned", 8161);
    let gone = Release::new("pruned", "LABEL slipway.test=pruned");
    let digest = text_of(&gone.document["push"], "digest").to_owned();
    let first = app.deploy_release(&gone, &["--env", "NOTE=kept"]).good();
    let id = text_of(&first.document["deploy"], "deploy_id");
    app.deployed(two(), &[]);
    // As on the whole server, but for what the other tests have there.
    let ours = format!("label=dev.slipway.app={}", app.name);
    app_engine(&["container", "prune", "-f", "--filter", &ours]);
    app_engine(&["image", "prune", "-af", "--filter", "label=slipway.test=pruned"]);
    assert_eq!(app.containers().len(), 1);

    let serving = app.assert_serves(two());
    let denied = back(&app, &["--to", &digest]).bad("remote-swap", 6, "rollback_impossible");
    let message = text_of(&denied.document["error"], "message");
    assert!(message.contains("cannot be pulled"), "{message}");
    let unknown = back(&app, &["--to", "20200101-000000-000-0000"]);
    let unknown = unknown.bad("remote-swap", 6, "rollback_impossible");
    assert!(text_of(&unknown.document["error"], "message").contains(id), "{}", unknown.told);
    assert_eq!(app.assert_serves(two()), serving, "nothing was changed");

    let done = back_with(&app, &gone, &["--to", &digest]).good();
    assert_eq!(host(&done)["reference"], gone.reference());
    assert_eq!(app.get("/").unwrap().1, "pruned kept");
    assert!(!done.told.contains(&password()));
}

#[test]
fn what_was_never_deployed_cannot_be_gone_back_from() {
    let app = site("swap-nowhere", UNPUBLISHED);
    let nothing = back(&app, &[]).bad("remote-swap", 6, "rollback_impossible");
    assert!(text_of(&nothing.document["error"], "message").contains(app.name));
    app.deployed(one(), &[]);
    let only = back(&app, &[]).bad("remote-swap", 6, "rollback_impossible");
    assert!(only.told.contains("nothing that served before it"), "{}", only.told);
    assert_eq!(app.containers().len(), 1);
}

/// Deploys in a real pipe, waits for a target, and undoes the deploy if that does not answer.
pub(super) fn piped_by(strategy: &str, app: &App, release: &Release, target: &str) -> Run {
    let document = app.beside("document.json");
    std::fs::write(&document, release.document.to_string()).unwrap();
    let ssh = app.ssh();
    let line = format!(
        "remote-swap --app {name} {ssh} --strategy {strategy} --soak 0s --publish {port}:{INSIDE} <{document} \
         | healthwait {target} --timeout 2s | remote-swap rollback --on-error {ssh}",
        name = app.name,
        port = app.port,
        document = document.display(),
    );
    Run::of(&without_input(&mut shell(&line)))
}

fn piped(app: &App, release: &Release, target: &str) -> Run {
    piped_by("recreate", app, release, target)
}

#[test]
fn a_deploy_that_healthwait_finds_bad_is_undone() {
    let app = site("swap-undo", 8162);
    let good = format!("http://{}:8162/", from_run_sh("LAB_APP_ADDR"));
    let bad = format!("http://{}:8163/", from_run_sh("LAB_APP_ADDR"));
    let first = piped(&app, one(), &good).good();
    assert_eq!(host(&first)["outcome"], "deployed", "what is well is left alone");

    let undone = piped(&app, two(), &bad);
    assert_eq!(undone.document["error"]["tool"], "healthwait", "{}", undone.told);
    assert_eq!(undone.exit, 124, "the first error's");
    assert_eq!(host(&undone)["outcome"], "rolled_back");
    let serving = app.assert_serves(one());
    assert_eq!(host(&undone)["container_id"], serving);
    assert_eq!(undone.told.matches(": error: ").count(), 1, "{}", undone.told);

    // Nothing of that document's deploy is there any more.
    let mut again = undone.document.clone();
    again["deploy"]["hosts"][0]["outcome"] = json!("deployed");
    let mut command = app.bare();
    command.args(["rollback", "--on-error"]).args(app.ssh().split(' '));
    let moved = Run::of(&with_input(&mut command, &again.to_string()));
    assert_eq!((moved.exit, &moved.document["error"]["tool"]), (124, &json!("healthwait")));
    assert!(moved.told.contains("is live here and not"), "{}", moved.told);
    assert_eq!(app.assert_serves(one()), serving);

    // One that found everything as it was has nothing to undo.
    let unchanged = piped(&app, one(), &bad);
    assert_eq!(host(&unchanged)["outcome"], "unchanged", "{}", unchanged.told);
    assert_eq!(app.assert_serves(one()), serving);
}

#[test]
fn a_first_deploy_cannot_be_undone_and_the_pipes_own_error_stays() {
    let app = site("swap-undone", 8164);
    let run = piped(&app, one(), &format!("http://{}:8163/", from_run_sh("LAB_APP_ADDR")));
    assert_eq!((run.exit, &run.document["error"]["tool"]), (124, &json!("healthwait")));
    assert_eq!(host(&run)["outcome"], "deployed");
    assert!(text_of(host(&run), "error").contains("not undone"), "{}", host(&run));
    app.assert_serves(one());
}
