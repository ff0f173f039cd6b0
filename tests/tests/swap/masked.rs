//! No value of a container's variable is shown but those that stand on the command line; nor can one
//! be guessed from what a container's labels tell.

use super::*;

use super::asking::scripted;

/// Tells its whole environment, and ends.
const GOSSIP: &str = r#"
import os
print("it is", sorted(os.environ.items()), flush=True)
os._exit(3)
"#;

#[test]
fn values_are_shown_nowhere_unless_the_command_line_holds_them() {
    let gossip = scripted("gossip", GOSSIP, "");
    let app = site("swap-masked", 8175);
    let mut by_flag = app.swap(&["--env", "NOTE=canary-flag"]);
    let mut by_environment = app.swap(&[]);
    by_environment.env("REMOTE_SWAP_ENV", "NOTE=canary-environment");
    let mut with_settings = gossip.document.clone();
    with_settings["settings"] = json!({"remote-swap": {"env": ["NOTE=canary-settings"]}});
    for (swap, document, hidden) in [
        (&mut by_flag, &gossip.document, false),
        (&mut by_environment, &gossip.document, true),
        (&mut app.swap(&[]), &with_settings, true),
    ] {
        let bad = Run::of(&with_input(swap, &document.to_string()));
        let bad = bad.bad("remote-swap", 1, "candidate_exited");
        let mut shown = bad.document.clone();
        shown.as_object_mut().unwrap().remove("settings");
        let all = format!("{shown}{}", bad.told);
        assert!(all.contains("it is"), "{all}");
        assert_eq!(all.contains("canary"), !hidden, "{all}");
    }
}

#[test]
fn the_labels_of_a_container_tell_nothing_of_its_values() {
    let app = site("swap-pin", 8176);
    let args = ["--env", "NOTE=canary-pin", "--log-opt", "tag=canary-tag"];
    app.deployed(one(), &args);
    let labels = |app: &App| {
        let all = app.containers();
        all.iter().map(|one| one["Config"]["Labels"].clone()).next().unwrap()
    };
    let text = labels(&app).to_string();
    assert!(!text.contains("canary"), "{text}");
    assert!(labels(&app)["dev.slipway.spec-hash"].is_null());
    // The key is made once, is in no container's labels, and the same is known as the same by it.
    let key = format!("slipway-{}-key", app.name);
    let key =
        app_engine(&["volume", "inspect", "-f", "{{index .Labels \"dev.slipway.key\"}}", &key]);
    assert!(key.trim().len() == 64 && !text.contains(key.trim()), "{key}");
    let again = app.deploy_release(one(), &args).good();
    assert_eq!(host(&again)["outcome"], "unchanged");
    let status = Run::of(&with_input(
        app.bare().arg("status").args(app.ssh().split(' ')),
        &again.document.to_string(),
    ));
    assert_eq!(status.good().document["status"]["hosts"][0]["drift"], json!([]));
}
