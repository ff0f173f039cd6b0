//! How long a token is valid yet, and whether that is enough.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_release::Registry;
use slipway_shell::Span;

use crate::token::{Target, Token};

/// The token of this registry that the document brings, if it is valid for long enough.
pub(crate) fn kept(before: &Registry, target: &Target, least: Option<Span>) -> Option<Token> {
    kept_at(before, target, least?, Timestamp::now())
}

fn kept_at(before: &Registry, target: &Target, least: Span, now: Timestamp) -> Option<Token> {
    let host = target.host.as_deref()?;
    let entry = before.of_host(host)?;
    let expires_at: Timestamp = entry.expires_at?.parse().ok()?;
    if expires_at.duration_since(now) < SignedDuration::try_from(least.0).ok()? {
        return None;
    }
    Some(Token {
        host: entry.host,
        region: entry.region.or_else(|| target.region.clone())?,
        account: entry.account,
        username: entry.username?,
        password: entry.password?,
        expires_at,
        source: "the document".to_owned(),
    })
}

/// How long it is valid yet, in words.
pub(crate) fn told(expires_at: Timestamp, now: Timestamp) -> String {
    let left = Duration::try_from(expires_at.duration_since(now)).unwrap_or_default();
    match left.as_secs() {
        0..60 => format!("valid until {expires_at}"),
        // A token is some milliseconds old when it comes.
        seconds => format!("valid for {}", Span(Duration::from_secs((seconds + 30) / 60 * 60))),
    }
}

/// What is to be said of a token whose expiry does not look right.
pub(crate) fn warning(token: &Token, least: Option<Span>, now: Timestamp) -> Option<String> {
    let Token { host, expires_at, .. } = token;
    let left = expires_at.duration_since(now);
    if left.is_negative() {
        return Some(format!(
            "the token's expiry, {expires_at}, is past already: is this machine's clock right?"
        ));
    }
    let least =
        least.filter(|least| SignedDuration::try_from(least.0).is_ok_and(|it| left < it))?;
    Some(format!(
        "the fresh token of {host} is {}, less than --min-validity {least}",
        told(*expires_at, now)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::target;
    use slipway_release::{OtherRegistry, Secret};

    const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    const OTHER: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn before(expires_at: &str) -> Registry {
        let other = OtherRegistry {
            host: OTHER.to_owned(),
            username: Some("AWS".to_owned()),
            password: Some(Secret::new("other")),
            expires_at: Some(expires_at.to_owned()),
            ..OtherRegistry::default()
        };
        Registry {
            host: Some(HOST.to_owned()),
            region: Some("eu-central-1".to_owned()),
            username: Some("AWS".to_owned()),
            password: Some(Secret::new("own")),
            expires_at: Some(expires_at.to_owned()),
            others: vec![other],
            ..Registry::default()
        }
    }

    fn kept(before: &Registry, host: &str) -> Option<String> {
        let token = kept_at(before, &target(host)?, Span::secs(1800), now())?;
        Some(token.password.reveal().to_owned())
    }

    #[test]
    fn a_token_that_is_valid_for_long_enough_is_kept() {
        let before = before("2026-01-01T12:30:00Z");
        assert_eq!(kept(&before, HOST).as_deref(), Some("own"));
        assert_eq!(kept(&before, OTHER).as_deref(), Some("other"));
        assert_eq!(kept(&before, "123456789012.dkr-ecr.eu-central-1.on.aws"), None);
    }

    #[test]
    fn one_that_is_not_is_renewed() {
        assert_eq!(kept(&before("2026-01-01T12:29:59Z"), HOST), None);
        assert_eq!(kept(&before("soon"), HOST), None);
        let mut saved = before("2026-01-01T23:00:00Z");
        saved.password = None;
        assert_eq!(kept(&saved, HOST), None);
    }

    #[test]
    fn the_time_that_is_left_is_told_in_minutes() {
        let left = |text: &str| told(text.parse().unwrap(), now());
        assert_eq!(left("2026-01-01T23:59:59.9Z"), "valid for 12h");
        assert_eq!(left("2026-01-01T12:00:10Z"), "valid until 2026-01-01T12:00:10Z");
        assert_eq!(left("2015-01-01T00:00:00Z"), "valid until 2015-01-01T00:00:00Z");
    }
}
