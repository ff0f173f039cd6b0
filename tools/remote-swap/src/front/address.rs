//! The addresses in an application's network. Pure.
//!
//! A slot has an address of its own, whichever container is in it: so the front needs no names,
//! and finds its servers again when the engine starts all of them anew in any order.

use std::fmt;
use std::net::Ipv4Addr;

use crate::slot::Slot;

/// The longest prefix of a network that has room for the front, two slots and some tasks.
const LONGEST: u8 = 28;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    network: u32,
    prefix: u8,
}

impl Subnet {
    /// Reads `172.18.0.0/16`; none if it is no IPv4 network or too small.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        if !(1..=LONGEST).contains(&prefix) {
            return None;
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Some(Self { network: u32::from(address) & mask, prefix })
    }

    fn host(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.network + number)
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
        let half = self.network + (1 << (31 - u32::from(self.prefix)));
        format!("{}/{}", Ipv4Addr::from(half), self.prefix + 1)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
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
            let inside = |ip: Ipv4Addr, of: &str| {
                let (network, prefix) = of.split_once('/').unwrap();
                let shift = 32 - prefix.parse::<u32>().unwrap();
                u32::from(ip) >> shift == u32::from(network.parse::<Ipv4Addr>().unwrap()) >> shift
            };
            let whole = subnet.to_string();
            for ip in [subnet.front(), subnet.slot(Slot::Blue), subnet.slot(Slot::Green)] {
                prop_assert!(inside(ip, &whole));
                prop_assert!(!inside(ip, &subnet.dynamic()));
            }
        }
    }
}
