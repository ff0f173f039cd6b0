//! Addresses that nobody outside may name.

use std::net::{IpAddr, Ipv6Addr};

/// The metadata service of Amazon EC2 by IPv6, beside its link-local address.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether an address is one of the link, where a cloud machine finds its own credentials, or none at
/// all (RFC 1122, RFC 3927, RFC 4291). An IPv4 address inside IPv6 counts as itself.
#[must_use]
pub fn of_the_link(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_link_local() || it.octets()[0] == 0,
        IpAddr::V6(it) => it.is_unspecified() || it.is_unicast_link_local() || it == METADATA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_and_nothing_else() {
        let all = |texts: &[&str]| texts.iter().all(|text| of_the_link(text.parse().unwrap()));
        assert!(all(&[
            "169.254.169.254",
            "::ffff:169.254.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "::",
            "0.1.2.3"
        ]));
        for other in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "8.8.8.8", "::ffff:10.0.0.1"] {
            assert!(!all(&[other]), "{other}");
        }
    }
}
