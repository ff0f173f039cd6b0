//! The text of a front's configuration, for HAProxy 2.4 and newer.

use std::fmt::Write;

use super::super::claims::Claims;
use super::super::{DIRECTORY, SERVED_BY_HEADER, TOKEN_HEADER};
use super::{Config, HEAD, PortMapping};
use crate::slot::Slot;

/// Connections to the control port at once. They are beside those of clients, so that the front
/// can be asked and told whatever its clients do.
const CONTROL_CONNECTIONS: u32 = 64;

/// What is left of a buffer for the headers that are added here.
const ADDED_BYTES: u32 = 2 << 10;

/// Networks in one line: HAProxy takes 64 words.
const PER_LINE: usize = 32;

impl Config {
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
        // A client that left says so (client-fin) or does not answer the kernel (clitcpka): its
        // connection goes, however long the application is silent.
        let own = &self.settings;
        let ports = u32::try_from(self.ports.len()).unwrap_or(1);
        format!(
            "global
  maxconn {}
  no strict-limits
  tune.bufsize {}
  hard-stop-after {}s
  log stdout format raw local0 notice
defaults
  mode http
  log global
  option dontlog-normal
  option abortonclose
  option clitcpka
  clitcpka-idle 30s
  clitcpka-intvl 10s
  clitcpka-cnt 3
  timeout connect 1s
  timeout client {}ms
  timeout client-fin 5s
  timeout http-request {}ms
  timeout http-keep-alive {}ms
  timeout queue 30s
  timeout server {}ms
  timeout tunnel {}ms
  timeout check 2s
  option redispatch 1
  retries 5
  retry-on conn-failure empty-response
  http-reuse safe
  option idle-close-on-response
  default-server inter 2s fastinter 100ms downinter 250ms fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter
backend sources
  stick-table type ipv6 size 100k expire 1m store conn_cur
",
            own.connections.saturating_mul(ports).saturating_add(CONTROL_CONNECTIONS),
            own.head_bytes.saturating_add(ADDED_BYTES),
            self.drain_s,
            own.client_ms,
            own.request_ms,
            own.keep_alive_ms,
            own.response_ms,
            own.tunnel_ms,
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
        let connections = self.ports.iter().map(|one| format!("%[fe_conn({})]", port_name(*one)));
        let _ = write!(
            state,
            ",\"connections\":[{}],\"same_source\":%[src,{SOURCE},table_conn_cur(sources)]}}",
            connections.collect::<Vec<_>>().join(",")
        );
        let mut text = format!(
            "frontend control
  bind :{}
  maxconn {CONTROL_CONNECTIONS}
  timeout client 10s
  timeout http-request 5s
  timeout http-keep-alive 1s
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
        let mut text = format!(
            "frontend {}
  bind :{}
  maxconn {}
",
            port_name(port),
            port.container,
            self.settings.connections
        );
        for networks in self.settings.trusted.chunks(PER_LINE) {
            text.push_str("  acl trusted src");
            networks.iter().for_each(|one| {
                let _ = write!(text, " {one}");
            });
            text.push('\n');
        }
        text.push_str(&self.sources());
        text.push_str(REFUSED);
        text.push_str(&Claims::new(!self.settings.trusted.is_empty(), port.host).text());
        text.push_str(&self.upgrades());
        let _ = write!(
            text,
            "  http-request set-var(txn.ours) bool(true) if {{ req.hdr({TOKEN_HEADER}) -m str {} }}
  http-request del-header {TOKEN_HEADER}
  http-request disable-l7-retry unless METH_GET
  http-response set-header {SERVED_BY_HEADER} %[srv_name] if {{ var(txn.ours) -m bool }}
  use_backend {}-{}
",
            self.token,
            live_value(),
            port.container,
        );
        text
    }

    /// Counts the connections of each source, over all ports, and refuses those that are too many.
    fn sources(&self) -> String {
        let per_source = self.settings.per_source;
        if per_source == 0 {
            return String::new();
        }
        let unless = if self.settings.trusted.is_empty() { "" } else { " unless trusted" };
        format!(
            "  tcp-request connection track-sc0 src,{SOURCE} table sources{unless}
  tcp-request connection reject if {{ sc0_conn_cur gt {per_source} }}
"
        )
    }

    /// What is for this connection alone does not go on; an upgrade only where it is asked for, and
    /// to one protocol.
    fn upgrades(&self) -> String {
        let mut text = String::new();
        if !self.settings.upgrades.is_empty() {
            let known = self.settings.upgrades.join(" ");
            let _ = writeln!(
                text,
                "  http-request set-var(txn.upgrade) bool(true) if {{ req.hdr_cnt(Upgrade) eq 1 }} {{ req.hdr(Upgrade) -m str -i {known} }}"
            );
        }
        text.push_str(
            "  acl upgrade var(txn.upgrade) -m bool
  http-request deny deny_status 400 if upgrade { req.hdr(Upgrade) -m str -i websocket } !{ req.hdr(Sec-WebSocket-Key) -m found }
  http-request del-header Connection
  http-request del-header HTTP2-Settings
  http-request del-header Upgrade unless upgrade
  http-request set-header Connection Upgrade if upgrade
",
        );
        text
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

/// What a source is: an address, or with IPv6 the network that one customer of a provider has.
const SOURCE: &str = "ipmask(32,64)";

/// Requests against the rules. HAProxy refuses a path with characters that are not ASCII; the option
/// to take it, whose name depends on the version, takes more than that: all of it is refused here.
const REFUSED: &str = r##".if version_atleast(3.1)
  option accept-unsafe-violations-in-http-request
.else
  option accept-invalid-http-request
.endif
  http-request deny deny_status 400 unless { req.ver 1.0 1.1 2.0 }
  http-request deny deny_status 400 if { url -m sub '#' } or METH_CONNECT or { req.hdrs -m reg "[^\x01-\xff]" } or { req.hdr_names(:) -m reg '[^-!#$%&'\''*+.^_`|~0-9A-Za-z:]' }
  http-request set-var(txn.authority) url,field(3,/),lower if { url -m reg '^[A-Za-z][A-Za-z0-9+.-]*://' }
  http-request deny deny_status 400 if { var(txn.authority) -m found } !{ req.hdr(Host),lower,strcmp(txn.authority) eq 0 }
"##;

fn live_value() -> String {
    format!("%[str(live),map({DIRECTORY}/live.map,blue)]")
}

fn backend_name(slot: Slot, port: PortMapping) -> String {
    format!("{slot}-{}", port.container)
}

fn port_name(port: PortMapping) -> String {
    format!("port-{}", port.container)
}

/// One word of the configuration: between single quotes nothing has a meaning of its own.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clients_cannot_take_the_control_ports_room() {
        let mut config = config("/");
        config.settings.connections = 1000;
        let text = config.text();
        // Two ports.
        assert!(text.contains("global\n  maxconn 2064\n"), "{text}");
        assert!(text.contains("bind :8405\n  maxconn 64\n"), "{text}");
        assert_eq!(text.matches("  maxconn 1000\n").count(), 2);
    }

    #[test]
    fn many_proxies_are_several_lines() {
        let mut config = config("/");
        assert!(!config.text().contains("trusted src"));
        let network = "10.0.0.0/8".parse().unwrap();
        config.settings.trusted = vec![network; 70];
        for line in config.text().lines().filter(|line| line.contains("acl trusted")) {
            assert!(line.split_whitespace().count() <= 64, "{line}");
        }
        assert_eq!(config.text().matches("acl trusted").count(), 6);
    }

    #[test]
    fn what_is_not_asked_for_is_not_there() {
        let mut config = config("/");
        config.settings.per_source = 0;
        config.settings.upgrades = Vec::new();
        let text = config.text();
        assert!(!text.contains("track-sc0") && !text.contains("set-var(txn.upgrade)"), "{text}");
    }

    proptest! {
        #[test]
        fn a_path_is_one_word_whatever_is_in_it(path in "/[!-~]{0,12}") {
            let text = quoted(&path);
            // A quote is the only character that could end the word, and stands outside of quotes.
            let inner: String = text.split(r"'\''").collect::<Vec<_>>().join("'");
            prop_assert_eq!(inner, format!("'{path}'"));
            prop_assert_eq!(config(&path).text().matches(&format!("uri {text} ver")).count(), 2);
        }
    }
}
