//! The content of Docker's `config.json`, changed in single places: all else stays to the letter.

use base64::Engine as _;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use slipway_release::Secret;

use crate::host::target;

/// A JSON object whose values are kept as the text that was read.
type RawObject = IndexMap<String, Box<RawValue>>;

const LOGINS: &str = "auths";
const HELPERS: &str = "credHelpers";
const GENERAL_HELPER: &str = "credsStore";

/// The file's content.
#[derive(Default)]
pub(crate) struct Config(RawObject);

/// What an entry of a helper was before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HelperChange {
    /// As it is to be.
    None,
    /// There was none.
    Added,
    /// It was this one.
    Replaced(String),
}

impl Config {
    /// Reads the file's text; an empty one has nothing in it. The error is the line: the parser's
    /// own words could quote a secret.
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let config = Self(serde_json::from_str(text).map_err(|error| error.line())?);
        // What is to be changed has to be what it is for Docker.
        for part in [LOGINS, HELPERS] {
            if let Some(raw) = config.0.get(part) {
                let line = line_of(text, part);
                serde_json::from_str::<Option<RawObject>>(raw.get()).map_err(|_| line)?;
            }
        }
        Ok(config)
    }

    /// The text of the file, as Docker writes it: with tabs.
    pub(crate) fn text(&self) -> String {
        object(&self.0, 0) + "\n"
    }

    /// The helper that Docker asks for this registry.
    pub(crate) fn helper(&self, host: &str) -> Option<String> {
        let own = self.part(HELPERS).get(host).and_then(|raw| text_of(raw));
        own.or_else(|| self.0.get(GENERAL_HELPER).and_then(|raw| text_of(raw)))
            .filter(|helper| !helper.is_empty())
    }

    /// The registries for which one of these helpers is asked.
    pub(crate) fn hosts_of(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let helpers = self.part(HELPERS);
        let meant = |raw: &RawValue| text_of(raw).is_some_and(|helper| is_meant(&helper));
        helpers.iter().filter(|(_, raw)| meant(raw)).map(|(host, _)| host.clone()).collect()
    }

    /// The registries of Amazon ECR that the file has logins of.
    pub(crate) fn ecr_logins(&self) -> Vec<String> {
        let logins = self.part(LOGINS);
        let hosts = logins.keys().map(|key| host_of(key).to_owned());
        hosts.filter(|host| target(host).is_some()).collect()
    }

    /// Whether there is an entry of this registry's login.
    pub(crate) fn has_login(&self, host: &str) -> bool {
        self.part(LOGINS).keys().any(|key| host_of(key) == host)
    }

    /// Whether the file itself holds a password of this registry.
    pub(crate) fn has_password(&self, host: &str) -> bool {
        self.part(LOGINS).iter().filter(|(key, _)| host_of(key) == host).any(|(_, raw)| {
            let login: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            ["auth", "password", "identitytoken"].iter().any(|field| !login[field].is_null())
        })
    }

    /// Sets a login, with its password or as one that a helper has.
    pub(crate) fn set_login(&mut self, host: &str, login: Option<(&str, &Secret)>) {
        let entry = match login {
            Some((username, password)) => {
                let plain = format!("{username}:{}", password.reveal());
                json!({"auth": base64::engine::general_purpose::STANDARD.encode(plain)})
            }
            None => json!({}),
        };
        self.remove_login(host);
        self.set(LOGINS, host, &entry);
    }

    /// Removes a login, by whatever form of the registry's name it is there.
    pub(crate) fn remove_login(&mut self, host: &str) {
        let mut logins = self.part(LOGINS);
        logins.retain(|key, _| host_of(key) != host);
        self.set_part(LOGINS, &logins);
    }

    /// Sets the helper of a registry.
    pub(crate) fn set_helper(&mut self, host: &str, helper: &str) -> HelperChange {
        let before = self.part(HELPERS).get(host).and_then(|raw| text_of(raw));
        match before {
            Some(before) if before == helper => HelperChange::None,
            before => {
                self.set(HELPERS, host, &json!(helper));
                before.map_or(HelperChange::Added, HelperChange::Replaced)
            }
        }
    }

    /// Removes the helper of a registry.
    pub(crate) fn remove_helper(&mut self, host: &str) {
        let mut helpers = self.part(HELPERS);
        helpers.shift_remove(host);
        self.set_part(HELPERS, &helpers);
    }

    fn part(&self, name: &str) -> RawObject {
        let raw = self.0.get(name);
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    fn set(&mut self, part: &str, key: &str, value: &Value) {
        let mut object = self.part(part);
        if let Ok(raw) = RawValue::from_string(pretty(value)) {
            object.insert(key.to_owned(), raw);
        }
        self.set_part(part, &object);
    }

    fn set_part(&mut self, name: &str, part: &RawObject) {
        if part.is_empty() && !self.0.contains_key(name) {
            return;
        }
        if let Ok(raw) = RawValue::from_string(object(part, 1)) {
            self.0.insert(name.to_owned(), raw);
        }
    }
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The host of a key, which may be a URL.
pub(crate) fn host_of(key: &str) -> &str {
    let host = key.split_once("://").map_or(key, |(_, host)| host);
    host.split('/').next().unwrap_or(host)
}

fn line_of(text: &str, key: &str) -> usize {
    let quoted = format!("\"{key}\"");
    text.lines().position(|line| line.contains(&quoted)).map_or(1, |line| line + 1)
}

/// An object at this depth, indented by tabs. Its values stay as they are.
fn object(of: &RawObject, depth: usize) -> String {
    if of.is_empty() {
        return "{}".to_owned();
    }
    let indent = "\t".repeat(depth);
    let mut entries = Vec::new();
    for (key, raw) in of {
        entries.push(format!("{indent}\t{}: {}", Value::from(key.as_str()), raw.get()));
    }
    format!("{{\n{}\n{indent}}}", entries.join(",\n"))
}

/// A new value in an object of the second level, as Docker writes it.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    // Plain data into memory: that cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, formatter));
    // A string in JSON has no line break in it: each that is found is one between tokens.
    String::from_utf8(text).unwrap_or_default().replace('\n', "\n\t\t")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap_or_else(|line| panic!("line {line}"))
    }

    #[test]
    fn a_login_is_written_as_docker_writes_it() {
        let mut empty = config("");
        empty.set_login(HOST, Some(("AWS", &Secret::new("a:b"))));
        let expected = format!(
            "{{\n\t\"auths\": {{\n\t\t\"{HOST}\": {{\n\t\t\t\"auth\": \"QVdTOmE6Yg==\"\n\t\t}}\n\t}}\n}}\n"
        );
        assert_eq!(empty.text(), expected);
        assert!(empty.has_login(HOST) && empty.has_password(HOST));
        empty.set_login(HOST, None);
        assert!(empty.has_login(HOST) && !empty.has_password(HOST));
        empty.remove_login(HOST);
        assert_eq!(empty.text(), "{\n\t\"auths\": {}\n}\n");
    }

    #[test]
    fn all_else_stays_to_the_letter_and_in_its_place() {
        let text = "{\n\t\"credsStore\": \"\",\n\t\"auths\": {\n\t\t\"r.example\": {\n\t\t\t\"auth\": \"x\",\n\t\t\t\"new\": 1.50\n\t\t}\n\t},\n\t\"detachKeys\": \"\\u0041\",\n\t\"HttpHeaders\": {\n\t\t\"A\": [1,  2]\n\t}\n}\n";
        let mut changed = config(text);
        changed.set_login(HOST, Some(("AWS", &Secret::new("p"))));
        assert_ne!(changed.text(), text);
        changed.remove_login(HOST);
        assert_eq!(changed.text(), text);
        changed.set_helper("other.example", "x");
        changed.remove_helper("other.example");
        assert!(changed.text().starts_with(text.trim_end_matches("\n}\n")));
    }

    #[test]
    fn every_form_of_a_name_is_the_registrys() {
        let mut config =
            config(&format!(r#"{{"auths": {{"https://{HOST}/v2/": {{}}, "r.{HOST}": {{}}}}}}"#));
        assert_eq!(config.ecr_logins(), [HOST]);
        config.remove_login(HOST);
        assert!(!config.has_login(HOST) && config.has_login(&format!("r.{HOST}")));
    }

    #[test]
    fn the_registrys_own_helper_goes_before_the_general_one() {
        let mut config = config(r#"{"credsStore": "pass", "credHelpers": {"a": "one"}}"#);
        assert_eq!(config.helper("a").as_deref(), Some("one"));
        assert_eq!(config.helper("b").as_deref(), Some("pass"));
        assert_eq!(config.set_helper("b", "two"), HelperChange::Added);
        assert_eq!(config.set_helper("a", "two"), HelperChange::Replaced("one".into()));
        assert_eq!(config.set_helper("a", "two"), HelperChange::None);
        assert_eq!(config.hosts_of(|helper| helper == "two"), ["a", "b"]);
        config.remove_helper("b");
        assert_eq!(config.helper("b").as_deref(), Some("pass"));
    }

    #[test]
    fn what_docker_could_not_read_either_is_left_alone() {
        for (text, line) in [("{\n", 2), ("{\n\n]", 3), ("{\n\"auths\": 1}", 2), ("[]", 1)] {
            assert_eq!(Config::parse(text).err(), Some(line), "{text}");
        }
        assert!(Config::parse(r#"{"auths": null}"#).is_ok());
    }

    proptest! {
        #[test]
        fn setting_and_removing_a_helper_keeps_the_others(
            others in proptest::collection::btree_map("[a-z]{1,8}", "[a-z\\\\\"\u{e9}]{0,8}", 0..6),
        ) {
            let text = json!({"credHelpers": others, "x": others}).to_string();
            let mut changed = config(&text);
            changed.set_helper(HOST, "ecrlogin");
            let read: Value = serde_json::from_str(&changed.text()).unwrap();
            prop_assert_eq!(&read["credHelpers"][HOST], "ecrlogin");
            changed.remove_helper(HOST);
            let read: Value = serde_json::from_str(&changed.text()).unwrap();
            prop_assert_eq!(read, json!({"credHelpers": others, "x": others}));
        }
    }
}
