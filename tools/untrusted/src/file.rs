//! Files that others may have put there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

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
    fn a_device_without_end_is_read_to_the_limit() {
        let error = read(Path::new("/dev/zero"), &crate::limit::PRIVATE_KEY).unwrap_err();
        assert_eq!(error.to_string(), "the private key is larger than 64 KiB");
    }
}
