//! The command that runs once before a release is switched to.

use super::*;

use slipway_tests::process::until;

/// What the container of this id sees in a file.
fn cat(id: &str, path: &str) -> String {
    app_engine(&["exec", id, "cat", path])
}

#[test]
fn it_has_the_environment_and_the_volumes_of_the_application() {
    for (strategy, name, port) in
        [("recreate", "swap-release", 8180), ("blue-green", "green-release", 8181)]
    {
        let volume = Volume::new(name);
        let app = site(name, port);
        let mount = format!("{name}:/data");
        let command =
            "echo \"migrating to $NOTE\"; echo \"$NOTE\" >>/data/migrations; cat /version";
        let args = ["--volume", &mount, "--env", "NOTE=v1", "--release-command", command];
        let swap = |more: &[&str]| {
            let mut swap = app.swap_by(strategy, &["--soak", "0s"]);
            swap.args(args).args(more);
            swap
        };
        let first = deploy(&mut swap(&[]), one()).good();
        for told in ["  | migrating to v1", "  | one"] {
            assert_eq!(first.told.matches(told).count(), 1, "{}", first.told);
        }
        let before = first.told.split("running the release command").next().unwrap();
        assert!(!before.contains("proving"), "it ran before the candidate: {}", first.told);
        let id = text_of(host(&first), "container_id");
        assert_eq!(cat(id, "/data/migrations"), "v1\n");
        assert_eq!(app.get("/").unwrap().1, "one v1");
        // Where nothing changes, nothing is to be migrated.
        let again = deploy(&mut swap(&[]), one()).good();
        assert_eq!(host(&again)["outcome"], "unchanged", "{}", again.told);
        assert_eq!(cat(id, "/data/migrations"), "v1\n");
        // Of another release it is run, by that release's image, and before it serves.
        let second = deploy(&mut swap(&[]), two()).good();
        assert!(second.told.contains("  | two"), "{}", second.told);
        assert_eq!(cat(text_of(host(&second), "container_id"), "/data/migrations"), "v1\nv1\n");
        let roles: Vec<_> = app
            .containers()
            .iter()
            .map(|one| one["Config"]["Labels"]["dev.slipway.role"].clone())
            .collect();
        assert!(!roles.contains(&json!("task")), "{roles:?}");
        assert_unlocked(&app);
        drop(app);
        drop(volume);
    }
}

#[test]
fn where_it_fails_nothing_is_switched_and_its_last_words_are_evidence() {
    for (strategy, name, port) in
        [("recreate", "swap-unreleased", 8182), ("blue-green", "green-unreleased", 8183)]
    {
        let app = site(name, port);
        let _ = deploy(&mut app.swap_by(strategy, &["--soak", "0s"]), one()).good();
        let before = app.containers();
        let command = "echo it has a reason; exit 3";
        let mut swap = app.swap_by(strategy, &["--release-command", command]);
        let bad = deploy(&mut swap, two()).bad("remote-swap", 1, "release_command_failed");
        let error = &bad.document["error"];
        assert!(text_of(error, "message").contains("exit code 3"), "{error:#}");
        assert_eq!(error["evidence"]["phase"], "release_command");
        assert_eq!(error["evidence"]["container"]["exit_code"], 3);
        assert!(error["evidence"]["log_tail"].to_string().contains("it has a reason"), "{error:#}");
        assert_eq!(bad.told.matches("it has a reason").count(), 1, "{}", bad.told);
        assert_eq!(host(&bad)["outcome"], "failed");
        assert_eq!(app.containers(), before, "{strategy}");
        assert_eq!(app.get("/").unwrap().1, "one");
        assert_unlocked(&app);

        let late = ["--release-command", "echo begun; sleep 600", "--release-timeout", "1s"];
        let late = deploy(&mut app.swap_by(strategy, &late), two());
        let late = late.bad("remote-swap", 1, "release_command_failed");
        let message = text_of(&late.document["error"], "message");
        assert!(message.contains("longer than 1 s"), "{message}");
        assert!(late.document["error"].to_string().contains("begun"), "{:#}", late.document);
        assert_eq!(app.containers(), before, "{strategy}");
        assert_eq!(app.get("/").unwrap().1, "one");
    }
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    for (strategy, name, port) in
        [("recreate", "swap-cut-task", 8184), ("blue-green", "green-cut-task", 8185)]
    {
        let app = site(name, port);
        let _ = deploy(&mut app.swap_by(strategy, &["--soak", "0s"]), one()).good();
        let before = app.containers();
        // A shell that is the first process of a container hears no SIGTERM.
        let mut swap = app.swap_by(strategy, &["--release-command", "sleep 600; true"]);
        let deploying = Deploying::new(&mut swap, two()).until_told("running the release command");
        until("the command", || running(&app, "task", ""));
        let ended = deploying.signal(Signal::TERM).bad("remote-swap", 143, "interrupted");
        assert_eq!(host(&ended)["outcome"], "failed");
        assert_eq!(app.containers(), before, "{strategy}");
        assert_eq!(app.get("/").unwrap().1, "one");
        assert_unlocked(&app);
    }
}

#[test]
fn a_secret_that_it_prints_is_told_to_nobody() {
    const CANARY: &str = "canary-of-the-release-command-77c0";
    let app = site("swap-release-secret", 8186);
    std::fs::write(app.beside("env"), format!("PASSWORD={CANARY}\n")).unwrap();
    let file = app.beside("env");
    let with = |command: &str| {
        let args = ["--env-file", file.to_str().unwrap(), "--release-command", command];
        app.deploy_release(one(), &args)
    };
    let print = "echo \"before $PASSWORD after\"; echo \"$PASSWORD\" >&2; echo \"+$PASSWORD\"";
    let good = with(print).good();
    assert!(good.told.contains("  | before [secret] after"), "{}", good.told);
    let env = inspect(text_of(host(&good), "container_id"))["Config"]["Env"].to_string();
    assert!(env.contains(CANARY), "the application has it: {env}");
    let bad = app.deploy_release(
        two(),
        &["--env-file", file.to_str().unwrap(), "--release-command", &format!("{print}; exit 4")],
    );
    let bad = bad.bad("remote-swap", 1, "release_command_failed");
    assert!(bad.document["error"]["evidence"].to_string().contains("before [secret] after"));
    for run in [&good, &bad] {
        let all = format!("{}{}", run.told, run.document);
        assert!(!all.contains(CANARY), "{all}");
    }
}
