//! What is seen of a container, and the labels by which it is known.

use std::collections::HashMap;
use std::net::IpAddr;

use clap::ValueEnum;
use jiff::Timestamp;
use slipway_engine::bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, PortMap,
    RestartPolicyNameEnum,
};

use crate::options::HealthKind;
use crate::publish::{Protocol, Publish};
use crate::slot::Slot;
use crate::spec::Health;

/// Labels of a container. Names and tags are for people; these say what a container is.
pub(crate) mod label {
    /// The application: without it a container is a stranger's and never touched.
    pub(crate) const APP: &str = "dev.slipway.app";
    /// The deploy that made it.
    pub(crate) const DEPLOY_ID: &str = "dev.slipway.deploy-id";
    /// `candidate`, `task` or `release`.
    pub(crate) const ROLE: &str = "dev.slipway.role";
    /// What it was made from, by digest.
    pub(crate) const REFERENCE: &str = "dev.slipway.reference";
    /// The fingerprint of its run specification, by the key of the host.
    pub(crate) const FINGERPRINT: &str = "dev.slipway.fingerprint";
    /// The restart policy that it gets once it is proved.
    pub(crate) const RESTART: &str = "dev.slipway.restart";
    /// How it tells whether it is healthy, where that is settled.
    pub(crate) const HEALTH: &str = "dev.slipway.health";
    /// Where it answers whether it is healthy.
    pub(crate) const HEALTH_PATH: &str = "dev.slipway.health-path";
    /// The port of that.
    pub(crate) const HEALTH_PORT: &str = "dev.slipway.health-port";
    /// The release's tag, for people.
    pub(crate) const TAG: &str = "dev.slipway.tag";
    /// Its place behind the front: `blue` or `green`.
    pub(crate) const SLOT: &str = "dev.slipway.slot";
    /// The commit, for people.
    pub(crate) const REVISION: &str = "dev.slipway.revision";
    /// The number of the build in its CI job.
    pub(crate) const BUILD_NUMBER: &str = "dev.slipway.build-number";
    /// The CI job that counts by that number.
    pub(crate) const BUILD_JOB: &str = "dev.slipway.build-job";
    /// Where people find the build.
    pub(crate) const BUILD_URL: &str = "dev.slipway.build-url";
    /// When what was built was committed.
    pub(crate) const COMMITTED_AT: &str = "dev.slipway.committed-at";
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is there to be proved and removed.
    Candidate,
    /// It runs the release command, and is removed then.
    Task,
    /// It serves, served, or is going to.
    Release,
    /// It owns the published ports and passes what comes to a slot.
    Front,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Task => "task",
            Self::Release => "release",
            Self::Front => "front",
        }
    }
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// It ended and the engine starts it again and again.
    Restarting,
    /// It ended or was stopped.
    Stopped,
}

/// What the image's own HEALTHCHECK says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) status: HealthCheckStatus,
    /// What it printed last.
    pub(crate) output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCheckStatus {
    Starting,
    Healthy,
    Unhealthy,
}

/// One container of the application, as the engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    /// By the engine's clock, the only one that all containers of a host share.
    pub(crate) created: Timestamp,
    pub(crate) status: Status,
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    /// What the engine says of a failed start.
    pub(crate) error: Option<String>,
    pub(crate) restarts: i64,
    /// Whether the engine starts it by itself: it was proved once and is meant to serve.
    pub(crate) kept_alive: bool,
    pub(crate) healthcheck: Option<HealthCheck>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) image_id: String,
    pub(crate) publish: Vec<Publish>,
    /// Its own stop timeout in seconds.
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) labels: HashMap<String, String>,
}

impl Container {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    pub(crate) fn role(&self) -> Role {
        match self.label(label::ROLE) {
            Some("candidate") => Role::Candidate,
            Some("front") => Role::Front,
            Some("task") => Role::Task,
            _ => Role::Release,
        }
    }

    /// Its place behind the front, if it has one.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.label(label::SLOT).and_then(Slot::parse)
    }

    /// What orders containers by age: ids make the order total.
    pub(crate) fn age(&self) -> (Timestamp, &str) {
        (self.created, &self.id)
    }

    /// Running, or meant to at any moment.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.status, Status::Running | Status::Restarting)
    }

    /// How its release tells whether it is healthy.
    pub(crate) fn health(&self) -> Health {
        Health {
            kind: self.label(label::HEALTH).and_then(|kind| HealthKind::from_str(kind, false).ok()),
            path: self.label(label::HEALTH_PATH).unwrap_or("/health").to_owned(),
            port: self.label(label::HEALTH_PORT).and_then(|port| port.parse().ok()),
        }
    }

    /// Reads the engine's answer.
    pub(crate) fn from_engine(seen: ContainerInspectResponse) -> Self {
        let state = seen.state.unwrap_or_default();
        let config = seen.config.unwrap_or_default();
        let host = seen.host_config.unwrap_or_default();
        let restart = host.restart_policy.and_then(|policy| policy.name);
        let networks = seen.network_settings.and_then(|network| network.networks);
        Self {
            id: seen.id.unwrap_or_default(),
            name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            created: seen.created.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH),
            status: match state.status {
                Some(ContainerStateStatusEnum::CREATED) => Status::Created,
                Some(ContainerStateStatusEnum::RESTARTING) => Status::Restarting,
                _ if state.running == Some(true) => Status::Running,
                _ => Status::Stopped,
            },
            exit_code: state.exit_code.unwrap_or_default(),
            oom_killed: state.oom_killed.unwrap_or_default(),
            error: state.error.filter(|error| !error.is_empty()),
            restarts: seen.restart_count.unwrap_or_default(),
            kept_alive: !matches!(
                restart,
                None | Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY)
            ),
            healthcheck: state.health.and_then(healthcheck),
            address: networks.and_then(|networks| {
                let mut addresses = networks
                    .into_values()
                    .flat_map(|network| [network.ip_address, network.global_ipv6_address]);
                addresses.find_map(|address| address?.parse().ok())
            }),
            image_id: seen.image.unwrap_or_default(),
            publish: host.port_bindings.map(published).unwrap_or_default(),
            stop_timeout: config.stop_timeout,
            labels: config.labels.unwrap_or_default(),
        }
    }
}

fn healthcheck(health: slipway_engine::bollard::models::Health) -> Option<HealthCheck> {
    let status = match health.status? {
        HealthStatusEnum::STARTING => HealthCheckStatus::Starting,
        HealthStatusEnum::HEALTHY => HealthCheckStatus::Healthy,
        HealthStatusEnum::UNHEALTHY => HealthCheckStatus::Unhealthy,
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => return None,
    };
    let output =
        health.log.and_then(|log| log.into_iter().next_back()).and_then(|last| last.output);
    Some(HealthCheck { status, output })
}

fn published(bindings: PortMap) -> Vec<Publish> {
    let one = |key: &str, ip: Option<String>, port: Option<String>| {
        let (container, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        Some(Publish {
            ip: ip.and_then(|ip| ip.parse().ok()),
            host_port: port?.parse().ok()?,
            container_port: container.parse().ok()?,
            protocol: if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp },
        })
    };
    let mut all: Vec<_> = bindings
        .into_iter()
        .flat_map(|(key, hosts)| {
            let hosts = hosts.unwrap_or_default();
            hosts.into_iter().filter_map(move |host| one(&key, host.host_ip, host.host_port))
        })
        .collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn the_engines_answer_is_read() {
        // An excerpt of what Docker 20.10 answers.
        let json = r#"{
            "Id": "abc", "Name": "/web-1", "Created": "2026-11-23T07:00:00.12Z", "Image": "sha256:1",
            "RestartCount": 2,
            "State": {"Status": "exited", "Running": false, "ExitCode": 137, "OOMKilled": true, "Error": "",
                      "Health": {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "no answer"}]}},
            "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                           "PortBindings": {"5000/tcp": [{"HostIp": "", "HostPort": "8000"}]}},
            "Config": {"Labels": {"dev.slipway.app": "web", "dev.slipway.role": "candidate"}},
            "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2", "GlobalIPv6Address": ""}}}
        }"#;
        let seen = Container::from_engine(serde_json::from_str(json).unwrap());
        assert_eq!(
            (seen.name.as_str(), seen.status, seen.exit_code),
            ("web-1", Status::Stopped, 137)
        );
        assert_eq!(seen.role(), Role::Candidate);
        assert!(seen.oom_killed && !seen.kept_alive && seen.error.is_none());
        assert_eq!(seen.publish[0].to_string(), "8000:5000/tcp");
        assert_eq!(seen.address.unwrap().to_string(), "172.17.0.2");
        assert_eq!(seen.healthcheck.unwrap().output.as_deref(), Some("no answer"));
        assert_eq!(seen.created.subsec_millisecond(), 120);
    }
}
