//! Parsers of what registries send, for the fuzzer of the project.

use std::io::Write as _;

use http::Uri;

use crate::origin::{Origin, Place, Scheme, shown};
use crate::{challenge, fault, referrers, retry, upload};

/// A name and what takes arbitrary bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("registry_challenge", registry_challenge),
    ("registry_link", registry_link),
    ("registry_location", registry_location),
    ("registry_referrers", registry_referrers),
    ("registry_refusal", registry_refusal),
    ("registry_headers", registry_headers),
];

fn registry_challenge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().collect();
    let _ = challenge::parse(lines);
}

fn registry_link(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(next) = referrers::next(&text) {
        assert!(text.contains(next));
    }
}

/// Wherever a Location leads: TLS stays, no login goes along, and no error quotes a query.
fn registry_location(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (registry, location) = text.split_once('\n').unwrap_or(("r.example:5000", &text));
    let Ok(origin) = Origin::of_registry(registry, false) else { return };
    assert!(!shown(location).contains(['?', '#']));
    match Place::of(&origin, location) {
        Ok(place) => {
            assert!(origin.scheme == Scheme::Http || place.origin.scheme == Scheme::Https);
            assert!(place.path.starts_with('/') && place.path.parse::<Uri>().is_ok());
            assert!(!place.origin.host.contains('@'));
        }
        Err(error) => {
            let mut told = Vec::new();
            let _ = write!(told, "{error}");
            assert!(!told.contains(&0x1b));
        }
    }
}

fn registry_referrers(data: &[u8]) {
    referrers::round_trip(data);
}

fn registry_refusal(data: &[u8]) {
    let Some(([high, low], body)) = data.split_first_chunk::<2>() else { return };
    let status = 300 + u16::from_be_bytes([*high, *low]) % 300;
    let (_, words) = fault::read(status, body);
    assert!(!words.is_empty() && words.chars().count() <= 500);
}

fn registry_headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let wait = retry::retry_after(&text, jiff::Timestamp::UNIX_EPOCH);
    assert!(retry::wait(1, wait, 0.5) <= retry::LONGEST_WAIT);
    let _ = upload::arrived(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(data in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,80}") {
            for (_, target) in TARGETS {
                target(&data);
                target(text.as_bytes());
            }
        }
    }
}
