//! Tags that follow.

use serde_json::{Value, json};

use crate::site::{Site, image, image_with};

fn of(text: &str, created: &str) -> String {
    image_with(text, &["--label", &format!("org.opencontainers.image.created={created}")])
}

fn tags(document: &Value) -> &Value {
    &document["push"]["tags"]
}

#[test]
fn latest_follows_forward_only() {
    let site = Site::new();
    let (old, new) = (of("old", "2026-01-01T00:00:00Z"), of("new", "2026-02-01T00:00:00Z"));
    let also = |tag| ["-t", tag, "--also", "latest"];
    let first = site.push(&old, "also/latest", &also("1")).good();
    assert_eq!(tags(&first.document), &json!(["1", "latest"]));
    let second = site.push(&new, "also/latest", &also("2")).good();
    assert_eq!(tags(&second.document), &json!(["2", "latest"]));
    // An older build that is pushed late gets its own tag, and latest stays.
    let third = site.push(&old, "also/latest", &also("3")).good();
    assert_eq!(tags(&third.document), &json!(["3"]));
    assert!(third.told.contains("latest stays: it names a newer image"), "{}", third.told);
    let again = site.push(&new, "also/latest", &also("2")).good();
    assert_eq!(tags(&again.document), &json!(["2", "latest"]));
}

#[test]
fn latest_does_not_move_when_the_push_fails() {
    let site = Site::new();
    let id = image("also: fails");
    let bad = site.push(&id, "also/fails", &["--also", "latest", "--timeout", "1ms"]);
    let bad = bad.bad("imgpush", 124, "deadline_exceeded");
    assert!(bad.document.get("push").is_none());
}

#[test]
fn latest_follows_also_where_nothing_was_built() {
    let site = Site::new();
    let (old, new) = (of("old", "2026-01-01T00:00:00Z"), of("new", "2026-02-01T00:00:00Z"));
    let pushed = |id: &str, tag: &str| {
        let run = site.push(id, "also/found", &["-t", tag]).good();
        run.document["push"]["reference"].as_str().unwrap().to_owned()
    };
    let (old, new) = (pushed(&old, "1"), pushed(&new, "2"));
    let also = |found: &str, tag: &str| {
        let run = site.push_found(found, "also/found", &["-t", tag, "--also", "latest"]).good();
        assert_eq!(run.document["push"]["reference"], found);
        tags(&run.document).clone()
    };
    assert_eq!(also(&new, "2"), json!(["2", "latest"]));
    assert_eq!(also(&old, "1"), json!(["1"]), "it stays where it is");
}
