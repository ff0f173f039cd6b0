//! What status tells, to programs and to people, and what it must not.

use super::options::Network;
use super::*;

use slipway_tests::process::without_input;

const FILE: &str = "canary-of-status-file-4e1b";
const NAMED: &str = "canary-of-status-name-90aa";

fn asking(app: &App, args: &[&str]) -> Command {
    let mut command = app.bare();
    command.args(["status", "--no-input"]).args(app.ssh().split(' ')).args(args);
    command
}

/// What status tells of the first host.
fn status(app: &App) -> Value {
    let run = Run::of(&without_input(&mut asking(app, &[]))).good();
    assert_eq!(run.document["status"]["app"], app.name);
    run.document["status"]["hosts"][0].clone()
}

fn table(app: &App) -> String {
    let output = without_input(&mut asking(app, &["--format", "table"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn drift(app: &App) -> String {
    status(app)["drift"].to_string()
}

#[test]
fn a_host_without_the_application_has_nothing_live() {
    let app = site("swap-unseen", UNPUBLISHED);
    let seen = status(&app);
    assert!(seen.get("live").is_none() && seen.get("error").is_none(), "{seen:#}");
    assert_eq!((&seen["history"], &seen["previous"]), (&json!([]), &json!([])));
    assert!(table(&app).contains("nothing is live"));
}

#[test]
fn what_is_live_by_whom_and_what_was_before() {
    let app = site("swap-seen", 8165);
    std::fs::write(app.beside("env"), format!("FROM_FILE={FILE}\n")).unwrap();
    let env_file = app.beside("env");
    let secrets = ["--env-file", env_file.to_str().unwrap(), "--env", "FROM_NAME"];
    app.deployed(one(), &[]);
    let mut second = app.swap(&secrets);
    second.env("FROM_NAME", NAMED).env("USER", "ada");
    let second = deploy(second.env("BUILD_URL", "https://ci.example/job/web/7/"), two()).good();
    // A third one fails, and prints what it was given.
    let loud = Release::new("loud", "ENTRYPOINT [\"sh\", \"-c\", \"env; exit 3\"]");
    let mut third = app.swap(&secrets);
    let third =
        deploy(third.env("FROM_NAME", NAMED), &loud).bad("remote-swap", 1, "candidate_exited");

    let seen = status(&app);
    let live = &seen["live"];
    assert_eq!(live["deploy_id"], second.document["deploy"]["deploy_id"]);
    assert_eq!(live["origin"], live["deploy_id"]);
    assert_eq!(live["reference"], two().reference());
    assert_eq!(live["digest"], two().document["push"]["digest"]);
    assert_eq!(live["tag"], two().document["image"]["tag"]);
    assert_eq!(live["container_id"], host(&second)["container_id"]);
    assert_eq!((&live["state"], &live["restarts"]), (&json!("running"), &json!(0)));
    assert!(text_of(live, "by").starts_with("ada@"), "{live}");
    assert_eq!(live["build_url"], "https://ci.example/job/web/7/");
    assert!(text_of(live, "since").ends_with('Z'));
    assert_eq!(seen["drift"], json!([]));

    let history = seen["history"].as_array().unwrap();
    let of = |key: &str| history.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("outcome"), ["failed", "deployed", "deployed"]);
    assert_eq!(of("kind"), ["deploy", "deploy", "deploy"]);
    assert_eq!(history[0]["error_code"], "candidate_exited");
    assert_eq!(seen["rollback_to"], history[2]["deploy_id"]);
    let previous = seen["previous"].as_array().unwrap();
    assert_eq!(previous.len(), 1, "{previous:#?}");
    assert_eq!(previous[0]["digest"], one().document["push"]["digest"]);
    assert_eq!(
        (&previous[0]["image_present"], &previous[0]["container_present"]),
        (&json!(true), &json!(true))
    );

    // The same for people.
    let table = table(&app);
    for text in [text_of(live, "deploy_id"), "ada@", "(next)", "candidate", "swap-seen on "] {
        assert!(table.contains(text), "{text}: {table}");
    }
    // The secrets are where they belong, and nowhere else.
    let env = inspect(text_of(live, "container_id"))["Config"]["Env"].to_string();
    assert!(env.contains(FILE) && env.contains(NAMED), "{env}");
    let labels = inspect(text_of(live, "container_id"))["Config"]["Labels"].to_string();
    let all = format!("{seen}{table}{labels}{}{}{}", third.told, third.document, second.document);
    for secret in [FILE, NAMED] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn what_was_changed_on_the_host_is_drift() {
    let _network = Network::new("swap-drift");
    let app = site("swap-drift", 8166);
    app.deployed(one(), &["--memory", "64m"]);
    let id = app.assert_serves(one());
    assert_eq!(status(&app)["drift"], json!([]));
    app_engine(&["update", "--memory", "48m", "--memory-swap", "96m", "--restart", "no", &id]);
    app_engine(&["network", "connect", "swap-drift", &id]);
    app_engine(&["pause", &id]);
    let told = drift(&app);
    for text in [
        "paused",
        "50331648 and not 67108864",
        "policy is no and not always",
        "network swap-drift, too",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    app_engine(&["unpause", &id]);
    app_engine(&["update", "--restart", "always", &id]);
    app_engine(&["stop", "-t", "1", &id]);
    let told = drift(&app);
    assert!(told.contains("does not run"), "{told}");
    assert_eq!(status(&app)["live"]["state"], "exited");
    // It is told, and only told.
    assert_eq!(inspect(&id)["State"]["Status"], "exited");
    app_engine(&["rm", &id]);
    let seen = status(&app);
    assert!(seen.get("live").is_none(), "{seen:#}");
    assert!(seen["drift"].to_string().contains("was live last"), "{seen:#}");
}

#[test]
fn a_host_that_cannot_be_asked_is_told_and_the_others_are_asked() {
    let app = site("swap-half", UNPUBLISHED);
    app.deployed(one(), &[]);
    let good = from_run_sh("LAB_SSH");
    let mut command = app.bare();
    command.args(["status", "--no-input", "--host", &format!("{good}:9"), "--host", &good]);
    command.args(["--identity", &from_run_sh("LAB_SSH_KEY")]);
    command.args(["--known-hosts", &from_run_sh("LAB_KNOWN_HOSTS")]);
    let run = Run::of(&without_input(&mut command)).bad("remote-swap", 5, "host_unreachable");
    let hosts = &run.document["status"]["hosts"];
    assert!(hosts[0]["error"].is_string() && hosts[1]["live"].is_object(), "{hosts:#}");
}
