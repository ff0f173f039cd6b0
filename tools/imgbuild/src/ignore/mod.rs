//! `.dockerignore`: what of the context is not sent.

mod matcher;
mod pattern;

use std::path::{Path, PathBuf};

use slipway_untrusted::limit::IGNORE_FILE;

pub(crate) use matcher::{Matcher, Parent};
pub(crate) use pattern::clean;

use crate::beneath::{Base, Fault};
use crate::context::name::text_of;
use crate::error::Error;
use pattern::BadPattern;

/// Reads an ignore file. None where there is none; a directory and a link that leads nowhere count
/// as none, as they do to docker.
pub(crate) fn read(base: &Base, below: &Path, shown: &Path) -> Result<Option<Vec<u8>>, Error> {
    match base.read(below, &IGNORE_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::Missing | Fault::Directory) => Ok(None),
        Err(Fault::TooLarge(why)) => {
            Err(Error::BadIgnoreFile { path: shown.to_owned(), line: None, why: why.to_string() })
        }
        Err(fault) => Err(Error::of_file(shown, fault)),
    }
}

/// The rules of an ignore file.
pub(crate) fn rules(bytes: &[u8], shown: &Path) -> Result<Matcher, Error> {
    let mut patterns = Vec::new();
    for (line, pattern) in parse(&text_of(bytes)) {
        let pattern = pattern::Pattern::new(&pattern).map_err(|BadPattern(why)| {
            let (path, line) = (shown.to_owned(), Some(line));
            Error::BadIgnoreFile { path, line, why: why.to_owned() }
        })?;
        patterns.extend(pattern);
    }
    Ok(Matcher::of(patterns))
}

/// Whether the rules keep this path out, or a directory that leads to it.
pub(crate) fn excludes(rules: &Matcher, path: &str) -> bool {
    let mut parent = None;
    for (at, _) in path.match_indices('/') {
        let (_, info) = rules.matches(&path[..at], parent.as_ref());
        parent = Some(info);
    }
    rules.matches(path, parent.as_ref()).0
}

/// The name of the ignore file that a Dockerfile of this name has of its own.
pub(crate) fn beside(dockerfile: &Path) -> PathBuf {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    PathBuf::from(own)
}

/// The patterns of an ignore file with their lines, as docker reads it: a byte-order mark is
/// skipped, `#` begins a comment only as a line's first character, and an
/// absolute path is one below the context.
fn parse(text: &str) -> impl Iterator<Item = (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let lines = lines.map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| match line.strip_prefix('!') {
        Some(rest) => (at, format!("!{}", relative(rest.trim()))),
        None => (at, relative(line)),
    })
}

fn relative(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let cleaned = clean(pattern);
    match cleaned.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => cleaned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_are_read_as_docker_reads_them() {
        let text = "\u{feff}test1\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n! /inverted/abs/path\n!\n! \n #no comment\r\n./x/../y/\n/\n";
        assert_eq!(
            parse(text).map(|(_, pattern)| pattern).collect::<Vec<_>>(),
            [
                "test1",
                "test2",
                "a/file/here",
                "lastfile",
                "!inverted/abs/path",
                "!",
                "!",
                "#no comment",
                "y",
                "/"
            ]
        );
    }

    #[test]
    fn what_is_no_file_counts_as_none_and_a_link_out_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let base = Base::open(dir.path(), "c".into()).unwrap();
        let path = dir.path().join("i");
        let of = || read(&base, Path::new("i"), Path::new("c/i"));
        assert_eq!(of().unwrap(), None);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert_eq!(of().unwrap(), None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(of().unwrap(), None);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(of().unwrap(), Some(Vec::new()));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", &path).unwrap();
        assert_eq!(of().unwrap_err().to_string(), "c/i is a link that leads out of c");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x\n".repeat(600 * 1024)).unwrap();
        assert_eq!(of().unwrap_err().to_string(), "c/i: the ignore file is larger than 1 MiB");
    }

    #[test]
    fn a_bad_pattern_is_told_by_its_line_and_not_repeated() {
        let error = rules(b"# AKIA\nb\n\nAKIA[\n", Path::new("c/.dockerignore")).unwrap_err();
        assert_eq!(error.to_string(), "c/.dockerignore line 4: a `[` is not closed");
    }
}
