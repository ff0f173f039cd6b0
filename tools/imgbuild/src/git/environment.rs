//! Which git is run, and what it knows of the environment.
//!
//! The caller's configuration of git is the caller's own, and may run what it likes. A tree must
//! not pass for the caller: neither by a relative entry of the search path, nor by a home directory
//! that is the work space, as builds in containers like to have it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Variables of git's own that only say where the caller's configuration and git's programs are.
/// Those that say where a repository is, what runs for it, or where a trace is written are not here.
const KEPT: &[&str] = &[
    "GIT_ATTR_NOSYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
];
/// The same for the settings that `GIT_CONFIG_COUNT` counts.
const KEPT_PREFIXES: &[&str] = &["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];
/// Where the caller logs in to a repository, or trusts it. Asking another machine needs them.
const KEPT_FOR_REMOTES: &[&str] = &[
    "GIT_ASKPASS",
    "GIT_HTTP_LOW_SPEED_LIMIT",
    "GIT_HTTP_LOW_SPEED_TIME",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_HTTP_USER_AGENT",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_VERSION",
];
/// Paths: a relative one would mean something in every directory.
const PATHS: &[&str] =
    &["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH", "HOME", "XDG_CONFIG_HOME"];

/// The git of the search path.
#[derive(Debug)]
pub(crate) struct Git {
    program: PathBuf,
    /// The search path of what git starts.
    path: OsString,
    /// What must not stand in for the caller: the work tree that is asked about.
    tree: Option<PathBuf>,
}

impl Git {
    /// Looks for it. Nothing in `tree` is git, nor is anything of a relative entry of the path.
    pub(crate) fn find(tree: Option<&Path>) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let outside = |directory: &PathBuf| is_outside(directory, tree);
        let directories: Vec<PathBuf> = env::split_paths(&path).filter(outside).collect();
        let program =
            directories.iter().map(|directory| directory.join("git")).find(|program| {
                let meta = program.metadata();
                meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
            })?;
        let path = env::join_paths(directories).ok()?;
        Some(Self { program, path, tree: tree.map(Path::to_owned) })
    }

    /// A command that knows of no repository, and finds none: it runs at the top of the file system.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.start(false);
        command.current_dir("/").env("GIT_DIR", "/dev/null").env("GIT_CEILING_DIRECTORIES", "/");
        command
    }

    /// The same, to ask another machine.
    pub(crate) fn remote_command(&self) -> Command {
        let mut command = self.start(true);
        command.current_dir("/").env("GIT_DIR", "/dev/null").env("GIT_CEILING_DIRECTORIES", "/");
        // Nothing else is an address of a repository; the variable overrules every configuration.
        command.env("GIT_ALLOW_PROTOCOL", "https:http:ssh:git");
        command
    }

    /// A command in a directory of a work tree whose git directory is this one.
    pub(crate) fn command_in(&self, directory: &Path, git_directory: &Path, top: &Path) -> Command {
        let mut command = self.start(false);
        command.current_dir(directory).env("GIT_DIR", git_directory).env("GIT_WORK_TREE", top);
        // Nothing is fetched, whatever is missing.
        command.env("GIT_ALLOW_PROTOCOL", "").env("GIT_NO_LAZY_FETCH", "1");
        // Settings of the caller that would run programs of the tree, or make another answer.
        for setting in
            ["core.fsmonitor=false", "core.hooksPath=/dev/null", "core.commitGraph=false"]
        {
            command.args(["-c", setting]);
        }
        command
    }

    fn start(&self, remote: bool) -> Command {
        let mut command = Command::new(&self.program);
        for (name, value) in env::vars_os() {
            if !self.passes(&name, &value, remote) {
                command.env_remove(name);
            }
        }
        command
            .args(["--no-pager", "-c", "safe.bareRepository=explicit"])
            .env("PATH", &self.path)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        command
    }

    fn passes(&self, name: &OsStr, value: &OsStr, remote: bool) -> bool {
        let name = name.to_string_lossy();
        let among = |names: &[&str]| names.iter().any(|known| *known == name);
        if among(PATHS) && !is_outside(Path::new(value), self.tree.as_deref()) {
            return false;
        }
        !name.starts_with("GIT_")
            || among(KEPT)
            || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || (remote && among(KEPT_FOR_REMOTES))
    }
}

/// Whether a path is absolute and not in this tree, by any link.
pub(crate) fn is_outside(path: &Path, tree: Option<&Path>) -> bool {
    let real = path.canonicalize();
    let inside = |tree: &Path| {
        path.starts_with(tree) || real.as_ref().is_ok_and(|real| real.starts_with(tree))
    };
    path.is_absolute() && !tree.is_some_and(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_harmless_passes() {
        let tree = tempfile::tempdir().unwrap();
        let tree = tree.path().canonicalize().unwrap();
        std::fs::create_dir(tree.join("home")).unwrap();
        let git = Git::find(Some(&tree)).unwrap();
        let passes = |name: &str, value: &str| git.passes(name.as_ref(), value.as_ref(), false);
        for (name, value) in [
            ("TERM", "dumb"),
            ("HOME", "/root"),
            ("GIT_CONFIG_GLOBAL", "/etc/gitconfig"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
        ] {
            assert!(passes(name, value), "{name}={value}");
        }
        let home = tree.join("home");
        for (name, value) in [
            ("HOME", "."),
            ("HOME", ""),
            ("HOME", home.to_str().unwrap()),
            ("XDG_CONFIG_HOME", home.to_str().unwrap()),
            ("GIT_CONFIG_GLOBAL", "config"),
            ("GIT_DIR", "/x"),
            ("GIT_EXTERNAL_DIFF", "/x"),
            ("GIT_SSH_COMMAND", "/x"),
            ("GIT_TRACE", "/x"),
            ("GIT_CONFIG_PARAMETERS", "'core.fsmonitor=/x'"),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/x"),
        ] {
            assert!(!passes(name, value), "{name}={value}");
        }
        assert!(git.passes("GIT_SSH_COMMAND".as_ref(), "/x".as_ref(), true));
    }

    #[test]
    fn no_program_of_the_tree_is_git() {
        let program = Git::find(None).unwrap().program;
        assert!(program.is_absolute());
        let directory = program.parent().unwrap();
        let other = Git::find(Some(directory));
        assert!(other.is_none_or(|git| git.program.parent() != Some(directory)));
    }
}
