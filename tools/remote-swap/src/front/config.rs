//! The front's configuration. Pure.
//!
//! It is made from a few values alone, which stand in its first line: so it can be read again, and
//! a configuration that was changed by hand is told from ours.

mod text;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Settings;
use crate::publish::{Protocol, Publish};
use crate::slot::Slot;
use crate::spec::Health;
use crate::values;

/// Begins the first line.
const HEAD: &str = "# slipway: ";

/// Counted up with every change of the text, so that a front of an older version is seen.
const VERSION: u32 = 2;

/// Where the front is asked and told, if the application does not use that port itself.
const CONTROL_PORT: u16 = 8404;

/// A front's configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: u32,
    /// Whoever knows it may tell the front which slot serves.
    pub(crate) token: String,
    pub(crate) ports: Vec<PortMapping>,
    pub(crate) blue: Backend,
    pub(crate) green: Backend,
    /// How long a worker that was replaced by a reload may go on, in seconds.
    pub(crate) drain_s: u64,
    #[serde(default)]
    pub(crate) settings: Settings,
}

/// A port of the containers, and the one of the host by which it is known outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortMapping {
    pub(crate) container: u16,
    pub(crate) host: u16,
}

impl PortMapping {
    /// Each TCP port of the container once.
    pub(crate) fn all(publish: &[Publish]) -> Vec<Self> {
        let mut ports: Vec<Self> = Vec::new();
        for one in publish.iter().filter(|one| one.protocol == Protocol::Tcp) {
            if ports.iter().all(|port| port.container != one.container_port) {
                ports.push(Self { container: one.container_port, host: one.host_port });
            }
        }
        ports
    }
}

/// What is known of the container in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) address: Ipv4Addr,
    pub(crate) health_path: String,
    pub(crate) health_port: u16,
}

impl Backend {
    /// None where the application has no port that could be asked.
    pub(crate) fn new(address: Ipv4Addr, health: &Health) -> Option<Self> {
        Some(Self { address, health_path: health.path.clone(), health_port: health.port? })
    }
}

/// The token stays out of it.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

impl Config {
    /// A configuration with a token of its own.
    pub(crate) fn new(
        ports: Vec<PortMapping>,
        blue: Backend,
        green: Backend,
        drain_s: u64,
    ) -> Self {
        let settings = Settings::default();
        Self { version: VERSION, token: new_token(), ports, blue, green, drain_s, settings }
    }

    pub(crate) fn backend(&self, slot: Slot) -> &Backend {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// The same, with something else in a slot.
    pub(crate) fn with(&self, slot: Slot, backend: Backend, drain_s: u64) -> Self {
        let mut config = Self { version: VERSION, drain_s, ..self.clone() };
        match slot {
            Slot::Blue => config.blue = backend,
            Slot::Green => config.green = backend,
        }
        config
    }

    /// The same as this version writes it, with another token: no two configurations that a front
    /// took up have the same.
    pub(crate) fn renewed(self) -> Self {
        Self { version: VERSION, token: new_token(), ..self }
    }

    /// Whether a front with the one does what a front with the other does.
    pub(crate) fn does_the_same(&self, other: &Self) -> bool {
        *self == Self { token: self.token.clone(), ..other.clone() }
    }

    /// The port at which the front is asked and told.
    pub(crate) fn control_port(&self) -> u16 {
        let taken = |port: u16| self.ports.iter().any(|one| one.container == port);
        (CONTROL_PORT..).find(|port| !taken(*port)).unwrap_or(CONTROL_PORT)
    }

    /// Names this very configuration.
    pub(crate) fn generation(&self) -> String {
        let digest = Sha256::digest(self.json());
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    fn json(&self) -> String {
        // Plain data with string keys: serializing it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a configuration; none if it is not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let config: Self = serde_json::from_str(text.lines().next()?.strip_prefix(HEAD)?).ok()?;
        config.is_sound().then_some(config)
    }

    /// Whether its values are such as ours: they become part of the next configuration.
    fn is_sound(&self) -> bool {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let backend =
            |one: &Backend| values::health_path(&one.health_path).is_ok() && one.health_port != 0;
        self.token.len() == 32
            && self.token.bytes().all(hex)
            && self.ports.iter().all(|port| port.container != 0 && port.host != 0)
            && backend(&self.blue)
            && backend(&self.green)
            && self.settings.is_sound()
    }
}

fn new_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn config(path: &str) -> Config {
        let backend = |last: u8| Backend {
            address: Ipv4Addr::new(172, 18, 0, last),
            health_path: path.to_owned(),
            health_port: 5000,
        };
        let ports = vec![
            PortMapping { container: 5000, host: 8000 },
            PortMapping { container: 8404, host: 9000 },
        ];
        Config::new(ports, backend(3), backend(4), 30)
    }

    #[test]
    fn it_can_be_read_again() {
        let config = config("/health");
        assert_eq!(Config::parse(&config.text()), Some(config.clone()));
        assert_eq!(Config::parse("global\n"), None);
        // The application's own port is left to it.
        assert_eq!(config.control_port(), 8405);
        let other = config.with(Slot::Green, config.blue.clone(), 30);
        assert_ne!(other.generation(), config.generation());
        assert!(!other.does_the_same(&config));
    }

    #[test]
    fn each_configuration_has_a_token_of_its_own() {
        let config = config("/health");
        let renewed = config.clone().renewed();
        assert_ne!(renewed.token, config.token);
        assert_ne!(renewed.generation(), config.generation());
        assert!(renewed.does_the_same(&config));
        assert!(!format!("{config:?}").contains(&config.token));
    }

    #[test]
    fn that_of_the_first_version_is_read() {
        let text = "# slipway: {\"version\":1,\"token\":\"0123456789abcdef0123456789abcdef\",\"ports\":[{\"container\":5000,\"host\":8000}],\"blue\":{\"address\":\"172.18.0.3\",\"health_path\":\"/\",\"health_port\":5000},\"green\":{\"address\":\"172.18.0.4\",\"health_path\":\"/\",\"health_port\":5000},\"drain_s\":30}\nglobal\n";
        let config = Config::parse(text).unwrap();
        assert_eq!((config.version, &config.settings), (1, &Settings::default()));
        assert!(!config.with(Slot::Blue, config.blue.clone(), 30).does_the_same(&config));
        assert_eq!(config.renewed().version, VERSION);
    }

    #[test]
    fn values_that_would_not_stay_what_they_are_make_none() {
        let text = config("/health").text();
        for (from, to) in [
            ("\"/health\"", "\"/health\\n  bind :1\""),
            ("\"websocket\"", "\"websocket } x\""),
            ("\"token\":\"", "\"token\":\"x"),
            ("\"connections\":4096", "\"connections\":0"),
            ("\"host\":8000", "\"host\":0"),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(Config::parse(&text.replacen(from, to, 1)), None, "{to}");
        }
    }

    #[test]
    fn a_container_port_is_listened_at_once() {
        let publish: Vec<Publish> = ["8000:5000", "9000:5000", "53:53/udp"]
            .iter()
            .map(|one| one.parse().unwrap())
            .collect();
        assert_eq!(PortMapping::all(&publish), [PortMapping { container: 5000, host: 8000 }]);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_read_again(
            connections in 1_u32..100_000,
            trusted in proptest::collection::vec((any::<std::net::IpAddr>(), 0_u8..=32), 0..40),
            path in "/[!-~]{0,12}",
        ) {
            let mut config = config(&path);
            config.settings.connections = connections;
            config.settings.trusted = trusted
                .into_iter()
                .map(|(address, prefix)| ipnet::IpNet::new(address, prefix).unwrap().trunc())
                .collect();
            prop_assert_eq!(Config::parse(&config.text()), Some(config));
        }
    }
}
