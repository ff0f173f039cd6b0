//! One generation of a lease, as the labels of its volume tell it, and what several ones mean.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::process::Process;
use super::{Held, LEASE, Who};

/// Labels of a generation's volume.
pub(super) mod label {
    /// The application whose lock it is.
    pub(crate) const LOCK: &str = "dev.slipway.lock";
    /// Tells the holder from every other one.
    pub(crate) const TOKEN: &str = "dev.slipway.lock.token";
    /// `user@machine`, for people.
    pub(crate) const OWNER: &str = "dev.slipway.lock.owner";
    /// The build that deploys, for people.
    pub(crate) const BUILD_URL: &str = "dev.slipway.lock.build-url";
    /// When the first generation was made, by the engine's clock.
    pub(crate) const SINCE: &str = "dev.slipway.lock.since";
    /// The process that holds it.
    pub(crate) const PROCESS: &str = "dev.slipway.lock.process";
    /// The deploy that it holds it for.
    pub(crate) const DEPLOY_ID: &str = "dev.slipway.deploy-id";
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(super) number: u64,
    /// By the engine's clock, in whole seconds.
    pub(super) created: Timestamp,
    pub(super) token: String,
    pub(super) owner: String,
    pub(super) build_url: Option<String>,
    pub(super) deploy_id: String,
    pub(super) since: Timestamp,
    pub(super) process: Option<Process>,
}

/// The name of the volume. A number has no `-`, so the last one ends the application's name, and no
/// two applications share a name.
pub(super) fn name(app: &str, number: u64) -> String {
    format!("slipway-lock-{app}-{number}")
}

/// The labels of the volume.
pub(super) fn labels(app: &str, since: Timestamp, who: &Who) -> HashMap<String, String> {
    let process = who.process.as_ref().map(Process::to_string);
    let some = [(label::BUILD_URL, who.build_url.clone()), (label::PROCESS, process)];
    let all = [
        (label::LOCK, app.to_owned()),
        (label::TOKEN, who.token.clone()),
        (label::OWNER, who.owner.clone()),
        (label::SINCE, since.to_string()),
        (label::DEPLOY_ID, who.deploy_id.clone()),
    ];
    let some = some.into_iter().filter_map(|(name, value)| Some((name, value?)));
    all.into_iter().chain(some).map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Generation {
    /// Reads a volume; none if it is no generation of the application's lock.
    pub(super) fn read(
        app: &str,
        volume: &str,
        created: Option<&str>,
        labels: &HashMap<String, String>,
    ) -> Option<Self> {
        let (rest, number) = volume.rsplit_once('-')?;
        let number: u64 = number.parse().ok()?;
        let text = |name| labels.get(name).cloned();
        if text(label::LOCK)? != app || rest.strip_prefix("slipway-lock-") != Some(app) {
            return None;
        }
        let created = created.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        Some(Self {
            number,
            created,
            token: text(label::TOKEN)?,
            owner: text(label::OWNER).unwrap_or_default(),
            build_url: text(label::BUILD_URL),
            deploy_id: text(label::DEPLOY_ID).unwrap_or_default(),
            since: text(label::SINCE).and_then(|at| at.parse().ok()).unwrap_or(created),
            process: text(label::PROCESS).and_then(|text| text.parse().ok()),
        })
    }

    /// Whether a lease whose newest generation this is has ended.
    pub(super) fn is_dead(&self, now: Timestamp) -> bool {
        now.duration_since(self.created).as_secs_f64() > LEASE.as_secs_f64() || self.is_orphan()
    }

    /// Whether its process was one of this machine and is gone.
    fn is_orphan(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_gone)
    }

    /// Whether a lease of which `other` was the newest generation had ended when this one, of
    /// somebody else, was made. Both stamps are cut to seconds, so a full [`LEASE`] between them is
    /// what lies between the stamp of a dead one and that of whoever found it dead.
    pub(super) fn succeeds(&self, other: &Self) -> bool {
        let between = self.created.duration_since(other.created);
        between.as_secs_f64() >= LEASE.as_secs_f64()
    }

    pub(super) fn held(&self, now: Timestamp) -> Held {
        let ago = |at| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        Held {
            owner: self.owner.clone(),
            build_url: self.build_url.clone(),
            deploy_id: self.deploy_id.clone(),
            since: self.since,
            age: ago(self.since),
            renewed: ago(self.created),
            dead: self.is_dead(now),
        }
    }
}

/// The newest generation of each lease, the lease that was taken first coming first.
pub(super) fn leases(all: &[Generation]) -> Vec<&Generation> {
    let newest = |one: &&Generation| {
        !all.iter().any(|other| {
            other.token == one.token && (other.created, other.number) > (one.created, one.number)
        })
    };
    let mut leases: Vec<_> = all.iter().filter(newest).collect();
    leases.sort_by(|a, b| (a.since, a.number, &a.token).cmp(&(b.since, b.number, &b.token)));
    leases
}

/// The newest generation of whoever holds the lock: the one that was renewed at all lately, as one
/// who only tries to take it goes again at once.
pub(super) fn holder(all: &[Generation]) -> Option<&Generation> {
    let leases = leases(all);
    let last = leases.iter().map(|one| one.created).max()?;
    let of_late =
        |one: &&&Generation| last.duration_since(one.created).as_secs_f64() < LEASE.as_secs_f64();
    leases.iter().find(of_late).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn app() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9][a-z0-9_.-]{0,8}"
    }

    proptest! {
        #[test]
        fn a_name_belongs_to_one_application_and_number(a in app(), b in app(), x: u64, y: u64) {
            prop_assert_eq!(name(&a, x) == name(&b, y), (a, x) == (b, y));
        }

        #[test]
        fn what_is_written_is_read(app in app(), number: u64, url in proptest::option::of("[ -~]{1,20}")) {
            let who = Who { build_url: url, ..crate::lock::tests::who("a") };
            let at = Timestamp::from_second(1_000).unwrap();
            let labels = labels(&app, at, &who);
            let read = Generation::read(&app, &name(&app, number), Some("1970-01-01T02:00:00+01:00"), &labels);
            let read = read.unwrap();
            prop_assert_eq!(read.number, number);
            prop_assert_eq!(read.created, Timestamp::from_second(3_600).unwrap());
            prop_assert_eq!(read.since, at);
            prop_assert_eq!(&read.token, &who.token);
            prop_assert_eq!(&read.build_url, &who.build_url);
            prop_assert_eq!(&read.process, &who.process);
            prop_assert!(Generation::read("another", &name(&app, number), None, &labels).is_none());
        }

        /// Whoever is found dead is found succeeded, whatever the stamps lose.
        #[test]
        fn a_dead_lease_knows_its_successor(created in 0_i64..100_000, seen in 0_i64..100_000, later in 0_i64..5_000) {
            let of = |millis: i64| {
                let mut one = crate::lock::tests::generation(1, "a");
                one.created = Timestamp::from_second(millis / 1_000).unwrap();
                one
            };
            let now = Timestamp::from_millisecond(seen).unwrap();
            if of(created).is_dead(now) {
                prop_assert!(of(seen + later).succeeds(&of(created)));
            }
        }
    }
}
