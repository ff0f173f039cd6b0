//! Files that others may have put there.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, renameat, unlinkat,
};

use crate::Limit;

/// For reading, without waiting for the other end of a FIFO and without taking a terminal over.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a regular file at a path below a directory. No part of the path, and no link that it meets,
/// leads out of that directory (openat2(2), `RESOLVE_BENEATH`).
///
/// # Errors
/// Those of the file system: `EXDEV` where the path leads out. What is no regular file is
/// [`io::ErrorKind::InvalidInput`].
pub fn open_beneath(directory: impl AsFd, path: &Path) -> io::Result<File> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    regular(File::from(openat2(directory, path, FLAGS, Mode::empty(), inside)?))
}

/// Opens a regular file, wherever it is.
///
/// # Errors
/// Those of the file system. What is no regular file is [`io::ErrorKind::InvalidInput`].
pub fn open_regular(path: &Path) -> io::Result<File> {
    regular(File::from(openat2(CWD, path, FLAGS, Mode::empty(), ResolveFlags::empty())?))
}

/// Reads a file that a person named: a regular file or a pipe, up to a limit.
///
/// # Errors
/// As those of [`Limit::read`], and those of opening it.
pub fn read(path: &Path, limit: &Limit) -> io::Result<Vec<u8>> {
    limit.read(File::open(path)?)
}

/// Gives a file in an open directory a new content, whole: whoever reads it meanwhile reads the old one
/// or the new one, and a link of this name is replaced, not followed. The new file is its owner's alone;
/// `finish` may change that, once the content is in it.
///
/// The content is written to a new file beside it, whose name cannot be known before. One that a killed
/// process leaves behind ends in `.new`.
///
/// # Errors
/// Those of the file system; the file is then as it was.
pub fn replace(
    directory: impl AsFd,
    name: &OsStr,
    content: &[u8],
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    // Its keys are random.
    let random = RandomState::new().build_hasher().finish();
    let mut beside = name.to_owned();
    beside.push(format!(".{random:016x}.new"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&directory, &beside, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file
        .write_all(content)
        .and_then(|()| finish(&file))
        .and_then(|()| Ok(renameat(&directory, &beside, &directory, name)?));
    if written.is_err() {
        let _gone = unlinkat(&directory, &beside, AtFlags::empty());
    }
    written
}

fn regular(file: File) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    #[test]
    fn nothing_but_a_regular_file_below_the_directory_is_opened() {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("in");
        fs::create_dir_all(inside.join("deep")).unwrap();
        fs::write(place.path().join("secret"), "s").unwrap();
        fs::write(inside.join("deep/file"), "f").unwrap();
        symlink("deep/file", inside.join("near")).unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        symlink(place.path().join("secret"), inside.join("far")).unwrap();
        symlink("/proc/self/environ", inside.join("magic")).unwrap();
        symlink("/dev/zero", inside.join("zero")).unwrap();
        let fifo = inside.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let directory = File::open(&inside).unwrap();
        let open = |path: &str| open_beneath(&directory, &PathBuf::from(path));
        for path in ["deep/file", "near", "deep/../near"] {
            assert!(open(path).is_ok(), "{path}");
        }
        for path in ["out", "far", "magic", "zero", "fifo", "deep", "../secret", "/etc/passwd"] {
            assert!(open(path).is_err(), "{path}");
        }
        assert!(open_regular(&fifo).is_err() && open_regular(&inside).is_err());
        assert!(open_regular(&inside.join("near")).is_ok());
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_link_is_not_followed() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let other = place.path().join("other");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, place.path().join("name")).unwrap();
        fs::create_dir(place.path().join("taken")).unwrap();
        let directory = File::open(place.path()).unwrap();
        let put = |name: &str, text: &str| {
            replace(&directory, OsStr::new(name), text.as_bytes(), |_| Ok(()))
        };
        for text in ["a longer one", "short"] {
            put("name", text).unwrap();
            assert_eq!(fs::read_to_string(place.path().join("name")).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        let mode = fs::symlink_metadata(place.path().join("name")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(put("taken", "x").is_err());
        let refused = |_: &File| Err(io::Error::other("no"));
        assert!(replace(&directory, OsStr::new("name"), b"x", refused).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3, "nothing is left of it");
    }

    #[test]
    fn a_device_without_end_is_read_to_the_limit() {
        let error = read(Path::new("/dev/zero"), &crate::limit::PRIVATE_KEY).unwrap_err();
        assert_eq!(error.to_string(), "the private key is larger than 64 KiB");
    }
}
