//! Parsers of what documents hold, for the fuzzer of the project.

use serde_json::json;

use crate::{
    Deploy, Document, ErrorSection, Failure, Health, Image, Push, Reference, Registry, SCHEMA,
    Section, is_image,
};

/// A name and what takes arbitrary bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] =
    &[("image_reference", image_reference), ("document_sections", document_sections)];

/// A reference prints as it was written, and leads to no other path.
fn image_reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
        assert_eq!(
            reference.name().parse::<Reference>().map(|name| name.name()),
            Ok(reference.name())
        );
    }
    if is_image(&text) {
        assert!(!text.contains(['?', '#', '%', '\\', ' ']));
        assert!(!text.split('/').any(|part| part == "." || part == ".."));
        assert!(!text.contains(char::is_control));
    }
}

/// Whatever stands in a section: it is read or refused, and what is refused is not quoted.
fn document_sections(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // As a whole document, as a section, and as the value of each field that is checked.
    if let Ok(document) = Document::parse(data) {
        read(&document);
    }
    let value: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| text.as_ref().into());
    for name in ["image", "registry", "push", "deploy", "health", "error"] {
        let document = json!({"schema": SCHEMA, name: value});
        if let Ok(document) = Document::parse(document.to_string().as_bytes()) {
            read(&document);
        }
    }
    let canary = format!("canary{text}\u{1b}");
    for (name, field) in [
        ("image", "id"),
        ("image", "name"),
        ("image", "platform"),
        ("image", "pushed_reference"),
        ("registry", "host"),
        ("registry", "region"),
        ("registry", "account"),
        ("push", "digest"),
        ("push", "reference"),
        ("push", "image_id"),
        ("deploy", "app"),
    ] {
        let document = json!({"schema": SCHEMA, name: {field: canary}});
        if let Ok(document) = Document::parse(document.to_string().as_bytes()) {
            let failures = read(&document);
            assert_eq!(failures.len(), 1, "{name}.{field}");
            assert!(failures.iter().all(|it| !it.message.contains("canary")), "{failures:?}");
        }
    }
}

/// Reads all sections; answers what was refused.
fn read(document: &Document) -> Vec<Failure> {
    fn one<S: Section>(document: &Document) -> Option<Failure> {
        document.get::<S>().err().map(Failure::from)
    }
    let all = [
        one::<Image>(document),
        one::<Registry>(document),
        one::<Push>(document),
        one::<Deploy>(document),
        one::<Health>(document),
        one::<ErrorSection>(document),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(data in prop::collection::vec(any::<u8>(), 0..80), text in "[a-z0-9:/@.\"{}\\[\\]-]{0,60}") {
            for (_, target) in TARGETS {
                target(&data);
                target(text.as_bytes());
            }
        }
    }
}
