//! The states of a target in their order, in a bounded number of entries.

use std::time::Duration;

use slipway_release::Attempt;

/// The most entries that are kept. Where states change on and on, as at a flapping service, the
/// first ones and the last ones tell the most, so what is left out is in the middle.
const LIMIT: usize = 64;

/// Which entry stands for what was left out.
const MIDDLE: usize = LIMIT / 2;

/// States in their order; equal ones in a row are one entry.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    entries: Vec<Attempt>,
    left_out: u32,
}

impl Timeline {
    /// Adds what a try saw.
    pub(crate) fn add(&mut self, at: Duration, state: &str) {
        if let Some(last) = self.entries.last_mut().filter(|last| last.state == state) {
            last.tries = last.tries.saturating_add(1);
            return;
        }
        self.entries.push(Attempt { at_ms: millis(at), state: state.to_owned(), tries: 1 });
        if self.entries.len() > LIMIT {
            // The middle entry takes in the next one; at first it is left out itself, too.
            let gone = self.entries.remove(MIDDLE + 1);
            self.left_out += if self.left_out == 0 { 2 } else { 1 };
            let middle = &mut self.entries[MIDDLE];
            middle.tries = middle.tries.saturating_add(gone.tries);
            middle.state = format!("({} states left out)", self.left_out);
        }
    }

    pub(crate) fn entries(&self) -> &[Attempt] {
        &self.entries
    }
}

/// Milliseconds as the document has them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timeline(states: &[u8]) -> Timeline {
        let mut timeline = Timeline::default();
        for (at, state) in states.iter().enumerate() {
            timeline.add(Duration::from_millis(at as u64), &format!("status {state}"));
        }
        timeline
    }

    #[test]
    fn equal_states_in_a_row_are_one_entry() {
        let timeline = timeline(&[1, 1, 1, 2, 1]);
        let entry = |at_ms, state: &str, tries| Attempt { at_ms, state: state.into(), tries };
        let expected = [entry(0, "status 1", 3), entry(3, "status 2", 1), entry(4, "status 1", 1)];
        assert_eq!(timeline.entries(), expected);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let states: Vec<u8> = (0..100).collect();
        let timeline = timeline(&states);
        assert_eq!(timeline.entries().len(), LIMIT);
        let middle = &timeline.entries()[MIDDLE];
        assert_eq!((middle.state.as_str(), middle.tries), ("(37 states left out)", 37));
        assert_eq!(timeline.entries()[MIDDLE + 1].state, "status 69");
    }

    proptest! {
        #[test]
        fn no_try_is_lost_and_both_ends_stay(states in prop::collection::vec(0..3u8, 1..400)) {
            let timeline = timeline(&states);
            let entries = timeline.entries();
            prop_assert!(entries.len() <= LIMIT);
            let tries: u32 = entries.iter().map(|entry| entry.tries).sum();
            prop_assert_eq!(tries as usize, states.len());
            let first = format!("status {}", states[0]);
            let last = format!("status {}", states[states.len() - 1]);
            prop_assert_eq!(&entries[0].state, &first);
            prop_assert_eq!(&entries[entries.len() - 1].state, &last);
            prop_assert!(entries.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
        }
    }
}
