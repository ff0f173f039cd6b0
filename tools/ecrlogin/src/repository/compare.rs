//! In what a repository differs from what was asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_release::RepositoryDifference;

use super::{Encryption, Wish};

pub(super) const TAG_MUTABILITY: &str = "tag_mutability";
pub(super) const SCAN_ON_PUSH: &str = "scan_on_push";
pub(super) const LIFECYCLE_POLICY: &str = "lifecycle_policy";
pub(super) const ENCRYPTION: &str = "encryption";
/// Before the key of a resource tag.
pub(super) const TAG: &str = "tag ";

pub(super) const IMMUTABLE: &str = "IMMUTABLE";

/// The repository as the API describes it. What no option asks for need not be known.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tag_mutability: String,
    pub(super) scan_on_push: bool,
    pub(super) lifecycle_policy: Option<Value>,
    pub(super) encryption: String,
    /// The ARN of the key.
    pub(super) key: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// All that differs, in the order of the options.
pub(super) fn differences(wish: &Wish, found: &Found) -> Vec<RepositoryDifference> {
    let mut all = Vec::new();
    let mut differs = |setting: &str, wanted: Value, found: Option<Value>| {
        let setting = setting.to_owned();
        all.push(RepositoryDifference { setting, wanted, found, reconciled: false });
    };
    if wish.immutable_tags && found.tag_mutability != IMMUTABLE {
        differs(TAG_MUTABILITY, json!(IMMUTABLE), Some(json!(found.tag_mutability)));
    }
    if wish.scan_on_push && !found.scan_on_push {
        differs(SCAN_ON_PUSH, json!(true), Some(json!(false)));
    }
    if let Some(wanted) = &wish.lifecycle_policy
        && !found.lifecycle_policy.as_ref().is_some_and(|found| same_policy(wanted, found))
    {
        differs(LIFECYCLE_POLICY, wanted.clone(), found.lifecycle_policy.clone());
    }
    if let Some(wanted) = &wish.encryption
        && !same_encryption(wanted, &found.encryption, found.key.as_deref())
    {
        let found = text(&found.encryption, found.key.as_deref());
        differs(ENCRYPTION, json!(text(wanted.kind, wanted.key.as_deref())), Some(json!(found)));
    }
    for (key, value) in &wish.tags {
        let found = found.tags.get(key);
        if found != Some(value) {
            differs(&format!("{TAG}{key}"), json!(value), found.map(|found| json!(found)));
        }
    }
    all
}

fn text(kind: &str, key: Option<&str>) -> String {
    key.map_or_else(|| kind.to_owned(), |key| format!("{kind}:{key}"))
}

/// Rules apply by their priority, so the order in which they are written means nothing.
fn same_policy(one: &Value, other: &Value) -> bool {
    fn sorted(policy: &Value) -> Value {
        let mut policy = policy.clone();
        if let Some(rules) = policy.get_mut("rules").and_then(Value::as_array_mut) {
            rules.sort_by_key(|rule| rule.get("rulePriority").and_then(Value::as_i64));
        }
        policy
    }
    sorted(one) == sorted(other)
}

/// The API tells the key's ARN, whatever it was called when the repository was created. An alias
/// cannot be compared with that: it is only known to KMS which key it stands for, and it may stand
/// for another one since.
fn same_encryption(wanted: &Encryption, found: &str, found_key: Option<&str>) -> bool {
    if wanted.kind != found {
        return false;
    }
    let Some(key) = wanted.key.as_deref() else { return true };
    let alias = key.starts_with("alias/") || key.contains(":alias/");
    let id = |arn: &str| arn.rsplit_once("key/").is_some_and(|(_, id)| id == key);
    alias || found_key.is_some_and(|found| found == key || id(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab";

    fn found() -> Found {
        Found {
            tag_mutability: "MUTABLE".into(),
            scan_on_push: false,
            lifecycle_policy: None,
            encryption: "KMS".into(),
            key: Some(ARN.into()),
            tags: [("team".to_owned(), "a".to_owned())].into(),
        }
    }

    fn settings(wish: &Wish) -> Vec<String> {
        differences(wish, &found()).into_iter().map(|difference| difference.setting).collect()
    }

    #[test]
    fn what_nobody_asked_for_does_not_differ() {
        assert!(settings(&Wish::default()).is_empty());
    }

    #[test]
    fn all_that_was_asked_for_is_compared() {
        let tags = [("team".to_owned(), "b".to_owned()), ("cost".to_owned(), "7".to_owned())];
        let wish = Wish {
            immutable_tags: true,
            scan_on_push: true,
            lifecycle_policy: Some(json!({"rules": []})),
            encryption: Some("aes256".parse().unwrap()),
            tags: tags.into(),
            reconcile: false,
        };
        let expected =
            [TAG_MUTABILITY, SCAN_ON_PUSH, LIFECYCLE_POLICY, ENCRYPTION, "tag cost", "tag team"];
        assert_eq!(settings(&wish), expected);
    }

    #[test]
    fn immutable_but_for_some_tags_is_not_immutable() {
        let wish = Wish { immutable_tags: true, ..Wish::default() };
        let found = Found { tag_mutability: "IMMUTABLE_WITH_EXCLUSION".into(), ..found() };
        assert_eq!(differences(&wish, &found).len(), 1);
    }

    #[test]
    fn a_key_is_known_by_its_id_and_its_arn() {
        for (given, same) in [
            ("kms".to_owned(), true),
            (format!("kms:{ARN}"), true),
            ("kms:1234abcd-12ab".to_owned(), true),
            ("kms:12ab".to_owned(), false),
            ("kms:alias/web".to_owned(), true),
            ("kms-dsse".to_owned(), false),
        ] {
            let wish = Wish { encryption: Some(given.parse().unwrap()), ..Wish::default() };
            assert_eq!(settings(&wish).is_empty(), same, "{given}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_rules_means_nothing(priorities in proptest::collection::hash_set(1i64..99, 1..8)) {
            let rules: Vec<Value> = priorities.iter().map(|p| json!({"rulePriority": p})).collect();
            let turned: Vec<&Value> = rules.iter().rev().collect();
            let [all, turned, fewer] =
                [json!({"rules": rules}), json!({"rules": turned}), json!({"rules": rules[1..]})];
            prop_assert!(same_policy(&all, &turned));
            prop_assert!(!same_policy(&all, &fewer));
        }
    }
}
