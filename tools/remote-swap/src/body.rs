//! What the engine is asked to create. Pure.

use std::collections::{BTreeSet, HashMap};

use slipway_engine::bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig,
    NetworkingConfig, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};

use crate::confinement::Confinement;
use crate::container::{Role, label};
use crate::job::Job;
use crate::publish::Publish;
use crate::record;
use crate::sent;
use crate::spec::Spec;
use crate::values::Restart;

/// A container's name: unique, and sorted by time beside the others of its application.
pub(crate) fn name(job: &Job, role: Role) -> String {
    let name = format!("{}-{}", job.app, job.deploy_id);
    match role {
        Role::Candidate => format!("{name}-candidate"),
        Role::Task => format!("{name}-task"),
        Role::Release | Role::Front => name,
    }
}

/// The body of the request that creates a container.
///
/// The candidate is the release without its published ports and without its name in the network:
/// nobody may meet it by accident. Neither has a restart policy yet: that is given to what is
/// proved, and an end before that is to be seen.
pub(crate) fn create(job: &Job, role: Role) -> ContainerCreateBody {
    let spec = &job.spec;
    let published: &[Publish] = if role == Role::Release { &spec.publish } else { &[] };
    let variables = spec.environment.variables();
    ContainerCreateBody {
        user: spec.confinement.user.clone(),
        image: Some(sent::engine_name(&job.reference.to_string()).into_owned()),
        env: Some(variables.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels(job, role)),
        exposed_ports: Some(spec.publish.iter().map(Publish::container_key).collect()),
        stop_timeout: spec.stop_timeout.map(i64::from),
        healthcheck: (role == Role::Candidate).then(|| sooner(job)),
        host_config: Some(HostConfig {
            binds: Some(spec.volumes.clone()),
            memory: spec.memory,
            nano_cpus: spec.nano_cpus,
            network_mode: spec.network.clone(),
            port_bindings: Some(bindings(published)),
            restart_policy: Some(policy(None)),
            log_config: log_config(spec),
            ..confined(&spec.confinement)
        }),
        networking_config: networking(job, role),
        ..ContainerCreateBody::default()
    }
}

/// The body for the release command: the release out of sight, with another process in it.
pub(crate) fn task(job: &Job, command: &str) -> ContainerCreateBody {
    let entrypoint = ["/bin/sh", "-c", command].map(str::to_owned);
    let none = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    ContainerCreateBody {
        // The image's own CMD is not added to an entrypoint that is given.
        entrypoint: Some(entrypoint.to_vec()),
        healthcheck: Some(none),
        ..create(job, Role::Task)
    }
}

fn labels(job: &Job, role: Role) -> HashMap<String, String> {
    let health = &job.spec.health;
    let known = [
        (label::APP, Some(job.app.clone())),
        (label::DEPLOY_ID, Some(job.deploy_id.clone())),
        (label::ROLE, Some(role.as_str().to_owned())),
        (label::REFERENCE, Some(job.reference.to_string())),
        (label::FINGERPRINT, Some(job.fingerprint.clone())),
        (label::RESTART, Some(job.spec.restart.to_string())),
        (label::HEALTH, health.kind.map(|kind| kind.as_str().to_owned())),
        (label::HEALTH_PATH, Some(health.path.clone())),
        (label::HEALTH_PORT, health.port.map(|port| port.to_string())),
        (label::TAG, job.tag.clone()),
        (label::REVISION, job.revision.clone()),
    ];
    let known = known.into_iter().chain(job.provenance.labels());
    let known = known.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    if role == Role::Candidate {
        return known.collect();
    }
    known.chain(record::labels(job).map(|(name, value)| (name.to_owned(), value))).collect()
}

/// What a container may do, in the engine's words.
fn confined(confinement: &Confinement) -> HostConfig {
    let list =
        |names: &BTreeSet<String>| (!names.is_empty()).then(|| names.iter().cloned().collect());
    // As docker's client writes it: all engines know that form.
    let capabilities = |names: &BTreeSet<String>| {
        let prefixed = |name: &String| match name.as_str() {
            "ALL" => name.clone(),
            _ => format!("CAP_{name}"),
        };
        list(&names.iter().map(prefixed).collect())
    };
    let tmpfs = &confinement.tmpfs;
    HostConfig {
        readonly_rootfs: Some(confinement.read_only),
        tmpfs: (!tmpfs.is_empty()).then(|| tmpfs.clone().into_iter().collect()),
        cap_add: capabilities(&confinement.cap_add),
        cap_drop: capabilities(&confinement.cap_drop),
        security_opt: list(&confinement.security_opt),
        pids_limit: confinement.pids_limit,
        ..HostConfig::default()
    }
}

/// Runs the image's own HEALTHCHECK more often while somebody waits for it. What is left out is
/// the image's; an image without one still has none.
fn sooner(job: &Job) -> HealthConfig {
    let interval = i64::try_from(job.waits.health_interval.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig { interval: Some(interval), ..HealthConfig::default() }
}

pub(crate) fn bindings(published: &[Publish]) -> PortMap {
    let mut map = PortMap::new();
    for one in published {
        let binding = PortBinding {
            host_ip: one.ip.map(|ip| ip.to_string()),
            host_port: Some(one.host_port.to_string()),
        };
        map.entry(one.container_key()).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn log_config(spec: &Spec) -> Option<HostConfigLogConfig> {
    if spec.log_driver.is_none() && spec.log_opts.is_empty() {
        return None;
    }
    Some(HostConfigLogConfig {
        // An empty type is the engine's default driver.
        typ: Some(spec.log_driver.clone().unwrap_or_default()),
        config: Some(spec.log_opts.clone().into_iter().collect()),
    })
}

/// In a network of its own the release answers to the application's name. The engine's default
/// network knows no names.
fn networking(job: &Job, role: Role) -> Option<NetworkingConfig> {
    let network = job.spec.network.as_deref()?;
    if role != Role::Release || matches!(network, "bridge" | "default") {
        return None;
    }
    let settings =
        EndpointSettings { aliases: Some(vec![job.app.clone()]), ..EndpointSettings::default() };
    Some(NetworkingConfig {
        endpoints_config: Some(HashMap::from([(network.to_owned(), settings)])),
    })
}

/// A restart policy in the engine's words; none is `no`.
pub(crate) fn policy(restart: Option<Restart>) -> RestartPolicy {
    let (name, times) = match restart {
        None => (RestartPolicyNameEnum::NO, 0),
        Some(Restart::Always) => (RestartPolicyNameEnum::ALWAYS, 0),
        Some(Restart::UnlessStopped) => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        Some(Restart::OnFailure(times)) => (RestartPolicyNameEnum::ON_FAILURE, times),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: Some(times) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    #[test]
    fn a_candidate_is_the_release_out_of_sight() {
        let job = job(&["-p=127.0.0.1:8000:5000", "-p=8000:5000/udp", "--network=n", "-e=A=b"]);
        let (candidate, release) = (create(&job, Role::Candidate), create(&job, Role::Release));
        let ports = |body: &ContainerCreateBody| {
            body.host_config.clone().unwrap().port_bindings.unwrap().len()
        };
        assert_eq!((ports(&candidate), ports(&release)), (0, 2));
        assert!(candidate.networking_config.is_none() && release.networking_config.is_some());
        assert!(candidate.healthcheck.is_some() && release.healthcheck.is_none());
        assert_ne!(name(&job, Role::Candidate), name(&job, Role::Release));
        let task = task(&job, "flask db upgrade");
        assert_eq!(task.entrypoint.clone().unwrap()[2], "flask db upgrade");
        assert!(ports(&task) == 0 && task.networking_config.is_none() && task.cmd.is_none());
        for body in [&candidate, &release, &task] {
            let host = body.host_config.clone().unwrap();
            assert_eq!(host.restart_policy, Some(policy(None)));
            assert_eq!(host.network_mode.as_deref(), Some("n"));
            assert_eq!(body.env, Some(vec!["A=b".to_owned()]));
            assert_eq!(body.labels.clone().unwrap()[label::APP], "web");
        }
    }
}
