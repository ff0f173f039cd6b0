use super::*;
use crate::{Deploy, Document, DocumentError, Image, Push, Registry, Section};
use proptest::prelude::*;
use serde_json::{Value, json};

const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What reading a section with these fields says.
fn refused<S: Section>(fields: &Value) -> Option<String> {
    let text = json!({"schema": crate::SCHEMA, S::NAME: fields}).to_string();
    let document = Document::parse(text.as_bytes()).unwrap();
    match document.get::<S>() {
        Ok(_) => None,
        Err(error @ DocumentError::Section { .. }) => Some(error.to_string()),
        Err(other) => panic!("{other}"),
    }
}

/// Whether a field is refused with its path and without its value.
fn bad<S: Section>(path: &str, fields: Value, value: &str) {
    let error = refused::<S>(&fields).unwrap_or_else(|| panic!("{fields} is taken"));
    assert!(error.contains(&format!("{}.{path} ", S::NAME)), "{path}: {error}");
    assert!(error.contains("expected a"), "{error}");
    assert!(value.is_empty() || !error.contains(value), "{error} quotes {value}");
}

#[test]
fn an_image_is_named_by_what_can_be_nothing_else() {
    for id in ["../containers/json?x=", "web:moved", "sha256:12", "", &D[7..], &D.to_uppercase()] {
        bad::<Image>("id", json!({"id": id}), id);
    }
    for name in ["..", "a/../b", "Web", "web:1", "a b", "web?x", "web%2f", "/web", "\u{1b}[31m"] {
        bad::<Image>("name", json!({"name": name}), "\u{1b}");
    }
    bad::<Image>("tag", json!({"tag": "../x"}), "../x");
    bad::<Image>("tags[1]", json!({"tags": ["web:1", "web@x"]}), "web@x");
    bad::<Image>("platform", json!({"platform": "linux"}), "");
    bad::<Image>("pushed_reference", json!({"pushed_reference": "r.example/web:1"}), "web:1");
    let good = json!({"name": "team/web", "tag": "1.4_x", "tags": ["web:1", "r.example:5000/a/b:2"],
        "id": D, "platform": "linux/arm64/v8", "pushed_reference": format!("r.example/web@{D}")});
    assert_eq!(refused::<Image>(&good), None);
    assert_eq!(refused::<Image>(&json!({"id": null, "name": null})), None);
}

#[test]
fn a_registry_is_a_host_and_nothing_that_goes_elsewhere() {
    for host in [
        "evil.example:99999",
        "r.example:0",
        "r.example:",
        "https://r.example",
        "r.example/x",
        "user:hunter2@r.example",
        "r..example",
        "-r.example",
        "[::1",
        "r.example#x",
        "r example",
        "",
    ] {
        bad::<Registry>("host", json!({"host": host}), host);
        bad::<Registry>("others[0].host", json!({"others": [{"host": host}]}), host);
    }
    for host in ["r.example", "localhost:5000", "10.0.0.1:65535", "[::1]:5000", "registry"] {
        assert_eq!(refused::<Registry>(&json!({"host": host})), None, "{host}");
    }
    bad::<Registry>("region", json!({"region": "x.evil.example/"}), "evil");
    bad::<Registry>("account", json!({"account": "12345"}), "12345");
    bad::<Registry>("repository", json!({"repository": "../x"}), "../x");
}

#[test]
fn a_deploy_names_hosts_containers_and_addresses() {
    bad::<Deploy>("app", json!({"app": "../x"}), "../x");
    bad::<Deploy>("deploy_id", json!({"deploy_id": "a/b"}), "a/b");
    bad::<Deploy>("health_path", json!({"health_path": "up"}), "");
    let host = |key: &str, value: &str| json!({"hosts": [{"host": "a@b", key: value}]});
    for (key, value) in [
        ("container", "a?b"),
        ("container_id", "../json"),
        ("url", "nonsense"),
        ("url", "http://"),
        ("url", "http://a\u{1b}b/"),
        ("reference", "A@b"),
        ("previous", "a b"),
        ("previous_deploy_id", " "),
        ("host", "a b"),
    ] {
        bad::<Deploy>(&format!("hosts[0].{key}"), host(key, value), "\u{1b}");
    }
    let good = json!({"app": "web", "health_path": "/up?x=1", "hosts": [{"host": "a@b:22",
        "url": "http://[::1]:8000/x", "container": "web-1", "container_id": &D[7..],
        "reference": format!("no-registry.invalid/web@{D}"), "previous": &D[7..]}]});
    assert_eq!(refused::<Deploy>(&good), None);
}

#[test]
fn what_was_pushed_is_one_image() {
    bad::<Push>("digest", json!({"digest": "sha256:1"}), "");
    bad::<Push>("image_id", json!({"image_id": "web:moved"}), "web:moved");
    for reference in ["web:1", "r.example/web:1", &format!("web@{D}"), "r.example/../x@sha256:1"] {
        bad::<Push>("reference", json!({"reference": reference}), reference);
    }
    bad::<Push>("tags[0]", json!({"tags": ["a/b"]}), "a/b");
    bad::<Push>("referrers[0].digest", json!({"referrers": [{"digest": "x"}]}), "");
    let good = json!({"repository": "web", "digest": D, "reference": format!("r.example/web@{D}")});
    assert_eq!(refused::<Push>(&good), None);
    let hub = json!({"repository": "library/web", "reference": format!("docker.io/web@{D}")});
    assert_eq!(refused::<Push>(&hub), None);
    let other = D.replace("0123", "3210");
    for (key, value) in [("digest", other.as_str()), ("repository", "other")] {
        let mut bad = good.clone();
        bad[key] = value.into();
        let error = refused::<Push>(&bad).unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(error.contains("push ") && error.contains("`reference`"), "{error}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_taken_changes_the_path_of_a_request(text in "[a-zA-Z0-9:/@._%?#\\\\\\[\\] \u{1b}-]{0,30}") {
        let forms = [Digest::admits, Host::admits, Repository::admits, Tag::admits, Named::admits,
            Pinned::admits, EngineImage::admits, Platform::admits, Name::admits, Region::admits];
        for admits in forms {
            if admits(&text) {
                prop_assert!(!text.contains(['?', '#', '%', '\\', ' ', '\u{1b}']), "{text:?}");
                prop_assert!(text.split('/').all(|part| !part.is_empty() && part != ".." ), "{text:?}");
            }
        }
    }
}
