//! What git prints of a work tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use slipway_untrusted::Untrusted;

use super::checkout::is_commit;
use super::config::is_plain;

/// The longest name of a branch or a tag, in bytes. Longer ones are valid and of no use to anybody.
const NAME: usize = 1024;
/// How much of a file's name is told, in characters.
const SHOWN: usize = 200;

/// Files that differ from the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The first of them, as git names them: from the repository's top.
    pub(crate) first: Vec<Untrusted>,
    /// How many there are in all.
    pub(crate) count: usize,
}

impl Changes {
    /// How many are named.
    const FIRST: usize = 5;

    /// The first files, and how many more there are.
    pub(crate) fn sentence(&self) -> String {
        let named: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        let named = named.join(", ");
        match self.count.saturating_sub(self.first.len()) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }

    /// The first files as they are called, for the document.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.first.iter().map(Untrusted::raw).collect()
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &[u8]) {
        let text = String::from_utf8_lossy(path);
        let shown = match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into_owned(),
        };
        self.count += 1;
        if self.first.len() < Self::FIRST {
            self.first.push(Untrusted::new(shown));
        }
    }
}

/// `git status --porcelain=v2 --branch -z`, record by record.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// The commit; none where there is none yet.
    pub(crate) commit: Option<String>,
    /// The branch; none where there is only a commit.
    pub(crate) branch: Option<String>,
    pub(crate) changes: Changes,
    /// The next record is the path that the last one had before.
    renamed: bool,
}

impl Status {
    /// Takes a record (git-status(1), "Porcelain Format Version 2").
    pub(crate) fn record(&mut self, record: &[u8]) {
        if std::mem::take(&mut self.renamed) {
            return;
        }
        let (kind, rest) = record.split_first().unwrap_or((&0, b""));
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        // How many fields stand before the path.
        let fields = match kind {
            b'#' => return self.header(&String::from_utf8_lossy(rest)),
            b'?' => 0,
            b'1' => 7,
            b'2' => 8,
            b'u' => 9,
            _ => return,
        };
        self.renamed = *kind == b'2';
        let parts: Vec<&[u8]> = rest.splitn(fields + 1, |byte| *byte == b' ').collect();
        let Some(path) = parts.get(fields) else { return };
        self.changes.add(path);
    }

    fn header(&mut self, header: &str) {
        if let Some(commit) = header.strip_prefix("branch.oid ") {
            self.commit = Some(commit.to_owned()).filter(|commit| is_commit(commit));
        } else if let Some(branch) = header.strip_prefix("branch.head ") {
            self.branch = name(branch).filter(|branch| branch != "(detached)");
        }
    }
}

/// The name of a branch or a tag, if there is one that can be told.
pub(crate) fn name(text: &str) -> Option<String> {
    let known = !text.is_empty() && text.len() <= NAME && is_plain(text);
    known.then(|| text.to_owned())
}

/// `git ls-files --stage -z`, record by record.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    /// Whether there is a file among them.
    pub(crate) files: bool,
    /// The submodules, each with the commit that it should be at.
    pub(crate) submodules: Vec<(PathBuf, String)>,
    /// Whether there are more.
    pub(crate) more: bool,
}

impl Tracked {
    /// How many submodules are looked at.
    const MOST: usize = 4096;

    /// Takes a record: mode, object and stage, a tab, and the path.
    pub(crate) fn record(&mut self, record: &[u8]) {
        let Some(tab) = record.iter().position(|byte| *byte == b'\t') else { return };
        let path = PathBuf::from(OsStr::from_bytes(&record[tab + 1..]));
        if !record.starts_with(b"160000 ") {
            self.files = true;
        } else if self.submodules.len() == Self::MOST {
            self.more = true;
        } else if self.submodules.last().is_none_or(|(last, _)| *last != path) {
            let commit = record[..tab].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            self.submodules.push((path, String::from_utf8_lossy(commit).into_owned()));
        }
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.files && self.submodules.is_empty()
    }
}

/// `git diff-index --cached --raw -z`, record by record: what is staged of submodules.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// The submodules that differ.
    pub(crate) submodules: Vec<PathBuf>,
    /// Whether the next record is the path of one, or of something else.
    of_submodule: Option<bool>,
}

impl Staged {
    /// Takes a record: modes, objects and a letter behind a colon, or the path that follows them.
    pub(crate) fn record(&mut self, record: &[u8]) {
        match self.of_submodule.take() {
            Some(true) if self.submodules.len() < Tracked::MOST => {
                self.submodules.push(PathBuf::from(OsStr::from_bytes(record)));
            }
            Some(_) => {}
            None => {
                let mut modes = record.split(|byte| *byte == b' ').take(2);
                let is_submodule = |mode: &[u8]| mode.ends_with(b"160000");
                self.of_submodule = Some(modes.any(is_submodule));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Status {
        let mut status = Status::default();
        text.split_terminator('\0').for_each(|record| status.record(record.as_bytes()));
        status
    }

    #[test]
    fn every_kind_of_record() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let status = read(&format!(
            "# branch.oid {id}\0# branch.head feature/x\0# branch.upstream origin/x\0# stash 1\0\
             1 .M N... 100644 100644 100644 {id} {id} with blank\0\
             1 .M SC.. 160000 160000 160000 {id} {id} sub\0\
             2 R. N... 100644 100644 100644 {id} {id} R100 new name\0old name\0\
             u UU N... 100644 100644 100644 100644 {id} {id} {id} both\0? new\u{1b}[2J\0! ignored\0"
        ));
        assert_eq!(
            (status.commit.as_deref(), status.branch.as_deref()),
            (Some(id), Some("feature/x"))
        );
        assert_eq!(status.changes.sentence(), "with blank, sub, new name, both, new");
        let many: String = (0..9).map(|n| format!("? {n}\0")).collect();
        assert_eq!(read(&many).changes.sentence(), "0, 1, 2, 3, 4 and 4 more");
        let none = read("# branch.oid (initial)\0# branch.head (detached)\0");
        assert_eq!((none.commit, none.branch, none.changes.count), (None, None, 0));
        assert!(read(&format!("? {}\0", "x".repeat(9999))).changes.sentence().len() < 300);
    }

    #[test]
    fn submodules_among_files() {
        let mut tracked = Tracked::default();
        assert!(tracked.is_empty());
        tracked.record(b"160000 0123 0\ta/sub");
        assert!(!tracked.files && !tracked.is_empty());
        for record in ["160000 0123 2\ta/sub", "100644 0123 0\tfile", "", "\t", "odd"] {
            tracked.record(record.as_bytes());
        }
        assert!(tracked.files);
        assert_eq!(tracked.submodules, [(PathBuf::from("a/sub"), "0123".to_owned())]);
    }
}
