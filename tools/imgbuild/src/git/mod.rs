//! What git knows of the directory.
//!
//! The directory is somebody else's, and git does a lot of what a repository says. So the repository
//! is found here ([`checkout`]), and git gets a directory of ours in its place ([`mirror`]), which
//! can make it run nothing.

mod checkout;
mod config;
mod environment;
pub(crate) mod fuzz;
mod mirror;
mod status;
mod submodules;
mod url;

use std::path::{Component, Path};
use std::time::Duration;

use jiff::Timestamp;
use slipway_untrusted::limit::GIT_OUTPUT;
use slipway_untrusted::{Untrusted, clean_line};
use tokio::process::Command;

use crate::program::{self, Ended, records};

use checkout::Checkout;
pub(crate) use checkout::is_commit;
pub(crate) use environment::Git;
use mirror::Mirror;
pub(crate) use status::Changes;
use status::{Status, Tracked};
pub(crate) use url::{scrubbed, without_credentials};

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
    /// A filter of the repository's own configuration, which is not run: a file that it applies to
    /// and that git has to compare counts as changed.
    pub(crate) filter: Option<Untrusted>,
}

/// What was found, or why nothing was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Revision(Box<Revision>),
    /// No repository, no commit, or a directory that the repository ignores.
    Nothing,
    /// There is a repository, but it cannot be used, or git is not installed.
    Refused(String),
}

/// Asks git; never writes, not even the index.
pub(crate) async fn look(directory: &Path) -> Found {
    let slow = || Err(format!("git did not answer within {} s", LIMIT.as_secs()));
    // What is dropped is killed.
    let found = tokio::time::timeout(LIMIT, find(directory)).await.unwrap_or_else(|_| slow());
    found.unwrap_or_else(|why| Found::Refused(clean_line(&why).into_owned()))
}

async fn find(directory: &Path) -> Result<Found, String> {
    let tops = checkout::tops(directory);
    let Some(outermost) = tops.last() else { return Ok(Found::Nothing) };
    let git = Git::find(Some(outermost)).ok_or("git is not installed")?;
    for (at, top) in tops.iter().enumerate() {
        if let Some(outer) = tops.get(at + 1)
            && is_planted(&git, top, outer).await
        {
            continue;
        }
        let relative = directory.strip_prefix(top).unwrap_or(Path::new(""));
        if relative.components().any(|part| part == Component::Normal(".git".as_ref())) {
            return Ok(Found::Nothing);
        }
        let checkout = Checkout::at(top)?;
        if !checkout.is_own() {
            trust(&git, top).await?;
        }
        let mirror = Mirror::of(&git, &checkout).await?;
        return ask(&mirror, directory, top).await;
    }
    Ok(Found::Nothing)
}

/// Whether a repository was put into a directory whose files another one keeps: git makes no such
/// repository, but an archive may bring one. It is that other one whose source this is.
async fn is_planted(git: &Git, top: &Path, outer: &Path) -> bool {
    let Ok(checkout) = Checkout::at(outer) else { return false };
    let Ok(mirror) = Mirror::of(git, &checkout).await else { return false };
    let Ok(relative) = top.strip_prefix(outer) else { return false };
    tracked(&mirror, outer, relative).await.is_ok_and(|tracked| tracked.files)
}

/// Asks the caller's configuration of git whether a repository of another user is to be trusted.
async fn trust(git: &Git, top: &Path) -> Result<(), String> {
    let mut command = git.command();
    command.args(["config", "--type=path", "-z", "--get-all", "safe.directory"]);
    let listed = program::output(&mut command, b"", &GIT_OUTPUT).await;
    let listed = listed.map_err(|error| told_by_git(&error))?;
    if checkout::is_trusted(top, &listed.output) {
        return Ok(());
    }
    let top = top.display();
    Err(format!(
        "the repository {top} belongs to another user; \
         `git config --global --add safe.directory {top}` makes git trust it"
    ))
}

async fn ask(mirror: &Mirror<'_>, directory: &Path, top: &Path) -> Result<Found, String> {
    // The dashes: a file may be called HEAD as well.
    let time = mirror.command(directory, &["rev-list", "--no-walk", "--timestamp", "HEAD", "--"]);
    let tag = mirror.command(
        directory,
        &[
            "for-each-ref",
            "--points-at=HEAD",
            "--sort=-version:refname",
            "--count=1",
            "--format=%(refname)",
            "refs/tags",
        ],
    );
    let (status, tracked, time, tag) = tokio::join!(
        status(mirror, directory),
        tracked(mirror, directory, Path::new(".")),
        text(time),
        text(tag),
    );
    let (mut status, tracked) = (status?, tracked?);
    let Some(commit) = status.commit.take() else { return Ok(Found::Nothing) };
    // The directory may be somebody's build output inside a repository.
    if tracked.is_empty() && directory != top && is_ignored(mirror, directory).await {
        return Ok(Found::Nothing);
    }
    submodules::compare(mirror, top, &tracked, &mut status).await;
    let changes = status.changes;
    Ok(Found::Revision(Box::new(Revision {
        dirty: changes.count > 0,
        changes,
        committed_at: time.and_then(|line| time_of(&line, &commit)),
        source: mirror.config.source(),
        branch: status.branch,
        tag: tag.and_then(|tag| tag_of(&tag)),
        filter: mirror.config.filter.as_deref().map(Untrusted::from),
        commit,
    })))
}

/// The time from a line of `git rev-list --timestamp`, if it is of this commit.
fn time_of(line: &str, commit: &str) -> Option<Timestamp> {
    let (seconds, of) = line.split_once(' ')?;
    seconds
        .parse()
        .ok()
        .filter(|_| of == commit)
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
}

fn tag_of(reference: &str) -> Option<String> {
    reference.strip_prefix("refs/tags/").and_then(status::name)
}

/// How a directory differs from its commit. Git is told to look at the commits of submodules only:
/// else it would run itself in each, with that one's own configuration.
async fn status(mirror: &Mirror<'_>, directory: &Path) -> Result<Status, String> {
    let mut command = mirror.command(
        directory,
        &[
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=dirty",
            "--",
            ".",
        ],
    );
    let mut status = Status::default();
    let read = async |stdout| records(stdout, |record| status.record(record)).await;
    content(program::run(&mut command, b"", &GIT_OUTPUT, read).await)?;
    Ok(status)
}

/// What of a path the repository keeps.
async fn tracked(mirror: &Mirror<'_>, directory: &Path, path: &Path) -> Result<Tracked, String> {
    let mut command = mirror.command(
        directory,
        &["--literal-pathspecs", "ls-files", "--stage", "--full-name", "-z", "--"],
    );
    command.arg(path);
    let mut tracked = Tracked::default();
    let read = async |stdout| records(stdout, |record| tracked.record(record)).await;
    content(program::run(&mut command, b"", &GIT_OUTPUT, read).await)?;
    Ok(tracked)
}

async fn is_ignored(mirror: &Mirror<'_>, directory: &Path) -> bool {
    let mut command = mirror.command(directory, &["check-ignore", "--quiet", "."]);
    let ended = program::output(&mut command, b"", &GIT_OUTPUT).await;
    ended.is_ok_and(|ended| ended.success)
}

/// The first line that git prints, if it prints anything and is content.
async fn text(mut command: Command) -> Option<String> {
    let ended = content(program::output(&mut command, b"", &GIT_OUTPUT).await).ok()?;
    Some(checkout::first_line(&ended)).filter(|line| !line.is_empty())
}

/// What was made of git's output, if git was content.
fn content<T>(ended: std::io::Result<Ended<T>>) -> Result<T, String> {
    let ended = ended.map_err(|error| told_by_git(&error))?;
    if ended.success { Ok(ended.output) } else { Err(first_reason(&ended.told)) }
}

fn told_by_git(error: &std::io::Error) -> String {
    format!("git cannot be asked: {}", crate::error::reason(error))
}

/// Git's reason among what it prints on stderr, without secrets and as a fragment.
pub(crate) fn first_reason(told: &[u8]) -> String {
    let told = String::from_utf8_lossy(told);
    let mut lines = told.lines().filter(|line| !line.trim().is_empty());
    let fatal =
        lines.clone().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let line = fatal.or_else(|| lines.next()).unwrap_or("git failed and does not say why");
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ");
    clean_line(&scrubbed(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Stdio;

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
            Found::Revision(revision) => *revision,
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
        assert_eq!(dirty.changes.sentence(), "app/a, app/new");
        fs::create_dir(dir.path().join("out")).unwrap();
        assert_eq!(look(&dir.path().join("out")).await, Found::Nothing);
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

        // As Jenkins checks out with a reference repository.
        run(dir.path(), &["clone", "--quiet", "--shared", "repo", "shared"]);
        let shared = revision(look(&path("shared")).await);
        assert_eq!((&shared.commit, shared.dirty), (&whole.commit, false));
        assert_eq!(shared.committed_at, whole.committed_at);

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
        assert_eq!(above.changes.sentence(), ".gitmodules, sub");
    }

    /// A repository with a file that is committed.
    fn committed(top: &Path, init: &[&str]) {
        fs::create_dir_all(top).unwrap();
        run(top, &[&["init", "--quiet", "--initial-branch=main"], init].concat());
        fs::write(top.join("a"), "1").unwrap();
        run(top, &["add", "."]);
        run(top, &["commit", "--quiet", "-m", "first"]);
    }

    fn size(version: &str) -> Vec<u32> {
        version.split(['.', ' ', '\n']).filter_map(|part| part.parse().ok()).take(2).collect()
    }

    #[tokio::test]
    async fn every_format_of_a_repository() {
        let version = std::process::Command::new("git").arg("version").output().unwrap();
        let version = size(&String::from_utf8(version.stdout).unwrap());
        let mut formats: Vec<&[&str]> = vec![&[], &["--object-format=sha256"]];
        if version >= vec![2, 45] {
            formats.push(&["--ref-format=reftable"]);
        }
        for format in formats {
            let dir = tempfile::tempdir().unwrap();
            let top = dir.path().join("repo");
            committed(&top, format);
            run(&top, &["tag", "v1"]);
            run(&top, &["pack-refs", "--all"]);
            run(&top, &["worktree", "add", "--quiet", "../tree", "-b", "other"]);
            for (name, branch) in [("repo", "main"), ("tree", "other")] {
                let found = revision(look(&dir.path().join(name)).await);
                assert_eq!(found.branch.as_deref(), Some(branch), "{format:?}");
                assert_eq!((found.tag.as_deref(), found.dirty), (Some("v1"), false), "{format:?}");
                assert!(found.committed_at.is_some(), "{format:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_on_the_disk_is_compared_as_the_repository_says() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        committed(top, &[]);
        fs::write(top.join("b"), "x\n").unwrap();
        fs::create_dir(top.join("apart")).unwrap();
        fs::write(top.join("apart/c"), "c").unwrap();
        run(top, &["add", "."]);
        run(top, &["commit", "--quiet", "-m", "second"]);

        run(top, &["update-index", "--split-index"]);
        assert!(!revision(look(top).await).dirty, "a split index");
        run(top, &["sparse-checkout", "set", "--no-cone", "/*", "!/apart"]);
        assert!(!top.join("apart").exists());
        assert!(!revision(look(top).await).dirty, "a sparse checkout");

        run(top, &["config", "core.autocrlf", "true"]);
        fs::remove_file(top.join("b")).unwrap();
        run(top, &["checkout", "--quiet", "b"]);
        assert_eq!(fs::read(top.join("b")).unwrap(), b"x\r\n");
        // A file that is newer than the index is compared by what is in it.
        let later = std::time::SystemTime::now() + Duration::from_secs(60);
        fs::File::options().append(true).open(top.join("b")).unwrap().set_modified(later).unwrap();
        assert!(!revision(look(top).await).dirty, "line ends");
        run(top, &["config", "core.autocrlf", "false"]);
        assert!(revision(look(top).await).dirty, "line ends");
        fs::remove_file(top.join("b")).unwrap();
        run(top, &["checkout", "--quiet", "b"]);
        run(top, &["config", "core.fileMode", "false"]);
        std::process::Command::new("chmod").arg("+x").arg(top.join("b")).status().unwrap();
        assert!(!revision(look(top).await).dirty, "modes");

        let patterns = dir.path().join(".git/patterns");
        fs::write(&patterns, "new\n").unwrap();
        fs::write(top.join("new"), "").unwrap();
        assert!(revision(look(top).await).dirty, "a new file");
        run(top, &["config", "core.excludesFile", patterns.to_str().unwrap()]);
        assert!(!revision(look(top).await).dirty, "one that is excluded");
    }

    #[tokio::test]
    async fn submodules_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, outer) = (dir.path().join("inner"), dir.path().join("outer"));
        committed(&inner, &[]);
        committed(&outer, &[]);
        let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../inner"];
        let url = format!("file://{}", inner.display());
        run(&outer, &[&add[..5], &[&url, "sub"]].concat());
        run(&outer, &["commit", "--quiet", "-m", "with a submodule"]);
        let changes = async || revision(look(&outer).await).changes.sentence();
        assert_eq!(changes().await, "");
        fs::write(outer.join("sub/new"), "").unwrap();
        assert_eq!(changes().await, "sub", "a new file in it");
        fs::remove_file(outer.join("sub/new")).unwrap();
        fs::write(outer.join("sub/a"), "2").unwrap();
        assert_eq!(changes().await, "sub", "a changed one");
        // Both of the next are told by git itself, whatever the tree says of it.
        fs::write(
            outer.join(".gitmodules"),
            "[submodule \"sub\"]\npath = sub\nurl = x\nignore = all\n",
        )
        .unwrap();
        run(&outer, &["commit", "--quiet", "-a", "-m", "ignored"]);
        run(&outer.join("sub"), &["commit", "--quiet", "-a", "-m", "next"]);
        assert_eq!(changes().await, "sub", "another commit");
        fs::write(outer.join("sub/a"), "3").unwrap();
        assert_eq!(changes().await, "sub", "and told once");

        run(&outer, &["submodule", "--quiet", "deinit", "--force", "sub"]);
        assert_eq!(changes().await, "", "one that is not checked out");
        fs::write(outer.join("sub/planted"), "").unwrap();
        assert_eq!(changes().await, "sub", "and holds something");
    }

    #[tokio::test]
    async fn a_repository_belongs_to_its_own_work_tree() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (real, other) = (top.join("real"), top.join("other"));
        committed(&real, &[]);
        fs::create_dir(&other).unwrap();
        run(&real, &["worktree", "add", "--quiet", "../tree"]);
        let of = |path: &str| format!("gitdir: {}\n", top.join(path).display());
        for path in ["real/.git", "real/.git/worktrees/tree"] {
            fs::write(other.join(".git"), of(path)).unwrap();
            let Found::Refused(why) = look(&other).await else { panic!("{path}") };
            assert!(why.contains("belongs to another work tree"), "{why}");
        }
        fs::remove_file(other.join(".git")).unwrap();
        run(&real, &["config", "core.worktree", "../../other"]);
        let Found::Refused(why) = look(&real).await else { panic!() };
        assert!(why.contains("another work tree"), "{why}");
        run(&real, &["config", "--unset", "core.worktree"]);
        run(&real, &["config", "core.bare", "true"]);
        assert!(matches!(look(&real).await, Found::Refused(_)));
        assert!(matches!(look(&top.join("tree")).await, Found::Revision(_)));
        // Git finds a work tree that was moved, and one whose repository is kept apart.
        fs::rename(top.join("tree"), top.join("moved")).unwrap();
        assert!(matches!(look(&top.join("moved")).await, Found::Revision(_)));
        let apart = top.join("apart.git");
        committed(&top.join("near"), &["--separate-git-dir", apart.to_str().unwrap()]);
        assert!(matches!(look(&top.join("near")).await, Found::Revision(_)));
        assert_eq!(look(&real.join(".git/objects")).await, Found::Nothing);
    }

    #[tokio::test]
    async fn a_repository_within_another_counts_unless_the_other_has_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/in"));
        committed(&outer, &[]);
        let true_one = revision(look(&outer).await).commit;
        committed(&inner, &[]);
        run(&inner, &["commit", "--quiet", "--allow-empty", "-m", "another"]);
        let own = revision(look(&inner).await);
        assert_ne!(own.commit, true_one, "a checkout in a checkout");
        fs::rename(inner.join(".git"), dir.path().join("kept")).unwrap();
        run(&outer, &["add", "in"]);
        fs::rename(dir.path().join("kept"), inner.join(".git")).unwrap();
        let planted = revision(look(&inner).await);
        assert_eq!(planted.commit, true_one, "a repository among files of another");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused() {
        for (file, bytes, words) in [
            ("HEAD", &b"x: \x1b[31mred"[..], "HEAD: names neither"),
            ("config", b"[broken", "bad config line"),
            (
                "config",
                b"[core]\nrepositoryformatversion = 1\n[extensions]\nother = 1",
                "extension",
            ),
            ("config", &[b' '; (1 << 20) + 1], "larger than 1 MiB"),
            ("index", b"DIRC", "index"),
            ("HEAD", b"FIFO", "not a regular file"),
            ("config", b"FIFO", "not a regular file"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            committed(dir.path(), &[]);
            let path = dir.path().join(".git").join(file);
            fs::write(&path, bytes).unwrap();
            if bytes == b"FIFO" {
                fs::remove_file(&path).unwrap();
                assert!(
                    std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()
                );
            }
            let Found::Refused(why) = look(dir.path()).await else { panic!("{file}") };
            assert!(why.contains(words) && !why.contains('\u{1b}'), "{file}: {why}");
        }
    }

    #[tokio::test]
    async fn a_repository_of_another_user_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::find(None).unwrap();
        let why = trust(&git, dir.path()).await.unwrap_err();
        assert!(why.contains(&format!("safe.directory {}`", dir.path().display())), "{why}");
    }
}
