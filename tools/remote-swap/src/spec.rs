//! The run specification: everything about a container but its image.

mod stored;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::env::{EnvError, Environment, Lookup};
use crate::options::Options;
use crate::publish::{Protocol, Publish};
use crate::values::{self, Reason, Restart};

/// How a container of the application is run. It has no `Debug`, since variables may be secrets.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) environment: Environment,
    pub(crate) publish: Vec<Publish>,
    pub(crate) volumes: Vec<String>,
    pub(crate) network: Option<String>,
    pub(crate) memory: Option<i64>,
    pub(crate) nano_cpus: Option<i64>,
    pub(crate) log_driver: Option<String>,
    pub(crate) log_opts: BTreeMap<String, String>,
    pub(crate) restart: Restart,
    /// Whole seconds, as the engine counts them.
    pub(crate) stop_timeout: Option<i32>,
    pub(crate) health: Health,
}

/// Where the application answers whether it is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    pub(crate) path: String,
    /// The container's TCP port; none where the application publishes none.
    pub(crate) port: Option<u16>,
}

/// Why the options make no run specification.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("--{option} {value}: {reason}")]
    Value { option: &'static str, value: String, reason: Reason },
    #[error("--publish {first} and --publish {second} want the same port of the host")]
    SamePort { first: Publish, second: Publish },
    #[error("the environment file {path} cannot be read: {reason}")]
    EnvFile { path: String, reason: String },
    #[error(transparent)]
    Env(#[from] EnvError),
}

/// Reads one value of an option.
pub(crate) fn value<T>(
    option: &'static str,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, Reason>,
) -> Result<T, SpecError> {
    read(text).map_err(|reason| SpecError::Value { option, value: text.to_owned(), reason })
}

fn values<T>(
    option: &'static str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, Reason>,
) -> Result<Vec<T>, SpecError> {
    texts.iter().map(|text| value(option, text, &read)).collect()
}

fn maybe<T>(
    option: &'static str,
    text: Option<&String>,
    read: impl FnOnce(&str) -> Result<T, Reason>,
) -> Result<Option<T>, SpecError> {
    text.map(|text| value(option, text, read)).transpose()
}

impl Spec {
    /// What the options say; names without values come from `lookup`, files from the disk.
    pub(crate) fn from_options(options: &Options, lookup: Lookup<'_>) -> Result<Self, SpecError> {
        let publish = values("publish", &options.publish, str::parse::<Publish>)?;
        for (index, second) in publish.iter().enumerate() {
            if let Some(first) = publish[..index].iter().find(|first| first.collides(second)) {
                return Err(SpecError::SamePort { first: *first, second: *second });
            }
        }
        let path = value("health-path", &options.health_path, values::health_path)?;
        let first = publish.iter().find(|publish| publish.protocol == Protocol::Tcp);
        let port = options.health_port.or(first.map(|publish| publish.container_port));
        if port == Some(0) {
            let reason = "a port is a number from 1 to 65535".to_owned();
            return Err(SpecError::Value { option: "health-port", value: "0".into(), reason });
        }
        Ok(Self {
            environment: environment(options, lookup)?,
            volumes: values("volume", &options.volume, values::volume)?,
            network: maybe("network", options.network.as_ref(), values::network)?,
            memory: maybe("memory", options.memory.as_ref(), values::memory)?,
            nano_cpus: maybe("cpus", options.cpus.as_ref(), values::nano_cpus)?,
            log_driver: options.log_driver.clone(),
            log_opts: values("log-opt", &options.log_opt, values::log_opt)?.into_iter().collect(),
            restart: value("restart", &options.restart, str::parse)?,
            stop_timeout: options.stop_timeout.map(|span| {
                let seconds = span.0.as_millis().div_ceil(1000);
                i32::try_from(seconds).unwrap_or(i32::MAX)
            }),
            health: Health { path, port },
            publish,
        })
    }

    /// A fingerprint that is equal exactly if the specification is.
    ///
    /// It is kept in a label. Whoever may read labels may read the variables too, so that it
    /// gives nothing away that was hidden.
    pub(crate) fn hash(&self) -> String {
        #[derive(Serialize)]
        struct Canonical<'a> {
            environment: &'a BTreeMap<String, String>,
            publish: Vec<Publish>,
            volumes: Vec<&'a str>,
            network: Option<&'a str>,
            memory: Option<i64>,
            nano_cpus: Option<i64>,
            log_driver: Option<&'a str>,
            log_opts: &'a BTreeMap<String, String>,
            restart: Restart,
            stop_timeout: Option<i32>,
            health: &'a Health,
        }
        let mut canonical = Canonical {
            environment: self.environment.variables(),
            publish: self.publish.clone(),
            volumes: self.volumes.iter().map(String::as_str).collect(),
            network: self.network.as_deref(),
            memory: self.memory,
            nano_cpus: self.nano_cpus,
            log_driver: self.log_driver.as_deref(),
            log_opts: &self.log_opts,
            restart: self.restart,
            stop_timeout: self.stop_timeout,
            health: &self.health,
        };
        // Their order on the command line means nothing to the engine.
        canonical.publish.sort_unstable();
        canonical.volumes.sort_unstable();
        // Plain data with string keys: serializing it cannot fail.
        let text = serde_json::to_vec(&canonical).unwrap_or_default();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn environment(options: &Options, lookup: Lookup<'_>) -> Result<Environment, SpecError> {
    let mut environment = Environment::default();
    for path in &options.env_file {
        let bytes = std::fs::read(path).map_err(|error| SpecError::EnvFile {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        environment.file(path, &bytes, lookup)?;
    }
    for text in &options.env {
        environment.option(text, lookup)?;
    }
    Ok(environment)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use proptest::prelude::*;

    pub(crate) fn options(args: &[&str]) -> Options {
        let args = std::iter::once("remote-swap").chain(args.iter().copied());
        let matches = Options::augment_args(Command::new("x")).get_matches_from(args);
        Options::from_arg_matches(&matches).unwrap()
    }

    pub(crate) fn spec(args: &[&str]) -> Result<Spec, SpecError> {
        Spec::from_options(&options(args), &|_| None)
    }

    fn hash(args: &[&str]) -> String {
        spec(args).map(|spec| spec.hash()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_health_port_is_that_of_the_first_tcp_port() {
        let port = |args: &[&str]| spec(args).unwrap_or_else(|e| panic!("{e}")).health.port;
        assert_eq!(port(&["-p=53:53/udp", "-p=8000:5000", "-p=9:9"]), Some(5000));
        assert_eq!(port(&["-p=8000:5000", "--health-port=9000"]), Some(9000));
        assert_eq!(port(&[]), None);
    }

    #[test]
    fn an_error_names_option_value_and_what_to_write() {
        let message = |args: &[&str]| spec(args).err().unwrap().to_string();
        assert!(message(&["--memory=lots"]).starts_with("--memory lots: write"));
        assert!(message(&["-p=8000:1", "-p=127.0.0.1:8000:2"]).contains("same port"));
        assert!(message(&["--env-file=/does/not/exist"]).contains("/does/not/exist"));
        assert!(message(&["--health-port=0", "--restart=always"]).contains("65535"));
    }

    #[test]
    fn the_hash_changes_with_anything_and_not_with_the_order() {
        let plain = hash(&[]);
        assert_eq!(plain, hash(&[]));
        for arg in [
            "-p=1:1",
            "-e=A=1",
            "-v=a1:/b",
            "--network=n",
            "--memory=9m",
            "--cpus=1",
            "--log-driver=x",
            "--log-opt=a=b",
            "--restart=on-failure",
            "--stop-timeout=5s",
            "--health-path=/",
            "--health-port=1",
        ] {
            assert_ne!(hash(&[arg]), plain, "{arg}");
        }
        assert_eq!(
            hash(&["-p=1:1", "-p=2:2", "--health-port=1", "-e=A=1", "-e=B=2"]),
            hash(&["-p=2:2", "-p=1:1", "--health-port=1", "-e=B=2", "-e=A=1"])
        );
        // How long to wait is not part of how it runs.
        assert_eq!(plain, hash(&["--health-timeout=5s", "--pull-timeout=5s"]));
        assert_eq!(hash(&["--stop-timeout=4100ms"]), hash(&["--stop-timeout=5s"]));
    }

    proptest! {
        #[test]
        fn different_variables_have_different_hashes(a in "[A-C]=[a-c=]{0,2}", b in "[A-C]=[a-c=]{0,2}") {
            let (one, other) = (hash(&["-e", &a]), hash(&["-e", &b]));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
