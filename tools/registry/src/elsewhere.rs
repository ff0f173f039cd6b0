//! Where a registry may send its clients. Pure.
//!
//! A registry names other places: the token service (`realm`), the storage of a blob (`Location` of
//! an answer), the address of an upload. Clients that went wherever they were told have sent
//! passwords to strangers (CVE-2020-15157 of containerd, CVE-2026-48978 and GHSA-jxpm-75mh-9fp7 of
//! oras-go, issue 2193 of go-containerregistry) and asked machines that only they can reach. So:
//!
//! - TLS stays TLS.
//! - Credentials go to the registry's own host, and to a token service of the same site
//!   ([`same_site`]); those for Amazon ECR to their own host only.
//! - Layers go to the registry itself.
//! - A place that is not of the site has an address that is no further inside than the registry's
//!   own ([`Reach`]). The address that is connected to counts, not the name.

use std::net::{IpAddr, Ipv6Addr};

/// Sites of which one issues the tokens of the other.
const PAIRS: [(&str, &str); 4] = [
    ("icr.io", "ibm.com"),
    ("nvcr.io", "nvidia.com"),
    ("redhat.io", "redhat.com"),
    ("scw.cloud", "scaleway.com"),
];

/// Whether both names are of one site: the same host, or hosts below the same domain. The domain of
/// `registry.example.com` is `example.com`; so `auth.docker.io` is of the site of
/// `registry-1.docker.io`, and `gitlab.example.com` of that of `registry.example.com`.
pub(crate) fn same_site(registry: &str, other: &str) -> bool {
    let (registry, other) = (registry.to_ascii_lowercase(), other.to_ascii_lowercase());
    if registry == other {
        return true;
    }
    if is_ecr(&registry) || is_address(&registry) || is_address(&other) {
        return false;
    }
    if below(&other, &registry) || domain(&registry).is_some_and(|domain| below(&other, domain)) {
        return true;
    }
    PAIRS.iter().any(|(one, two)| below(&registry, one) && below(&other, two))
}

/// Whether a name is that of a domain or below it.
fn below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The domain that a host's name stands in; none where it would be one that anybody can register in,
/// such as `co.uk`.
fn domain(host: &str) -> Option<&str> {
    let (_, domain) = host.split_once('.')?;
    let (second, top) = domain.rsplit_once('.')?;
    let of_a_country = top.len() == 2 && second.len() <= 3 && !second.contains('.');
    (!of_a_country).then_some(domain)
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Whether a host is a registry of Amazon ECR, which takes Basic credentials and sends nobody
/// elsewhere to log in.
pub(crate) fn is_ecr(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let private = matches!(labels[..], [_, "dkr", "ecr" | "ecr-fips", ..])
        || matches!(labels[..], [_, "dkr-ecr" | "dkr-ecr-fips", ..]);
    private || below(host, "ecr.aws")
}

/// Whether the other host is the storage of a registry of Amazon ECR: S3, which may have a private
/// address in the same network.
pub(crate) fn is_own_storage(registry: &str, other: &str) -> bool {
    let amazon = ["amazonaws.com", "amazonaws.com.cn", "on.aws", "amazonaws.eu"];
    is_ecr(registry) && amazon.iter().any(|domain| below(other, domain))
}

/// How far inside an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Anybody's (RFC 6890).
    Public,
    /// A private network's.
    Private,
    /// This machine's.
    Loopback,
    /// Nobody's to name: link-local, such as the metadata service of a cloud, or no host at all.
    Never,
}

impl Reach {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(four) => {
                let [a, b, ..] = four.octets();
                if four.is_loopback() {
                    Self::Loopback
                } else if a == 0
                    || four.is_link_local()
                    || four.is_multicast()
                    || four.is_broadcast()
                {
                    Self::Never
                } else if four.is_private() || (a == 100 && b & 0xc0 == 64) {
                    Self::Private
                } else {
                    Self::Public
                }
            }
            IpAddr::V6(six) => Self::of_six(six),
        }
    }

    fn of_six(six: Ipv6Addr) -> Self {
        // The metadata service of Amazon EC2 has this address beside its link-local one.
        let metadata: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
        if let Some(four) = six.to_ipv4_mapped() {
            Self::of(IpAddr::V4(four))
        } else if six.is_loopback() {
            Self::Loopback
        } else if six.is_unspecified()
            || six.is_multicast()
            || six.is_unicast_link_local()
            || six == metadata
        {
            Self::Never
        } else if six.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// In the words of an error.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Private => "an address of a private network",
            Self::Loopback => "an address of this machine",
            Self::Never => "a link-local address",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_site_is_a_host_and_its_domain() {
        for (registry, other) in [
            ("registry-1.docker.io", "auth.docker.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("registry.example.com", "GitLab.example.com"),
            ("registry.example.co.uk", "gitlab.example.co.uk"),
            ("example.com", "auth.example.com"),
            ("registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com"),
            ("rg.fr-par.scw.cloud", "api.scaleway.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("localhost", "localhost"),
        ] {
            assert!(same_site(registry, other), "{registry} {other}");
        }
        for (registry, other) in [
            ("registry.example.com", "evil.test"),
            ("registry.example.com", "evilexample.com"),
            ("registry.example.com", "example.com.evil.test"),
            ("example.co.uk", "evil.co.uk"),
            ("example.com", "evil.com"),
            ("10.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "0.0.1"),
            ("localhost", "evil.localhost.test"),
            ("api.scaleway.com", "rg.fr-par.scw.cloud"),
            ("1.dkr.ecr.eu-west-1.amazonaws.com", "2.dkr.ecr.eu-west-1.amazonaws.com"),
            ("public.ecr.aws", "evil.ecr.aws"),
        ] {
            assert!(!same_site(registry, other), "{registry} {other}");
        }
    }

    #[test]
    fn storage_of_ecr_may_be_inside() {
        let ecr = "1.dkr.ecr.eu-west-1.amazonaws.com";
        assert!(is_own_storage(ecr, "bucket.s3.eu-west-1.amazonaws.com"));
        assert!(!is_own_storage(ecr, "amazonaws.com.evil.test"));
        assert!(!is_own_storage("r.example", "bucket.s3.eu-west-1.amazonaws.com"));
    }

    #[test]
    fn addresses_are_told_apart() {
        for (address, reach) in [
            ("93.184.216.34", Reach::Public),
            ("2606:2800::1", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("100.100.100.200", Reach::Private),
            ("fd12::1", Reach::Private),
            ("127.0.0.53", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_site_never_spreads_to_another_top_domain(a in "[a-z.]{1,20}\\.test", b in "[a-z.]{1,20}\\.example") {
            prop_assert!(!same_site(&a, &b));
        }
    }
}
