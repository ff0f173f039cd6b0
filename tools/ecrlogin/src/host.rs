//! The host names of ECR registries, and what follows from them.

use std::str::FromStr;

use slipway_release::Registry;

use crate::token::Target;
use crate::{Error, Options};

/// A private registry's host name: `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, where the suffix is that
/// of the AWS partition (amazonaws.com, amazonaws.com.cn, …). Source: Amazon ECR User Guide,
/// "Private registry concepts".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrHost {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-central-1`.
    pub region: String,
}

impl FromStr for EcrHost {
    type Err = ();

    fn from_str(host: &str) -> Result<Self, ()> {
        let mut labels = host.split('.');
        let account = labels.next().filter(|label| is_account(label)).ok_or(())?;
        if labels.next() != Some("dkr") {
            return Err(());
        }
        labels.next().filter(|label| matches!(*label, "ecr" | "ecr-fips")).ok_or(())?;
        let region = labels.next().filter(|label| is_region(label)).ok_or(())?;
        // At least a second-level domain has to follow.
        if labels.filter(|label| !label.is_empty()).count() < 2 {
            return Err(());
        }
        Ok(Self { account: account.to_owned(), region: region.to_owned() })
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A region's name has a geography, a direction and a number: `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(allowed)
        && text.split('-').count() >= 3
        && text.bytes().last().is_some_and(|byte| byte.is_ascii_digit())
}

/// Joins the options with the host names given. A flag and a host name that contradict each other
/// are an error that names both; a host name from the document only fills in what no flag says.
pub(crate) fn wanted(options: &Options, before: &Registry) -> Result<Target, Error> {
    if let Some(id) = options.registry_id.as_ref().filter(|id| !is_account(id)) {
        return Err(Error::BadAccount { account: id.clone() });
    }
    if let Some(region) = options.region.as_ref().filter(|region| !is_region(region)) {
        return Err(Error::BadRegion { region: region.clone() });
    }
    let given = match &options.registry {
        None => None,
        Some(host) => match host.parse::<EcrHost>() {
            Ok(parsed) => {
                agree("region", options.region.as_ref(), &parsed.region, host)?;
                agree("account", options.registry_id.as_ref(), &parsed.account, host)?;
                Some(parsed)
            }
            Err(()) => return Err(Error::NotEcr { host: host.clone() }),
        },
    };
    let known = given.or_else(|| before.host.as_deref()?.parse().ok());
    let (account, region) = known.map(|host| (host.account, host.region)).unzip();
    Ok(Target {
        account: options.registry_id.clone().or(account),
        region: options.region.clone().or(region),
    })
}

fn agree(
    what: &'static str,
    flag: Option<&String>,
    host_has: &str,
    host: &str,
) -> Result<(), Error> {
    match flag {
        Some(flag) if flag != host_has => {
            Err(Error::Conflict { what, flag: flag.clone(), host: host.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use proptest::prelude::*;

    fn options(args: &[&str]) -> Options {
        let command = Options::augment_args(Command::new("ecrlogin").no_binary_name(true));
        Options::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";

    #[test]
    fn host_names_of_all_partitions_are_read() {
        for (host, region) in [
            (HOST, "eu-central-1"),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ] {
            let parsed: EcrHost = host.parse().unwrap();
            assert_eq!((parsed.account.as_str(), parsed.region.as_str()), ("123456789012", region));
        }
    }

    #[test]
    fn other_host_names_are_none_of_ecr() {
        for host in [
            "",
            "localhost:5000",
            "public.ecr.aws",
            "12345.dkr.ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1",
            "123456789012.dkr.ecr.EU.amazonaws.com",
            "123456789012.dkr.evil.eu-central-1.amazonaws.com",
        ] {
            assert_eq!(host.parse::<EcrHost>(), Err(()), "{host}");
        }
    }

    #[test]
    fn the_host_gives_what_no_flag_says() {
        let before = Registry { host: Some(HOST.into()), ..Registry::default() };
        let got = wanted(&options(&[]), &before).unwrap();
        assert_eq!(got.account.as_deref(), Some("123456789012"));
        assert_eq!(got.region.as_deref(), Some("eu-central-1"));
        let got = wanted(&options(&["--region", "us-east-1"]), &before).unwrap();
        assert_eq!(got.region.as_deref(), Some("us-east-1"));
    }

    #[test]
    fn a_contradiction_names_both() {
        let args = ["--registry", HOST, "--region", "us-east-1"];
        let error = wanted(&options(&args), &Registry::default()).unwrap_err().to_string();
        assert!(error.contains("us-east-1") && error.contains(HOST), "{error}");
    }

    #[test]
    fn flags_that_cannot_be_right_are_refused() {
        for args in [["--registry-id", "12"], ["--region", "Frankfurt"], ["--registry", "quay.io"]]
        {
            assert!(wanted(&options(&args), &Registry::default()).is_err(), "{args:?}");
        }
    }

    proptest! {
        #[test]
        fn no_host_name_panics(host in ".*") {
            let _ = host.parse::<EcrHost>();
        }
    }
}
