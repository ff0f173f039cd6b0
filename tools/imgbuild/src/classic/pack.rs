//! The context as one tar archive, made while it is sent: nothing of it is kept.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use slipway_untrusted::file::open_beneath;
use tar::{Builder, EntryType, Header};

use crate::context::{Entry, Filter, Kind, walk};
use crate::error::Error;
use crate::ignore::Matcher;

/// A file that goes into the archive beside, or in the place of, what is in the directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Writes what `ignore` leaves of the directory, and the extra files, as a tar archive.
pub(crate) fn pack(
    root: &Path,
    ignore: &Matcher,
    extras: &[Extra],
    to: impl Write,
) -> Result<(), Error> {
    let mut archive = Builder::new(to);
    let filter = Filter { include: None, exclude: ignore.clone() };
    let mut failed = None;
    let directory =
        File::open(root).map_err(|source| Error::Unreadable { path: root.to_owned(), source })?;
    walk(root, &filter, &mut |entry| {
        if extras.iter().any(|extra| entry.path == Path::new(&extra.name)) {
            return true;
        }
        let result = append(&mut archive, &directory, &entry)
            .map_err(|source| Error::Unreadable { path: root.join(&entry.path), source });
        let going = result.is_ok();
        failed = result.err();
        going
    })?;
    match failed {
        // Nobody listens any more: the engine's answer says why.
        Some(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(());
        }
        Some(error) => return Err(error),
        None => {}
    }
    for extra in extras {
        let mut header = header(EntryType::Regular, 0o644, 0);
        header.set_size(extra.content.len() as u64);
        let _gone = archive.append_data(&mut header, &extra.name, extra.content.as_slice());
    }
    if let Ok(mut to) = archive.into_inner() {
        let _gone = to.flush();
    }
    Ok(())
}

fn append<W: Write>(archive: &mut Builder<W>, directory: &File, entry: &Entry) -> io::Result<()> {
    let seconds = entry.modified_ns.div_euclid(1_000_000_000);
    let kind = match &entry.kind {
        Kind::Directory => EntryType::Directory,
        Kind::File => EntryType::Regular,
        Kind::Link(_) => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::Device { block: true, .. } => EntryType::Block,
        Kind::Device { block: false, .. } => EntryType::Char,
    };
    // Before 1970 there is no time in a tar archive.
    let mut header = header(kind, entry.mode, u64::try_from(seconds).unwrap_or_default());
    match &entry.kind {
        Kind::File => {
            header.set_size(entry.size);
            // It may have become a link or something else since it was looked at.
            let file = open_beneath(directory, &entry.path)?;
            let mut exactly = Exactly { file, left: entry.size };
            return archive.append_data(&mut header, &entry.path, &mut exactly);
        }
        Kind::Link(target) => return archive.append_link(&mut header, &entry.path, target),
        Kind::Device { number, .. } => {
            header.set_device_major(rustix::fs::major(*number))?;
            header.set_device_minor(rustix::fs::minor(*number))?;
        }
        Kind::Directory | Kind::Fifo => {}
    }
    archive.append_data(&mut header, &entry.path, io::empty())
}

/// Owner and group are root's, as docker has it.
fn header(kind: EntryType, mode: u32, seconds: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
    header.set_size(0);
    header
}

/// As many bytes as the header says: a file that grows is cut, and one that shrinks is an error,
/// since everything behind it would be read at the wrong place.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn packed(root: &Path, ignore: &[&str], extras: &[Extra]) -> BTreeMap<String, String> {
        let mut bytes = Vec::new();
        let ignore = Matcher::new(ignore.iter().copied()).unwrap();
        pack(root, &ignore, extras, &mut bytes).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let link = entry.link_name_bytes().map(|name| String::from_utf8(name.into()).unwrap());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let what = format!("{:o} {}", header.mode().unwrap(), link.unwrap_or(content));
            found.insert(path, what);
        }
        found
    }

    #[test]
    fn all_kinds_and_lengths_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{0}/{0}/{0}", "d".repeat(120));
        fs::create_dir_all(dir.path().join(&long)).unwrap();
        let (deep, name) = (format!("{long}/file"), "n".repeat(255));
        fs::write(dir.path().join(&deep), "deep").unwrap();
        fs::write(dir.path().join(&name), "long").unwrap();
        fs::write(dir.path().join("run"), "x").unwrap();
        fs::set_permissions(dir.path().join("run"), PermissionsExt::from_mode(0o4755)).unwrap();
        fs::write(dir.path().join("a.log"), "noise").unwrap();
        symlink(&deep, dir.path().join("link")).unwrap();
        let extras = [Extra { name: ".dockerfile.x".into(), content: b"FROM scratch".to_vec() }];
        let found = packed(dir.path(), &["*.log"], &extras);
        assert_eq!(found[&deep], "644 deep");
        assert_eq!(found[&name], "644 long");
        assert_eq!(found["run"], "4755 x");
        assert_eq!(found["link"], format!("777 {deep}"));
        assert_eq!(found[".dockerfile.x"], "644 FROM scratch");
        assert!(!found.contains_key("a.log"));
        assert_eq!(found.len(), 4 + 3 + 1);
    }

    #[test]
    fn an_extra_file_stands_in_the_place_of_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".dockerignore"), "a").unwrap();
        let extras = [Extra { name: ".dockerignore".into(), content: b"b".to_vec() }];
        assert_eq!(packed(dir.path(), &[], &extras)[".dockerignore"], "644 b");
    }

    #[test]
    fn names_that_are_no_text_arrive() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let names = [&b"caf\xe9"[..], b"link\xff"].map(OsStr::from_bytes);
        fs::write(dir.path().join(names[0]), "x").unwrap();
        symlink(names[0], dir.path().join(names[1])).unwrap();
        let mut bytes = Vec::new();
        pack(dir.path(), &Matcher::default(), &[], &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<(Vec<u8>, Option<Vec<u8>>)> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|e| (e.path_bytes().into(), e.link_name_bytes().map(Into::into)))
            .collect();
        let bytes = names.map(|name| name.as_bytes().to_vec());
        assert_eq!(found, [(bytes[0].clone(), None), (bytes[1].clone(), Some(bytes[0].clone()))]);
    }

    #[test]
    fn what_became_a_link_is_not_followed_out() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("secret"), "canary").unwrap();
        symlink(other.path().join("secret"), dir.path().join("f")).unwrap();
        let entry =
            Entry { path: "f".into(), kind: Kind::File, mode: 0o644, size: 6, modified_ns: 0 };
        let mut bytes = Vec::new();
        let directory = File::open(dir.path()).unwrap();
        assert!(append(&mut Builder::new(&mut bytes), &directory, &entry).is_err());
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    }

    #[test]
    fn a_file_that_shrinks_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "1234").unwrap();
        let entry =
            Entry { path: "f".into(), kind: Kind::File, mode: 0o644, size: 9, modified_ns: 0 };
        let mut archive = Builder::new(Vec::new());
        let directory = File::open(dir.path()).unwrap();
        let error = append(&mut archive, &directory, &entry).unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");
    }
}
