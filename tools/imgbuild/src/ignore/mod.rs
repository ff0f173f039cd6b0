//! `.dockerignore`: what of the context is not sent.

mod matcher;
mod pattern;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use matcher::{Matcher, Parent};
pub(crate) use pattern::clean;

use crate::error::Error;

/// The rules for a build of `dockerfile` with the directory `context`:
/// `NAME.dockerignore` beside the Dockerfile where there is such a file, empty
/// or not, else `.dockerignore` in the context, else none.
pub(crate) fn rules(context: &Path, dockerfile: &Path) -> Result<Matcher, Error> {
    for path in [beside(dockerfile), context.join(".dockerignore")] {
        if let Some(text) = read(&path)? {
            let patterns = parse(&text);
            return Matcher::new(patterns.iter().map(String::as_str))
                .map_err(|bad| Error::BadIgnoreFile { path, why: bad.to_string() });
        }
    }
    Ok(Matcher::default())
}

/// Whether the Dockerfile has rules of its own.
pub(crate) fn own(dockerfile: &Path) -> Result<bool, Error> {
    Ok(read(&beside(dockerfile))?.is_some())
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

fn beside(dockerfile: &Path) -> PathBuf {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    PathBuf::from(own)
}

/// The file's text; a directory or a link that leads nowhere counts as none.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
    }
}

/// The patterns of an ignore file, as docker reads it: a byte-order mark is
/// skipped, `#` begins a comment only as a line's first character, and an
/// absolute path is one below the context.
fn parse(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix('!') {
            Some(rest) => format!("!{}", relative(rest.trim())),
            None => relative(line),
        })
        .collect()
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

    #[test]
    fn lines_are_read_as_docker_reads_them() {
        let text = "\u{feff}test1\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n! /inverted/abs/path\n!\n! \n #no comment\r\n./x/../y/\n/\n";
        assert_eq!(
            parse(text),
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
    fn the_dockerfiles_own_file_goes_first_even_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let dockerfile = dir.path().join("Dockerfile");
        fs::write(dir.path().join(".dockerignore"), "secret\n").unwrap();
        assert!(rules(dir.path(), &dockerfile).unwrap().matches("secret", None).0);

        let own = dir.path().join("Dockerfile.dockerignore");
        fs::write(&own, "").unwrap();
        assert!(rules(dir.path(), &dockerfile).unwrap().is_empty());

        fs::remove_file(&own).unwrap();
        std::os::unix::fs::symlink("nowhere", &own).unwrap();
        assert!(!rules(dir.path(), &dockerfile).unwrap().is_empty());
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        assert!(!rules(dir.path(), &dockerfile).unwrap().is_empty());
    }

    #[test]
    fn a_bad_pattern_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".dockerignore"), "a[\n").unwrap();
        let error = rules(dir.path(), &dir.path().join("Dockerfile")).unwrap_err();
        assert!(
            error.to_string().contains(".dockerignore") && error.to_string().contains("a["),
            "{error}"
        );
    }
}
