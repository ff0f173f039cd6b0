//! The walk over a directory, in the order that BuildKit's file transfer wants:
//! a directory before its children, siblings by the bytes of their names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::directory::Directory;
use super::name;
use crate::error::Error;
use crate::ignore::{Matcher, Parent};

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path below the root.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// The permission bits with set-id and sticky, as in `st_mode & 0o7777`.
    pub(crate) mode: u32,
    /// Size in bytes; 0 for a directory.
    pub(crate) size: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub(crate) modified_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    /// A link with its target, which is not followed.
    Link(OsString),
    Fifo,
    /// A device with its number.
    Device {
        block: bool,
        number: u64,
    },
}

/// What of the directory is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only what matches, and the directories that lead to it.
    pub(crate) include: Option<Matcher>,
    /// But not what matches this.
    pub(crate) exclude: Matcher,
}

/// Hands every wanted thing below `root` to `each`, which may stop the walk
/// by returning `false`.
///
/// A directory comes when it is wanted itself or when something below it is.
/// Sockets are left out, as they are by docker: there is nothing to copy.
pub(crate) fn walk(
    root: &Path,
    filter: &Filter,
    each: &mut dyn FnMut(Entry) -> bool,
) -> Result<(), Error> {
    let mut walker = Walker { root, filter, each, pending: Vec::new() };
    // The way down is kept here and not on the stack: it may be as long as a path can be.
    let mut levels: Vec<Level> = Vec::new();
    levels.extend(walker.level(Directory::open(root), PathBuf::new(), Known::default(), None)?);
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            walker.leave(level.pending);
            levels.pop();
            continue;
        };
        match walker.child(level, &name)? {
            ControlFlow::Continue(below) => levels.extend(below),
            ControlFlow::Break(()) => break,
        }
    }
    Ok(())
}

struct Walker<'a> {
    root: &'a Path,
    filter: &'a Filter,
    each: &'a mut dyn FnMut(Entry) -> bool,
    /// Directories on the way down that are not wanted themselves.
    pending: Vec<Entry>,
}

/// A directory on the way down.
struct Level {
    directory: Directory,
    /// What of it was not looked at yet.
    names: std::vec::IntoIter<OsString>,
    path: PathBuf,
    known: Known,
    /// How many directories were pending with this one, if it is not wanted itself.
    pending: Option<usize>,
}

/// What the rules say of a directory, for its children.
#[derive(Default)]
struct Known {
    included: Option<Parent>,
    excluded: Option<Parent>,
}

impl Walker<'_> {
    /// Begins with a directory; none if it is not there any more.
    fn level(
        &self,
        opened: io::Result<Directory>,
        path: PathBuf,
        known: Known,
        pending: Option<usize>,
    ) -> Result<Option<Level>, Error> {
        match opened.and_then(|directory| Ok((directory.names()?, directory))) {
            Ok((names, directory)) => {
                Ok(Some(Level { directory, names: names.into_iter(), path, known, pending }))
            }
            // It was there a moment ago: whoever removed it meant it.
            Err(error) if gone(&error) => Ok(None),
            Err(source) => Err(self.unreadable(&path, source)),
        }
    }

    /// Is done with a directory. One that nothing below took along is not wanted.
    fn leave(&mut self, pending: Option<usize>) {
        if pending == Some(self.pending.len()) {
            self.pending.pop();
        }
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> Error {
        Error::Unreadable { path: self.root.join(path), source }
    }

    /// Looks at one thing in a directory. Answers the directory that it is, if that is to be walked.
    fn child(
        &mut self,
        parent: &Level,
        name: &OsStr,
    ) -> Result<ControlFlow<(), Option<Level>>, Error> {
        let path = parent.path.join(name);
        let text = name::text(path.as_os_str());
        let (mut wanted, mut below) = (true, true);
        let mut known = Known::default();
        if let Some(include) = &self.filter.include {
            let (hit, here) = include.matches(&text, parent.known.included.as_ref());
            wanted = hit;
            below = hit || !include.matches_none_below(&text);
            known.included = Some(here);
        }
        let (hit, here) = self.filter.exclude.matches(&text, parent.known.excluded.as_ref());
        known.excluded = Some(here);
        wanted &= !hit;
        below &= !hit || !self.filter.exclude.excludes_all_below(&text);
        if !wanted && !below {
            return Ok(ControlFlow::Continue(None));
        }
        let Some(entry) = self.look(&parent.directory, name, &path)? else {
            return Ok(ControlFlow::Continue(None));
        };
        let directory = entry.kind == Kind::Directory;
        if wanted {
            for entry in self.pending.drain(..).chain([entry]) {
                if !(self.each)(entry) {
                    return Ok(ControlFlow::Break(()));
                }
            }
        } else if directory {
            self.pending.push(entry);
        }
        if !directory || !below {
            return Ok(ControlFlow::Continue(None));
        }
        let pending = (!wanted).then_some(self.pending.len());
        let opened = parent.directory.child(name, &path);
        drop(text);
        let level = self.level(opened, path, known, pending)?;
        if level.is_none() {
            self.leave(pending);
        }
        Ok(ControlFlow::Continue(level))
    }

    fn look(&self, parent: &Directory, name: &OsStr, path: &Path) -> Result<Option<Entry>, Error> {
        let found = match parent.stat(name) {
            Ok(found) => found,
            Err(error) if gone(&error) => return Ok(None),
            Err(source) => return Err(self.unreadable(path, source)),
        };
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => {
                Kind::Link(parent.link(name).map_err(|source| self.unreadable(path, source))?)
            }
            FileType::Fifo => Kind::Fifo,
            FileType::BlockDevice => Kind::Device { block: true, number: found.st_rdev },
            FileType::CharacterDevice => Kind::Device { block: false, number: found.st_rdev },
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        let size = if kind == Kind::Directory { 0 } else { found.st_size };
        Ok(Some(Entry {
            path: path.to_owned(),
            kind,
            mode: found.st_mode & 0o7777,
            size: u64::try_from(size).unwrap_or_default(),
            modified_ns: found
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(i64::try_from(found.st_mtime_nsec).unwrap_or_default()),
        }))
    }
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    fn found(root: &Path, filter: &Filter) -> Vec<String> {
        let mut paths = Vec::new();
        walk(root, filter, &mut |entry| {
            paths.push(entry.path.into_os_string().into_string().unwrap());
            true
        })
        .unwrap();
        paths
    }

    fn matcher(patterns: &[&str]) -> Matcher {
        Matcher::new(patterns.iter().copied()).unwrap()
    }

    #[test]
    fn order_is_by_component() {
        let dir = tree(&["a/b", "a.b", "a-b", "B", "é/x"]);
        assert_eq!(
            found(dir.path(), &Filter::default()),
            ["B", "a", "a/b", "a-b", "a.b", "é", "é/x"]
        );
    }

    #[test]
    fn what_is_excluded_brings_its_directories_only_for_exceptions() {
        let dir = tree(&["a/b/keep", "a/b/drop", "a/c", "d/e"]);
        let filter = Filter { include: None, exclude: matcher(&["*", "!a/b/keep"]) };
        assert_eq!(found(dir.path(), &filter), ["a", "a/b", "a/b/keep"]);
        let filter = Filter { include: None, exclude: matcher(&["**", "!**/e"]) };
        assert_eq!(found(dir.path(), &filter), ["d", "d/e"]);
    }

    #[test]
    fn includes_bring_their_directories() {
        let dir = tree(&["a/b/x", "a/c", "d/x", "e"]);
        let filter = Filter { include: Some(matcher(&["a/b", "e"])), exclude: Matcher::default() };
        assert_eq!(found(dir.path(), &filter), ["a", "a/b", "a/b/x", "e"]);
        let filter = Filter { include: Some(matcher(&["a"])), exclude: matcher(&["a/b"]) };
        assert_eq!(found(dir.path(), &filter), ["a", "a/c"]);
    }

    #[test]
    fn kinds_and_modes() {
        let dir = tree(&["tool"]);
        fs::set_permissions(dir.path().join("tool"), fs::Permissions::from_mode(0o4750)).unwrap();
        symlink("../outside", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sock")).unwrap();
        let mut entries = Vec::new();
        walk(dir.path(), &Filter::default(), &mut |entry| {
            entries.push(entry);
            true
        })
        .unwrap();
        let kinds: Vec<_> =
            entries.iter().map(|e| (e.path.to_str().unwrap(), e.kind.clone())).collect();
        assert_eq!(
            kinds,
            [
                ("dangling", Kind::Link("nowhere".into())),
                ("link", Kind::Link("../outside".into())),
                ("tool", Kind::File),
            ]
        );
        assert_eq!((entries[2].mode, entries[2].size), (0o4750, 4));
    }

    #[test]
    fn a_name_that_is_no_text_arrives_and_is_ruled_on() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&["d/a"]);
        let names = [&b"caf\xe8"[..], b"caf\xe9", b"d/x\xff"].map(OsStr::from_bytes);
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        symlink(names[0], dir.path().join("link")).unwrap();
        let found = |rules: &[u8]| {
            let rules = name::text_of(rules);
            let filter = Filter { include: None, exclude: matcher(&[&rules]) };
            let mut found = Vec::new();
            walk(dir.path(), &filter, &mut |entry| {
                found.push(entry);
                true
            })
            .unwrap();
            found
        };
        let all = found(b"none");
        assert_eq!(all.len(), 6);
        assert!(names.iter().all(|name| all.iter().any(|entry| entry.path == *name)));
        assert!(all.iter().any(|entry| entry.kind == Kind::Link(names[0].to_owned())));
        // A byte of a rule is that byte, `?` is any one of them.
        let rest = |rules| found(rules).into_iter().map(|entry| entry.path).collect::<Vec<_>>();
        assert!(!rest(b"caf\xe9").iter().any(|path| path == names[1]));
        assert!(rest(b"caf\xe9").iter().any(|path| path == names[0]));
        assert!(!rest(b"caf?").iter().any(|path| path == names[0] || path == names[1]));
        assert!(!rest(b"**/x*").iter().any(|path| path == names[2]));
    }
}
