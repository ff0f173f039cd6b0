//! Entry points for fuzzing: each takes any bytes and asserts what has to hold whatever they are.

use jiff::Timestamp;
use serde_json::Value;

use crate::cache::read_entry;
use crate::docker::{Config, host_of};
use crate::host::{answered, server, target};
use crate::{EcrHost, token};

/// A target's name, which is that of its directory of seeds, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Each target with its name, which is that of its directory of seeds.
pub const TARGETS: &[Target] = &[
    ("ecr_host", ecr_host),
    ("helper_url", helper_url),
    ("docker_config", docker_config),
    ("ecr_token", ecr_token),
    ("ecr_cache_entry", ecr_cache_entry),
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A host name that is taken for one of ECR is written back as it was read, and ends in a domain of
/// Amazon's.
fn ecr_host(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(host) = text.parse::<EcrHost>() {
        assert_eq!(host.to_string(), text);
        assert!(is_amazons(text), "{text:?}");
    }
    if let Some(host) = answered(text, None, "eu-west-1") {
        assert_eq!(host.region, "eu-west-1");
        assert!(text.contains(&host.to_string()), "{text:?}");
    }
}

fn is_amazons(host: &str) -> bool {
    const DOMAINS: [&str; 10] = [
        ".amazonaws.com",
        ".on.aws",
        ".amazonaws.com.cn",
        ".on.amazonwebservices.com.cn",
        ".amazonaws.eu",
        ".on.amazonwebservices.eu",
        ".c2s.ic.gov",
        ".sc2s.sgov.gov",
        ".cloud.adc-e.uk",
        ".csp.hci.ic.gov",
    ];
    DOMAINS.iter().any(|domain| host.ends_with(domain))
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

/// A server that gets a token is one of ECR, asked with TLS at its own port.
fn helper_url(bytes: &[u8]) {
    let Some(url) = text(bytes) else { return };
    let Some(host) = server(url) else { return };
    assert!(url.contains(host));
    if let Some(target) = target(host) {
        assert!(!url.to_ascii_lowercase().starts_with("http:"), "{url:?}");
        assert!(target.public || is_amazons(host), "{url:?}");
    }
}

/// A login and a helper are added and removed again, and all else in the file is what it was.
fn docker_config(bytes: &[u8]) {
    const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let Some(text) = text(bytes) else { return };
    let Ok(mut config) = Config::parse(text) else { return };
    let before = value(&config);
    let known = [&before["auths"], &before["credHelpers"]].iter().any(|part| {
        part.as_object().is_some_and(|part| part.keys().any(|key| host_of(key) == HOST))
    });
    config.set_login(HOST, None);
    let _change = config.set_helper(HOST, "ecrlogin");
    assert!(config.has_login(HOST));
    assert_eq!(config.helper(HOST).as_deref(), Some("ecrlogin"));
    let text = config.text();
    assert!(Config::parse(&text).is_ok(), "{text}");
    config.remove_login(HOST);
    config.remove_helper(HOST);
    if !known {
        assert_eq!(without_empty(value(&config)), without_empty(before));
    }
}

fn value(config: &Config) -> Value {
    serde_json::from_str(&config.text()).unwrap_or_default()
}

/// What a parser of Docker's sees: an object without entries is as good as none.
fn without_empty(mut config: Value) -> Value {
    if let Some(config) = config.as_object_mut() {
        for part in ["auths", "credHelpers"] {
            let empty = |part: &Value| part.is_null() || part == &Value::Object(Default::default());
            if config.get(part).is_some_and(empty) {
                config.remove(part);
            }
        }
    }
    config
}

/// A token that is taken is one line.
fn ecr_token(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok((username, password)) = token::read(text) {
        assert_eq!(username, "AWS");
        assert!(password.reveal().bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// An entry that is fresh is valid, and one that is read is written back the same.
fn ecr_cache_entry(bytes: &[u8]) {
    let Some(entry) = read_entry(bytes) else { return };
    let zero = jiff::SignedDuration::ZERO;
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, entry.expires_at, Timestamp::MAX] {
        assert!(!entry.is_fresh(now, zero) || entry.is_valid(now, zero));
    }
    let written = serde_json::to_vec(&entry).unwrap_or_default();
    let again = read_entry(&written).map(|entry| serde_json::to_vec(&entry).unwrap_or_default());
    assert_eq!(again, Some(written));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn the_seeds_hold() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let seeds: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(seeds.len() >= 3, "{name}");
            for seed in seeds {
                target(&std::fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_hold(bytes in any::<Vec<u8>>()) {
            for (_, target) in TARGETS {
                target(&bytes);
            }
        }

        #[test]
        fn any_configuration_holds(text in r#"\{("(auths|credHelpers|x)":(null|\{("[a-z/:."]{0,9}":("p"|\{\}))?\}),?){0,3}\}"#) {
            docker_config(text.as_bytes());
        }
    }
}
