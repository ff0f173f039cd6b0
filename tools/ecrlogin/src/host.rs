//! The host names of ECR registries, and what follows from them.

use std::fmt;
use std::str::FromStr;

use crate::token::Target;

/// The only region whose API hands out tokens of the public registry. Source: Amazon ECR Public User
/// Guide, "Public registry authentication".
pub(crate) const PUBLIC_REGION: &str = "us-east-1";
const PUBLIC: &str = "public.ecr.aws";
const PUBLIC_DUAL_STACK: &str = "ecr-public.aws.com";

/// A private registry's host name. Sources: Amazon ECR User Guide, "Private registry concepts" and
/// "Making requests to Amazon ECR registries"; AWS General Reference, "Amazon ECR endpoints".
///
/// `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, where the suffix is the partition's, or
/// `ACCOUNT.dkr-ecr[-fips].REGION.on.SUFFIX`, which has IPv6 addresses too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrHost {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-central-1`.
    pub region: String,
    /// Whether its endpoints use validated cryptography (FIPS 140).
    pub fips: bool,
    /// Whether it is reached by IPv6, too.
    pub dual_stack: bool,
}

impl fmt::Display for EcrHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, region, fips, dual_stack } = self;
        let dkr = if *dual_stack { "dkr-ecr" } else { "dkr.ecr" };
        let fips = if *fips { "-fips" } else { "" };
        let suffix = Partition::of(region).suffix(*dual_stack).unwrap_or_default();
        write!(f, "{account}.{dkr}{fips}.{region}.{suffix}")
    }
}

impl FromStr for EcrHost {
    type Err = ();

    fn from_str(host: &str) -> Result<Self, ()> {
        let (account, rest) = host.split_once('.').ok_or(())?;
        let (service, rest) = match rest.strip_prefix("dkr.") {
            Some(rest) => rest.split_once('.').ok_or(())?,
            None => rest.strip_prefix("dkr-").and_then(|rest| rest.split_once('.')).ok_or(())?,
        };
        let dual_stack = host[account.len()..].starts_with(".dkr-");
        let fips = match service {
            "ecr" => false,
            "ecr-fips" => true,
            _ => return Err(()),
        };
        let (region, suffix) = rest.split_once('.').ok_or(())?;
        // A token is a secret: it is not for a host that only looks like one of Amazon's.
        let known = Partition::of(region).suffix(dual_stack);
        if !is_account(account) || !is_region(region) || known != Some(suffix) {
            return Err(());
        }
        Ok(Self { account: account.to_owned(), region: region.to_owned(), fips, dual_stack })
    }
}

/// A part of AWS with accounts and domains of its own.
#[derive(Clone, Copy)]
enum Partition {
    Commercial,
    China,
    Sovereign,
    Iso,
    IsoB,
    IsoE,
    IsoF,
}

impl Partition {
    /// GovCloud has its own accounts, but the domains of the commercial regions.
    fn of(region: &str) -> Self {
        match region {
            _ if region.starts_with("cn-") => Self::China,
            _ if region.starts_with("eusc-") => Self::Sovereign,
            _ if region.starts_with("us-iso-") => Self::Iso,
            _ if region.starts_with("us-isob-") => Self::IsoB,
            _ if region.starts_with("eu-isoe-") => Self::IsoE,
            _ if region.starts_with("us-isof-") => Self::IsoF,
            _ => Self::Commercial,
        }
    }

    /// What follows the region in a registry's host name.
    fn suffix(self, dual_stack: bool) -> Option<&'static str> {
        Some(match (self, dual_stack) {
            (Self::Commercial, false) => "amazonaws.com",
            (Self::Commercial, true) => "on.aws",
            (Self::China, false) => "amazonaws.com.cn",
            (Self::China, true) => "on.amazonwebservices.com.cn",
            (Self::Sovereign, false) => "amazonaws.eu",
            (Self::Sovereign, true) => "on.amazonwebservices.eu",
            (Self::Iso, false) => "c2s.ic.gov",
            (Self::IsoB, false) => "sc2s.sgov.gov",
            (Self::IsoE, false) => "cloud.adc-e.uk",
            (Self::IsoF, false) => "csp.hci.ic.gov",
            (Self::Iso | Self::IsoB | Self::IsoE | Self::IsoF, true) => return None,
        })
    }
}

/// The registry that a host name means, if it is one of ECR: private or public. The host name may be
/// written as in a configuration of Docker, with `https://` before it.
pub(crate) fn target(host: &str) -> Option<Target> {
    let host = host.strip_prefix("https://").unwrap_or(host);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host == PUBLIC || host == PUBLIC_DUAL_STACK {
        return Some(Target {
            host: Some(host.to_owned()),
            region: Some(PUBLIC_REGION.to_owned()),
            public: true,
            dual_stack: host == PUBLIC_DUAL_STACK,
            ..Target::default()
        });
    }
    let parsed: EcrHost = host.parse().ok()?;
    Some(Target {
        host: Some(host.to_owned()),
        account: Some(parsed.account),
        region: Some(parsed.region),
        public: false,
        fips: parsed.fips,
        dual_stack: parsed.dual_stack,
    })
}

/// The host that an answer of AWS names as its registry, which has to be one of ECR: of the region that
/// was asked, and of the account if one was asked for. An endpoint that is not Amazon's could name any
/// host, which would then get the token and the image.
pub(crate) fn answered(endpoint: &str, account: Option<&str>, region: &str) -> Option<EcrHost> {
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let host: EcrHost = host.strip_suffix('/').unwrap_or(host).parse().ok()?;
    (host.region == region && account.is_none_or(|account| host.account == account)).then_some(host)
}

/// The host of a server's URL as Docker tells it to credential helpers (`registryurl.Parse` of
/// docker-credential-helpers), if it is reached with TLS at the port of HTTPS.
pub(crate) fn server(url: &str) -> Option<&str> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("https", url.strip_prefix("//").unwrap_or(url)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    scheme
        .eq_ignore_ascii_case("https")
        .then(|| authority.strip_suffix(":443").unwrap_or(authority))
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A region's name has a geography, a direction and a number: `us-gov-west-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // Longer than any, and part of a host name.
    text.len() <= 32
        && text.bytes().all(allowed)
        && text.split('-').count() >= 3
        && text.bytes().last().is_some_and(|byte| byte.is_ascii_digit())
}

/// Whether an account has to enable the region before it can be used there. Source: AWS General
/// Reference, "Regions that are disabled by default": all since March 2019, so that the list of those
/// that need nothing stays as it is.
pub(crate) fn is_opt_in(region: &str) -> bool {
    const ALWAYS: [&str; 17] = [
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    ];
    matches!(Partition::of(region), Partition::Commercial)
        && !region.starts_with("us-gov-")
        && !ALWAYS.contains(&region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_names_of_all_partitions_are_read() {
        for (host, region, fips, dual_stack) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1", false, false),
            ("123456789012.dkr.ecr-fips.us-east-2.amazonaws.com", "us-east-2", true, false),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", false, true),
            ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "us-west-2", true, true),
            ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", false, false),
            ("123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1", true, false),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", false, false),
            (
                "123456789012.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn",
                "cn-northwest-1",
                false,
                true,
            ),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", false, false),
            ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", false, false),
            ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", false, false),
            (
                "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
                "us-isof-south-1",
                false,
                false,
            ),
        ] {
            let parsed: EcrHost = host.parse().unwrap_or_else(|()| panic!("{host}"));
            assert_eq!((parsed.account.as_str(), parsed.region.as_str()), ("123456789012", region));
            assert_eq!((parsed.fips, parsed.dual_stack), (fips, dual_stack), "{host}");
            let same = target(&format!("https://{host}/")).unwrap();
            assert_eq!(same.host.as_deref(), Some(host));
            assert_eq!(parsed.to_string(), host);
        }
    }

    #[test]
    fn an_answer_names_a_registry_of_what_was_asked() {
        const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let named = |endpoint: &str, account| {
            answered(endpoint, account, "eu-west-1").map(|host| host.to_string())
        };
        for endpoint in [HOST, &format!("https://{HOST}"), &format!("https://{HOST}/")] {
            assert_eq!(named(endpoint, None).as_deref(), Some(HOST));
            assert_eq!(named(endpoint, Some("123456789012")).as_deref(), Some(HOST));
            assert_eq!(named(endpoint, Some("210987654321")), None, "another account");
        }
        for endpoint in [
            "",
            "https://evil-registry.example",
            "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com@evil.example",
            "https://evil.example/123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/../x",
            "public.ecr.aws",
        ] {
            assert_eq!(named(endpoint, None), None, "{endpoint}");
        }
    }

    #[test]
    fn a_servers_url_is_read_as_docker_writes_it() {
        for url in
            ["h", "h:443", "h:443/v2/", "h/v2/", "//h", "https://h", "HTTPS://h:443/", "h?x", "h#x"]
        {
            assert_eq!(server(url), Some("h"), "{url}");
        }
        for url in ["http://h", "ftp://h", "://h", "file:///h", "//https://h"] {
            assert_eq!(server(url), None, "{url}");
        }
        assert_eq!(server("h:5000"), Some("h:5000"));
        assert_eq!(server("user@h"), Some("user@h"));
    }

    #[test]
    fn other_host_names_are_none_of_ecr() {
        for host in [
            "",
            "localhost:5000",
            "12345.dkr.ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1",
            "123456789012.dkr.ecr.EU.amazonaws.com",
            "123456789012.dkr.evil.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-central-1.evil.example",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.eu-central-1.on.aws",
            "123456789012.dkr-ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr-ecr.us-iso-east-1.c2s.ic.gov",
            "evil.public.ecr.aws",
        ] {
            assert_eq!(target(host), None, "{host}");
        }
    }

    #[test]
    fn the_public_registry_is_known_by_both_names() {
        for (host, dual_stack) in [("public.ecr.aws", false), ("ecr-public.aws.com", true)] {
            let target = target(host).unwrap();
            assert!(target.public && target.account.is_none(), "{host}");
            assert_eq!(
                (target.region.as_deref(), target.dual_stack),
                (Some("us-east-1"), dual_stack)
            );
        }
    }

    #[test]
    fn regions_that_have_to_be_enabled_are_told_from_others() {
        for region in ["eu-central-2", "ap-southeast-7", "me-central-1", "il-central-1"] {
            assert!(is_opt_in(region), "{region}");
        }
        for region in ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"] {
            assert!(!is_opt_in(region), "{region}");
        }
    }

    proptest! {
        #[test]
        fn no_host_name_panics(host in ".*") {
            let _ = target(&host);
        }

        #[test]
        fn what_follows_a_host_name_of_ecr_makes_it_another(suffix in "[a-z.:-]{1,8}") {
            prop_assume!(suffix != ".cn");
            let host = format!("123456789012.dkr.ecr.eu-west-1.amazonaws.com{suffix}");
            prop_assert_eq!(host.parse::<EcrHost>(), Err(()));
        }
    }
}
