//! Files in which a tool keeps what it could learn again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// `$XDG_CACHE_HOME/slipway/NAME`, or below `~/.cache` (XDG Base Directory Specification, which takes
/// absolute paths only). None if the environment names neither.
#[must_use]
pub fn cache_directory(name: &str) -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("slipway").join(name))
}

/// Creates a directory, with those that lead to it, for its owner alone.
///
/// # Errors
/// Those of the file system.
pub fn create_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Gives a file a new content, whole: whoever reads it meanwhile reads the old one or the new one.
/// It is for its owner alone, and so is its directory where that has to be created.
///
/// # Errors
/// Those of the file system; the file is then as it was.
pub fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    create_private(path.parent().unwrap_or(Path::new(".")))?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _gone = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/file.json");
        for content in ["a longer one", "short"] {
            replace_private(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
        fs::create_dir(directory.path().join("taken")).unwrap();
        assert!(replace_private(&directory.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left of it");
    }
}
