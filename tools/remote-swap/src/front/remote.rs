//! What fronts need of a host, in terms of the Engine API.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use slipway_engine::bollard::models::{
    EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
};
use slipway_engine::bollard::query_parameters::{
    DownloadFromContainerOptions, InspectNetworkOptions, TopOptions, UploadToContainerOptions,
};
use slipway_engine::bollard::{body_full, errors::Error as BollardError};
use slipway_engine::{Engine, Error, Reference};
use slipway_untrusted::limit;

use super::control::{Asked, FrontHost, Network};
use super::{
    Config, DIRECTORY, Files, SERVED_BY_HEADER, Subnet, TOKEN_HEADER, files, map_text, script,
};
use crate::container::label;
use crate::error::HostError;
use crate::host::{Probe, Result};
use crate::job::{Job, credentials};
use crate::link::QUICK;
use crate::remote::Remote;
use crate::slot::Slot;

impl FrontHost for Remote {
    async fn network(&self, app: &str) -> Result<Option<Network>> {
        let name = super::network(app);
        self.call("looking at the network", QUICK, async |engine| found(engine, &name).await).await
    }

    async fn create_network(&self, app: &str) -> Result<Network> {
        let name = super::network(app);
        self.call("creating the network", QUICK, async |engine| {
            if let Some(network) = found(engine, &name).await? {
                return Ok(network);
            }
            // The engine knows which addresses are free; but a container gets an address of its
            // own only in a network whose range was asked for. So it is made twice.
            create(engine, app, &name, None).await?;
            let network = found(engine, &name).await?.ok_or_else(|| nothing_free(&name))?;
            engine.docker().remove_network(&name).await?;
            create(engine, app, &name, Some(network.subnet)).await?;
            Ok(network)
        })
        .await
    }

    async fn connect(&self, network: &str, container: &str, alias: Option<&str>) -> Result<()> {
        self.call("connecting to the network", QUICK, async |engine| {
            let aliases = alias.map(|alias| vec![alias.to_owned()]);
            let request = NetworkConnectRequest {
                container: container.to_owned(),
                endpoint_config: Some(EndpointSettings { aliases, ..EndpointSettings::default() }),
            };
            match engine.docker().connect_network(network, request).await.map_err(Error::from) {
                Err(Error::Api { status: 403, message }) if message.contains("already exists") => {
                    Ok(())
                }
                other => other,
            }
        })
        .await
    }

    async fn pull_image(
        &self,
        image: &str,
        job: &Job,
        progress: &mut dyn FnMut(String),
    ) -> Result<()> {
        let reference: Reference = image.parse().map_err(|error| HostError::Engine {
            doing: "the front's image",
            source: Error::Protocol { what: format!("{image}: {error}") },
        })?;
        let auth = credentials(&job.registry, &reference).0;
        self.once("the pull", job.waits.pull_timeout, async |engine| {
            engine
                .pull(&reference, None, auth.as_ref(), |step| progress(step.layer.to_owned()))
                .await
        })
        .await
    }

    async fn fill(&self, front: &str, files: &Files) -> Result<()> {
        let tar = files::archive(files).map_err(|error| HostError::Engine {
            doing: "the front's files",
            source: Error::Protocol { what: error.to_string() },
        })?;
        self.call("writing the front's files", QUICK, async |engine| {
            let path = DIRECTORY.to_owned();
            let options = UploadToContainerOptions { path, ..Default::default() };
            let body = body_full(tar.clone().into());
            Ok(engine.docker().upload_to_container(front, Some(options), body).await?)
        })
        .await
    }

    async fn files(&self, front: &str) -> Result<Option<Files>> {
        self.call("reading the front's files", QUICK, async |engine| {
            let options = DownloadFromContainerOptions { path: DIRECTORY.into() };
            let stream = engine.docker().download_from_container(front, Some(options));
            pin_mut!(stream);
            let mut tar = limit::FRONT_FILES.gather();
            while let Some(chunk) = stream.next().await {
                match chunk.map_err(Error::from) {
                    // What is larger is not what was put there.
                    Ok(chunk) if tar.push(&chunk).is_err() => return Ok(None),
                    Ok(_) => {}
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            Ok(files::read_archive(tar.bytes()))
        })
        .await
    }

    async fn reload(
        &self,
        front: &str,
        config: &Config,
    ) -> Result<std::result::Result<(), String>> {
        let text = config.text();
        let told = self.call("changing the front's configuration", QUICK, async |engine| {
            script::reload(engine, front, &text).await
        });
        // HAProxy quotes the line that it does not like.
        Ok(told.await?.map_err(|told| told.replace(&config.token, "(token)")))
    }

    async fn workers(&self, front: &str) -> Result<usize> {
        self.call("looking at the front's workers", QUICK, async |engine| {
            let seen = engine.docker().top_processes(front, None::<TopOptions>).await?;
            // One of them is their master.
            Ok(seen.processes.unwrap_or_default().len().saturating_sub(1))
        })
        .await
    }

    async fn keep_live(&self, front: &str, live: Slot) -> Result<std::result::Result<(), String>> {
        self.call("writing down which slot serves", QUICK, async |engine| {
            script::keep_live(engine, front, &map_text(live)).await
        })
        .await
    }

    async fn ask(
        &self,
        ip: IpAddr,
        port: u16,
        path: &str,
        token: &str,
        limit: Duration,
    ) -> Result<Asked> {
        let answer = self.request(ip, port, path, Some((TOKEN_HEADER, token)), limit).await?;
        Ok(match answer {
            Err(reason) => Asked { probe: Probe::Silent { reason }, served_by: None },
            Ok(answer) => {
                let header = answer.headers.get(SERVED_BY_HEADER);
                let server = header.and_then(|value| value.to_str().ok());
                let slot = server.map(|name| name.trim_end_matches("-anyway"));
                Asked {
                    served_by: slot.and_then(Slot::parse),
                    probe: Probe::Answer { status: answer.status.as_u16(), body: answer.head() },
                }
            }
        })
    }
}

async fn found(engine: &Engine, name: &str) -> std::result::Result<Option<Network>, Error> {
    let seen = engine.docker().inspect_network(name, None::<InspectNetworkOptions>).await;
    let seen = match seen.map_err(Error::from) {
        Ok(seen) => seen,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let ranges = seen.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let subnet = ranges.iter().find_map(|range| Subnet::parse(range.subnet.as_deref()?));
    let subnet = subnet.ok_or_else(|| nothing_free(name))?;
    Ok(Some(Network { name: name.to_owned(), subnet }))
}

fn nothing_free(name: &str) -> Error {
    Error::Protocol { what: format!("the network {name} has no usable range of IPv4 addresses") }
}

async fn create(
    engine: &Engine,
    app: &str,
    name: &str,
    subnet: Option<Subnet>,
) -> std::result::Result<(), BollardError> {
    let ipam = subnet.map(|subnet| Ipam {
        config: Some(vec![IpamConfig {
            subnet: Some(subnet.to_string()),
            ip_range: Some(subnet.dynamic()),
            ..IpamConfig::default()
        }]),
        ..Ipam::default()
    });
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(HashMap::from([(label::APP.to_owned(), app.to_owned())])),
        ipam,
        ..NetworkCreateRequest::default()
    };
    engine.docker().create_network(request).await.map(drop)
}
