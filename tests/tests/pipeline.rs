//! The whole pipeline over the lab's real engines, registry, sshd and ECR API, in plain `sh`.

use slipway_tests::from_run_sh;
use slipway_tests::lab::{App, More, Run, app_engine, shell};
use slipway_tests::process::without_input;

#[test]
fn a_first_deploy_and_a_changed_one() {
    let app = App::copy("shop", 8101);
    let first = app.deploy(&More::default()).good();
    let revision = first.document["image"]["revision"].as_str().unwrap().to_owned();
    assert_eq!(first.document["image"]["tag"], revision[..12]);
    assert_eq!(first.document["image"]["dirty"], false);
    assert_eq!(first.document["registry"]["repository"], "shop");
    assert_eq!(first.document["deploy"]["hosts"][0]["outcome"], "deployed");
    assert_eq!(app.health()["version"], revision[..12]);

    // Identity is a digest: what was built is what was pushed is what runs.
    let reference = first.document["push"]["reference"].as_str().unwrap();
    assert!(reference.ends_with(first.document["push"]["digest"].as_str().unwrap()));
    let container = first.document["deploy"]["hosts"][0]["container_id"].as_str().unwrap();
    assert_eq!(app_engine(&["inspect", "-f", "{{.Config.Image}}", container]).trim(), reference);
    let image = app_engine(&["inspect", "-f", "{{.Image}}", container]);
    assert_eq!(image.trim(), first.document["image"]["id"]);
    assert_eq!(first.document["health"]["targets"][0]["version"], revision[..12]);

    // The same again changes nothing.
    let again = app.deploy(&More::default()).good();
    assert_eq!(again.document["deploy"]["hosts"][0]["outcome"], "unchanged");
    assert_eq!(again.document["deploy"]["hosts"][0]["container_id"], container);
    assert_eq!(again.document["image"]["id"], first.document["image"]["id"]);
    assert_eq!(again.document["push"]["already_present"], true);

    // A change that is not committed is a release of its own, and says so.
    app.edit("webapp/__init__.py", "Hello from Slipway", "Hello again");
    let changed = app.deploy(&More::default()).good();
    assert_eq!(changed.document["image"]["dirty"], true);
    let tag = changed.document["image"]["tag"].as_str().unwrap();
    assert!(tag.starts_with(&format!("{}-dirty-", &revision[..12])), "{tag}");
    let host = &changed.document["deploy"]["hosts"][0];
    assert_eq!(host["previous"], reference);
    assert!(host.get("unserved_ms").is_none(), "the front never stops: {host}");
    assert!(app.get("/").unwrap().1.contains("Hello again"));
    assert_eq!(app.health()["version"], tag);

    // One container serves behind the front, and one is kept to go back to.
    let label = "label=dev.slipway.app=shop";
    assert_eq!(app_engine(&["ps", "-q", "--filter", label]).lines().count(), 2);
    assert_eq!(app_engine(&["ps", "-aq", "--filter", label]).lines().count(), 3);
}

#[test]
fn a_broken_build_stops_at_once() {
    let app = App::copy("cellar", 8102);
    let good = app.deploy(&More::default()).good();
    app.write(
        "Dockerfile",
        "FROM python:3-slim\nRUN echo one \\\n && echo the reason >&2 && exit 7\n",
    );
    let bad = app.deploy(&More::default()).bad("imgbuild", 1, "build_failed");
    let error = &bad.document["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("step 2/2") && message.contains("Dockerfile line 2"), "{message}");
    assert!(message.contains("exit code 7"), "{message}");
    assert!(error["evidence"].to_string().contains("the reason"), "{error}");
    for later in ["registry", "push", "deploy", "health"] {
        assert!(bad.document.get(later).is_none(), "{later} was done: {:#}", bad.document);
    }
    for tool in ["ecrlogin", "imgpush", "remote-swap", "healthwait"] {
        assert!(!bad.told.contains(&format!("{tool}:")), "{tool} says something: {}", bad.told);
    }
    assert_eq!(app.health()["version"], good.document["image"]["tag"]);
}

#[test]
fn a_release_that_is_not_ready_leaves_the_old_one_serving() {
    let app = App::copy("market", 8103);
    let good = app.deploy(&More::default()).good();
    let serving = good.document["deploy"]["hosts"][0]["container_id"].clone();
    app.edit("webapp/__init__.py", "Hello from Slipway", "Hello, broken");
    let more = More {
        swap: "--env APP_REQUIRED_SETTINGS=DATABASE_URL --health-timeout 6s",
        ..More::default()
    };
    let bad = app.deploy(&more).bad("remote-swap", 1, "unhealthy");
    let evidence = bad.document["error"]["evidence"].to_string();
    assert!(evidence.contains("503") && evidence.contains("missing: DATABASE_URL"), "{evidence}");
    assert_eq!(bad.document["deploy"]["hosts"][0]["outcome"], "failed");
    assert!(bad.document.get("health").is_none(), "healthwait has nothing to say");
    assert_eq!(app.health()["version"], good.document["image"]["tag"]);
    let (app, release) = ("label=dev.slipway.app=market", "label=dev.slipway.role=release");
    let running = app_engine(&["ps", "-q", "--no-trunc", "--filter", app, "--filter", release]);
    assert_eq!(running.trim(), serving, "the old container was not even restarted");
}

#[test]
fn a_release_that_crashes_is_given_up_with_its_last_words() {
    let app = App::copy("quarry", 8104);
    let good = app.deploy(&More::default()).good();
    app.edit("webapp/__init__.py", "Hello from Slipway", "Hello, crashing");
    let more = More { swap: "--env APP_WORKERS=x", ..More::default() };
    let bad = app.deploy(&more).bad("remote-swap", 1, "candidate_exited");
    let evidence = &bad.document["error"]["evidence"];
    assert!(evidence.to_string().contains("APP_WORKERS"), "the log's tail: {evidence:#}");
    assert_eq!(app.health()["version"], good.document["image"]["tag"]);
    let label = "label=dev.slipway.app=quarry";
    assert_eq!(
        app_engine(&["ps", "-aq", "--filter", label]).lines().count(),
        2,
        "only the front and what serves"
    );
}

/// A pipeline up to the push, whose document the failures of the swap begin with.
fn pushed(app: &App) -> String {
    let line = app.pipeline(&More::default());
    let (push, _) = line.split_once("| remote-swap").unwrap();
    push.to_owned()
}

#[test]
fn a_wrong_host_key_is_refused_before_anything_is_sent() {
    let app = App::copy("harbor", 8105);
    let push = pushed(&app);
    let known = app.beside("known_hosts");
    let address = from_run_sh("LAB_APP_ADDR");
    // A good key, but not this host's.
    slipway_tests::lab::run(
        std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(app.beside("other")),
    );
    let key = std::fs::read_to_string(app.beside("other.pub")).unwrap();
    std::fs::write(&known, format!("{address} {key}")).unwrap();
    let swap = |options: &str| {
        let line = format!(
            "{push} | remote-swap --host {} --identity {} {options} --publish 8105:5000 | healthwait",
            from_run_sh("LAB_SSH"),
            from_run_sh("LAB_SSH_KEY"),
        );
        Run::of(&without_input(&mut shell(&line)))
    };
    let wrong = format!("--known-hosts {}", known.display());
    let bad = swap(&wrong).bad("remote-swap", 4, "host_key_mismatch");
    assert!(
        bad.document["error"]["message"].as_str().unwrap().contains("SHA256:"),
        "{:#}",
        bad.document
    );
    let pinned = "--host-key SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let _ = swap(pinned).bad("remote-swap", 4, "host_key_mismatch");
    std::fs::write(&known, "").unwrap();
    let _ = swap(&wrong).bad("remote-swap", 4, "host_key_unknown");
    assert_eq!(app_engine(&["ps", "-aq", "--filter", "label=dev.slipway.app=harbor"]), "");
}

#[test]
fn a_wrong_registry_password_is_refused_at_push_and_pull() {
    let app = App::copy("tannery", 8106);
    let line = app.pipeline(&More::default());
    let wrong = r#"| sed 's/"password":"[^"]*"/"password":"wrong?~>"/' |"#;
    // With AWS credentials at hand it would get a fresh one by itself.
    let without =
        "env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED=true";
    let at_push = line.replacen("| imgpush", &format!("{wrong} {without} imgpush"), 1);
    let bad = Run::of(&without_input(&mut shell(&at_push))).bad("imgpush", 4, "registry_denied");
    assert!(!bad.told.contains("wrong?~>"), "{}", bad.told);
    let at_pull = line.replacen("| remote-swap", &format!("{wrong} remote-swap"), 1);
    let bad =
        Run::of(&without_input(&mut shell(&at_pull))).bad("remote-swap", 4, "registry_denied");
    assert!(!bad.told.contains("wrong?~>"), "{}", bad.told);
    assert_eq!(app_engine(&["ps", "-aq", "--filter", "label=dev.slipway.app=tannery"]), "");
}

#[test]
fn a_token_that_ran_out_is_renewed_for_all_that_follows() {
    let app = App::copy("renewed", 8108);
    let line = app.pipeline(&More::default());
    let old = r#"| sed 's/"password":"[^"]*"/"password":"ran out"/' | imgpush"#;
    let line = line.replacen("| imgpush", old, 1);
    let run = Run::of(&without_input(&mut shell(&line))).good();
    assert!(run.told.contains("the token is not valid any more"), "{}", run.told);
    assert_eq!(run.document["deploy"]["hosts"][0]["outcome"], "deployed");
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let app = App::copy("mine", 8107);
    // A port of the server that nothing listens on.
    let line = app.pipeline(&More::default()).replace(
        &format!("--host {}", from_run_sh("LAB_SSH")),
        &format!("--host {}:9", from_run_sh("LAB_SSH")),
    );
    let bad = Run::of(&without_input(&mut shell(&line))).bad("remote-swap", 5, "host_unreachable");
    assert_eq!(bad.document["error"]["retryable"], true);
    assert_eq!(bad.document["deploy"]["hosts"][0]["outcome"], "failed");
}
