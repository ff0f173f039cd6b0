//! Which release a rollback goes to. Pure.

use std::collections::BTreeSet;

use slipway_release::Outcome;

use super::{Entry, Record};
use crate::container::{Container, label};

/// A release that served on this host: one image with one run specification, first brought by the
/// deploy that is its origin, and by rollbacks since. It has no `Debug`: it holds secrets.
#[derive(Clone)]
pub(crate) struct Release {
    /// The record of its origin, or of the first rollback that is left of it.
    pub(crate) first: Entry,
    /// All deploys that brought it.
    deploys: BTreeSet<String>,
    /// Its whole specification, where a record has it.
    pub(crate) spec: Option<String>,
    /// Its newest container, where there is one.
    pub(crate) container: Option<Container>,
}

/// What serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) deploy_id: String,
    pub(crate) origin: String,
    pub(crate) reference: String,
    pub(crate) fingerprint: String,
}

/// Why there is nothing to go back to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Impossible {
    #[error("nothing of {app} is known on this host")]
    Nothing { app: String },
    #[error("{live} is live and nothing that served before it is known")]
    NoEarlier { live: String },
    #[error("no release that served here is {to}; {known}")]
    Unknown { to: String, known: String },
    #[error("{found} is live here and not {expected}, which was to be undone")]
    Moved { expected: String, found: String },
    #[error("the run specification of {release} is not known: {reason}")]
    Spec { release: String, reason: String },
    #[error("the image {reference} is not on the host any more, and cannot be pulled: {reason}")]
    Image { reference: String, reason: String, retryable: bool },
    #[error(
        "the image {reference} is not on the host any more, and no registry has it: it was sent to the host itself"
    )]
    Sent { reference: String },
}

/// How many releases an error names.
const NAMED: usize = 5;

impl Live {
    /// What the labels of the container say that serves.
    pub(crate) fn of(container: &Container) -> Self {
        let text = |name| container.label(name).unwrap_or_default().to_owned();
        let deploy_id = text(label::DEPLOY_ID);
        let origin = Entry::of_container(container).map(|entry| entry.origin);
        Self {
            origin: origin.unwrap_or_else(|| deploy_id.clone()),
            reference: text(label::REFERENCE),
            fingerprint: text(label::FINGERPRINT),
            deploy_id,
        }
    }

    /// Where nothing serves, what served last.
    pub(crate) fn last(records: &[Record]) -> Option<Self> {
        let entry = &records.iter().find(|record| record.entry.outcome == Outcome::Deployed)?.entry;
        Some(Self {
            deploy_id: entry.deploy_id.clone(),
            origin: entry.origin.clone(),
            reference: entry.reference.clone(),
            fingerprint: entry.fingerprint.clone(),
        })
    }
}

impl Release {
    pub(crate) fn digest(&self) -> Option<&str> {
        digest(&self.first.reference)
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        match &self.first.tag {
            Some(tag) => format!("{} ({tag})", self.first.origin),
            None => self.first.origin.clone(),
        }
    }

    pub(crate) fn is(&self, live: &Live) -> bool {
        let same = self.first.fingerprint == live.fingerprint && !live.fingerprint.is_empty();
        self.first.origin == live.origin || (self.first.reference == live.reference && same)
    }

    fn is_called(&self, to: &str) -> bool {
        self.deploys.contains(to)
            || self.first.origin == to
            || self.first.reference == to
            || self.digest() == Some(to)
    }
}

/// The digest of a reference.
pub(crate) fn digest(reference: &str) -> Option<&str> {
    reference.split_once('@').map(|(_, digest)| digest)
}

/// The releases that served, the newest first, from the records and from the containers that
/// serve or served.
pub(crate) fn releases(records: &[Record], containers: &[Container]) -> Vec<Release> {
    let good = records.iter().filter(|record| record.entry.outcome == Outcome::Deployed);
    let recorded = good.map(|record| (record.entry.clone(), record.spec.clone(), None));
    let kept = containers.iter().filter_map(|container| {
        Some((Entry::of_container(container)?, None, Some(container.clone())))
    });
    let mut all: Vec<Release> = Vec::new();
    for (entry, spec, container) in recorded.chain(kept) {
        let known = all.iter_mut().find(|one| one.first.origin == entry.origin);
        let Some(one) = known else {
            let deploys = BTreeSet::from([entry.deploy_id.clone()]);
            all.push(Release { first: entry, deploys, spec, container });
            continue;
        };
        one.deploys.insert(entry.deploy_id.clone());
        one.spec = one.spec.take().or(spec);
        let newer =
            |new: &Container| one.container.as_ref().is_none_or(|c| c.created < new.created);
        if container.as_ref().is_some_and(newer) {
            one.container = container;
        }
        if entry.deploy_id < one.first.deploy_id {
            one.first = entry;
        }
    }
    all.sort_by(|a, b| b.first.origin.cmp(&a.first.origin));
    all
}

/// The release to go back to.
///
/// Without `to` it is the one that the live release replaced when it was first deployed: going
/// back twice goes back two releases, and never forward to one that was left. Where that is not
/// known any more, it is the newest one that is older. It differs from what is live in any case.
pub(crate) fn choose<'a>(
    releases: &'a [Release],
    live: Option<&Live>,
    to: Option<&str>,
    app: &str,
) -> Result<&'a Release, Impossible> {
    match (to, live) {
        (Some(to), _) => named(releases, live, to),
        (None, None) => Err(Impossible::Nothing { app: app.to_owned() }),
        (None, Some(live)) => before(releases, live).ok_or_else(|| Impossible::NoEarlier {
            live: releases
                .iter()
                .find(|one| one.first.origin == live.origin)
                .map_or_else(|| live.deploy_id.clone(), Release::name),
        }),
    }
}

fn named<'a>(
    releases: &'a [Release],
    live: Option<&Live>,
    to: &str,
) -> Result<&'a Release, Impossible> {
    let mut fitting: Vec<&Release> = releases.iter().filter(|one| one.is_called(to)).collect();
    // One image may have run in several ways: the way in which it runs is not gone back to.
    fitting.sort_by_key(|one| live.is_some_and(|live| one.is(live)));
    fitting.first().copied().ok_or_else(|| {
        let names: Vec<String> = releases.iter().take(NAMED).map(Release::name).collect();
        let known = match names.is_empty() {
            true => "none is known".to_owned(),
            false => format!("the newest are {}", names.join(", ")),
        };
        Impossible::Unknown { to: to.to_owned(), known }
    })
}

fn before<'a>(releases: &'a [Release], live: &Live) -> Option<&'a Release> {
    let of = |id: &str| releases.iter().find(|one| one.deploys.contains(id));
    let mut at = releases.iter().find(|one| one.first.origin == live.origin);
    while let Some(release) = at {
        let replaced = release.first.replaced.as_deref().and_then(of);
        // Clocks may have been wrong: only ever back, so that this ends.
        at = replaced.filter(|older| older.first.origin < release.first.origin);
        if let Some(older) = at
            && !older.is(live)
        {
            return Some(older);
        }
    }
    releases.iter().find(|one| one.first.origin < live.origin && !one.is(live))
}
