//! What the containers of an application mean: which one serves, which one is kept, and what a
//! deploy that was cut short has left behind. Pure.
//!
//! A container's labels cannot change, so the one thing that does change says what is meant to
//! serve: the restart policy. A container gets one when it is proved behind the public port, and
//! loses it when another one took its place. So at every moment of a switch, also when nobody is
//! there to finish it, the engine itself brings back what was proved last.

use crate::container::{Container, Role, Status};

/// What serves.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a deploy")]
pub(crate) enum Serving {
    /// Nothing of this application.
    Nothing,
    /// This one runs.
    Live(Container),
    /// This one is meant to run and does not.
    Fallen(Container),
    /// A switch was cut short: the new one runs and is not proved, the old one is stopped.
    Halfway {
        /// The one that runs.
        new: Container,
        /// The one that was proved.
        old: Container,
    },
}

/// The containers of an application on one host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Situation {
    pub(crate) serving: Serving,
    /// The one that served before, kept to go back to.
    pub(crate) previous: Option<Container>,
    /// Of no use to anybody: removed before anything else.
    pub(crate) leftovers: Vec<Container>,
    /// Replaced long ago: removed when a deploy has succeeded.
    pub(crate) surplus: Vec<Container>,
    /// Replaced, but the engine would still start them by itself.
    pub(crate) to_demote: Vec<Container>,
}

impl Situation {
    /// Reads the situation from all containers that carry the application's label.
    pub(crate) fn of(containers: Vec<Container>) -> Self {
        let (mut releases, mut leftovers): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|container| {
                container.role() == Role::Release && container.status != Status::Created
            });
        // Newest first; ids make the order total.
        releases.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));

        let (up, stopped): (Vec<_>, Vec<_>) = releases.into_iter().partition(Container::is_up);
        let (mut proved_up, mut unproved_up): (Vec<_>, Vec<_>) =
            up.into_iter().partition(|container| container.kept_alive);
        let (mut proved_down, replaced): (Vec<_>, Vec<_>) =
            stopped.into_iter().partition(|container| container.kept_alive);

        let serving = if proved_up.is_empty() {
            match (take_first(&mut unproved_up), take_first(&mut proved_down)) {
                (Some(new), Some(old)) => Serving::Halfway { new, old },
                (Some(only), None) => Serving::Live(only),
                (None, Some(old)) => Serving::Fallen(old),
                (None, None) => Serving::Nothing,
            }
        } else {
            Serving::Live(proved_up.remove(0))
        };
        // Whatever else runs does not serve and holds ports and memory.
        leftovers.extend(proved_up);
        leftovers.extend(unproved_up);

        // What is stopped and newer than what serves never got to serve.
        let since = match &serving {
            Serving::Nothing => None,
            Serving::Live(one) | Serving::Fallen(one) | Serving::Halfway { old: one, .. } => {
                Some((one.created, one.id.clone()))
            }
        };
        let mut kept = Vec::new();
        for container in proved_down.iter().chain(&replaced) {
            let newer = since
                .as_ref()
                .is_some_and(|since| (&container.created, &container.id) > (&since.0, &since.1));
            if newer { leftovers.push(container.clone()) } else { kept.push(container.clone()) }
        }
        kept.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        let previous = take_first(&mut kept);
        let to_demote =
            previous.iter().chain(&kept).filter(|one| one.kept_alive).cloned().collect();
        Self { serving, previous, leftovers, surplus: kept, to_demote }
    }
}

impl Situation {
    /// Whether the old one is stopped and the new one not yet started, as in the middle of a
    /// switch.
    pub(crate) fn is_between(&self) -> bool {
        let waits = |one: &Container| one.role() == Role::Release && one.status == Status::Created;
        matches!(self.serving, Serving::Fallen(_)) && self.leftovers.iter().any(waits)
    }
}

fn take_first(containers: &mut Vec<Container>) -> Option<Container> {
    if containers.is_empty() { None } else { Some(containers.remove(0)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::container::label;
    use jiff::Timestamp;
    use proptest::prelude::*;

    /// A container of the age `n`: the higher, the younger.
    pub(crate) fn container(n: u32, role: Role, status: Status, kept_alive: bool) -> Container {
        Container {
            id: format!("id{n:03}"),
            name: format!("web-{n}"),
            created: Timestamp::from_second(i64::from(n)).unwrap(),
            status,
            exit_code: 0,
            oom_killed: false,
            error: None,
            restarts: 0,
            kept_alive,
            healthcheck: None,
            address: None,
            image_id: format!("sha256:{n}"),
            publish: Vec::new(),
            stop_timeout: None,
            labels: [(label::ROLE.to_owned(), role.as_str().to_owned())].into(),
        }
    }

    fn release(n: u32, status: Status, kept_alive: bool) -> Container {
        container(n, Role::Release, status, kept_alive)
    }

    fn names(containers: &[Container]) -> Vec<&str> {
        containers.iter().map(|container| container.name.as_str()).collect()
    }

    use Status::{Created, Restarting, Running, Stopped};

    #[test]
    fn after_a_deploy_one_serves_and_one_is_kept() {
        let seen = Situation::of(vec![release(1, Stopped, false), release(2, Running, true)]);
        assert!(matches!(&seen.serving, Serving::Live(live) if live.name == "web-2"));
        assert_eq!(seen.previous.unwrap().name, "web-1");
        assert!(seen.leftovers.is_empty() && seen.surplus.is_empty() && seen.to_demote.is_empty());
    }

    #[test]
    fn each_point_at_which_a_switch_can_be_cut_short() {
        // The candidate runs, the new one is created.
        let seen = Situation::of(vec![
            release(1, Running, true),
            container(2, Role::Candidate, Running, false),
            release(3, Created, false),
        ]);
        assert!(matches!(&seen.serving, Serving::Live(live) if live.name == "web-1"));
        assert_eq!(names(&seen.leftovers), ["web-2", "web-3"]);
        assert!(!seen.is_between());

        // The old one is stopped, the new one not started.
        let seen = Situation::of(vec![release(1, Stopped, true), release(3, Created, false)]);
        assert!(matches!(&seen.serving, Serving::Fallen(old) if old.name == "web-1"));
        assert_eq!(names(&seen.leftovers), ["web-3"]);
        assert!(seen.is_between());

        // The new one is started.
        let seen = Situation::of(vec![release(1, Stopped, true), release(3, Running, false)]);
        assert!(matches!(&seen.serving, Serving::Halfway { new, old }
            if new.name == "web-3" && old.name == "web-1"));

        // The new one crashed: the old one is what is meant to serve.
        let seen = Situation::of(vec![release(1, Stopped, true), release(3, Stopped, false)]);
        assert!(matches!(&seen.serving, Serving::Fallen(old) if old.name == "web-1"));
        assert_eq!(names(&seen.leftovers), ["web-3"]);

        // The new one is proved, the old one not yet let go.
        let seen = Situation::of(vec![release(1, Stopped, true), release(3, Running, true)]);
        assert!(matches!(&seen.serving, Serving::Live(live) if live.name == "web-3"));
        assert_eq!(names(&seen.to_demote), ["web-1"]);
        assert_eq!(seen.previous.unwrap().name, "web-1");
    }

    #[test]
    fn a_first_deploy_that_was_cut_short_is_live() {
        let seen = Situation::of(vec![release(3, Running, false)]);
        assert!(matches!(seen.serving, Serving::Live(_)));
    }

    #[test]
    fn a_crash_loop_is_still_what_is_live() {
        let seen = Situation::of(vec![release(1, Restarting, true), release(2, Running, false)]);
        assert!(matches!(&seen.serving, Serving::Live(live) if live.name == "web-1"));
        assert_eq!(names(&seen.leftovers), ["web-2"]);
    }

    prop_compose! {
        fn any_container()(n in 0_u32..50, candidate: bool, status in 0..4_usize, kept: bool) -> Container {
            let role = if candidate { Role::Candidate } else { Role::Release };
            let status = [Created, Running, Restarting, Stopped][status];
            container(n, role, status, kept)
        }
    }

    proptest! {
        #[test]
        fn every_container_has_one_place_and_what_serves_is_in_no_other(
            mut all in proptest::collection::vec(any_container(), 0..8)
        ) {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all.dedup_by(|a, b| a.id == b.id);
            let seen = Situation::of(all.clone());
            let mut places: Vec<_> = seen.leftovers.iter().chain(&seen.surplus).chain(&seen.previous).collect();
            match &seen.serving {
                Serving::Nothing => {}
                Serving::Live(one) | Serving::Fallen(one) => places.push(one),
                Serving::Halfway { new, old } => places.extend([new, old]),
            }
            let mut ids: Vec<_> = places.iter().map(|one| one.id.as_str()).collect();
            ids.sort_unstable();
            prop_assert_eq!(ids, all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>());
            // Something that runs as a release is never ignored.
            let runs = all.iter().any(|one| one.is_up() && one.role() == Role::Release);
            let served = matches!(seen.serving, Serving::Live(_) | Serving::Halfway { .. });
            prop_assert!(served || !runs);
        }

        #[test]
        fn the_order_in_which_they_are_listed_means_nothing(
            mut all in proptest::collection::vec(any_container(), 0..6)
        ) {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all.dedup_by(|a, b| a.id == b.id);
            let one = Situation::of(all.clone());
            all.reverse();
            let other = Situation::of(all);
            prop_assert_eq!(one.serving, other.serving);
            prop_assert_eq!(one.previous, other.previous);
        }
    }
}
