//! Whether a directory changed, without reading its files.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::walk::{Filter, Kind, walk};
use crate::digest::Hasher;
use crate::error::Error;
use crate::ignore::Matcher;

/// The SHA-256 over path, kind, mode, size and time of last change of all
/// that is sent, in hexadecimal. Two trees of the same fingerprint are the
/// same for a name's purpose; the image's identity is its digest.
pub(crate) fn fingerprint(root: &Path, ignore: &Matcher) -> Result<String, Error> {
    let filter = Filter { include: None, exclude: ignore.clone() };
    let mut hasher = Hasher::default();
    walk(root, &filter, &mut |entry| {
        let (kind, detail) = match &entry.kind {
            // A directory's time changes with what is ignored inside it.
            Kind::Directory => ("d", Vec::new()),
            Kind::File => ("f", format!("{} {}", entry.size, entry.modified_ns).into_bytes()),
            Kind::Link(target) => ("l", target.clone().into_vec()),
            Kind::Fifo => ("p", Vec::new()),
            Kind::Device { block, number } => {
                (if *block { "b" } else { "c" }, number.to_string().into_bytes())
            }
        };
        // A zero byte cannot be in a path, so no two trees write the same text.
        hasher.update(entry.path.as_os_str().as_bytes());
        hasher.update(format!("\0{kind}\0{:o}\0", entry.mode).as_bytes());
        hasher.update(&detail);
        hasher.update(b"\0");
        true
    })?;
    Ok(hasher.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_changes_with_what_is_sent_only() {
        let dir = tempfile::tempdir().unwrap();
        let ignore = Matcher::new(["*.log"]).unwrap();
        let of = || fingerprint(dir.path(), &ignore).unwrap();
        fs::write(dir.path().join("a"), "one").unwrap();
        let first = of();
        fs::write(dir.path().join("x.log"), "noise").unwrap();
        assert_eq!(of(), first);
        fs::write(dir.path().join("a"), "longer").unwrap();
        let second = of();
        assert_ne!(second, first);
        fs::write(dir.path().join("b"), "").unwrap();
        assert_ne!(of(), second);
        assert_eq!(first.len(), 64);
    }
}
