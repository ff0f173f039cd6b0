//! What a front says of itself. Pure.

use serde::Deserialize;

use crate::slot::Slot;

/// What a front that runs does at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct State {
    /// The configuration that it runs with.
    pub(crate) generation: String,
    /// The slot that it passes to.
    pub(crate) live: Slot,
    blue: Server,
    green: Server,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Server {
    up: u8,
    busy: Vec<u64>,
}

impl State {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn server(&self, slot: Slot) -> &Server {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// Whether the container in the slot passes the front's own check.
    pub(crate) fn is_up(&self, slot: Slot) -> bool {
        self.server(slot).up != 0
    }

    /// Requests, and connections that were upgraded, that the container in the slot is busy with.
    pub(crate) fn busy(&self, slot: Slot) -> u64 {
        self.server(slot).busy.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read() {
        let text = r#"{"generation":"g","live":"green","blue":{"up":0,"busy":[1,0,2]},"green":{"up":1,"busy":[0,0,0]}}"#;
        let state = State::parse(text).unwrap();
        assert_eq!((state.live, state.busy(Slot::Blue)), (Slot::Green, 3));
        assert!(state.is_up(Slot::Green) && !state.is_up(Slot::Blue));
        assert_eq!(State::parse("<html>"), None);
    }
}
