//! Removing old releases of the application, and the images that nothing needs any more.
//!
//! Only what is known to be this application's: containers with its label, and images under the
//! references that those containers or the history carry. Nothing is found by a pattern.

use std::collections::BTreeSet;

use crate::container::{Container, Role, Status, label};
use crate::error::HostError;
use crate::host::Host;
use crate::job::Job;
use crate::record::Record;
use crate::sent;

/// What is to be removed.
#[derive(Debug)]
struct Plan<'a> {
    /// Oldest first.
    containers: Vec<&'a Container>,
    /// The references that no container of the application has after that.
    references: BTreeSet<&'a str>,
}

/// Decides what goes: of the releases that are stopped and not meant to come back, all but the
/// newest `keep - 1`, since what is live is one of those that are kept.
fn plan(all: &[Container], keep: usize) -> Plan<'_> {
    let mut stopped: Vec<&Container> = all
        .iter()
        .filter(|one| one.role() == Role::Release && one.status == Status::Stopped)
        .filter(|one| !one.kept_alive)
        .collect();
    stopped.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let surplus = stopped.len().saturating_sub(keep.saturating_sub(1));
    stopped.truncate(surplus);
    let goes = |one: &Container| stopped.iter().any(|other| other.id == one.id);
    let stays: BTreeSet<&str> =
        all.iter().filter(|one| !goes(one)).filter_map(|one| one.label(label::REFERENCE)).collect();
    let references = stopped
        .iter()
        .filter_map(|one| one.label(label::REFERENCE))
        .filter(|reference| !stays.contains(reference))
        .collect();
    Plan { containers: stopped, references }
}

/// Removes the application's releases beyond those that the job keeps, oldest first, and then the
/// images that they leave behind. To be called when something serves for good: what runs, and what
/// the engine would start by itself, is never touched.
///
/// Volumes without a name stay: they may hold what somebody misses.
pub(crate) async fn releases<H: Host>(host: &H, job: &Job) -> Result<(), HostError> {
    let all = host.containers(&job.app).await?;
    let plan = plan(&all, job.keep);
    for one in &plan.containers {
        host.remove(&one.id, false).await?;
    }
    images(host, &plan.references).await
}

/// Removes the images that the history tells of and no release needs any more: those of deploys
/// that failed, and of a run that was killed between a container and its image.
pub(crate) async fn forgotten<H: Host>(
    host: &H,
    job: &Job,
    newest_first: &[Record],
) -> Result<(), HostError> {
    let all = host.containers(&job.app).await?;
    let references: Vec<(&str, bool)> = newest_first
        .iter()
        .map(|record| (record.entry.reference.as_str(), record.is_good()))
        .collect();
    images(host, &unneeded(&all, &references, job.keep)).await
}

/// The references, newest first and each with whether it served, that are not of one of the
/// releases to keep: those with a container, and then the last that served.
fn unneeded<'a>(
    all: &[Container],
    newest_first: &[(&'a str, bool)],
    keep: usize,
) -> BTreeSet<&'a str> {
    let mut stays: BTreeSet<&str> =
        all.iter().filter_map(|one| one.label(label::REFERENCE)).collect();
    let releases = all.iter().filter(|one| one.role() == Role::Release).count();
    let mut places = keep.saturating_sub(releases);
    for (reference, _) in newest_first.iter().filter(|(_, served)| *served) {
        if places > 0 && stays.insert(reference) {
            places -= 1;
        }
    }
    let gone = newest_first.iter().map(|(reference, _)| *reference);
    gone.filter(|reference| !stays.contains(reference)).collect()
}

/// Removes these names of images, except of those that some container uses, whosever it is. An
/// image that has other names only loses this one.
async fn images<H: Host>(host: &H, references: &BTreeSet<&str>) -> Result<(), HostError> {
    if references.is_empty() {
        return Ok(());
    }
    let there = host.image_names().await?;
    let mut there = references
        .iter()
        .filter_map(|one| Some((*one, there.get(&*sent::engine_name(one))?)))
        .peekable();
    if there.peek().is_none() {
        return Ok(());
    }
    let used = host.images_in_use().await?;
    for (reference, _) in there.filter(|(_, id)| !used.contains(*id)) {
        host.remove_image(reference).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::container;
    use proptest::prelude::*;

    fn release(n: u32, status: Status, kept_alive: bool, reference: &str) -> Container {
        let mut one = container(n, Role::Release, status, kept_alive);
        one.labels.insert(label::REFERENCE.into(), reference.into());
        one
    }

    #[test]
    fn the_oldest_go_and_images_that_nobody_has_with_them() {
        let all = [
            release(5, Status::Running, true, "e"),
            release(1, Status::Stopped, false, "a"),
            release(3, Status::Stopped, false, "c"),
            release(2, Status::Stopped, false, "c"),
            release(4, Status::Stopped, false, "d"),
        ];
        let of = |keep| {
            let plan = plan(&all, keep);
            let names: Vec<&str> = plan.containers.iter().map(|one| one.name.as_str()).collect();
            (names, plan.references.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(of(3), (vec!["web-1", "web-2"], vec!["a"]));
        assert_eq!(of(2), (vec!["web-1", "web-2", "web-3"], vec!["a", "c"]));
        assert_eq!(of(9), (vec![], vec![]));
    }

    #[test]
    fn what_the_history_tells_of_goes_beyond_the_releases_that_are_kept() {
        let all = [release(5, Status::Running, true, "e"), release(4, Status::Stopped, false, "d")];
        let history = [
            ("f", false),
            ("e", true),
            ("x", false),
            ("d", true),
            ("c", true),
            ("b", true),
            ("c", true),
        ];
        let of = |keep| unneeded(&all, &history, keep).into_iter().collect::<String>();
        assert_eq!(of(2), "bcfx");
        // Somebody removed the container of a release that was to be kept.
        assert_eq!(of(3), "bfx");
        assert_eq!(of(9), "fx");
    }

    prop_compose! {
        fn any_release()(n in 0_u32..50, status in 0..4_usize, kept: bool, name in "[abc]") -> Container {
            let status = [Status::Created, Status::Running, Status::Restarting, Status::Stopped][status];
            release(n, status, kept, &name)
        }
    }

    proptest! {
        #[test]
        fn what_serves_or_may_come_back_stays_with_its_image(
            mut all in proptest::collection::vec(any_release(), 0..8), keep in 2_usize..5
        ) {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all.dedup_by(|a, b| a.id == b.id);
            let plan = plan(&all, keep);
            let spare = |one: &&Container| one.status == Status::Stopped && !one.kept_alive;
            prop_assert!(plan.containers.iter().all(spare));
            let left: Vec<_> = all.iter().filter(|one| !plan.containers.contains(one)).collect();
            prop_assert!(left.iter().copied().filter(spare).count() < keep);
            for one in &left {
                prop_assert!(!plan.references.contains(one.label(label::REFERENCE).unwrap()));
            }
            // No one that goes is newer than a spare one that stays.
            let newest = plan.containers.iter().map(|one| one.created).max();
            let oldest = left.iter().copied().filter(spare).map(|one| one.created).min();
            prop_assert!(newest.zip(oldest).is_none_or(|(newest, oldest)| newest <= oldest));
        }
    }
}
