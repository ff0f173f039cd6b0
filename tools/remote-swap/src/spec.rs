//! The run specification: everything about a container but its image.

mod stored;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use slipway_untrusted::{file, limit};

use crate::confinement::{self, Confinement};
use crate::env::{EnvError, Environment, Lookup};
use crate::options::{HealthKind, Options};
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
    pub(crate) confinement: Confinement,
    pub(crate) health: Health,
}

/// How the application tells whether it is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// None where what is there decides: HTTP where a port is known, and a port that gives no HTTP
    /// answer is left to the HEALTHCHECK; without a port the HEALTHCHECK, or else staying up.
    #[serde(default)]
    pub(crate) kind: Option<HealthKind>,
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
    #[error("the env file {path} cannot be read: {source}")]
    EnvFile { path: String, source: io::Error },
    #[error("--health {kind}: no port is known to ask at")]
    NoPort { kind: &'static str },
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
        let first = publish.iter().find(|publish| publish.protocol == Protocol::Tcp);
        let port = options.health_port.or(first.map(|publish| publish.container_port));
        if port == Some(0) {
            let reason = "a port is a number from 1 to 65535".to_owned();
            return Err(SpecError::Value { option: "health-port", value: "0".into(), reason });
        }
        Ok(Self {
            confinement: confinement(options)?,
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
            health: health(options, port)?,
            publish,
        })
    }

    /// A text that is equal exactly if the specification is. It holds the variables' values.
    pub(crate) fn canonical(&self) -> String {
        let mut sorted = self.clone();
        // Their order on the command line means nothing to the engine.
        sorted.publish.sort_unstable();
        sorted.volumes.sort_unstable();
        sorted.whole()
    }

    /// The values that nobody may read in a message: all variables', wherever they came from, and
    /// what a log driver logs in with.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &String> {
        let logins = self.log_opts.iter().filter(|(name, _)| name.ends_with("token"));
        self.environment.variables().values().chain(logins.map(|(_, value)| value))
    }
}

fn health(options: &Options, port: Option<u16>) -> Result<Health, SpecError> {
    use HealthKind::{Http, Https, Tcp};
    // Who names a path wants it to be asked for.
    let named = options.health_path.as_ref().filter(|_| port.is_some()).map(|_| Http);
    let kind = options.health.or(named);
    if let (Some(kind @ (Http | Https | Tcp)), None) = (kind, port) {
        return Err(SpecError::NoPort { kind: kind.as_str() });
    }
    let path = options.health_path.as_deref().unwrap_or("/health");
    Ok(Health { kind, path: value("health-path", path, values::health_path)?, port })
}

fn confinement(options: &Options) -> Result<Confinement, SpecError> {
    let limit = options.pids_limit;
    Ok(Confinement {
        user: maybe("user", options.user.as_ref(), confinement::user)?,
        read_only: options.read_only,
        tmpfs: values("tmpfs", &options.tmpfs, confinement::tmpfs)?.into_iter().collect(),
        cap_add: capabilities("cap-add", &options.cap_add)?.into_iter().collect(),
        cap_drop: capabilities("cap-drop", &options.cap_drop)?.into_iter().collect(),
        security_opt: confinement::security_opts(&options.security_opt).map_err(
            |(value, reason)| SpecError::Value { option: "security-opt", value, reason },
        )?,
        pids_limit: value("pids-limit", &limit.to_string(), |_| confinement::pids_limit(limit))?,
    })
}

fn capabilities(option: &'static str, texts: &[String]) -> Result<Vec<String>, SpecError> {
    values(option, texts, confinement::capability)
}

fn environment(options: &Options, lookup: Lookup<'_>) -> Result<Environment, SpecError> {
    let mut environment = Environment::default();
    for path in &options.env_file {
        let bytes = file::read(Path::new(path), &limit::ENV_FILE);
        let bytes = bytes.map_err(|source| SpecError::EnvFile { path: path.clone(), source })?;
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

    fn canonical(args: &[&str]) -> String {
        spec(args).map(|spec| spec.canonical()).unwrap_or_else(|error| panic!("{error}"))
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
        assert!(message(&["--health=tcp"]).contains("no port"));
        assert!(message(&["--security-opt=seccomp=/x"]).starts_with("--security-opt seccomp=/x: "));
    }

    #[test]
    fn the_text_changes_with_anything_and_not_with_the_order() {
        let plain = canonical(&[]);
        assert_eq!(plain, canonical(&[]));
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
            "--health=none",
            "--health-port=1",
            "--user=1",
            "--read-only",
            "--tmpfs=/run",
            "--cap-add=SYS_TIME",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges=false",
            "--pids-limit=5",
        ] {
            assert_ne!(canonical(&[arg]), plain, "{arg}");
        }
        assert_eq!(
            canonical(&["-p=1:1", "-p=2:2", "--health-port=1", "-e=A=1", "-e=B=2"]),
            canonical(&["-p=2:2", "-p=1:1", "--health-port=1", "-e=B=2", "-e=A=1"])
        );
        assert_ne!(canonical(&["-p=1:1", "--health-path=/"]), canonical(&["-p=1:1"]));
        assert_eq!(
            canonical(&["--cap-drop=NET_RAW", "--cap-drop=CAP_CHOWN", "--pids-limit=-1"]),
            canonical(&["--cap-drop=chown", "--cap-drop=net_raw", "--pids-limit=0"])
        );
        // How long to wait is not part of how it runs.
        assert_eq!(plain, canonical(&["--health-timeout=5s", "--pull-timeout=5s"]));
        assert_eq!(canonical(&["--stop-timeout=4100ms"]), canonical(&["--stop-timeout=5s"]));
    }

    #[test]
    fn an_env_file_without_end_is_read_to_the_limit_only() {
        let message = |args: &[&str]| spec(args).err().unwrap().to_string();
        let endless = message(&["--env-file=/dev/zero"]);
        assert!(endless.contains("larger than 1 MiB"), "{endless}");
        assert!(message(&["--env-file=/"]).contains("the env file / cannot be read"));
    }

    #[test]
    fn a_path_that_is_named_is_asked_for_by_http() {
        let kind = |args: &[&str]| spec(args).unwrap_or_else(|e| panic!("{e}")).health.kind;
        assert_eq!(kind(&["-p=1:1"]), None);
        assert_eq!(kind(&["-p=1:1", "--health-path=/x"]), Some(HealthKind::Http));
        assert_eq!(kind(&["-p=1:1", "--health-path=/x", "--health=tcp"]), Some(HealthKind::Tcp));
        assert_eq!(kind(&["--health-path=/x"]), None);
    }

    proptest! {
        #[test]
        fn different_variables_have_different_texts(a in "[A-C]=[a-c=]{0,2}", b in "[A-C]=[a-c=]{0,2}") {
            let (one, other) = (canonical(&["-e", &a]), canonical(&["-e", &b]));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
