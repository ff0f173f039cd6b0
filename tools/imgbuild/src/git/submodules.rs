//! Whether a submodule has other files than its commit.
//!
//! Git would run itself in each submodule, with the configuration that is there. So each is asked as
//! the repository around it is: through a git directory of ours.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream;
use slipway_untrusted::limit::GIT_OUTPUT;

use super::checkout::Checkout;
use super::mirror::Mirror;
use super::status::{Changes, Staged, Tracked};
use crate::program::{self, records};

/// How many are asked at once.
const AT_ONCE: usize = 4;

/// Adds the submodules that differ to what differs. Git itself tells of none: it would read the
/// configuration of each, and what that includes.
pub(crate) async fn compare(
    mirror: &Mirror<'_>,
    directory: &Path,
    top: &Path,
    tracked: &Tracked,
    changes: &mut Changes,
) {
    if tracked.submodules.is_empty() && top.join(".gitmodules").symlink_metadata().is_err() {
        return;
    }
    let mut different: BTreeSet<PathBuf> = match staged(mirror, directory).await {
        Ok(staged) => staged.submodules.into_iter().collect(),
        Err(_) => BTreeSet::from([PathBuf::from(".gitmodules")]),
    };
    let asked = tracked
        .submodules
        .iter()
        .map(async |(path, commit)| (path, differs(mirror, &top.join(path), commit).await));
    let found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    different
        .extend(found.into_iter().filter(|(_, differs)| *differs).map(|(path, _)| path.clone()));
    different.iter().for_each(|path| changes.add(path.as_os_str().as_bytes()));
    if tracked.more {
        changes.add(b"submodules that were not looked at");
    }
}

/// What the index has of submodules and the commit has not. None of them is opened for it.
async fn staged(mirror: &Mirror<'_>, directory: &Path) -> Result<Staged, String> {
    let arguments =
        ["diff-index", "--cached", "--raw", "-z", "--ignore-submodules=none", "HEAD", "--", "."];
    let mut command = mirror.command(directory, &arguments);
    let mut staged = Staged::default();
    let read = async |stdout| records(stdout, |record| staged.record(record)).await;
    super::content(program::run(&mut command, b"", &GIT_OUTPUT, read).await)?;
    Ok(staged)
}

/// Whether a submodule differs from this commit. One that cannot be asked counts as different.
fn differs<'a>(
    outer: &'a Mirror<'_>,
    top: &'a Path,
    commit: &'a str,
) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
    Box::pin(async move {
        // It is missing, or a link leads elsewhere.
        if top.canonicalize().ok().as_deref() != Some(top) {
            return true;
        }
        if top.join(".git").symlink_metadata().is_err() {
            // One that is not checked out is empty.
            return fs::read_dir(top).map_or(true, |mut entries| entries.next().is_some());
        }
        let Ok(checkout) = Checkout::at(top) else { return true };
        let Ok(mirror) = Mirror::of(outer.git(), &checkout).await else { return true };
        let compared = super::status_and_tracked(&mirror, top, top).await;
        let Ok((mut status, tracked)) = compared else { return true };
        if status.commit.as_deref() != Some(commit) {
            return true;
        }
        if status.changes.count == 0 {
            compare(&mirror, top, top, &tracked, &mut status.changes).await;
        }
        status.changes.count > 0
    })
}
