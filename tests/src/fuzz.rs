//! The parsers of what comes from outside, as functions that take any bytes. The fuzzer
//! (`tests/fuzz`) and the ordinary tests, which go through its corpus, share them.

use slipway_release::{
    Deploy, Document, ErrorSection, Health, Image, Lock, Plan, Push, Registry, Section, Status,
};

/// A parser under test: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// All of them, by name.
#[must_use]
pub fn targets() -> Vec<(&'static str, Target)> {
    let mut targets: Vec<(&'static str, Target)> =
        vec![("document", document), ("shown_text", shown_text)];
    for of_crate in [
        slipway_engine::fuzz::TARGETS,
        slipway_probe::fuzz::TARGETS,
        slipway_registry::fuzz::TARGETS,
        slipway_release::fuzz::TARGETS,
        slipway_ssh::fuzz::TARGETS,
        ecrlogin::fuzz::TARGETS,
        healthwait::fuzz::TARGETS,
        imgbuild::fuzz::TARGETS,
        imgpush::fuzz::TARGETS,
        remote_swap::fuzz::TARGETS,
    ] {
        targets.extend(of_crate);
    }
    targets.sort_unstable_by_key(|(name, _)| *name);
    targets
}

/// The one of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|(known, _)| *known == name).map(|(_, target)| target)
}

/// A document is read and written without change, and no section panics.
fn document(bytes: &[u8]) {
    fn section<S: Section>(document: &Document) {
        if let Ok(Some(section)) = document.get::<S>() {
            let mut written = document.clone();
            written.set(&section);
            assert!(written.get::<S>().is_ok(), "a section that was read can be read again");
        }
    }
    let Ok(document) = Document::parse(bytes) else { return };
    section::<Image>(&document);
    section::<Registry>(&document);
    section::<Push>(&document);
    section::<Deploy>(&document);
    section::<Health>(&document);
    section::<Status>(&document);
    section::<Lock>(&document);
    section::<Plan>(&document);
    section::<ErrorSection>(&document);
    let _ = (document.error_exit(), document.settings_tools(), document.settings("imgbuild"));
    let text = document.write(true, true).text;
    let again = Document::parse(text.as_bytes()).expect("what was written can be read");
    assert_eq!(again.write(true, false).text, document.write(true, false).text);
}

/// What is shown of a text is short and nothing that a terminal obeys.
fn shown_text(bytes: &[u8]) {
    let text = slipway_untrusted::Untrusted::from_bytes(bytes).to_string();
    assert!(!text.chars().any(slipway_untrusted::obeyed), "{text:?}");
    assert!(text.chars().count() <= slipway_untrusted::LINE + 40);
}
