//! A directory that is open, in which things are found by their names alone: a path is looked up
//! part by part each time, and may lead elsewhere by then.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags, Stat};

/// So many directories on the way down are held open; those below are found by their paths.
const OPEN_MAX: usize = 64;
/// Room for the names that the kernel tells at once, in bytes.
const NAMES: usize = 32 * 1024;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(super) struct Directory {
    root: Rc<OwnedFd>,
    depth: usize,
    place: Place,
}

enum Place {
    Root,
    Open(OwnedFd),
    /// Below the root, opened anew each time.
    Path(PathBuf),
}

impl Directory {
    /// Opens one by its path, which may be a link.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = Rc::new(rustix::fs::openat(CWD, path, FLAGS, Mode::empty())?);
        Ok(Self { root, depth: 0, place: Place::Root })
    }

    /// Opens one in this one; it is no link. `path` is its own below the root.
    pub(super) fn child(&self, name: &OsStr, path: &Path) -> io::Result<Self> {
        let depth = self.depth + 1;
        let place = if depth < OPEN_MAX {
            let flags = FLAGS | OFlags::NOFOLLOW;
            let open = |at: BorrowedFd<'_>| Ok(rustix::fs::openat(at, name, flags, Mode::empty())?);
            Place::Open(self.with(open)?)
        } else {
            Place::Path(path.to_owned())
        };
        Ok(Self { root: self.root.clone(), depth, place })
    }

    /// The names of all that is in it, sorted by their bytes.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        self.with(|fd| {
            let mut room = Vec::with_capacity(NAMES);
            let mut entries = RawDir::new(fd, room.spare_capacity_mut());
            let mut names = Vec::new();
            while let Some(entry) = entries.next() {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(OsString::from_vec(name));
                }
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    /// What one of them is; a link is not followed.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        self.with(|at| Ok(rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Where a link leads.
    pub(super) fn link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = self.with(|at| Ok(rustix::fs::readlinkat(at, name, Vec::new())?))?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn with<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        match &self.place {
            Place::Root => act(self.root.as_fd()),
            Place::Open(fd) => act(fd.as_fd()),
            Place::Path(path) => {
                let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let fd = rustix::fs::openat2(&self.root, path, FLAGS, Mode::empty(), within)?;
                act(fd.as_fd())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn things_are_found_by_name_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let (mut path, mut below) = (root.path().to_owned(), PathBuf::new());
        let mut directory = Directory::open(&path).unwrap();
        for depth in 0..OPEN_MAX + 3 {
            fs::create_dir(path.join("d")).unwrap();
            symlink("a", path.join("b")).unwrap();
            fs::write(path.join("a"), depth.to_string()).unwrap();
            assert_eq!(directory.names().unwrap(), ["a", "b", "d"], "{depth}");
            let size = u64::try_from(directory.stat(OsStr::new("a")).unwrap().st_size).unwrap();
            assert_eq!(size, depth.to_string().len() as u64);
            assert_eq!(directory.link(OsStr::new("b")).unwrap(), "a");
            assert!(directory.stat(OsStr::new("none")).is_err());
            path.push("d");
            below.push("d");
            directory = directory.child(OsStr::new("d"), &below).unwrap();
        }
        assert!(matches!(directory.place, Place::Path(_)));
    }

    #[test]
    fn a_link_is_no_directory() {
        let root = tempfile::tempdir().unwrap();
        symlink("/", root.path().join("link")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let opened = directory.child(OsStr::new("link"), Path::new("link"));
        assert_eq!(opened.err().unwrap().kind(), io::ErrorKind::NotADirectory);
        let through = Directory::open(&root.path().join("link")).unwrap();
        assert!(!through.names().unwrap().is_empty(), "what is walked may be called by a link");
        let deep = |path: &str| {
            let place = Place::Path(path.into());
            Directory { root: directory.root.clone(), depth: OPEN_MAX, place }.names()
        };
        assert!(deep("link").is_err() && deep("link/proc").is_err() && deep("..").is_err());
    }

    #[test]
    fn more_names_than_fit_at_once() {
        let root = tempfile::tempdir().unwrap();
        let name = |n: usize| format!("{n:04}-{}", "x".repeat(100));
        for n in 0..2 * NAMES / 100 {
            fs::write(root.path().join(name(n)), "").unwrap();
        }
        let names = Directory::open(root.path()).unwrap().names().unwrap();
        assert!(names.iter().enumerate().all(|(n, found)| *found == *name(n)));
        assert_eq!(names.len(), 2 * NAMES / 100);
    }
}
