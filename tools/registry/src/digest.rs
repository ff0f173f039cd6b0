//! SHA-256 as registries write it: `sha256:` and 64 lowercase hexadecimal digits.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A digest in the making.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Takes further bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The digest of these bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut digester = Digester::default();
    digester.update(bytes);
    digester.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_of_nothing() {
        assert!(super::digest(b"").starts_with("sha256:e3b0c44298fc1c14"));
    }
}
