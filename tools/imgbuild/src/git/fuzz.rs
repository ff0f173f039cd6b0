//! The parsers of git's data, for the fuzzer.

use slipway_untrusted::{LINE, obeyed};

use super::checkout::{first_line, is_commit, is_head, is_trusted};
use super::config::Config;
use super::status::{Staged, Status, Tracked};
use super::{first_reason, scrubbed, tag_of, time_of, without_credentials};
use crate::remote::choose;

/// What `git status` prints.
pub(crate) fn status(input: &[u8]) {
    let mut status = Status::default();
    let records = || input.split(|byte| *byte == 0);
    records().for_each(|record| status.record(record));
    assert!(status.changes.count <= records().count());
    assert!(status.commit.is_none_or(|commit| is_commit(&commit)));
    shown(&status.branch.unwrap_or_default());
    shown(&status.changes.sentence());
}

/// What `git ls-files`, `git rev-list` and `git for-each-ref` print.
pub(crate) fn lists(input: &[u8]) {
    let mut tracked = Tracked::default();
    input.split(|byte| *byte == 0).for_each(|record| tracked.record(record));
    assert!(tracked.submodules.len() <= 4096);
    let mut staged = Staged::default();
    input.split(|byte| *byte == 0).for_each(|record| staged.record(record));
    assert!(staged.submodules.len() <= 4096);
    let line = first_line(input);
    let _time = time_of(&line, "0123456789abcdef0123456789abcdef01234567");
    shown(&tag_of(&line).unwrap_or_default());
    let _trusted = is_trusted(std::path::Path::new("/work"), input);
    let _head = is_head(&line);
}

/// What `git config --list -z` prints. What may be said of it is understood when it is read again.
pub(crate) fn config(input: &[u8]) {
    let mut config = Config::default();
    config.read(input);
    for line in config.text().lines().filter(|line| !line.starts_with('[')) {
        let (name, value) = line.split_once(" = ").unwrap_or_default();
        assert!(name.starts_with('\t') && !name.contains(['#', ';']), "{line:?}");
        let bare = value == "false";
        assert!(bare || (value.len() > 1 && value.starts_with('"') && value.ends_with('"')));
    }
    let source = config.source().unwrap_or_default();
    assert_eq!(without_credentials(&source), source);
    shown(&source);
}

/// What `git ls-remote` prints, and what it says where it fails.
pub(crate) fn remote(input: &[u8]) {
    let listed = String::from_utf8_lossy(input);
    for wanted in ["HEAD", "main", "v1"] {
        assert!(choose(&listed, wanted).is_none_or(|commit| is_commit(&commit)));
    }
    shown(&first_reason(input));
    assert!(scrubbed(&listed).len() <= listed.len());
}

fn shown(text: &str) {
    assert!(!text.chars().any(obeyed), "{text:?}");
    assert!(text.chars().count() <= LINE + 40);
}
