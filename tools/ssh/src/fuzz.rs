//! What a fuzzer may throw at the parsers of this crate.

use crate::{Target, key, known_hosts, pem};

/// A target's name, which is that of its directory of seeds, and what takes the bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[FuzzTarget] =
    &[("known_hosts", hosts), ("ssh_target", target), ("private_key", private_key)];

/// No file makes a key trusted that does not stand in it.
fn hosts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    known_hosts::fuzz(&text);
}

/// A target that was read is the same when it is read once more, and names no option of a program.
fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Target>() {
        Ok(target) => {
            assert!(!target.user.starts_with('-') && !target.host.starts_with('-'));
            assert_eq!(target.to_string().parse::<Target>().ok(), Some(target));
        }
        Err(error) => assert!(error.hint().is_some()),
    }
}

/// A key that was put into lines stays as it is, and lines are all that is changed.
fn private_key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = pem::lines(&text);
    assert!(lines.len() <= 2 * text.len() + 200);
    if key::inspect(&lines, "fuzz").is_ok() {
        assert_eq!(pem::lines(&lines), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|(_, target)| target(&data));
        }
    }
}
