//! Whether a submodule has other files than its commit.
//!
//! Git would run itself in each submodule, with the configuration that is there. So each is asked as
//! the repository around it is: through a git directory of ours.

use std::fs;
use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::checkout::Checkout;
use super::mirror::Mirror;
use super::status::{Status, Tracked};

/// How many are asked at once.
const AT_ONCE: usize = 4;

/// Adds the submodules that differ to what differs. Git itself has told of those that are at another
/// commit.
pub(crate) async fn compare(
    mirror: &Mirror<'_>,
    top: &Path,
    tracked: &Tracked,
    status: &mut Status,
) {
    let known = &status.submodules;
    let unknown = tracked.submodules.iter().filter(|path| !known.contains(path));
    let asked = unknown.map(async |path| (path, differs(mirror, &top.join(path)).await));
    let found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (path, _) in found.into_iter().filter(|(_, differs)| *differs) {
        status.changes.add(path.as_os_str().as_bytes());
    }
    if tracked.more {
        status.changes.add(b"submodules that were not looked at");
    }
}

/// Whether a submodule differs from the commit that is checked out in it. One that cannot be asked
/// counts as different.
fn differs<'a>(outer: &'a Mirror<'_>, top: &'a Path) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
    Box::pin(async move {
        // A link leads elsewhere; git tells of one, and of what is missing.
        if top.canonicalize().ok().as_deref() != Some(top) {
            return false;
        }
        if top.join(".git").symlink_metadata().is_err() {
            // One that is not checked out is empty.
            return fs::read_dir(top).is_ok_and(|mut entries| entries.next().is_some());
        }
        let Ok(checkout) = Checkout::at(top) else { return true };
        let Ok(mirror) = Mirror::of(outer.git(), &checkout).await else { return true };
        let (status, tracked) = tokio::join!(
            super::status(&mirror, top),
            super::tracked(&mirror, top, Path::new(".")),
        );
        let (Ok(mut status), Ok(tracked)) = (status, tracked) else { return true };
        if status.changes.count == 0 {
            compare(&mirror, top, &tracked, &mut status).await;
        }
        status.changes.count > 0
    })
}
