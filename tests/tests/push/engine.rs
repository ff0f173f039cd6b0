//! Small images, which the engine pushes; the registry's name means nothing outside the lab, so that
//! the engine is left to ask it.

use serde_json::json;
use slipway_tests::from_run_sh;
use slipway_tests::lab::{Run, ci_engine};
use slipway_tests::process::with_input;
use slipway_tests::tool;

use crate::site::{Front, image, push};

#[test]
fn several_tags_are_one_digest() {
    let id = image("several tags");
    let host = from_run_sh("LAB_REGISTRY");
    let pushed = push(&id, "push/several", &host, &["-t", "1", "-t", "stable"]).good();
    assert_eq!(pushed.document["push"]["tags"], json!(["1", "stable"]));
    assert_eq!(pushed.document["push"]["layers_uploaded"], 1);
    assert_eq!(pushed.document["push"]["already_present"], false);
    let digest = pushed.document["push"]["digest"].as_str().unwrap();
    let known = ci_engine(&["inspect", "-f", "{{.RepoDigests}}", &id]);
    assert!(known.contains(digest), "{known}");
    // What is already there is what the registry itself tells of each tag.
    let again = push(&id, "push/several", &host, &["-t", "1", "-t", "stable"]).good();
    assert_eq!(again.document["push"]["already_present"], true);
    assert_eq!(again.document["push"]["digest"], digest);
}

#[test]
fn the_image_is_taken_by_its_id_though_its_name_moved() {
    let (old, new) = (image("by id: old"), image("by id: new"));
    let host = from_run_sh("LAB_REGISTRY");
    // Another build took the very name that this one is pushed under.
    let name = format!("{host}/push/moved-{}:1", std::process::id());
    ci_engine(&["tag", &new, &name]);
    let pushed = push(&old, "push/moved", &host, &[]).good();
    let reference = pushed.document["push"]["reference"].as_str().unwrap();
    assert_eq!(ci_engine(&["inspect", "-f", "{{.Id}}", reference]).trim(), old);
}

#[test]
fn the_same_image_under_an_immutable_tag_is_success() {
    let id = image("immutable");
    let front = Front::with("immutable");
    let first = push(&id, "push/immutable", &front.host, &[]).good();
    let again = push(&id, "push/immutable", &front.host, &[]).good();
    assert_eq!(again.document["push"]["already_present"], true);
    assert_eq!(again.document["push"]["digest"], first.document["push"]["digest"]);

    // An engine that never pushed it, as after a reproducible build elsewhere, knows no digest of
    // it: here made by a second repository on another front.
    let elsewhere = Front::with("immutable");
    let same = push(&id, "push/immutable", &elsewhere.host, &[]).good();
    assert_eq!(same.document["push"]["already_present"], true);
    assert_eq!(same.document["push"]["digest"], first.document["push"]["digest"]);
}

#[test]
fn another_image_under_an_immutable_tag_is_a_conflict_that_names_both() {
    let (old, new) = (image("conflict: old"), image("conflict: new"));
    let front = Front::with("immutable");
    let first = push(&old, "push/conflict", &front.host, &[]).good();
    let bad = push(&new, "push/conflict", &front.host, &[]).bad("imgpush", 1, "tag_conflict");
    let message = bad.document["error"]["message"].as_str().unwrap();
    let digest = first.document["push"]["digest"].as_str().unwrap();
    assert!(
        message.contains(&new) && message.contains(&old) && message.contains(digest),
        "{message}"
    );
    assert_eq!(bad.document["error"]["retryable"], false);
}

#[test]
fn a_missing_repository_is_told_at_once() {
    let id = image("no repository");
    let front = Front::with("no-repository");
    let bad = push(&id, "push/nowhere", &front.host, &[]).bad("imgpush", 1, "repository_not_found");
    let error = &bad.document["error"];
    assert!(error["message"].as_str().unwrap().contains("push/nowhere"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--ensure-repository"), "{error}");
    assert!(!bad.told.contains("trying again"), "{}", bad.told);
}

#[test]
fn a_refusal_names_action_and_principal_and_is_not_tried_again() {
    let id = image("denied");
    let front = Front::with("denied");
    let bad = push(&id, "push/denied", &front.host, &[]).bad("imgpush", 4, "registry_denied");
    let message = bad.document["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("ecr:InitiateLayerUpload") && message.contains("user/ci"),
        "{message}"
    );
    assert!(!bad.told.contains("trying again"), "{}", bad.told);
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let id = image("flaky");
    let front = Front::with("flaky");
    let pushed = push(&id, "push/flaky", &front.host, &[]).good();
    assert_eq!(pushed.document["push"]["layers_uploaded"], 1);
}

#[test]
fn an_image_that_the_engine_does_not_have_is_named() {
    let id = format!("sha256:{}", "5".repeat(64));
    let host = from_run_sh("LAB_REGISTRY");
    let bad = push(&id, "push/none", &host, &[]).bad("imgpush", 1, "image_not_found");
    assert!(bad.document["error"]["message"].as_str().unwrap().contains(&id));
}

#[test]
fn a_saved_document_without_its_password_says_how_to_get_a_fresh_one() {
    let id = image("saved");
    let input = json!({
        "schema": "slipway.release/v1",
        "image": {"name": "push/saved", "tag": "1", "id": id},
        "registry": {"host": from_run_sh("LAB_REGISTRY"), "username": "AWS"},
    });
    let output = with_input(&mut tool("imgpush"), &input.to_string());
    let bad = Run::of(&output).bad("imgpush", 4, "registry_denied");
    assert!(bad.document["error"]["hint"].as_str().unwrap().contains("ecrlogin < saved.json"));
}
