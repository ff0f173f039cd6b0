//! A directory for this user alone, where a tool keeps what it could learn again.
//!
//! The environment says where it is, and with `sudo` or in a container that may be the home of another
//! user, who can put there whatever they like: links to files that only root may write, tokens of
//! their own, FIFOs. So nothing is used that another user made or could have changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, lstat, mkdirat, open, openat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::file;
use crate::limit::{Limit, TooLarge};

/// For the owner alone.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o700);

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Without following a link, and without waiting for the other end of a FIFO.
const FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Where other users begin, in a mode.
const OTHERS: u32 = 0o077;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

const ROOT: u32 = 0;

/// Why a private directory or a file in it is not used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// Another user made it, or may change it.
    #[error("{} {why}", .path.display())]
    Unsafe {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        why: Distrust,
    },
    /// The file system says so.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PrivateError {
    /// Whether it is not used for what others may have done to it, and not since it cannot be.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self, Self::Unsafe { .. })
    }
}

/// What speaks against a file or a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Its owner is another user.
    #[error("belongs to another user (uid {0})")]
    Owner(u32),
    /// Other users may change it.
    #[error("can be changed by other users")]
    Writable,
    /// Other users may read or change it.
    #[error("can be read or changed by other users")]
    Shared,
    /// It is a symbolic link.
    #[error("is a symbolic link")]
    Link,
    /// It is something else than a directory.
    #[error("is not a directory")]
    NotDirectory,
    /// It is something else than a file.
    #[error("is not a regular file")]
    NotFile,
    /// It is larger than what is read.
    #[error("is not used: {0}")]
    TooLarge(TooLarge),
}

/// A directory that belongs to this user and that nobody else may write.
#[derive(Debug)]
pub struct PrivateDirectory {
    directory: OwnedFd,
    path: PathBuf,
}

impl PrivateDirectory {
    /// Opens the directory `below` in `base`, and creates what is missing.
    ///
    /// `base` itself is where users keep caches of many programs. It has to belong to this user or to
    /// root, and nobody else may be able to write it, but for a directory with the sticky bit, such
    /// as `/tmp`. Where it is missing, the same holds for the directory that it is created in.
    /// `below`, one name after the other, is this program's own: no links, this user's, and writable
    /// by nobody else.
    ///
    /// # Errors
    /// [`PrivateError::Unsafe`] where one of them is not so, and those of the file system.
    pub fn open(base: &Path, below: &[&str]) -> Result<Self, PrivateError> {
        let mut directory = open_base(base)?;
        let mut path = base.to_owned();
        for name in below {
            path.push(name);
            directory = descend(&directory, name, &path)?;
        }
        Ok(Self { directory, path })
    }

    /// Where a file of this name is, for people.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file; none if it is not there.
    ///
    /// # Errors
    /// [`PrivateError::Unsafe`] for what is not a regular file of this user that nobody else may read
    /// or write, or is larger than the limit, and those of the file system.
    pub fn read(&self, name: &str, limit: &Limit) -> Result<Option<Vec<u8>>, PrivateError> {
        let Some(file) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        limit.read(file).map(Some).map_err(|source| {
            let large = source.get_ref().and_then(|error| error.downcast_ref::<TooLarge>());
            match large.copied() {
                Some(large) => self.distrust(name, Distrust::TooLarge(large)),
                None => self.io(name, source),
            }
        })
    }

    /// Gives a file a new content, whole: whoever reads it meanwhile reads the old one or the new one.
    ///
    /// # Errors
    /// Those of the file system; the file is then as it was.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), PrivateError> {
        self.checked(name)?;
        let replaced = file::replace(&self.directory, OsStr::new(name), content, |_| Ok(()));
        replaced.map_err(|source| self.io(name, source))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, name: &str) -> Result<(), PrivateError> {
        self.checked(name)?;
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.io(name, error.into())),
        }
    }

    /// Opens a file that is there to be locked ([`File::try_lock`]), and creates it if it is missing.
    /// Its content stays as it is.
    ///
    /// # Errors
    /// As those of [`PrivateDirectory::read`].
    pub fn lock_file(&self, name: &str) -> Result<File, PrivateError> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        // It is created where it is missing, so that there always is one.
        file.ok_or_else(|| self.io(name, io::ErrorKind::NotFound.into()))
    }

    /// The names of the files in it in their order, each with the time of its last change.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn files(&self) -> Result<Vec<(String, SystemTime)>, PrivateError> {
        let failed =
            |error: Errno| PrivateError::Io { path: self.path.clone(), source: error.into() };
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Names of this program are text.
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(state) = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(state.st_mode) != FileType::Directory {
                files.push((name.to_owned(), modified(&state)));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<File>, PrivateError> {
        self.checked(name)?;
        let file = match openat(&self.directory, name, FILE | flags, FILE_MODE) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(self.distrust(name, Distrust::Link)),
            // A socket, or a directory that is opened for writing.
            Err(Errno::NXIO | Errno::ISDIR) => return Err(self.distrust(name, Distrust::NotFile)),
            Err(error) => return Err(self.io(name, error.into())),
        };
        let state = fstat(&file).map_err(|error| self.io(name, error.into()))?;
        if FileType::from_raw_mode(state.st_mode) != FileType::RegularFile {
            return Err(self.distrust(name, Distrust::NotFile));
        }
        if state.st_uid != geteuid().as_raw() {
            return Err(self.distrust(name, Distrust::Owner(state.st_uid)));
        }
        if state.st_mode & OTHERS != 0 {
            return Err(self.distrust(name, Distrust::Shared));
        }
        Ok(Some(file))
    }

    /// A name is that of a file in the directory and not of one elsewhere.
    fn checked(&self, name: &str) -> Result<(), PrivateError> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(self.io(name, io::ErrorKind::InvalidInput.into()));
        }
        Ok(())
    }

    fn distrust(&self, name: &str, why: Distrust) -> PrivateError {
        PrivateError::Unsafe { path: self.path(name), why }
    }

    fn io(&self, name: &str, source: io::Error) -> PrivateError {
        PrivateError::Io { path: self.path(name), source }
    }
}

/// Opens the directory that caches are in, and creates it where it is missing.
fn open_base(path: &Path) -> Result<OwnedFd, PrivateError> {
    let distrust = |why| Err(PrivateError::Unsafe { path: path.to_owned(), why });
    let failed = |error: Errno| PrivateError::Io { path: path.to_owned(), source: error.into() };
    let state = match lstat(path) {
        Ok(state) => state,
        Err(error @ Errno::NOENT) => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(failed(error));
            };
            return descend(&open_base(parent)?, name, path);
        }
        Err(error) => return Err(failed(error)),
    };
    // Of a link, whoever made it decides where it leads.
    if !is_trusted(&state) {
        return distrust(Distrust::Owner(state.st_uid));
    }
    let directory = open(path, OFlags::PATH | DIRECTORY, Mode::empty()).map_err(failed)?;
    let state = fstat(&directory).map_err(failed)?;
    if !is_trusted(&state) {
        return distrust(Distrust::Owner(state.st_uid));
    }
    // The group of a user may be the user's own, and is root's where containers run as any user.
    let groups = state.st_gid == ROOT || state.st_gid == getegid().as_raw();
    let written = if groups { OTHERS_WRITE } else { OTHERS_WRITE | GROUP_WRITES };
    if state.st_mode & written != 0 && state.st_mode & STICKY == 0 {
        return distrust(Distrust::Writable);
    }
    Ok(directory)
}

/// Whether the owner could do to this process whatever they like anyway.
fn is_trusted(state: &Stat) -> bool {
    [ROOT, geteuid().as_raw()].contains(&state.st_uid)
}

/// Opens a directory of this user's own in another one, and creates it where it is missing.
fn descend(
    parent: impl AsFd,
    name: impl AsRef<OsStr>,
    path: &Path,
) -> Result<OwnedFd, PrivateError> {
    let name = name.as_ref();
    let distrust = |why| PrivateError::Unsafe { path: path.to_owned(), why };
    let failed = |error: Errno| PrivateError::Io { path: path.to_owned(), source: error.into() };
    let enter =
        || openat(&parent, name, OFlags::RDONLY | OFlags::NOFOLLOW | DIRECTORY, Mode::empty());
    let opened = match enter() {
        Err(Errno::NOENT) => match mkdirat(&parent, name, DIRECTORY_MODE) {
            // Another process may have been quicker.
            Ok(()) | Err(Errno::EXIST) => enter(),
            Err(error) => Err(error),
        },
        opened => opened,
    };
    let directory = opened.map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(it) if FileType::from_raw_mode(it.st_mode) == FileType::Symlink => {
                distrust(Distrust::Link)
            }
            _ => distrust(Distrust::NotDirectory),
        },
        error => failed(error),
    })?;
    let state = fstat(&directory).map_err(failed)?;
    if state.st_uid != geteuid().as_raw() {
        return Err(distrust(Distrust::Owner(state.st_uid)));
    }
    if state.st_mode & (GROUP_WRITES | OTHERS_WRITE) != 0 {
        return Err(distrust(Distrust::Writable));
    }
    Ok(directory)
}

fn modified(state: &Stat) -> SystemTime {
    let seconds = u64::try_from(state.st_mtime).unwrap_or_default();
    let nanos = u32::try_from(state.st_mtime_nsec).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests;
