//! How the repository is to be, as the options say it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;
use slipway_untrusted::limit::LIFECYCLE_POLICY;

use super::RepositoryError;
use crate::Options;
use crate::host::target;

/// Only what was asked for has a value.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) immutable_tags: bool,
    pub(crate) scan_on_push: bool,
    pub(crate) lifecycle_policy: Option<Value>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether to change what differs.
    pub(crate) reconcile: bool,
}

/// How images are encrypted at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encryption {
    /// As the API calls it.
    pub(crate) kind: &'static str,
    /// The KMS key's id, ARN or alias; without one it is the account's own key for ECR.
    pub(crate) key: Option<String>,
}

impl FromStr for Encryption {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // A key may be an ARN, which has colons of its own.
        let (kind, key) = match text.split_once(':') {
            Some((kind, key)) => (kind, Some(key)),
            None => (text, None),
        };
        let kind = match kind {
            "aes256" => "AES256",
            "kms" => "KMS",
            "kms-dsse" => "KMS_DSSE",
            _ => return Err(()),
        };
        if key.is_some_and(|key| key.is_empty() || kind == "AES256") {
            return Err(());
        }
        Ok(Self { kind, key: key.map(str::to_owned) })
    }
}

impl Wish {
    /// Reads the options, and the file that they name.
    pub(crate) fn read(options: &Options) -> Result<Self, RepositoryError> {
        if !options.ensure_repository
            && let Some(option) = without_ensure(options)
        {
            return Err(RepositoryError::NotAsked { option });
        }
        let encryption = options.encryption.as_ref();
        let encryption = encryption.map(|given| {
            given.parse().map_err(|()| RepositoryError::BadEncryption { given: given.clone() })
        });
        let mut tags = BTreeMap::new();
        for given in &options.tag {
            let (key, value) = tag(given)?;
            if tags.insert(key.clone(), value.clone()).is_some_and(|before| before != value) {
                return Err(RepositoryError::TagTwice { key });
            }
        }
        Ok(Self {
            immutable_tags: options.immutable_tags,
            scan_on_push: options.scan_on_push,
            lifecycle_policy: options.lifecycle_policy.as_deref().map(policy).transpose()?,
            encryption: encryption.transpose()?,
            tags,
            reconcile: options.reconcile,
        })
    }
}

/// The first option that says how a repository is to be.
fn without_ensure(options: &Options) -> Option<&'static str> {
    [
        ("--immutable-tags", options.immutable_tags),
        ("--scan-on-push", options.scan_on_push),
        ("--lifecycle-policy", options.lifecycle_policy.is_some()),
        ("--encryption", options.encryption.is_some()),
        ("--tag", !options.tag.is_empty()),
        ("--reconcile", options.reconcile),
    ]
    .into_iter()
    .find_map(|(name, given)| given.then_some(name))
}

/// Refuses what is no name of a repository: above all one with its registry before it, which AWS would
/// take for a part of the name.
pub(crate) fn check_name(given: &str) -> Result<(), RepositoryError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| plain(*byte))
            && bytes.iter().all(|byte| plain(*byte) || b"._-".contains(byte))
    };
    let first = given.split('/').next().unwrap_or_default();
    if given.split('/').all(part) && target(first).is_none() {
        return Ok(());
    }
    Err(RepositoryError::BadName { given: given.to_owned() })
}

fn tag(given: &str) -> Result<(String, String), RepositoryError> {
    match given.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(RepositoryError::BadTag { given: given.to_owned() }),
    }
}

fn policy(path: &str) -> Result<Value, RepositoryError> {
    let read = slipway_untrusted::file::read(Path::new(path), &LIFECYCLE_POLICY);
    let text = read.map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => {
            RepositoryError::PolicyTooLarge { path: path.to_owned(), limit: LIFECYCLE_POLICY.bytes }
        }
        _ => RepositoryError::PolicyUnreadable { path: path.to_owned(), source },
    })?;
    let bad = |reason: String| RepositoryError::BadPolicy { path: path.to_owned(), reason };
    let policy: Value = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if !policy.get("rules").is_some_and(Value::is_array) {
        return Err(bad("it has no list \"rules\"".to_owned()));
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, Command, FromArgMatches as _};

    fn read(args: &[&str]) -> Result<Wish, RepositoryError> {
        let command = Options::augment_args(Command::new("ecrlogin").no_binary_name(true));
        Wish::read(&Options::from_arg_matches(&command.get_matches_from(args)).unwrap())
    }

    fn said(args: &[&str]) -> String {
        read(args).unwrap_err().to_string()
    }

    #[test]
    fn encryption_is_a_kind_and_perhaps_a_key() {
        let parsed = |text: &str| text.parse::<Encryption>().map(|it| (it.kind, it.key));
        assert_eq!(parsed("aes256"), Ok(("AES256", None)));
        assert_eq!(parsed("kms"), Ok(("KMS", None)));
        let arn = "arn:aws:kms:eu-west-1:123456789012:key/1-2";
        assert_eq!(parsed(&format!("kms:{arn}")), Ok(("KMS", Some(arn.to_owned()))));
        assert_eq!(parsed("kms-dsse:alias/x"), Ok(("KMS_DSSE", Some("alias/x".to_owned()))));
        for wrong in ["", "KMS", "kms:", "aes256:key", "des"] {
            assert_eq!(parsed(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn how_a_repository_is_to_be_is_said_with_ensure_repository_only() {
        assert!(said(&["--tag", "a=b"]).contains("--tag"));
        assert!(said(&["--reconcile"]).contains("--reconcile"));
        assert!(read(&[]).is_ok());
        assert!(read(&["--ensure-repository", "--immutable-tags"]).unwrap().immutable_tags);
    }

    #[test]
    fn a_tag_has_a_key_and_a_value_that_may_be_empty() {
        let wish = read(&["--ensure-repository", "--tag", "a=b=c", "--tag", "d="]).unwrap();
        assert_eq!(wish.tags["a"], "b=c");
        assert_eq!(wish.tags["d"], "");
        for wrong in ["a", "=b"] {
            assert!(said(&["--ensure-repository", "--tag", wrong]).contains(wrong));
        }
    }

    #[test]
    fn a_tag_has_one_value() {
        assert!(said(&["--ensure-repository", "--tag", "a=b", "--tag", "a=c"]).contains("twice"));
        assert!(read(&["--ensure-repository", "--tag", "a=b", "--tag", "a=b"]).is_ok());
    }

    #[test]
    fn a_name_has_neither_registry_nor_tag() {
        for name in ["web", "team/web", "a.b-c_d/0"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web";
        for name in ["", "web:1", "Web", "/web", "team//web", "-web", host, "public.ecr.aws/x/web"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_policy_is_checked_before_anything_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.json");
        let path = path.to_str().unwrap();
        let args = ["--ensure-repository", "--lifecycle-policy", path];
        assert!(said(&args).contains(path), "it is not there");
        for (text, part) in [
            ("{", "line 1"),
            ("[]", "rules"),
            (r#"{"rules": 1}"#, "rules"),
            (&" ".repeat(40_000), "30720"),
        ] {
            std::fs::write(path, text).unwrap();
            assert!(said(&args).contains(part), "{}", said(&args));
        }
        std::fs::write(path, r#"{"rules": []}"#).unwrap();
        assert!(read(&args).unwrap().lifecycle_policy.is_some());
    }
}
