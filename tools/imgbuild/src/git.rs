//! What git knows of the directory.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use tokio::process::Command;

/// A repository on a slow disk may take a while to compare; one that takes
/// longer does without.
const LIMIT: Duration = Duration::from_secs(20);

/// The state of a directory in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The full object name of the commit.
    pub(crate) commit: String,
    /// Whether the directory differs from the commit, new files included.
    pub(crate) dirty: bool,
    /// In what it differs.
    pub(crate) changes: Changes,
    /// When it was committed.
    pub(crate) committed_at: Option<Timestamp>,
    /// The URL of the remote, without credentials: that of `origin`, or of the only one.
    pub(crate) source: Option<String>,
    /// The branch that is checked out, if it is one.
    pub(crate) branch: Option<String>,
    /// The tag that names the commit; of several the highest version.
    pub(crate) tag: Option<String>,
}

/// Files that differ from the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The first of them, as git names them: from the repository's top.
    pub(crate) first: Vec<String>,
    /// How many there are in all.
    pub(crate) count: usize,
}

impl Changes {
    /// How many are named.
    const FIRST: usize = 5;

    /// The first files, and how many more there are.
    pub(crate) fn sentence(&self) -> String {
        let named = self.first.join(", ");
        match self.count.saturating_sub(self.first.len()) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }

    /// Reads `git status --porcelain=v1 -z`: two letters, a blank and the path; what was renamed or
    /// copied is followed by the path that it had.
    fn read(status: &[u8]) -> Self {
        let mut changes = Self::default();
        let mut fields = status.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        while let Some(field) = fields.next() {
            let Some((letters, path)) = field.split_at_checked(3) else { continue };
            if letters.contains(&b'R') || letters.contains(&b'C') {
                fields.next();
            }
            changes.count += 1;
            if changes.first.len() < Self::FIRST {
                changes.first.push(String::from_utf8_lossy(path).into_owned());
            }
        }
        changes
    }
}

/// What was found, or why nothing was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Revision(Revision),
    /// No repository, no commit, or a directory that the repository ignores.
    Nothing,
    /// There is a repository, but git refuses it or is not installed.
    Refused(String),
}

/// Asks git; never writes, not even the index.
pub(crate) async fn look(directory: &Path) -> Found {
    let Some(head) = git(directory, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await
    else {
        return refused(directory, "git is not installed or did not answer");
    };
    let commit = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    if !head.status.success() || commit.is_empty() {
        let reason = String::from_utf8_lossy(&head.stderr);
        let reason = reason.lines().next().unwrap_or_default();
        // `fatal: not a git repository` is the ordinary case outside one; an
        // empty reason is a repository without a commit.
        return if reason.is_empty() || reason.contains("not a git repository") {
            Found::Nothing
        } else {
            refused(directory, reason)
        };
    }
    let time = ["show", "--no-patch", "--no-show-signature", "--format=%ct", &commit];
    let status = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--", "."];
    let tags = ["tag", "--points-at", &commit, "--sort=-version:refname"];
    let (ignored, status, remotes, time, branch, tags) = tokio::join!(
        git(directory, &["check-ignore", "--quiet", "."]),
        git(directory, &status),
        text(directory, &["config", "--get-regexp", r"^remote\..*\.url$"]),
        text(directory, &time),
        text(directory, &["symbolic-ref", "--quiet", "--short", "HEAD"]),
        text(directory, &tags),
    );
    // The directory may be somebody's build output inside a repository.
    if ignored.is_some_and(|output| output.status.success()) {
        return Found::Nothing;
    }
    let Some(status) = status.filter(|output| output.status.success()) else {
        return refused(directory, "git status did not answer");
    };
    let changes = Changes::read(&status.stdout);
    Found::Revision(Revision {
        commit,
        dirty: changes.count > 0,
        changes,
        committed_at: time
            .and_then(|time| time.parse().ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        source: remotes.and_then(|remotes| remote(&remotes)),
        branch,
        tag: tags.and_then(|tags| tags.lines().next().map(str::to_owned)),
    })
}

/// The URL of `origin`, or of the first remote, from lines such as `remote.origin.url URL`.
fn remote(lines: &str) -> Option<String> {
    let mut remotes = lines.lines().filter_map(|line| line.split_once(' '));
    let origin = remotes.clone().find(|(key, _)| *key == "remote.origin.url");
    let (_, url) = origin.or_else(|| remotes.next())?;
    Some(without_credentials(url.trim())).filter(|url| !url.is_empty())
}

/// Whether to speak of it: only where there is a repository at all.
fn refused(directory: &Path, reason: &str) -> Found {
    let inside = directory.ancestors().find(|parent| parent.join(".git").exists());
    let Some(inside) = inside else { return Found::Nothing };
    let reason = reason.trim_start_matches("fatal: ");
    // Git trusts no repository of another user; it is the ordinary case of a mounted work space.
    let foreign = ["dubious ownership", "unsafe repository"];
    if foreign.iter().any(|words| reason.contains(words)) {
        let inside = inside.display();
        return Found::Refused(format!(
            "the repository {inside} belongs to another user; \
             `git config --global --add safe.directory {inside}` makes git trust it"
        ));
    }
    Found::Refused(reason.to_owned())
}

/// What git prints, if it prints anything and is content.
async fn text(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = git(directory, arguments).await.filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

async fn git(directory: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(directory)
        // A repository's own configuration must not start programs here.
        .args(["-c", "core.fsmonitor=false"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // A hook's variables name another directory than the one asked for.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    tokio::time::timeout(LIMIT, command.output()).await.ok()?.ok()
}

/// The URL without a user's password, and for http without the user as well,
/// who may be a token.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = user.split(':').next().unwrap_or_default();
    if scheme.starts_with("http") || user.is_empty() {
        format!("{scheme}://{host}{path}")
    } else {
        format!("{scheme}://{user}@{host}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run(directory: &Path, arguments: &[&str]) {
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .env("GIT_COMMITTER_DATE", "2026-11-23T09:32:33+0200")
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn revision(found: Found) -> Revision {
        match found {
            Found::Revision(revision) => revision,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_repository_and_what_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir(&app).unwrap();
        assert_eq!(look(&app).await, Found::Nothing);

        run(dir.path(), &["init", "--quiet", "--initial-branch=main"]);
        assert_eq!(look(&app).await, Found::Nothing);

        fs::write(app.join("a"), "1").unwrap();
        fs::write(dir.path().join(".gitignore"), "out\n").unwrap();
        run(dir.path(), &["add", "."]);
        run(dir.path(), &["commit", "--quiet", "-m", "first"]);
        run(dir.path(), &["remote", "add", "origin", "https://u:p@example.com/x.git"]);
        let clean = revision(look(&app).await);
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));
        assert_eq!(clean.committed_at.unwrap().to_string(), "2026-11-23T07:32:33Z");
        assert_eq!((clean.branch.as_deref(), clean.tag), (Some("main"), None));
        assert_eq!(clean.source.as_deref(), Some("https://example.com/x.git"));

        fs::write(dir.path().join("elsewhere"), "").unwrap();
        assert!(!revision(look(&app).await).dirty, "only the directory itself counts");
        fs::write(app.join("new"), "").unwrap();
        fs::write(app.join("a"), "2").unwrap();
        let dirty = revision(look(&app).await);
        assert_eq!((dirty.dirty, dirty.changes.count), (true, 2));
        assert_eq!(dirty.changes.first, ["app/a", "app/new"]);
        fs::create_dir(dir.path().join("out")).unwrap();
        assert_eq!(look(&dir.path().join("out")).await, Found::Nothing);
    }

    #[test]
    fn urls_lose_their_secrets() {
        for (url, wanted) in [
            ("https://token@example.com/x.git", "https://example.com/x.git"),
            ("https://u:p@ss@example.com:8443/x", "https://example.com:8443/x"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("ssh://git:pw@example.com/x", "ssh://git@example.com/x"),
            ("git@example.com:x/y.git", "git@example.com:x/y.git"),
            ("/srv/x.git", "/srv/x.git"),
        ] {
            assert_eq!(without_credentials(url), wanted);
        }
    }
    #[tokio::test]
    async fn every_kind_of_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, path) = (dir.path().join("repo"), |name: &str| dir.path().join(name));
        fs::create_dir(&repo).unwrap();
        run(&repo, &["init", "--quiet", "--initial-branch=feature/x"]);
        for (message, tag) in [("one", "v1.9.0"), ("two", "v1.10.0")] {
            fs::write(repo.join("a"), message).unwrap();
            run(&repo, &["add", "."]);
            run(&repo, &["commit", "--quiet", "-m", message]);
            run(&repo, &["tag", tag]);
        }
        run(&repo, &["tag", "-a", "v1.9.9", "-m", "annotated"]);
        let whole = revision(look(&repo).await);
        assert_eq!(whole.branch.as_deref(), Some("feature/x"));
        assert_eq!(whole.tag.as_deref(), Some("v1.10.0"), "the highest, as versions go");

        let url = format!("file://{}", repo.display());
        run(dir.path(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
        let shallow = revision(look(&path("shallow")).await);
        assert_eq!((&shallow.commit, shallow.committed_at), (&whole.commit, whole.committed_at));
        assert_eq!(shallow.source.as_deref(), Some(url.as_str()));

        // As Jenkins checks out, and with a remote of another name.
        run(&path("shallow"), &["checkout", "--quiet", "--detach"]);
        run(&path("shallow"), &["remote", "rename", "origin", "upstream"]);
        let detached = revision(look(&path("shallow")).await);
        assert_eq!((detached.branch, &detached.commit), (None, &whole.commit));
        assert_eq!(detached.source.as_deref(), Some(url.as_str()));

        run(&repo, &["worktree", "add", "--quiet", "../tree", "-b", "other", "v1.9.0"]);
        let tree = revision(look(&path("tree")).await);
        assert_eq!((tree.branch.as_deref(), tree.tag.as_deref()), (Some("other"), Some("v1.9.0")));
        assert!(!tree.dirty && tree.commit != whole.commit);

        run(
            &path("tree"),
            &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "sub"],
        );
        let sub = revision(look(&path("tree/sub")).await);
        assert_eq!((&sub.commit, sub.dirty), (&whole.commit, false));
        let above = revision(look(&path("tree")).await);
        assert_eq!(above.changes.first, [".gitmodules", "sub"]);
    }

    #[test]
    fn renames_have_two_paths_and_only_the_first_are_named() {
        let changes = Changes::read(b"R  new name\0old\0?? b\0 M c\0");
        assert_eq!(
            (changes.first, changes.count),
            (vec!["new name".into(), "b".into(), "c".into()], 3)
        );
        let many: Vec<u8> = (0..9).flat_map(|n| format!("?? {n}\0").into_bytes()).collect();
        let changes = Changes::read(&many);
        assert_eq!((changes.first.len(), changes.count), (5, 9));
        assert_eq!(Changes::read(b""), Changes::default());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".git")).unwrap();
        let inner = dir.path().join("app");
        let text = "fatal: detected dubious ownership in repository at '/x'";
        let Found::Refused(told) = refused(&inner, text) else { panic!("not told") };
        assert!(told.contains(&format!("safe.directory {}`", dir.path().display())), "{told}");
        assert_eq!(refused(&inner, "fatal: odd"), Found::Refused("odd".into()));
    }
}
