//! The front's configuration. Pure.
//!
//! It is made from a few values alone, which stand in its first line: so it can be read again, and
//! a configuration that was changed by hand is told from ours.

use std::fmt::Write;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DIRECTORY, SERVED_BY_HEADER, TOKEN_HEADER};
use crate::publish::{Protocol, Publish};
use crate::slot::Slot;
use crate::spec::Health;

/// Begins the first line.
const HEAD: &str = "# slipway: ";

/// Counted up with every change of the text below, so that a front of an older version is seen.
const VERSION: u32 = 1;

/// Where the front is asked and told, if the application does not use that port itself.
const CONTROL_PORT: u16 = 8404;

/// A front's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: u32,
    /// Whoever knows it may tell the front which slot serves.
    pub(crate) token: String,
    pub(crate) ports: Vec<PortMapping>,
    pub(crate) blue: Backend,
    pub(crate) green: Backend,
    /// How long a worker that was replaced by a reload may go on, in seconds.
    pub(crate) drain_s: u64,
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

impl Config {
    /// A configuration with a token of its own.
    pub(crate) fn new(
        ports: Vec<PortMapping>,
        blue: Backend,
        green: Backend,
        drain_s: u64,
    ) -> Self {
        let token = format!("{:032x}", rand::random::<u128>());
        Self { version: VERSION, token, ports, blue, green, drain_s }
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
        serde_json::from_str(text.lines().next()?.strip_prefix(HEAD)?).ok()
    }

    /// The text of `haproxy.cfg`.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEAD}{}\n", self.json());
        text.push_str(&self.general());
        text.push_str(&self.control());
        for port in &self.ports {
            text.push_str(&self.frontend(*port));
            for slot in Slot::BOTH {
                text.push_str(&self.backend_text(*port, slot));
            }
        }
        text
    }

    fn general(&self) -> String {
        // A server is never given up for good: `…-anyway` is asked without a check where neither
        // slot passes its own, so that a slow health answer cannot take a working application
        // down. One answer to many tries is how long a client waits for a container that restarts.
        format!(
            "global
  maxconn 4096
  hard-stop-after {}s
  log stdout format raw local0 notice
defaults
  mode http
  log global
  option dontlog-normal
  timeout connect 1s
  timeout client 60s
  timeout http-request 30s
  timeout http-keep-alive 75s
  timeout queue 30s
  timeout server 5m
  timeout tunnel 1h
  timeout check 2s
  option redispatch 1
  retries 5
  retry-on conn-failure empty-response
  http-reuse safe
  option idle-close-on-response
  default-server inter 2s fastinter 100ms downinter 250ms fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter
",
            self.drain_s
        )
    }

    fn control(&self) -> String {
        let live = live_value();
        let mut state = format!("{{\"generation\":\"{}\",\"live\":\"{live}\"", self.generation());
        for slot in Slot::BOTH {
            let mut busy = Vec::new();
            for port in &self.ports {
                let own = backend_name(slot, *port);
                busy.push(format!("%[srv_conn({own}/{slot})]"));
                busy.push(format!("%[srv_conn({own}/{slot}-anyway)]"));
                busy.push(format!("%[srv_conn({}/{slot})]", backend_name(slot.other(), *port)));
            }
            let first = self.ports.first().map(|port| backend_name(slot, *port));
            let up = first.map_or("0".into(), |name| format!("%[srv_is_up({name}/{slot})]"));
            let _ = write!(state, ",\"{slot}\":{{\"up\":{up},\"busy\":[{}]}}", busy.join(","));
        }
        state.push('}');
        let mut text = format!(
            "frontend control
  bind :{}
  http-request deny deny_status 404 unless {{ req.hdr({TOKEN_HEADER}) -m str {} }}
",
            self.control_port(),
            self.token
        );
        for slot in Slot::BOTH {
            let _ = writeln!(
                text,
                "  http-request set-map({DIRECTORY}/live.map) live {slot} if {{ path /live/{slot} }}"
            );
        }
        let _ = writeln!(
            text,
            "  http-request return status 200 content-type application/json lf-string '{state}'"
        );
        text
    }

    fn frontend(&self, port: PortMapping) -> String {
        let missing = |name: &str| format!("unless {{ req.hdr({name}) -m found }}");
        format!(
            "frontend port-{port}
  bind :{port}
  option forwardfor
  http-request set-header X-Forwarded-Proto http {}
  http-request set-header X-Forwarded-Host %[req.hdr(Host)] {}
  http-request set-header X-Forwarded-Port {} {}
  http-request set-var(txn.ours) bool(true) if {{ req.hdr({TOKEN_HEADER}) -m str {} }}
  http-request del-header {TOKEN_HEADER}
  http-request disable-l7-retry unless METH_GET
  http-response set-header {SERVED_BY_HEADER} %[srv_name] if {{ var(txn.ours) -m bool }}
  use_backend {}-{port}
",
            missing("X-Forwarded-Proto"),
            missing("X-Forwarded-Host"),
            port.host,
            missing("X-Forwarded-Port"),
            self.token,
            live_value(),
            port = port.container,
        )
    }

    fn backend_text(&self, port: PortMapping, slot: Slot) -> String {
        let (own, other) = (self.backend(slot), self.backend(slot.other()));
        let name = backend_name(slot, port);
        let first = self.ports.first().copied().unwrap_or(port);
        let tracked = |slot: Slot| format!("track {}/{slot}", backend_name(slot, first));
        let (check, how) = if first == port {
            let check = format!(
                "  option httpchk
  http-check send meth GET uri {} ver HTTP/1.1 hdr Host {}:{}
  http-check expect status 200-299
",
                quoted(&own.health_path),
                own.address,
                own.health_port
            );
            (check, format!("check port {}", own.health_port))
        } else {
            (String::new(), tracked(slot))
        };
        format!(
            "backend {name}
{check}  server {slot} {own}:{port} {how}
  server {other_slot} {other}:{port} backup {}
  server {slot}-anyway {own}:{port} backup
",
            tracked(slot.other()),
            own = own.address,
            other = other.address,
            other_slot = slot.other(),
            port = port.container,
        )
    }
}

fn live_value() -> String {
    format!("%[str(live),map({DIRECTORY}/live.map,blue)]")
}

fn backend_name(slot: Slot, port: PortMapping) -> String {
    format!("{slot}-{}", port.container)
}

/// One word of the configuration: between single quotes nothing has a meaning of its own.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(other.token, config.token);
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
        fn a_path_is_one_word_whatever_is_in_it(path in "/[!-~]{0,12}") {
            let text = quoted(&path);
            // A quote is the only character that could end the word, and stands outside of quotes.
            let inner: String = text.split(r"'\''").collect::<Vec<_>>().join("'");
            prop_assert_eq!(inner, format!("'{path}'"));
            prop_assert_eq!(config(&path).text().matches(&text).count(), 2);
        }
    }
}
