//! `--publish`: which ports of the host lead to which ports of the container.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::Serialize;

use crate::values::Reason;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Publish {
    /// The address of the host; none for all of them.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
    pub(crate) protocol: Protocol,
}

impl Publish {
    /// Where the port answers on the host itself.
    pub(crate) fn local_address(&self) -> IpAddr {
        match self.ip {
            Some(ip) if !ip.is_unspecified() => ip,
            Some(IpAddr::V6(_)) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.protocol == Protocol::Tcp
    }

    /// Whether both cannot be published at once.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let everywhere = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
        let address = match (self.ip, other.ip) {
            (Some(IpAddr::V4(_)), Some(IpAddr::V6(_)))
            | (Some(IpAddr::V6(_)), Some(IpAddr::V4(_))) => false,
            (a, b) => everywhere(a) || everywhere(b) || a == b,
        };
        address && self.host_port == other.host_port && self.protocol == other.protocol
    }

    /// The container's port as the engine writes it.
    pub(crate) fn container_key(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

impl FromStr for Publish {
    type Err = Reason;

    /// Reads `8000:5000`, `127.0.0.1:8000:5000` and `[::1]:8000:5000`, each with `/tcp` or `/udp`.
    fn from_str(text: &str) -> Result<Self, Reason> {
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err("the protocol is neither tcp nor udp".to_owned()),
        };
        let Some((rest, container)) = ports.rsplit_once(':') else {
            // Docker would choose a port of the host, another one at each deploy.
            return Err("name the host's port too, such as 8000:5000".to_owned());
        };
        let (ip, host) = match rest.rsplit_once(':') {
            None => (None, rest),
            Some((ip, host)) => (Some(address(ip)?), host),
        };
        Ok(Self { ip, host_port: port(host)?, container_port: port(container)?, protocol })
    }
}

fn address(text: &str) -> Result<IpAddr, Reason> {
    let bare = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(six) if six.contains(':') => six,
        Some(_) => return Err("brackets are for IPv6 addresses".to_owned()),
        None if text.contains(':') => {
            return Err("an IPv6 address stands in brackets".to_owned());
        }
        None => text,
    };
    bare.parse().map_err(|_| format!("`{text}` is not an address of the host"))
}

fn port(text: &str) -> Result<u16, Reason> {
    if text.contains('-') {
        return Err("ranges are not known here: publish each port by itself".to_owned());
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(format!("`{text}` is not a port from 1 to 65535")),
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}:{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> Publish {
        text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    #[test]
    fn the_usual_ways_to_write_it() {
        assert_eq!(publish("8000:5000").to_string(), "8000:5000/tcp");
        assert_eq!(publish("53:5353/udp").to_string(), "53:5353/udp");
        assert_eq!(publish("127.0.0.1:8000:5000/tcp").to_string(), "127.0.0.1:8000:5000/tcp");
        assert_eq!(publish("[::1]:8000:5000").local_address().to_string(), "::1");
        assert_eq!(publish("[::]:8000:5000").local_address().to_string(), "::1");
        assert_eq!(publish("0.0.0.0:8000:5000").local_address().to_string(), "127.0.0.1");
        assert_eq!(publish("10.0.0.7:8000:5000").local_address().to_string(), "10.0.0.7");
    }

    #[test]
    fn what_docker_takes_and_a_deploy_cannot() {
        for (text, why) in [
            ("5000", "host's port"),
            ("127.0.0.1::5000", "not a port"),
            ("8000-8001:5000-5001", "ranges"),
            ("8000:5000/sctp", "protocol"),
            ("0:5000", "not a port"),
            ("8000:65536", "not a port"),
            ("8000:+5", "not a port"),
            ("localhost:8000:5000", "not an address"),
            ("::1:8000:5000", "brackets"),
            ("[1.2.3.4]:8000:5000", "brackets"),
            ("", "host's port"),
        ] {
            let reason = text.parse::<Publish>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }

    #[test]
    fn the_same_port_of_different_addresses_is_no_collision() {
        let collide = |a: &str, b: &str| publish(a).collides(&publish(b));
        assert!(collide("8000:1", "127.0.0.1:8000:2"));
        assert!(collide("0.0.0.0:8000:1", "127.0.0.1:8000:2"));
        assert!(collide("8000:1", "[::1]:8000:2"));
        assert!(!collide("10.0.0.1:8000:1", "127.0.0.1:8000:1"));
        assert!(!collide("0.0.0.0:8000:1", "[::]:8000:1"));
        assert!(!collide("8000:1", "8000:1/udp"));
        assert!(!collide("8000:1", "8001:1"));
    }

    prop_compose! {
        fn any_publish()(
            ip in proptest::option::of(any::<IpAddr>()),
            host_port in 1_u16..,
            container_port in 1_u16..,
            udp: bool,
        ) -> Publish {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            Publish { ip, host_port, container_port, protocol }
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(one in any_publish()) {
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }

        #[test]
        fn collision_has_no_direction(a in any_publish(), b in any_publish()) {
            prop_assert_eq!(a.collides(&b), b.collides(&a));
            prop_assert!(a.collides(&a));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-z:/.\\[\\]-]{0,24}") {
            let _ = text.parse::<Publish>();
        }
    }
}
