//! A role that is assumed with the credentials that were found.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_ecr::config::Region;

use crate::answer::classify;
use crate::chain::Found;
use crate::options::SESSION;
use crate::{Error, Options};

/// Which role, and as what it is assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) arn: String,
    /// What CloudTrail shows.
    pub(crate) session: String,
    /// What the role's owner asks for, where it belongs to another organization.
    pub(crate) external_id: Option<String>,
}

impl Role {
    /// The role that the options ask for.
    pub(crate) fn of(options: &Options) -> Option<Self> {
        Some(Self {
            arn: options.assume_role.clone()?,
            session: options.session_name.clone(),
            external_id: options.external_id.clone(),
        })
    }

    /// Refuses an option that belongs to a role where none is asked for: whoever gives one means
    /// another identity than the one that would be used.
    pub(crate) fn check_none(options: &Options) -> Result<(), Error> {
        let session = options.session_name != SESSION;
        for (option, given) in
            [("--external-id", options.external_id.is_some()), ("--session-name", session)]
        {
            if given && options.assume_role.is_none() {
                return Err(Error::NoRole { option });
            }
        }
        Ok(())
    }

    /// Refuses what cannot be right before anybody is asked. The limits are those of AssumeRole in
    /// the AWS STS API Reference.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut parts = self.arn.splitn(6, ':');
        let prefix =
            parts.next() == Some("arn") && parts.next().is_some_and(|it| it.starts_with("aws"));
        let service = parts.next() == Some("iam") && parts.next() == Some("");
        let account = parts.next().is_some_and(crate::host::is_account);
        let role = parts
            .next()
            .is_some_and(|it| it.strip_prefix("role/").is_some_and(|it| !it.is_empty()));
        if !(prefix && service && account && role) {
            return Err(Error::BadRole { arn: self.arn.clone() });
        }
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
        if !(2..=64).contains(&self.session.len()) || !self.session.chars().all(allowed) {
            return Err(Error::BadSession { name: self.session.clone() });
        }
        Ok(())
    }
}

/// Assumes the role.
pub(crate) async fn assume(
    role: &Role,
    config: &SdkConfig,
    by: &Found,
    region: &str,
) -> Result<Found, Error> {
    let config = config.to_builder().region(Region::new(region.to_owned())).build();
    let sent = aws_sdk_sts::Client::new(&config)
        .assume_role()
        .role_arn(&role.arn)
        .role_session_name(&role.session)
        .set_external_id(role.external_id.clone())
        .send()
        .await;
    let answer = sent.map_err(|error| {
        classify("sts:AssumeRole", region, &error).with_credentials_of(&by.source)
    })?;
    let keys = answer.credentials.ok_or(Error::NoKeys { arn: role.arn.clone() })?;
    let expires = keys.expiration.try_into().ok();
    let source = format!("the role {} (assumed with {})", role.arn, by.source);
    Ok(Found {
        credentials: Credentials::new(
            keys.access_key_id,
            keys.secret_access_key,
            Some(keys.session_token),
            expires,
            "AssumeRole",
        ),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(arn: &str, session: &str) -> Role {
        Role { arn: arn.to_owned(), session: session.to_owned(), external_id: None }
    }

    #[test]
    fn roles_of_all_partitions_are_taken() {
        for arn in [
            "arn:aws:iam::123456789012:role/push",
            "arn:aws-cn:iam::123456789012:role/team/push",
            "arn:aws-us-gov:iam::123456789012:role/push",
        ] {
            assert!(role(arn, "ecrlogin").check().is_ok(), "{arn}");
        }
    }

    #[test]
    fn what_is_no_role_is_refused_before_anybody_is_asked() {
        for arn in [
            "push",
            "arn:aws:iam::123456789012:user/push",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::12:role/push",
            "arn:aws:sts::123456789012:assumed-role/push/x",
        ] {
            assert!(matches!(role(arn, "ecrlogin").check(), Err(Error::BadRole { .. })), "{arn}");
        }
        for name in ["", "x", "two words", "build/7"] {
            let bad = role("arn:aws:iam::123456789012:role/push", name).check();
            assert!(matches!(bad, Err(Error::BadSession { .. })), "{name}");
        }
    }
}
