//! What the engine is asked to create for a front. Pure.

use std::collections::HashMap;

use slipway_engine::bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Mount, MountType,
    MountVolumeOptions, NetworkingConfig,
};

use super::{DIRECTORY, Subnet, USER};
use crate::body::{bindings, policy};
use crate::container::{Role, label};
use crate::job::Job;

/// Far more than it needs, and far less than what takes a host down.
const PIDS: i64 = 4096;

/// The network of an application's front and slots.
pub(crate) fn network(app: &str) -> String {
    format!("slipway-{app}")
}

/// A front's name: unique, as all names are.
pub(crate) fn name(job: &Job) -> String {
    format!("{}-front-{}", job.app, job.deploy_id)
}

/// The body of the request that creates a front. It has no restart policy until it is proved.
pub(crate) fn body(job: &Job, image: &str, subnet: Subnet) -> ContainerCreateBody {
    let labels = [
        (label::APP, job.app.clone()),
        (label::DEPLOY_ID, job.deploy_id.clone()),
        (label::ROLE, Role::Front.as_str().to_owned()),
        (label::REFERENCE, image.to_owned()),
    ];
    let network = network(&job.app);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some(format!("{USER}:{USER}")),
        // As the official image's own entry point does: a master that reloads, in the foreground.
        entrypoint: Some(vec!["haproxy".to_owned()]),
        cmd: Some(
            ["-W", "-db", "-f"]
                .into_iter()
                .map(str::to_owned)
                .chain([format!("{DIRECTORY}/haproxy.cfg")])
                .collect(),
        ),
        // A stop that comes in the middle of a reload gets lost, and then the engine's own restart
        // waits for this front, which has closed the port: no longer than for the application.
        stop_timeout: job.spec.stop_timeout.map(i64::from),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        exposed_ports: Some(job.spec.publish.iter().map(|one| one.container_key()).collect()),
        host_config: Some(HostConfig {
            network_mode: Some(network.clone()),
            port_bindings: Some(bindings(&job.spec.publish)),
            restart_policy: Some(policy(None)),
            ..confined()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, at(subnet.front().to_string()))])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// It can do its work and nothing else: it has no capability, nothing gives it one, and all that it
/// could write is on a volume of root's. Processes are threads to the kernel, one a processor, for each worker that still drains.
fn confined() -> HostConfig {
    let files = Mount {
        target: Some(DIRECTORY.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    };
    // The engine's default since 20.10, which its configuration may change.
    let any_port = ("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        pids_limit: Some(PIDS),
        mounts: Some(vec![files]),
        sysctls: Some(HashMap::from([any_port])),
        ..HostConfig::default()
    }
}

/// An endpoint with this address.
pub(crate) fn at(address: String) -> EndpointSettings {
    EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(address),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    }
}
