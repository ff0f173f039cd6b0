//! The run specification as it is kept on a host, for a rollback to read it again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Health, Spec};
use crate::env::Environment;
use crate::values::Reason;

/// The specification in JSON. A field that is not known was written by a newer version: without it
/// the container would be another one, so that such a text is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// A value that is left out stands in the container's own environment.
    environment: BTreeMap<String, Option<String>>,
    /// The names of the variables whose values nobody may read.
    secret: BTreeSet<String>,
    publish: Vec<String>,
    volumes: Vec<String>,
    network: Option<String>,
    memory: Option<i64>,
    nano_cpus: Option<i64>,
    log_driver: Option<String>,
    log_opts: BTreeMap<String, String>,
    restart: String,
    stop_timeout: Option<i32>,
    health: Health,
}

impl Spec {
    /// All of it, secrets included.
    pub(crate) fn whole(&self) -> String {
        self.stored(|value| Some(value.to_owned()))
    }

    /// All of it but the variables' values.
    ///
    /// This goes into a label of the container, which has the values in its environment anyway.
    /// Labels are what monitoring copies into its own store; environments are not.
    pub(crate) fn without_values(&self) -> String {
        self.stored(|_| None)
    }

    fn stored(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let variables = self.environment.variables();
        let secret = variables.keys().filter(|name| self.environment.is_secret(name));
        let stored = Stored {
            environment: variables.iter().map(|(k, v)| (k.clone(), value(v))).collect(),
            secret: secret.cloned().collect(),
            publish: self.publish.iter().map(ToString::to_string).collect(),
            volumes: self.volumes.clone(),
            network: self.network.clone(),
            memory: self.memory,
            nano_cpus: self.nano_cpus,
            log_driver: self.log_driver.clone(),
            log_opts: self.log_opts.clone(),
            restart: self.restart.to_string(),
            stop_timeout: self.stop_timeout,
            health: self.health.clone(),
        };
        // Plain data with string keys: serializing it cannot fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`Spec::whole`] or [`Spec::without_values`] wrote; values that are not in it are
    /// looked up in the environment of the container, `NAME=value` each. The reason why it cannot
    /// be read never holds a value.
    pub(crate) fn restored(text: &str, environment: &[String]) -> Result<Self, Reason> {
        // The parser's own message would quote what it did not like.
        let stored: Stored = serde_json::from_str(text)
            .map_err(|_| "it was written by another version of remote-swap".to_owned())?;
        let found: BTreeMap<&str, &str> =
            environment.iter().filter_map(|variable| variable.split_once('=')).collect();
        let mut environment = Environment::default();
        for (name, value) in stored.environment {
            let here = || found.get(name.as_str()).map(|value| (*value).to_owned());
            let value = value
                .or_else(here)
                .ok_or_else(|| format!("the container has no variable {name} any more"))?;
            let secret = stored.secret.contains(&name);
            environment.restored(name, value, secret);
        }
        Ok(Self {
            environment,
            publish: stored.publish.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            volumes: stored.volumes,
            network: stored.network,
            memory: stored.memory,
            nano_cpus: stored.nano_cpus,
            log_driver: stored.log_driver,
            log_opts: stored.log_opts,
            restart: stored.restart.parse()?,
            stop_timeout: stored.stop_timeout,
            health: stored.health,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::options;
    use proptest::prelude::*;

    /// These options after a file of variables, as `--env-file` would read it.
    fn spec(args: &[String], file: &str) -> Spec {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let lookup = |name: &str| (name == "INHERITED").then(|| "x=y z".to_owned());
        let mut spec =
            Spec::from_options(&options(&args), &lookup).unwrap_or_else(|error| panic!("{error}"));
        let mut environment = Environment::default();
        environment.file("x.env", file.as_bytes(), &lookup).unwrap();
        for (name, value) in spec.environment.variables() {
            let secret = spec.environment.is_secret(name);
            environment.restored(name.clone(), value.clone(), secret);
        }
        spec.environment = environment;
        spec
    }

    fn same(one: &Spec, other: &Spec) {
        assert_eq!(one.whole(), other.whole());
        assert_eq!(one.hash(), other.hash());
        for name in one.environment.variables().keys() {
            assert_eq!(one.environment.is_secret(name), other.environment.is_secret(name));
        }
    }

    fn read(text: &str, environment: &[String]) -> Spec {
        Spec::restored(text, environment).unwrap_or_else(|reason| panic!("{reason}"))
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_a_value() {
        let whole = spec(&["-e=A=canary".to_owned()], "").whole();
        for bad in [whole.replace("\"publish\"", "\"more\":1,\"publish\""), "canary".to_owned()] {
            let reason = Spec::restored(&bad, &[]).err().unwrap();
            assert!(reason.contains("another version") && !reason.contains("canary"), "{reason}");
        }
        let bare = spec(&["-e=A=canary".to_owned()], "").without_values();
        assert!(!bare.contains("canary"));
        assert!(Spec::restored(&bare, &[]).err().unwrap().contains("no variable A"));
    }

    proptest! {
        #[test]
        fn it_is_the_same_after_it_was_kept(
            ports in proptest::collection::btree_set(1_u16.., 0..4),
            given in proptest::collection::btree_map("[A-D]", "\\PC{0,8}", 0..4),
            hidden in proptest::collection::btree_map("[C-F]", "[^\r\n\0]{0,8}", 0..4),
            volumes in proptest::collection::vec("[a-z]{2,5}:/[a-z]{1,5}(:ro)?", 0..3),
            opts in proptest::collection::btree_map("[a-z]{1,4}", "[a-z=]{0,4}", 0..3),
            network in proptest::option::of("[a-z]{1,8}"),
            memory in proptest::option::of(1_u32..),
            seconds in proptest::option::of(0_u32..1000),
            restart in prop_oneof!["always", "unless-stopped", "on-failure(:[0-9]{1,3})?"],
            inherited: bool,
        ) {
            let mut args: Vec<String> = vec![format!("--restart={restart}")];
            args.extend(ports.iter().map(|port| format!("-p={port}:{port}/udp")));
            args.extend(given.iter().map(|(name, value)| format!("--env={name}={value}")));
            args.extend(volumes.iter().map(|volume| format!("-v={volume}")));
            args.extend(opts.iter().map(|(name, value)| format!("--log-opt={name}={value}")));
            args.extend(network.map(|name| format!("--network={name}")));
            args.extend(memory.map(|bytes| format!("--memory={bytes}")));
            args.extend(seconds.map(|seconds| format!("--stop-timeout={seconds}s")));
            args.extend(inherited.then(|| "--env=INHERITED".to_owned()));
            let file: String = hidden.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
            let one = spec(&args, &file);
            same(&one, &read(&one.whole(), &[]));
            let variables = one.environment.variables().iter();
            let here: Vec<String> = variables.map(|(name, value)| format!("{name}={value}")).collect();
            same(&one, &read(&one.without_values(), &here));
            for (name, value) in hidden.iter().filter(|(name, _)| !given.contains_key(*name)) {
                prop_assert!(read(&one.whole(), &[]).environment.secrets().contains(value), "{}", name);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Spec::restored(&text, &[]);
        }
    }
}
