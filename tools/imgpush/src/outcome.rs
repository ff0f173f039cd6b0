//! What came of a push, for the document and for people.

use std::fmt;

use crate::Error;
use crate::options::Compression;
use slipway_engine::Reference;

/// What came of one tag, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) digest: String,
    pub(crate) uploaded: u32,
    pub(crate) existing: u32,
    pub(crate) bytes: u64,
    pub(crate) already_present: bool,
    /// Who sent it: none if nothing was sent but a manifest.
    pub(crate) via: Option<&'static str>,
    pub(crate) compression: Option<Compression>,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.already_present {
            return f.write_str("the registry has it already");
        }
        let layers = self.uploaded + self.existing;
        if layers == 0 {
            return f.write_str("sent");
        }
        write!(f, "{} of {layers} layers sent", self.uploaded)?;
        match self.via {
            Some("direct") => write!(f, ", {} compressed", megabytes(self.bytes)),
            _ => Ok(()),
        }
    }
}

impl Pushed {
    /// The registry has the image and the tag.
    pub(crate) fn present(digest: String, layers: usize) -> Self {
        Self { digest, existing: count(layers), already_present: true, ..Self::default() }
    }

    /// The registry had the image; it got the tag.
    pub(crate) fn tagged(digest: String, layers: usize) -> Self {
        Self { already_present: false, ..Self::present(digest, layers) }
    }

    /// Joins it with the push of a further tag. Both have to name one manifest; the layers are
    /// those of the first, since a further tag sends the manifest only.
    pub(crate) fn and(self, tag: &Reference, further: Self) -> Result<Self, Error> {
        if self.digest != further.digest {
            return Err(Error::DigestMismatch {
                name: tag.to_string().into(),
                pushed: self.digest.into(),
                found: further.digest.into(),
            });
        }
        Ok(Self {
            bytes: self.bytes + further.bytes,
            already_present: self.already_present && further.already_present,
            ..self
        })
    }
}

pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tags_have_to_name_one_manifest() {
        let tag: Reference = "r.example/web:1".parse().unwrap();
        let there = |digest: &str| Pushed::present(digest.to_owned(), 3);
        let both = there("sha256:a").and(&tag, Pushed::tagged("sha256:a".into(), 3)).unwrap();
        assert!(!both.already_present && both.existing == 3);
        assert!(both.and(&tag, there("sha256:b")).is_err());
    }
}
