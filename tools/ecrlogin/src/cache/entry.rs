//! One token that is kept, and for how long it is used.

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_release::Secret;

use crate::EcrHost;
use crate::token::{Target, Token};

/// A file of another version is taken for none.
const VERSION: u32 = 1;

/// The life of a token of Amazon ECR (ECR API Reference, GetAuthorizationToken).
const LIFE: SignedDuration = SignedDuration::from_hours(12);

/// What a file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    version: u32,
    pub(crate) host: String,
    region: String,
    account: Option<String>,
    pub(crate) username: String,
    pub(crate) password: Secret,
    fetched_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Entry {
    /// One for a token that was got just now; none if it says of itself that it is of no use.
    pub(super) fn new(token: &Token, now: Timestamp) -> Option<Self> {
        let end = now.saturating_add(LIFE).unwrap_or(Timestamp::MAX);
        Some(Self {
            version: VERSION,
            host: token.host.clone(),
            region: token.region.clone(),
            account: token.account.clone(),
            username: token.username.clone(),
            password: token.password.clone(),
            fetched_at: now,
            expires_at: Some(token.expires_at).filter(|at| *at > now)?.min(end),
        })
    }

    /// One for a login that somebody gave.
    pub(super) fn given(host: &str, username: &str, password: &Secret, now: Timestamp) -> Self {
        let end = now.saturating_add(LIFE).unwrap_or(Timestamp::MAX);
        Self {
            version: VERSION,
            host: host.to_owned(),
            region: String::new(),
            account: None,
            username: username.to_owned(),
            password: password.clone(),
            fetched_at: now,
            expires_at: expiry(password).map_or(end, |at| at.min(end)),
        }
    }

    pub(super) fn is_known_version(&self) -> bool {
        self.version == VERSION
    }

    /// Whether it is of this registry, as far as that is known.
    pub(super) fn is_of(&self, target: &Target) -> bool {
        if let Some(host) = &target.host {
            return self.host == *host;
        }
        self.host.parse::<EcrHost>().is_ok_and(|host| {
            target.account.as_ref().is_none_or(|account| host.account == *account)
                && target.region.as_ref().is_none_or(|region| host.region == *region)
        })
    }

    /// Whether it is valid for this long.
    pub(crate) fn is_valid(&self, now: Timestamp, at_least: SignedDuration) -> bool {
        // One from the future is one of another clock: it may be valid for less than it says.
        now >= self.fetched_at
            && self.expires_at > now
            && self.expires_at.duration_since(now) >= at_least
    }

    /// Whether it is valid for this long and in the first half of its life.
    pub(crate) fn is_fresh(&self, now: Timestamp, at_least: SignedDuration) -> bool {
        self.is_valid(now, at_least)
            && now.duration_since(self.fetched_at) < self.expires_at.duration_since(now)
    }

    pub(super) fn into_token(self) -> Token {
        Token {
            host: self.host,
            region: self.region,
            account: self.account,
            username: self.username,
            password: self.password,
            expires_at: self.expires_at,
            source: "the cache".to_owned(),
        }
    }
}

/// When a token of ECR ends, as it says itself: it is JSON in base64, in a form that is not promised.
fn expiry(password: &Secret) -> Option<Timestamp> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(password.reveal()).ok()?;
    let token: Value = serde_json::from_slice(&decoded).ok()?;
    Timestamp::from_second(token.get("expiration")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(fetched: i64, expires: i64) -> Entry {
        let entry = Entry::given("h", "AWS", &Secret::new("p"), at(fetched));
        Entry { expires_at: at(expires), ..entry }
    }

    #[test]
    fn a_token_is_used_for_the_first_half_of_its_life() {
        let entry = entry(1000, 2000);
        for (now, at_least, valid, fresh) in [
            (999, 0, false, false),
            (1000, 0, true, true),
            (1499, 0, true, true),
            (1500, 0, true, false),
            (1999, 0, true, false),
            (2000, 0, false, false),
            (1100, 900, true, true),
            (1100, 901, false, false),
        ] {
            let at_least = SignedDuration::from_secs(at_least);
            let got = (entry.is_valid(at(now), at_least), entry.is_fresh(at(now), at_least));
            assert_eq!(got, (valid, fresh), "at {now}");
        }
    }

    #[test]
    fn a_token_is_of_the_registry_that_was_asked_for() {
        let of = |host: &str| Entry::given(host, "AWS", &Secret::new("p"), at(0));
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let own = Target { region: Some("eu-west-1".to_owned()), ..Target::default() };
        let other = Target { account: Some("210987654321".to_owned()), ..Target::default() };
        assert!(of(host).is_of(&own) && of(host).is_of(&crate::host::target(host).unwrap()));
        assert!(!of(host).is_of(&other) && !of("evil.example").is_of(&own));
        assert!(!of("evil.example").is_of(&Target::default()));
        assert!(!of(host).is_of(&crate::host::target("public.ecr.aws").unwrap()));
        let elsewhere = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        assert!(!of(elsewhere).is_of(&own));
    }

    #[test]
    fn a_login_that_was_given_lasts_as_long_as_it_says_and_no_longer_than_any() {
        let given = |password: &str| {
            Entry::given("h", "AWS", &Secret::new(password), at(1000)).expires_at.as_second() - 1000
        };
        assert_eq!(given("opaque"), 12 * 3600);
        let token = |expiration: i64| {
            let text = format!(r#"{{"payload":"x","expiration":{expiration}}}"#);
            base64::engine::general_purpose::STANDARD.encode(text)
        };
        assert_eq!(given(&token(1500)), 500);
        assert_eq!(given(&token(i64::MAX)), 12 * 3600);
        assert_eq!(given(&token(999_999)), 12 * 3600);
    }

    proptest! {
        #[test]
        fn what_is_fresh_is_valid(fetched in 0i64..9999, life in -99i64..9999, now in 0i64..20_000) {
            let entry = entry(fetched, fetched + life);
            let zero = SignedDuration::ZERO;
            prop_assert!(!entry.is_fresh(at(now), zero) || entry.is_valid(at(now), zero));
        }
    }
}
