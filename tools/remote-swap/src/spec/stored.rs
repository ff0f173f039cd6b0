//! The run specification as it is kept on a host, for a rollback to read it again.

use std::collections::{BTreeMap, HashMap};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use slipway_engine::bollard::models::ContainerInspectResponse;

use super::{Health, Spec};
use crate::confinement::Confinement;
use crate::env::Environment;
use crate::values::Reason;

/// The specification in JSON. A field that is not known was written by a newer version: without it
/// the container would be another one, so that such a text is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// A value that is left out stands in the container's own environment.
    environment: BTreeMap<String, Option<String>>,
    /// Earlier versions kept here which values nobody may read in a message: nobody may read any.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "records of earlier versions have it")]
    secret: IgnoredAny,
    publish: Vec<String>,
    volumes: Vec<String>,
    network: Option<String>,
    memory: Option<i64>,
    nano_cpus: Option<i64>,
    log_driver: Option<String>,
    /// A value that is left out stands in the container's own configuration.
    log_opts: BTreeMap<String, Option<String>>,
    restart: String,
    stop_timeout: Option<i32>,
    #[serde(default)]
    confinement: Confinement,
    health: Health,
}

impl Spec {
    /// All of it, secrets included.
    pub(crate) fn whole(&self) -> String {
        self.stored(|value| Some(value.to_owned()))
    }

    /// All of it but the values of variables and of the log driver's options.
    ///
    /// This goes into a label of the container, which has the values in its configuration anyway.
    /// Labels are what monitoring copies into its own store; environments are not.
    pub(crate) fn without_values(&self) -> String {
        self.stored(|_| None)
    }

    fn stored(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let variables = self.environment.variables();
        let stored = Stored {
            environment: variables.iter().map(|(k, v)| (k.clone(), value(v))).collect(),
            secret: IgnoredAny,
            publish: self.publish.iter().map(ToString::to_string).collect(),
            volumes: self.volumes.clone(),
            network: self.network.clone(),
            memory: self.memory,
            nano_cpus: self.nano_cpus,
            log_driver: self.log_driver.clone(),
            log_opts: self.log_opts.iter().map(|(k, v)| (k.clone(), value(v))).collect(),
            restart: self.restart.to_string(),
            stop_timeout: self.stop_timeout,
            confinement: self.confinement.clone(),
            health: self.health.clone(),
        };
        // Plain data with string keys: serializing it cannot fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`Spec::whole`] or [`Spec::without_values`] wrote; values that are not in it are
    /// looked up in the configuration of the container. The reason why it cannot be read never
    /// holds a value.
    pub(crate) fn restored(
        text: &str,
        container: Option<&ContainerInspectResponse>,
    ) -> Result<Self, Reason> {
        // The parser's own message would quote what it did not like.
        let stored: Stored = serde_json::from_str(text)
            .map_err(|_| "it was written by another version of remote-swap".to_owned())?;
        let config = container.and_then(|seen| seen.config.as_ref());
        let variables = config.and_then(|config| config.env.as_deref()).unwrap_or_default();
        let variables: HashMap<&str, &str> =
            variables.iter().filter_map(|variable| variable.split_once('=')).collect();
        let host = container.and_then(|seen| seen.host_config.as_ref());
        let logging = host.and_then(|host| host.log_config.as_ref()?.config.as_ref());
        let mut environment = Environment::default();
        for (name, value) in stored.environment {
            let here = || variables.get(name.as_str()).map(|value| (*value).to_owned());
            let value = value
                .or_else(here)
                .ok_or_else(|| format!("the container has no variable {name} any more"))?;
            environment.restored(name, value);
        }
        let mut log_opts = BTreeMap::new();
        for (name, value) in stored.log_opts {
            let value = value
                .or_else(|| logging?.get(&name).cloned())
                .ok_or_else(|| format!("the container has no log option {name} any more"))?;
            log_opts.insert(name, value);
        }
        Ok(Self {
            environment,
            publish: stored.publish.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            volumes: stored.volumes,
            network: stored.network,
            memory: stored.memory,
            nano_cpus: stored.nano_cpus,
            log_driver: stored.log_driver,
            log_opts,
            restart: stored.restart.parse()?,
            stop_timeout: stored.stop_timeout,
            confinement: stored.confinement,
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
            environment.restored(name.clone(), value.clone());
        }
        spec.environment = environment;
        spec
    }

    fn same(one: &Spec, other: &Spec) {
        assert_eq!(one.whole(), other.whole());
        assert_eq!(one.canonical(), other.canonical());
    }

    fn read(text: &str, container: Option<&ContainerInspectResponse>) -> Spec {
        Spec::restored(text, container).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// A container that was made of it.
    fn made_of(spec: &Spec) -> ContainerInspectResponse {
        let variables = spec.environment.variables().iter();
        let env: Vec<String> = variables.map(|(name, value)| format!("{name}={value}")).collect();
        let seen = serde_json::json!({
            "Config": {"Env": env},
            "HostConfig": {"LogConfig": {"Type": "", "Config": spec.log_opts}},
        });
        serde_json::from_value(seen).unwrap()
    }

    #[test]
    fn what_earlier_versions_wrote_is_read_and_runs_as_it_did() {
        let old = r#"{"environment":{"A":"1"},"secret":["A"],"publish":["80:5000/tcp"],"volumes":[],
            "network":null,"memory":null,"nano_cpus":null,"log_driver":null,"log_opts":{"a":"b"},
            "restart":"always","stop_timeout":null,"health":{"path":"/health","port":5000}}"#;
        let old = read(old, None);
        assert_eq!(old.confinement, Confinement::default());
        assert_eq!((old.log_opts["a"].as_str(), old.health.kind), ("b", None));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_a_value() {
        let whole = spec(&["-e=A=canary".to_owned()], "").whole();
        for bad in [whole.replace("\"publish\"", "\"more\":1,\"publish\""), "canary".to_owned()] {
            let reason = Spec::restored(&bad, None).err().unwrap();
            assert!(reason.contains("another version") && !reason.contains("canary"), "{reason}");
        }
        let bare = spec(&["-e=A=canary".to_owned()], "").without_values();
        assert!(!bare.contains("canary"));
        assert!(Spec::restored(&bare, None).err().unwrap().contains("no variable A"));
        let bare = spec(&["--log-opt=splunk-token=canary".to_owned()], "").without_values();
        assert!(!bare.contains("canary"));
        assert!(Spec::restored(&bare, None).err().unwrap().contains("no log option splunk-token"));
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
            confined in proptest::sample::subsequence(
                vec!["--user=7:7", "--read-only", "--tmpfs=/run:size=1m", "--cap-add=SYS_TIME",
                    "--cap-drop=ALL", "--security-opt=no-new-privileges=false", "--pids-limit=9",
                    "--health=container"], 0..8),
        ) {
            let mut args: Vec<String> = vec![format!("--restart={restart}")];
            args.extend(ports.iter().map(|port| format!("-p={port}:{port}/udp")));
            args.extend(given.iter().map(|(name, value)| format!("--env={name}={value}")));
            args.extend(volumes.iter().map(|volume| format!("-v={volume}")));
            args.extend(opts.iter().map(|(name, value)| format!("--log-opt={name}={value}")));
            args.extend(network.map(|name| format!("--network={name}")));
            args.extend(memory.map(|bytes| format!("--memory={bytes}")));
            args.extend(seconds.map(|seconds| format!("--stop-timeout={seconds}s")));
            args.extend(confined.iter().map(|&option| option.to_owned()));
            args.extend(inherited.then(|| "--env=INHERITED".to_owned()));
            let file: String = hidden.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
            let one = spec(&args, &file);
            same(&one, &read(&one.whole(), None));
            same(&one, &read(&one.without_values(), Some(&made_of(&one))));
            for value in given.values().chain(hidden.values()) {
                let overruled = one.environment.variables().values().all(|other| other != value);
                prop_assert!(overruled || one.secrets().any(|secret| secret == value));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Spec::restored(&text, None);
        }
    }
}
