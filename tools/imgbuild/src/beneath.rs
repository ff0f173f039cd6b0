//! Reading files that a repository decides: the Dockerfile and the ignore files.
//!
//! A file is taken where it was looked for: what is no regular file below its directory is neither
//! read nor waited for, so that no link brings in a file of this machine.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use slipway_untrusted::file::open_beneath;
use slipway_untrusted::{Limit, TooLarge};

/// A directory below which files are read.
#[derive(Debug)]
pub(crate) struct Base {
    directory: File,
    /// The directory as the user would name it.
    shown: PathBuf,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("does not exist")]
    Missing,
    #[error("is a directory")]
    Directory,
    #[error("is not a regular file")]
    NotRegular,
    #[error("is a link that leads out of {base}", base = base.display())]
    Elsewhere { base: PathBuf },
    #[error("is a link that leads back to itself")]
    Circle,
    #[error(transparent)]
    TooLarge(TooLarge),
    #[error("cannot be read")]
    Unreadable(io::Error),
}

impl Base {
    /// Opens a directory, which may be called by a link.
    pub(crate) fn open(path: &Path, shown: PathBuf) -> io::Result<Self> {
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(Self { directory: File::open(here)?, shown })
    }

    /// Reads a file at a path below the directory.
    pub(crate) fn read(&self, below: &Path, limit: &Limit) -> Result<Vec<u8>, Fault> {
        let file =
            open_beneath(&self.directory, below).map_err(|error| self.fault(error, below))?;
        limit.read(file).map_err(|error| match error.downcast::<TooLarge>() {
            Ok(large) => Fault::TooLarge(large),
            Err(error) => Fault::Unreadable(error),
        })
    }

    fn fault(&self, error: io::Error, below: &Path) -> Fault {
        match (error.kind(), Errno::from_io_error(&error)) {
            (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => Fault::Missing,
            (_, Some(Errno::XDEV)) => Fault::Elsewhere { base: self.shown.clone() },
            (_, Some(Errno::LOOP)) => Fault::Circle,
            // A socket, or a device without a driver.
            (_, Some(Errno::NXIO | Errno::NODEV)) => Fault::NotRegular,
            (io::ErrorKind::InvalidInput, _) if self.is_directory(below) => Fault::Directory,
            (io::ErrorKind::InvalidInput, None) => Fault::NotRegular,
            _ => Fault::Unreadable(error),
        }
    }

    fn is_directory(&self, below: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.directory, below, flags, Mode::empty(), ResolveFlags::BENEATH).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_untrusted::limit::DOCKERFILE;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_kind_of_thing_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("c");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(place.path().join("secret"), "canary").unwrap();
        fs::write(root.join("file"), "text").unwrap();
        fs::write(root.join("large"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
        for (target, link) in [
            ("file", "near"),
            ("../secret", "out"),
            ("/proc/self/environ", "environ"),
            ("/dev/zero", "zero"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("deep", "to-directory"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let fifo = root.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let base = Base::open(&root, "c".into()).unwrap();
        let read = |path: &str| base.read(Path::new(path), &DOCKERFILE);
        assert_eq!(read("file").unwrap(), b"text");
        assert_eq!(read("near").unwrap(), b"text");
        for (path, why) in [
            ("none", "does not exist"),
            ("dangling", "does not exist"),
            ("file/x", "does not exist"),
            ("deep", "is a directory"),
            ("to-directory", "is a directory"),
            ("out", "is a link that leads out of c"),
            ("environ", "is a link that leads out of c"),
            ("zero", "is a link that leads out of c"),
            ("../secret", "is a link that leads out of c"),
            ("loop", "is a link that leads back to itself"),
            ("fifo", "is not a regular file"),
            ("socket", "is not a regular file"),
            ("large", "the Dockerfile is larger than 1 MiB"),
        ] {
            assert_eq!(read(path).unwrap_err().to_string(), why, "{path}");
        }
    }
}
