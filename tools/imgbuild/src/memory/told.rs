//! What the engine was told of a directory, in short: enough to know whether it would be told the
//! same again.

use std::mem;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::context::walk;
use crate::digest::Hasher;
use crate::session::{Source, Stat, Wanted, is_directory, stat};

/// Files in one digest. A change is noticed where it is, not at the end of the walk.
const FILES: usize = 128;

/// All that was told at one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) wanted: Wanted,
    digests: Vec<String>,
}

/// The same in the making.
#[derive(Default)]
pub(crate) struct Telling {
    hasher: Hasher,
    bytes: Vec<u8>,
    files: usize,
    digests: Vec<String>,
}

impl Telling {
    /// Takes in what is told of one more file.
    pub(crate) fn add(&mut self, told: &Stat) {
        self.bytes.clear();
        // A vector has room for whatever is written.
        let _written = if is_directory(told) {
            // The engine passes over a directory's time, which changes with what is ignored in it.
            Stat { mod_time: 0, ..told.clone() }.encode_length_delimited(&mut self.bytes)
        } else {
            told.encode_length_delimited(&mut self.bytes)
        };
        self.hasher.update(&self.bytes);
        self.files += 1;
        if self.files == FILES {
            self.close();
        }
    }

    fn close(&mut self) {
        self.files = 0;
        self.digests.push(mem::take(&mut self.hasher).hex());
    }

    /// The whole, once everything was told.
    pub(crate) fn end(mut self, wanted: Wanted) -> Told {
        self.close();
        Told { wanted, digests: self.digests }
    }
}

impl Told {
    /// Whether the same would be told of `source` now. What cannot be read differs.
    pub(crate) fn is_still(&self, source: &Source) -> bool {
        let Source::Directory(root) = source else { return false };
        let Ok(filter) = self.wanted.filter(source) else { return false };
        let mut telling = Telling::default();
        let mut same = true;
        let walked = walk(root, &filter, &mut |entry| {
            telling.add(&stat(entry));
            same = self.digests.starts_with(&telling.digests);
            same
        });
        walked.is_ok() && same && telling.end(self.wanted.clone()) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn told(root: &Path, wanted: &Wanted) -> Told {
        let filter = wanted.filter(&Source::Directory(root.to_owned())).unwrap();
        let mut telling = Telling::default();
        walk(root, &filter, &mut |entry| {
            telling.add(&stat(entry));
            true
        })
        .unwrap();
        telling.end(wanted.clone())
    }

    fn tree(files: usize) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for n in 0..files {
            fs::write(directory.path().join(format!("f{n:04}")), n.to_string()).unwrap();
        }
        directory
    }

    #[test]
    fn every_change_that_is_told_counts_and_no_other() {
        let directory = tree(3);
        let root = directory.path();
        fs::create_dir(root.join("d")).unwrap();
        let source = Source::Directory(root.to_owned());
        let wanted = Wanted { exclude: vec!["**/*.log".into()], ..Wanted::default() };
        let before = told(root, &wanted);
        assert!(before.is_still(&source));
        fs::write(root.join("d/x.log"), "ignored; the directory has another time now").unwrap();
        assert!(before.is_still(&source));

        let changes: [(&str, &dyn Fn()); 5] = [
            ("content", &|| fs::write(root.join("f0001"), "longer").unwrap()),
            ("time", &|| {
                let times = SystemTime::now() + Duration::from_nanos(1);
                let file = File::options().write(true).open(root.join("f0001")).unwrap();
                file.set_times(FileTimes::new().set_modified(times)).unwrap();
            }),
            ("a new one", &|| fs::write(root.join("zz"), "").unwrap()),
            ("gone", &|| fs::remove_file(root.join("f0000")).unwrap()),
            ("a link", &|| symlink("f0001", root.join("f0000")).unwrap()),
        ];
        for (what, change) in changes {
            let before = told(root, &wanted);
            assert!(before.is_still(&source), "{what}: before it");
            change();
            assert!(!before.is_still(&source), "{what}");
        }
        let nowhere = Source::Directory(root.join("nowhere"));
        assert!(!told(root, &wanted).is_still(&nowhere));
    }

    #[test]
    fn the_same_for_trees_of_any_size() {
        for files in [0, 1, FILES - 1, FILES, FILES + 1, 3 * FILES] {
            let directory = tree(files);
            let source = Source::Directory(directory.path().to_owned());
            let before = told(directory.path(), &Wanted::default());
            assert!(before.is_still(&source), "{files}");
            fs::write(directory.path().join("f9999"), "").unwrap();
            assert!(!before.is_still(&source), "{files} and one more");
            fs::remove_file(directory.path().join("f9999")).unwrap();
            assert!(before.is_still(&source), "{files} again");
        }
    }

    #[test]
    fn what_was_not_asked_for_may_change() {
        let directory = tree(2);
        let source = Source::Directory(directory.path().to_owned());
        let wanted = Wanted { follow: vec!["f0001".into()], ..Wanted::default() };
        let before = told(directory.path(), &wanted);
        fs::write(directory.path().join("f0000"), "longer").unwrap();
        assert!(before.is_still(&source));
        fs::write(directory.path().join("f0001"), "longer").unwrap();
        assert!(!before.is_still(&source));
    }
}
