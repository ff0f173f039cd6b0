//! SHA-256, written as hexadecimal text.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A digest in the making.
#[derive(Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn hex(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The digest of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.hex()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_empty_digest() {
        assert!(super::hex(b"").starts_with("e3b0c44298fc1c14"));
    }
}
