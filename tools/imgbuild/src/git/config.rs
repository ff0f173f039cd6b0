//! What a repository's own configuration may say.
//!
//! The list says which keys are known, not which are dangerous: they tell how files were written to
//! the disk, so that they can be compared. None of them names a program, and only one a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::url::without_credentials;

/// Keys whose value is a word: a boolean, a number, a name that git knows.
const WORDS: &[&str] = &[
    "core.autocrlf",
    "core.checkstat",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.repositoryformatversion",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.symlinks",
    "core.trustctime",
    "extensions.compatobjectformat",
    "extensions.objectformat",
];
/// A file of patterns. It can keep new files from being told, as `info/exclude` can.
const EXCLUDES: &str = "core.excludesfile";
/// Extensions that do not matter to one who only reads files and commits. Objects of a partial clone
/// that are missing stay missing.
const PASSED_OVER: &[&str] = &[
    "extensions.noop",
    "extensions.noop-v1",
    "extensions.partialclone",
    "extensions.preciousobjects",
    "extensions.relativeworktrees",
    "extensions.worktreeconfig",
];
/// What `git lfs install --local` writes: a program of the search path, with nothing of the
/// repository in its command.
const LFS: &[(&str, &[&str])] = &[
    ("filter.lfs.clean", &["git-lfs clean -- %f"]),
    ("filter.lfs.process", &["git-lfs filter-process", "git-lfs filter-process --skip"]),
    ("filter.lfs.required", &["true"]),
];
/// The longest URL of a remote, in bytes.
const URL: usize = 2048;

/// A repository's configuration, as far as it counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    kept: BTreeMap<String, String>,
    /// Whether the repository says that it has no work tree.
    pub(crate) bare: bool,
    /// The work tree that it says it has.
    pub(crate) worktree: Option<String>,
    /// Whether each work tree has a file of configuration as well.
    pub(crate) worktree_config: bool,
    /// A filter that is not run.
    pub(crate) filter: Option<String>,
    remotes: Vec<(String, String)>,
    unknown: Option<String>,
}

impl Config {
    /// Reads what `git config --list -z` prints: a key, a line break, the value, and a NUL each. A key
    /// alone is a boolean that is true.
    pub(crate) fn read(&mut self, listed: &[u8]) {
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let entry = String::from_utf8_lossy(entry);
            let (key, value) = entry.split_once('\n').unwrap_or((&entry, "true"));
            self.entry(key, value);
        }
    }

    fn entry(&mut self, key: &str, value: &str) {
        let mut keep = || self.kept.insert(key.to_owned(), value.to_owned());
        match key {
            "core.bare" => self.bare = is_true(value),
            "core.worktree" => self.worktree = Some(value.to_owned()),
            _ if WORDS.contains(&key) && is_word(value) => _ = keep(),
            "extensions.refstorage" if ["files", "reftable"].contains(&value) => _ = keep(),
            EXCLUDES if !value.contains('\0') => _ = keep(),
            "extensions.worktreeconfig" => self.worktree_config = is_true(value),
            _ if PASSED_OVER.contains(&key) => {}
            _ if key.starts_with("extensions.") => self.unknown = Some(key.to_owned()),
            _ if LFS.iter().any(|(known, values)| *known == key && values.contains(&value)) => {
                keep();
            }
            _ if key.starts_with("filter.") => {
                let name = key.strip_suffix(".clean").or_else(|| key.strip_suffix(".process"));
                let name = name.and_then(|name| name.strip_prefix("filter."));
                self.filter = name.map(str::to_owned).or_else(|| self.filter.take());
            }
            _ => {
                let name = key.strip_prefix("remote.").and_then(|key| key.strip_suffix(".url"));
                if let Some(name) = name.filter(|_| value.len() <= URL && is_plain(value)) {
                    self.remotes.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
    }

    /// An extension of the repository's format that is not known here (git-config(1),
    /// `core.repositoryFormatVersion`).
    pub(crate) fn unknown_extension(&self) -> Option<&str> {
        let version = self.kept.get("core.repositoryformatversion");
        self.unknown.as_deref().filter(|_| version.is_some_and(|version| version != "0"))
    }

    /// The URL of `origin`, or of the first remote, without credentials.
    pub(crate) fn source(&self) -> Option<String> {
        let origin = self.remotes.iter().find(|(name, _)| name == "origin");
        let (_, url) = origin.or_else(|| self.remotes.first())?;
        Some(without_credentials(url)).filter(|url| !url.is_empty())
    }

    /// A configuration that says what this one may say.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("[core]\n\tbare = false\n");
        for (key, value) in &self.kept {
            let Some((section, name)) = key.rsplit_once('.') else { continue };
            let section = section.replacen('.', " \"", 1);
            let end = if section.contains('"') { "\"" } else { "" };
            let _ = writeln!(text, "[{section}{end}]\n\t{name} = \"{}\"", quoted(value));
        }
        text
    }
}

/// A value as it stands between quotation marks (git-config(1), "Syntax").
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn is_true(value: &str) -> bool {
    !["", "false", "no", "off", "0"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_word(value: &str) -> bool {
    value.len() <= 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether nothing in a text is a control character.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listed: &str) -> Config {
        let mut config = Config::default();
        config.read(listed.as_bytes());
        config
    }

    #[test]
    fn only_what_is_known_is_kept() {
        let config = of(
            "core.bare\nfalse\0core.filemode\0core.eol\nlf\0core.fsmonitor\n/x\0core.autocrlf\na\nb\0\
             core.excludesfile\n/a \"b\"\\\n\0filter.lfs.clean\ngit-lfs clean -- %f\0filter.x.clean\n/x\0\
             filter.lfs.process\n/x\0include.path\n/x\0extensions.refstorage\nreftable:///x\0",
        );
        assert_eq!(
            config.text(),
            "[core]\n\tbare = false\n[core]\n\teol = \"lf\"\n[core]\n\texcludesfile = \"/a \\\"b\\\"\\\\\\n\"\n\
             [core]\n\tfilemode = \"true\"\n[filter \"lfs\"]\n\tclean = \"git-lfs clean -- %f\"\n"
        );
        assert_eq!(config.filter.as_deref(), Some("lfs"));
        assert_eq!(config.unknown_extension(), None, "git does not look at any in version 0");
        let next = of("core.repositoryformatversion\n1\0extensions.new\ntrue\0");
        assert_eq!(next.unknown_extension(), Some("extensions.new"));
    }

    #[test]
    fn origin_goes_before_other_remotes() {
        let two = "remote.up.url\nhttps://t@example.com/up\0remote.origin.url\n/srv/x\0";
        assert_eq!(of(two).source().as_deref(), Some("/srv/x"));
        assert_eq!(of(&two[..40]).source().as_deref(), Some("https://example.com/up"));
        assert_eq!(of("remote.origin.url\n/a\u{1b}[2J\0").source(), None);
        assert_eq!(of(&format!("remote.origin.url\n/{}\0", "x".repeat(URL))).source(), None);
    }
}
