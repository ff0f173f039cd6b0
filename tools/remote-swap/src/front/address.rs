//! The addresses in an application's network. Pure.
//!
//! A slot has an address of its own, whichever container is in it: so the front needs no names,
//! and finds its servers again when the engine starts all of them anew in any order.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::slot::Slot;

/// The longest prefix of a network that has room for the front, two slots and some tasks.
const LONGEST: u8 = 28;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet(Ipv4Net);

impl Subnet {
    /// Reads `172.18.0.0/16`; none if it is no IPv4 network or too small.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let network: Ipv4Net = text.parse().ok()?;
        (1..=LONGEST).contains(&network.prefix_len()).then(|| Self(network.trunc()))
    }

    fn host(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.network()) + number)
    }

    /// The first is the gateway's.
    pub(crate) fn front(self) -> Ipv4Addr {
        self.host(2)
    }

    pub(crate) fn slot(self, slot: Slot) -> Ipv4Addr {
        match slot {
            Slot::Blue => self.host(3),
            Slot::Green => self.host(4),
        }
    }

    /// The upper half: what has no address of its own gets one from there, and never a slot's.
    pub(crate) fn dynamic(self) -> String {
        let half = Ipv4Net::new(self.0.broadcast(), self.0.prefix_len() + 1);
        half.map(|half| half.trunc().to_string()).unwrap_or_default()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_a_network() {
        let subnet = Subnet::parse("172.18.0.0/16").unwrap();
        assert_eq!(subnet.front().to_string(), "172.18.0.2");
        assert_eq!(subnet.slot(Slot::Green).to_string(), "172.18.0.4");
        assert_eq!(subnet.dynamic(), "172.18.128.0/17");
        for bad in ["", "172.18.0.0", "172.18.0.0/29", "172.18.0.0/0", "fd00::/64", "x/16"] {
            assert_eq!(Subnet::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_ours_is_in_the_network_and_not_in_its_dynamic_half(address: u32, prefix in 1_u8..=LONGEST) {
            let subnet = Subnet::parse(&format!("{}/{prefix}", Ipv4Addr::from(address))).unwrap();
            let whole: Ipv4Net = subnet.to_string().parse().unwrap();
            let half: Ipv4Net = subnet.dynamic().parse().unwrap();
            prop_assert!(whole.contains(&half) && half.prefix_len() == prefix + 1);
            for ip in [subnet.front(), subnet.slot(Slot::Blue), subnet.slot(Slot::Green)] {
                prop_assert!(whole.contains(&ip) && !half.contains(&ip));
            }
        }
    }
}
