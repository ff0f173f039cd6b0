//! The fingerprint of a run specification, and the key that it is made with.
//!
//! Fingerprints stand in labels of containers, which monitoring copies into stores of its own, and a
//! plain hash over a variable with few possible values tells the value to whoever tries them all. So
//! it is a keyed one (HMAC, RFC 2104). The key is made once for an application on a host and stands
//! beside its records, which hold the values themselves. Where somebody removes it, the next deploy
//! makes another, and one release is replaced by the same.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::host::Result;
use crate::volumes::Volumes;

/// The application, in a label of the key's volume.
const KEY_OF: &str = "dev.slipway.key-of";

/// The key in hexadecimal digits, in another.
const KEY: &str = "dev.slipway.key";

/// A key. It has no `Debug`, since it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// One that nobody has.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// That of an application on a host, made now if there is none. Under the application's lock; of
    /// two that make one at once all the same, the engine keeps the first.
    pub(crate) async fn of<H: Volumes>(host: &H, app: &str) -> Result<Self> {
        if let Some(known) = Self::known(host, app).await? {
            return Ok(known);
        }
        let new = Self::random();
        let labels = [(KEY_OF, app.to_owned()), (KEY, new.hex())];
        let labels: HashMap<String, String> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        host.create_volume(&format!("slipway-{app}-key"), labels).await?;
        // What is there now may be another one's. If it cannot be read, one deploy goes without.
        Ok(Self::known(host, app).await?.unwrap_or(new))
    }

    /// That of an application on a host, if there is one.
    pub(crate) async fn known<H: Volumes>(host: &H, app: &str) -> Result<Option<Self>> {
        let found = host.volumes(KEY_OF, app).await?;
        Ok(found.iter().find_map(|one| Self::parse(one.labels.get(KEY)?)))
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> =
            text.chars().map_while(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d)).collect();
        if digits.len() != 64 || text.chars().count() != 64 {
            return None;
        }
        bytes.try_into().ok().map(Self)
    }

    /// The fingerprint of a text.
    pub(crate) fn fingerprint(&self, text: &str) -> String {
        // A key of any length is taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
impl Key {
    /// The same in all tests.
    pub(crate) const TEST: Self = Self([7; 32]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recreate::fake::Fake;
    use proptest::prelude::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_made_once_for_an_application_and_stays() {
        let host = Fake::new();
        assert!(Key::known(&host, "web").await.unwrap().is_none());
        let first = Key::of(&host, "web").await.unwrap();
        assert!(Key::of(&host, "web").await.unwrap() == first);
        assert!(Key::known(&host, "web").await.unwrap() == Some(first.clone()));
        assert!(Key::of(&host, "other").await.unwrap() != first);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_make_one_at_once_have_the_same() {
        let host = Fake::new();
        let (one, other) = tokio::join!(Key::of(&host, "web"), Key::of(&host, "web"));
        assert!(one.unwrap() == other.unwrap());
    }

    #[test]
    fn a_fingerprint_tells_nothing_without_the_key() {
        let (one, other) = (Key::random(), Key::random());
        assert_ne!(one.fingerprint("PIN=4711"), other.fingerprint("PIN=4711"));
        // RFC 4231, test case 2.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(Key(key).fingerprint("what do ya want for nothing?"), known);
    }

    proptest! {
        #[test]
        fn a_key_reads_back(bytes: [u8; 32]) {
            let key = Key(bytes);
            prop_assert!(Key::parse(&key.hex()) == Some(key));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,70}") {
            let _ = Key::parse(&text);
        }
    }
}
