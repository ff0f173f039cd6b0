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

use std::ffi::OsString;
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
    let (compared, time, tag) =
        tokio::join!(status_and_tracked(mirror, directory, top), text(time), text(tag));
    let (mut status, tracked) = compared?;
    let Some(commit) = status.commit.take() else { return Ok(Found::Nothing) };
    // The directory may be somebody's build output inside a repository.
    if tracked.is_empty() && directory != top && is_ignored(mirror, directory).await {
        return Ok(Found::Nothing);
    }
    let mut changes = status.changes;
    submodules::compare(mirror, directory, top, &tracked, &mut changes).await;
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

/// How a directory differs from its commit, submodules apart, and what of it the repository keeps.
async fn status_and_tracked(
    mirror: &Mirror<'_>,
    directory: &Path,
    top: &Path,
) -> Result<(Status, Tracked), String> {
    let tracked = tracked(mirror, directory, Path::new("."));
    // Git opens every submodule that it is not told to leave out.
    if mirror.has_modules || top.join(".gitmodules").symlink_metadata().is_ok() {
        let tracked = tracked.await?;
        return Ok((status(mirror, directory, &tracked).await?, tracked));
    }
    let none = Tracked::default();
    let (status, tracked) = tokio::join!(status(mirror, directory, &none), tracked);
    Ok((status?, tracked?))
}

/// How a directory differs from its commit, without these submodules. Even where it is to ignore
/// them, git would read the configuration of each and what that includes.
async fn status(
    mirror: &Mirror<'_>,
    directory: &Path,
    without: &Tracked,
) -> Result<Status, String> {
    let mut command = mirror.command(
        directory,
        &[
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=all",
            "--",
            ".",
        ],
    );
    for (path, _) in &without.submodules {
        let mut pathspec = OsString::from(":(top,exclude,literal)");
        pathspec.push(path);
        command.arg(pathspec);
    }
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
mod tests;
