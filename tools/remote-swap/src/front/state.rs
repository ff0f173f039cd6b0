//! What a front says of itself. Pure.

use serde::Deserialize;

use super::{Config, Settings};
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
    /// Connections of clients, port by port. A front of the first version does not tell.
    #[serde(default)]
    connections: Vec<u64>,
    /// Those of them that have the source that this request has.
    #[serde(default)]
    same_source: u64,
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
        self.server(slot).busy.iter().fold(0, |sum, one| sum.saturating_add(*one))
    }

    /// Why clients, or those of them who come from where this was asked, get no connection at the
    /// moment; none if they get one.
    pub(crate) fn crowded(&self, config: &Config) -> Option<String> {
        let Settings { connections, per_source, .. } = config.settings;
        let full = self.connections.iter().zip(&config.ports).find_map(|(count, port)| {
            let full = *count >= u64::from(connections);
            full.then(|| {
                format!(
                    "the front has {count} of {connections} connections in use at port {}",
                    port.host
                )
            })
        });
        let mine = per_source > 0 && self.same_source >= u64::from(per_source);
        full.or_else(|| {
            mine.then(|| {
                format!(
                    "the front has {} of {per_source} connections in use from the address that it sees this host as",
                    self.same_source
                )
            })
        })
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
        let most = text.replace("[1,0,2]", &format!("[{0},{0}]", u64::MAX));
        assert_eq!(State::parse(&most).unwrap().busy(Slot::Blue), u64::MAX);
    }

    #[test]
    fn why_nobody_gets_a_connection() {
        let config = crate::front::config::tests::config("/");
        let crowded = |more: &str| {
            let text = format!(
                r#"{{"generation":"g","live":"green","blue":{{"up":0,"busy":[]}},"green":{{"up":1,"busy":[]}}{more}}}"#
            );
            State::parse(&text).unwrap().crowded(&config)
        };
        assert_eq!(crowded(""), None);
        assert_eq!(crowded(r#","connections":[4095,0],"same_source":1023"#), None);
        let told = crowded(r#","connections":[1,4096],"same_source":0"#).unwrap();
        assert_eq!(told, "the front has 4096 of 4096 connections in use at port 9000");
        let told = crowded(r#","connections":[2000,0],"same_source":1024"#).unwrap();
        assert!(told.contains("1024 of 1024"), "{told}");
    }
}
