//! What the engine is asked to create for a front. Pure.

use std::collections::HashMap;

use slipway_engine::bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig,
};

use super::{DIRECTORY, Subnet};
use crate::body::{bindings, policy};
use crate::container::{Role, label};
use crate::job::Job;

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
            ..HostConfig::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, at(subnet.front().to_string()))])),
        }),
        ..ContainerCreateBody::default()
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
