//! Which repository a directory is in, by git's rules but one: what looks like a bare repository is
//! a directory. Git reads the configuration of one, and a tree can hold one.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use slipway_untrusted::file::open_regular;
use slipway_untrusted::limit::GIT_FILE;

use super::config::Config;

/// The name of a repository at the top of its work tree. Git takes none into a commit, whatever
/// its case; an archive may bring one.
const MARKER: &str = ".git";

/// A work tree and its repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checkout {
    /// The top of the work tree.
    pub(crate) top: PathBuf,
    /// The git directory: what belongs to this work tree.
    pub(crate) git: PathBuf,
    /// What all work trees of the repository share; the same where there is one.
    pub(crate) common: PathBuf,
    /// Whether a file leads to the git directory.
    linked: bool,
}

/// The directories above this one, itself included, that have a repository at their top: nearest
/// first. As with git, none is of another file system, or at or above one of the directories in
/// `GIT_CEILING_DIRECTORIES`.
pub(crate) fn tops(directory: &Path) -> Vec<PathBuf> {
    let ceilings = env::var_os("GIT_CEILING_DIRECTORIES").unwrap_or_default();
    let ceilings: Vec<PathBuf> = env::split_paths(&ceilings).filter(|p| p.is_absolute()).collect();
    let device = |path: &Path| path.metadata().map(|meta| meta.dev()).ok();
    let here = device(directory);
    let mut above = directory.ancestors();
    let first = above.next();
    let above = above
        .take_while(|path| device(path) == here && !ceilings.iter().any(|ceiling| ceiling == path));
    let all = first.into_iter().chain(above);
    all.filter(|top| is_there(&top.join(MARKER))).map(Path::to_owned).collect()
}

/// Git passes over a directory of that name which is no repository.
fn is_there(marker: &Path) -> bool {
    match marker.metadata() {
        Ok(meta) if meta.is_dir() => {
            let shared = marker.join("commondir").is_file();
            marker.join("HEAD").symlink_metadata().is_ok()
                && (shared || marker.join("objects").is_dir() && marker.join("refs").is_dir())
        }
        Ok(meta) => meta.is_file(),
        Err(_) => false,
    }
}

impl Checkout {
    /// The repository at the top of a work tree.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn at(top: &Path) -> Result<Self, String> {
        let marker = top.join(MARKER);
        let linked = !marker.is_dir();
        let git = if linked {
            let text = line(&marker).map_err(|why| format!("{}: {why}", marker.display()))?;
            let target = text.strip_prefix("gitdir: ").ok_or_else(|| {
                format!("{} does not say where the repository is", marker.display())
            })?;
            top.join(target)
        } else {
            marker
        };
        let missing = |path: &Path| format!("there is no repository at {}", path.display());
        let git = git.canonicalize().map_err(|_| missing(&git))?;
        let common = match line(&git.join("commondir")) {
            Ok(target) => git.join(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => git.clone(),
            Err(error) => return Err(format!("{}: {error}", git.join("commondir").display())),
        };
        let common = common.canonicalize().map_err(|_| missing(&common))?;
        if !common.join("objects").is_dir() || !common.join("refs").is_dir() {
            return Err(missing(&common));
        }
        Ok(Self { top: top.to_owned(), git, common, linked })
    }

    /// Whether there are other work trees than this one.
    pub(crate) fn is_shared(&self) -> bool {
        self.git != self.common
    }

    /// Checks that the repository says it belongs to this work tree, as a repository elsewhere says
    /// nothing of a tree that only names it.
    ///
    /// # Errors
    /// What it says instead.
    pub(crate) fn belongs(&self, config: &Config) -> Result<(), String> {
        let other = |what: &str| format!("the repository {} {what}", self.git.display());
        let says = if self.is_shared() {
            let marker = line(&self.git.join("gitdir")).unwrap_or_default();
            let tree = self.git.join(marker).parent().and_then(|tree| tree.canonicalize().ok());
            // A work tree that was moved is not found where it was.
            tree.filter(|tree| tree.join(MARKER).exists())
        } else if config.bare {
            return Err(other("has no work tree (core.bare)"));
        } else if let Some(tree) = &config.worktree {
            Some(self.git.join(tree).canonicalize().unwrap_or_else(|_| PathBuf::from(tree)))
        } else if self.linked && self.git.ends_with(MARKER) {
            self.git.parent().map(Path::to_owned)
        } else {
            None
        };
        match says.filter(|tree| *tree != self.top) {
            None => Ok(()),
            Some(tree) => Err(other(&format!("belongs to another work tree, {}", tree.display()))),
        }
    }

    /// Whether work tree and repository are the user's own, as git wants them (git-config(1),
    /// `safe.directory`).
    pub(crate) fn is_own(&self) -> bool {
        let sudo = env::var("SUDO_UID").ok().and_then(|id| id.parse().ok());
        self.is_owned_by(rustix::process::geteuid().as_raw(), sudo)
    }

    /// The same for a user, who is root on behalf of another one with sudo.
    fn is_owned_by(&self, user: u32, sudo: Option<u32>) -> bool {
        let sudo = sudo.filter(|_| user == 0);
        [&self.top, &self.git, &self.top.join(MARKER)].into_iter().all(|path| {
            let owner = path.symlink_metadata().map(|meta| meta.uid()).ok();
            owner.is_some_and(|owner| owner == user || Some(owner) == sudo)
        })
    }
}

/// Whether these values of `safe.directory` trust a directory.
pub(crate) fn is_trusted(top: &Path, listed: &[u8]) -> bool {
    let mut trusted = false;
    for value in listed.split(|byte| *byte == 0) {
        let value = String::from_utf8_lossy(value);
        let below = value.strip_suffix("/*").map(Path::new);
        match value.as_ref() {
            // Each value ends with a NUL, so that the last one is followed by nothing.
            "" => {}
            "*" => trusted = true,
            value => {
                trusted |= Path::new(value) == top || below.is_some_and(|b| top.starts_with(b))
            }
        }
    }
    trusted
}

/// The first line of a small file of git's.
pub(crate) fn line(path: &Path) -> io::Result<String> {
    Ok(first_line(&GIT_FILE.read(open_regular(path)?)?))
}

/// The text up to the end of its first line.
pub(crate) fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().to_owned()
}

/// What `HEAD` says: a branch or a commit.
///
/// # Errors
/// When it says neither.
pub(crate) fn head(git: &Path) -> io::Result<String> {
    let path = git.join("HEAD");
    // In its oldest form it is a link.
    let head = match fs::read_link(&path) {
        Ok(target) => format!("ref: {}", target.to_string_lossy()),
        Err(_) => line(&path)?,
    };
    if is_head(&head) {
        return Ok(head);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "names neither a branch nor a commit"))
}

pub(crate) fn is_head(line: &str) -> bool {
    let reference = line.strip_prefix("ref:").map(str::trim_start);
    reference.is_some_and(|name| name.starts_with("refs/")) || is_commit(line)
}

/// Whether this is the full name of an object, by SHA-1 or SHA-256.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_by_whole_names() {
        let top = Path::new("/work/web");
        for (listed, trusted) in [
            ("/work/web\0", true),
            ("*\0", true),
            ("/work/*\0", true),
            ("/work\0/work/we\0web\0", false),
            ("", false),
        ] {
            assert_eq!(is_trusted(top, listed.as_bytes()), trusted, "{listed:?}");
        }
    }

    #[test]
    fn only_what_git_made_is_a_repository() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let inner = top.join("app");
        fs::create_dir_all(inner.join(".git")).unwrap();
        assert_eq!(tops(&inner).len(), 0, "an empty directory is no repository");
        for (file, text) in [("HEAD", "ref: refs/heads/main\n"), ("config", "")] {
            fs::write(inner.join(file), text).unwrap();
        }
        for directory in ["objects", "refs"] {
            fs::create_dir(inner.join(directory)).unwrap();
        }
        assert_eq!(tops(&inner).len(), 0, "nor is a bare one");
        let bare = inner.clone();
        let tree = top.join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join(".git"), "gitdir: ../app\n").unwrap();
        assert_eq!(tops(&tree.join(".")), std::slice::from_ref(&tree));
        let checkout = Checkout::at(&tree).unwrap();
        assert_eq!((&checkout.git, &checkout.common), (&bare, &bare));
        assert_eq!(head(&checkout.git).unwrap(), "ref: refs/heads/main");
        let user = rustix::process::geteuid().as_raw();
        assert!(checkout.is_own() && checkout.is_owned_by(0, Some(user)));
        assert!(
            !checkout.is_owned_by(user + 1, None) && !checkout.is_owned_by(user + 1, Some(user))
        );
        for bad in ["", "gitdir: /no/such", "gitdir: ..", "elsewhere"] {
            fs::write(tree.join(".git"), bad).unwrap();
            assert!(Checkout::at(&tree).is_err(), "{bad}");
        }
        fs::write(bare.join("HEAD"), "root:x:0:0\n").unwrap();
        assert!(!head(&bare).unwrap_err().to_string().contains("root"));
    }
}
