//! What the entries of an engine's export are. Pure.
//!
//! Three layouts are known: that of Docker up to 24 (a directory a layer), that of later ones and of
//! containerd's store (the OCI image layout), and that of Podman (a tar file a layer).

use slipway_untrusted::limit::TAR_JSON;

/// A document of an image is not longer.
pub(crate) const DOCUMENT_MAX: u64 = TAR_JSON.bytes;

/// So much of a blob tells what it is: the name of a tar archive's format stands at its 257th byte.
pub(crate) const HEAD: usize = 263;

/// What an entry is, by its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A document to keep.
    Document,
    /// An uncompressed layer; its digest where the path tells it.
    Layer(Option<String>),
    /// Anything that has this digest.
    Blob(String),
    /// Nothing that is needed.
    Other,
}

/// What a blob is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blob {
    /// A document.
    Document,
    /// A layer that is compressed already.
    Compressed,
    /// An uncompressed layer.
    Layer,
}

/// What a regular file of this path and size is.
pub(crate) fn entry(path: &str, size: u64) -> Entry {
    let path = path.trim_start_matches("./");
    if let Some(hex) = path.strip_prefix("blobs/sha256/") {
        return if is_hex(hex) { Entry::Blob(format!("sha256:{hex}")) } else { Entry::Other };
    }
    if path.ends_with("/layer.tar") {
        return Entry::Layer(None);
    }
    if let Some(hex) = path.strip_suffix(".tar").filter(|hex| is_hex(hex)) {
        return Entry::Layer(Some(format!("sha256:{hex}")));
    }
    let document = path.ends_with(".json") && !path.contains('/') && size <= DOCUMENT_MAX;
    if document { Entry::Document } else { Entry::Other }
}

/// What a blob of this size is that begins with these bytes.
pub(crate) fn blob(head: &[u8], size: u64) -> Blob {
    let tar = head.get(257..262).is_some_and(|magic| magic == b"ustar");
    match head {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Blob::Compressed,
        [b'{', ..] if !tar && size <= DOCUMENT_MAX => Blob::Document,
        _ => Blob::Layer,
    }
}

pub(crate) fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_all_layouts() {
        let hex = "0a".repeat(32);
        let digest = format!("sha256:{hex}");
        assert_eq!(entry(&format!("{hex}/layer.tar"), 9), Entry::Layer(None));
        assert_eq!(entry(&format!("{hex}.tar"), 9), Entry::Layer(Some(digest.clone())));
        assert_eq!(entry(&format!("blobs/sha256/{hex}"), 9), Entry::Blob(digest));
        assert_eq!(entry(&format!("{hex}.json"), 9), Entry::Document);
        assert_eq!(entry("manifest.json", 9), Entry::Document);
        assert_eq!(entry("index.json", DOCUMENT_MAX + 1), Entry::Other);
        assert_eq!(entry(&format!("{hex}/json"), 9), Entry::Other);
        assert_eq!(entry("blobs/sha256/../../x", 9), Entry::Other);
    }

    #[test]
    fn blobs_are_known_by_their_head() {
        assert_eq!(blob(b"{\"schemaVersion\":2}", 19), Blob::Document);
        assert_eq!(blob(b"{\"", DOCUMENT_MAX + 1), Blob::Layer);
        assert_eq!(blob(&[0x1f, 0x8b, 8, 0], 4), Blob::Compressed);
        assert_eq!(blob(&[0x28, 0xb5, 0x2f, 0xfd], 4), Blob::Compressed);
        assert_eq!(blob(&[0; HEAD], 1024), Blob::Layer);
        let mut tar = [b'{'; HEAD];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(blob(&tar, 1024), Blob::Layer, "a file may have any name");
    }
}
