//! What the containers of an application mean where a front passes to one of two slots. Pure.
//!
//! The front decides what serves: the slot that its map names. Everything else follows from that
//! and from the age of the containers: what is older than what serves has served before, what is
//! younger never got to.

use crate::container::{Container, Role, Status};
use crate::slot::Slot;

/// Which of the containers is the application's front: the one that runs, else the one that the
/// engine is meant to start. A front that is neither was never proved.
pub(crate) fn front_of(containers: &[Container]) -> Option<&Container> {
    let fronts = || containers.iter().filter(|one| one.role() == Role::Front);
    let proved = |one: &&Container| one.kept_alive && one.status != Status::Created;
    fronts()
        .filter(|one| one.is_up())
        .max_by_key(|one| (one.kept_alive, one.age()))
        .or_else(|| fronts().filter(proved).max_by_key(|one| one.age()))
}

/// The containers of an application on one host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// The one that serves, if one does.
    pub(crate) live: Option<Container>,
    /// The slot that the front passes to, or passed to before it got lost.
    pub(crate) slot: Option<Slot>,
    /// The live slot is empty, and this one runs in the other: the front has to be turned to it.
    pub(crate) refuge: Option<Container>,
    /// Served before and still runs: to be let go.
    pub(crate) draining: Vec<Container>,
    /// Served before, stopped; the newest first.
    pub(crate) kept: Vec<Container>,
    /// Of no use to anybody: removed before anything else.
    pub(crate) leftovers: Vec<Container>,
}

impl Layout {
    /// Reads the layout from all containers that carry the application's label. `front` is that of
    /// [`front_of`] and the slot that its map names.
    pub(crate) fn of(containers: Vec<Container>, front: Option<(&str, Slot)>) -> Self {
        let (mut releases, others): (Vec<_>, Vec<_>) = containers
            .into_iter()
            .partition(|one| one.role() == Role::Release && one.status != Status::Created);
        let mut leftovers: Vec<_> =
            others.into_iter().filter(|one| front.is_none_or(|(id, _)| one.id != id)).collect();
        releases.sort_by(|a, b| b.age().cmp(&a.age()));
        let (mut up, stopped): (Vec<_>, Vec<_>) = releases.into_iter().partition(Container::is_up);

        let slot = front.map(|(_, slot)| slot);
        // Without a front the one that was proved last serves, at a port of its own or nowhere.
        let serves = match slot {
            Some(slot) => up.iter().position(|one| one.slot() == Some(slot)),
            None => up.iter().position(|one| one.kept_alive).or(if up.is_empty() {
                None
            } else {
                Some(0)
            }),
        };
        let live = serves.map(|index| up.remove(index));
        let refuge = match (&live, slot) {
            (None, Some(slot)) => {
                let other = up.iter().position(|one| one.slot() == Some(slot.other()));
                other.map(|index| up.remove(index))
            }
            _ => None,
        };
        let since = live.as_ref().or(refuge.as_ref()).map(|one| (one.created, one.id.clone()));
        let elder = |one: &Container| {
            since.as_ref().is_none_or(|(created, id)| one.age() < (*created, id.as_str()))
        };
        let (draining, younger): (Vec<_>, Vec<_>) = up.into_iter().partition(elder);
        let (kept, failed): (Vec<_>, Vec<_>) = stopped.into_iter().partition(elder);
        leftovers.extend(younger);
        leftovers.extend(failed);
        Self {
            slot: live.as_ref().and_then(Container::slot).or(slot),
            live,
            refuge,
            draining,
            kept,
            leftovers,
        }
    }

    /// The one that served last and is meant to run, where nothing serves: somebody stopped it, or
    /// it ended too often.
    pub(crate) fn take_fallen(&mut self) -> Option<Container> {
        if self.live.is_some() || self.refuge.is_some() {
            return None;
        }
        let in_place = |one: &Container| self.slot.is_none() || one.slot() == self.slot;
        let fallen = self.kept.iter().position(|one| one.kept_alive && in_place(one))?;
        Some(self.kept.remove(fallen))
    }

    /// The slot for the next container.
    pub(crate) fn spare(&self) -> Slot {
        self.slot.map_or(Slot::Blue, Slot::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::label;
    use crate::plan::tests::container;
    use proptest::prelude::*;

    use Status::{Created, Restarting, Running, Stopped};

    fn release(n: u32, slot: Slot, status: Status, kept_alive: bool) -> Container {
        let mut one = container(n, Role::Release, status, kept_alive);
        one.labels.insert(label::SLOT.into(), slot.as_str().into());
        one
    }

    fn names(containers: &[Container]) -> Vec<&str> {
        containers.iter().map(|one| one.name.as_str()).collect()
    }

    fn name(container: Option<&Container>) -> Option<&str> {
        container.map(|one| one.name.as_str())
    }

    const FRONT: &str = "id000";

    fn with_front(mut all: Vec<Container>, live: Slot) -> Layout {
        all.push(container(0, Role::Front, Running, true));
        Layout::of(all, Some((FRONT, live)))
    }

    #[test]
    fn what_was_stopped_behind_the_front_is_told_from_what_is_kept() {
        use Slot::{Blue, Green};
        let kept = || release(1, Blue, Stopped, false);
        let mut seen = with_front(vec![kept(), release(2, Green, Stopped, true)], Green);
        assert_eq!(name(seen.take_fallen().as_ref()), Some("web-2"));
        assert_eq!(names(&seen.kept), ["web-1"]);
        // What serves is no such one, and what is kept was not meant to run.
        for live in [release(2, Green, Running, true), release(2, Green, Stopped, false)] {
            let mut seen = with_front(vec![kept(), live], Green);
            let before = seen.clone();
            assert_eq!(seen.take_fallen(), None);
            assert_eq!(seen, before);
        }
    }

    #[test]
    fn each_point_at_which_a_deploy_can_be_cut_short() {
        use Slot::{Blue, Green};
        let old = || release(1, Blue, Running, true);
        // The candidate runs.
        let seen = with_front(vec![old(), release(2, Green, Running, false)], Blue);
        assert_eq!(name(seen.live.as_ref()), Some("web-1"));
        assert_eq!(names(&seen.leftovers), ["web-2"]);
        assert_eq!(seen.spare(), Green);
        // The front was turned.
        let seen = with_front(vec![old(), release(2, Green, Running, true)], Green);
        assert_eq!(name(seen.live.as_ref()), Some("web-2"));
        assert_eq!(names(&seen.draining), ["web-1"]);
        assert_eq!(seen.spare(), Blue);
        // The new one died after that, and the old one is what the front falls back to.
        let seen = with_front(vec![old(), release(2, Green, Stopped, true)], Green);
        assert_eq!((name(seen.live.as_ref()), name(seen.refuge.as_ref())), (None, Some("web-1")));
        assert_eq!(names(&seen.leftovers), ["web-2"]);
        // All done: the old one is kept.
        let seen = with_front(
            vec![release(1, Blue, Stopped, false), release(2, Green, Running, true)],
            Green,
        );
        assert_eq!(names(&seen.kept), ["web-1"]);
        assert!(seen.leftovers.is_empty() && seen.draining.is_empty());
    }

    #[test]
    fn without_a_front_what_was_proved_serves() {
        let all = vec![
            container(1, Role::Release, Running, true),
            release(2, Slot::Blue, Running, false),
            container(3, Role::Front, Created, false),
        ];
        let seen = Layout::of(all, None);
        assert_eq!(name(seen.live.as_ref()), Some("web-1"));
        assert_eq!(names(&seen.leftovers), ["web-3", "web-2"]);
        assert_eq!((seen.slot, seen.spare()), (None, Slot::Blue));
    }

    #[test]
    fn a_front_that_was_never_proved_is_none() {
        let front = |n, status, kept| container(n, Role::Front, status, kept);
        assert_eq!(front_of(&[front(1, Created, false), front(2, Stopped, false)]), None);
        let seen = [front(1, Stopped, true), front(2, Running, false)];
        assert_eq!(name(front_of(&seen)), Some("web-2"));
        assert_eq!(name(front_of(&seen[..1])), Some("web-1"));
    }

    prop_compose! {
        fn any_release()(n in 1_u32..40, slot in 0..3_usize, status in 0..4_usize, kept: bool) -> Container {
            let status = [Created, Running, Restarting, Stopped][status];
            match slot {
                0 => container(n, Role::Release, status, kept),
                n_slot => release(n, Slot::BOTH[n_slot - 1], status, kept),
            }
        }
    }

    proptest! {
        #[test]
        fn every_container_has_one_place(
            mut all in proptest::collection::vec(any_release(), 0..8),
            slot in 0..3_usize,
        ) {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all.dedup_by(|a, b| a.id == b.id);
            let mut ids: Vec<_> = all.iter().map(|one| one.id.clone()).collect();
            let seen = match slot {
                0 => Layout::of(all, None),
                n => with_front(all, Slot::BOTH[n - 1]),
            };
            let places = seen.live.iter().chain(&seen.refuge).chain(&seen.draining).chain(&seen.kept).chain(&seen.leftovers);
            let mut placed: Vec<_> = places.map(|one| one.id.clone()).collect();
            placed.sort_unstable();
            ids.sort_unstable();
            prop_assert_eq!(placed, ids);
            // What is removed never serves, and what is kept never runs.
            prop_assert!(seen.kept.iter().all(|one| !one.is_up()));
            prop_assert!(seen.live.iter().chain(&seen.refuge).all(Container::is_up));
            // A new container never goes where something serves.
            let taken = seen.live.as_ref().or(seen.refuge.as_ref()).and_then(Container::slot);
            prop_assert!(seen.refuge.is_some() || taken != Some(seen.spare()));
        }
    }
}
