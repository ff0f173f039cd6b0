//! What a registry refuses or breaks in the middle of a direct push.

use serde_json::json;
use slipway_tests::from_run_sh;
use slipway_tests::lab::Run;
use slipway_tests::process::with_input;

use crate::site::{Front, Site, document, image, layered, named, token};

/// A direct push through a front, which speaks plain HTTP.
fn push(front: &Front, id: &str, repository: &str, args: &[&str]) -> Run {
    let site = Site::new();
    let document = document(id, repository, &front.host, &token());
    let mut command = site.tool();
    command.env_remove("HTTPS_PROXY").args(["--plain-http", "--via", "direct"]).args(args);
    Run::of(&with_input(&mut command, &document.to_string()))
}

#[test]
fn refusals_are_told_at_once_and_each_by_its_own_code() {
    let id = layered("scratch", &[("f", 100_000)]);
    for (rule, exit, code) in [
        ("no-repository", 1, "repository_not_found"),
        ("denied", 4, "registry_denied"),
        ("quota", 1, "registry_quota"),
        ("too-large", 1, "body_too_large"),
        ("disk-full", 1, "registry_disk_full"),
    ] {
        let front = Front::with(rule);
        let bad = push(&front, &id, &format!("faults/{rule}"), &[]).bad("imgpush", exit, code);
        assert_eq!(bad.document["error"]["retryable"], false, "{rule}");
    }
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let id = layered("scratch", &[("g", 100_000)]);
    for rule in ["flaky", "rate-limited"] {
        let front = Front::with(rule);
        let pushed = push(&front, &id, &format!("faults/{rule}"), &[]).good();
        assert_eq!(pushed.document["push"]["layers_uploaded"], 1, "{rule}");
    }
}

#[test]
fn an_upload_goes_on_where_its_connection_was_reset() {
    let id = layered("scratch", &[("h", 30_000_000)]);
    let front = Front::with("reset");
    let pushed = push(&front, &id, "faults/reset", &[]).good();
    assert_eq!(pushed.document["push"]["layers_uploaded"], 1);
}

#[test]
fn an_immutable_tag_is_success_or_a_conflict_that_names_both() {
    let (old, new) = (image("direct: old"), image("direct: new"));
    let front = Front::with("immutable");
    let first = push(&front, &old, "faults/immutable", &[]).good();
    let again = push(&front, &old, "faults/immutable", &[]).good();
    assert_eq!(again.document["push"]["already_present"], true);
    let bad = push(&front, &new, "faults/immutable", &[]).bad("imgpush", 1, "tag_conflict");
    let message = bad.document["error"]["message"].as_str().unwrap();
    let digest = first.document["push"]["digest"].as_str().unwrap();
    for part in [old.as_str(), new.as_str(), digest] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn any_password_works_by_both_ways() {
    // Each group of three is one letter of base64 that the two alphabets write differently.
    for (n, password) in ["???~~~>>>", "a???b~~~c>>>", "?~>?~>", "x\u{ff}\u{fe}"].iter().enumerate()
    {
        let front = Front::with(&format!("password={password}"));
        for way in ["engine", "direct"] {
            let repository = format!("faults/password-{n}-{way}");
            let id = image(&format!("password {n} {way}"));
            let document = document(&id, &repository, &front.host, password);
            let site = Site::new();
            let mut command = site.tool();
            command.env_remove("HTTPS_PROXY").args(["--plain-http", "--via", way]);
            let pushed = Run::of(&with_input(&mut command, &document.to_string())).good();
            assert_eq!(pushed.document["push"]["repository"], named(&repository));
            assert_eq!(pushed.document["push"]["via"], way);
        }
    }
}

#[test]
fn a_token_that_ran_out_is_renewed_once_if_aws_credentials_are_there() {
    let site = Site::new();
    let id = image("relogin");
    let input = document(&id, "faults/relogin", &from_run_sh("LAB_REGISTRY"), "ran out");
    let mut command = site.tool();
    for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env(name, from_run_sh(name));
    }
    let pushed = Run::of(&with_input(&mut command, &input.to_string())).good();
    assert!(pushed.told.contains("ecrlogin is asked"), "{}", pushed.told);
    // Without them the refusal is told.
    let bare = document(&id, "faults/relogin-bare", &from_run_sh("LAB_REGISTRY"), "ran out");
    let bad = Run::of(&with_input(&mut site.tool(), &bare.to_string()));
    let bad = bad.bad("imgpush", 4, "registry_denied");
    assert_eq!(bad.document["error"]["retryable"], json!(false));
    let why = "there are no fresh credentials: no AWS credentials were found";
    assert!(bad.told.contains(why), "{}", bad.told);
    // As whom AWS is asked is said once, in the document; what else ecrlogin does there is not done.
    let mut role = bare;
    role["settings"]["ecrlogin"] = json!({"assume_role": "push", "registry": "quay.io"});
    let bad = Run::of(&with_input(&mut command, &role.to_string()));
    let bad = bad.bad("imgpush", 4, "registry_denied");
    assert!(bad.told.contains("settings.ecrlogin.assume_role in the document is not taken"));
    let bad = Run::of(&with_input(command.arg("--trust-settings"), &role.to_string()));
    let bad = bad.bad("imgpush", 4, "registry_denied");
    assert!(bad.told.contains("push is not the ARN of a role"), "{}", bad.told);
}
