//! What git knows of the directory.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// A repository on a slow disk may take a while to compare; one that takes
/// longer does without.
const LIMIT: Duration = Duration::from_secs(20);

/// The state of a directory in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The full object name of the commit.
    pub(crate) commit: String,
    /// Whether the directory differs from the commit, new files included.
    pub(crate) dirty: bool,
    /// When it was committed, RFC 3339 in UTC.
    pub(crate) committed_at: Option<String>,
    /// The URL of the remote `origin`, without credentials.
    pub(crate) source: Option<String>,
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
    // The directory may be somebody's build output inside a repository.
    if git(directory, &["check-ignore", "--quiet", "."])
        .await
        .is_some_and(|output| output.status.success())
    {
        return Found::Nothing;
    }
    let status = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--", "."];
    let Some(status) = git(directory, &status).await.filter(|output| output.status.success())
    else {
        return refused(directory, "git status did not answer");
    };
    let source = git(directory, &["config", "--get", "remote.origin.url"])
        .await
        .filter(|output| output.status.success())
        .map(|output| without_credentials(String::from_utf8_lossy(&output.stdout).trim()))
        .filter(|url| !url.is_empty());
    let dirty = !status.stdout.is_empty();
    let committed_at = committed_at(directory, &commit).await;
    Found::Revision(Revision { commit, dirty, committed_at, source })
}

async fn committed_at(directory: &Path, commit: &str) -> Option<String> {
    // The time zone of --date=format-local is this process's, which is set to UTC.
    let format = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
    let arguments = ["show", "--no-patch", "--no-show-signature", format, "--format=%cd", commit];
    let output = git(directory, &arguments).await.filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Whether to speak of it: only where there is a repository at all.
fn refused(directory: &Path, reason: &str) -> Found {
    let inside = directory.ancestors().any(|parent| parent.join(".git").exists());
    if inside {
        Found::Refused(reason.trim_start_matches("fatal: ").to_owned())
    } else {
        Found::Nothing
    }
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
        .env("TZ", "UTC")
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

        run(dir.path(), &["init", "--quiet"]);
        assert_eq!(look(&app).await, Found::Nothing);

        fs::write(app.join("a"), "1").unwrap();
        fs::write(dir.path().join(".gitignore"), "out\n").unwrap();
        run(dir.path(), &["add", "."]);
        run(dir.path(), &["commit", "--quiet", "-m", "first"]);
        run(dir.path(), &["remote", "add", "origin", "https://u:p@example.com/x.git"]);
        let clean = revision(look(&app).await);
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));
        assert_eq!(clean.committed_at.as_deref(), Some("2026-11-23T07:32:33Z"));
        assert_eq!(clean.source.as_deref(), Some("https://example.com/x.git"));

        fs::write(dir.path().join("elsewhere"), "").unwrap();
        assert!(!revision(look(&app).await).dirty, "only the directory itself counts");
        fs::write(app.join("new"), "").unwrap();
        assert!(revision(look(&app).await).dirty);
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
}
