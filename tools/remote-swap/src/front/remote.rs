//! What fronts need of a host, in terms of the Engine API.

use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use slipway_engine::bollard::container::LogOutput;
use slipway_engine::bollard::exec::StartExecResults;
use slipway_engine::bollard::models::{
    EndpointSettings, ExecConfig, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
};
use slipway_engine::bollard::query_parameters::{
    DownloadFromContainerOptions, InspectNetworkOptions, TopOptions, UploadToContainerOptions,
};
use slipway_engine::bollard::{body_full, errors::Error as BollardError};
use slipway_engine::{Engine, Error, Reference};

use super::control::{Asked, FrontHost, Network};
use super::{DIRECTORY, Files, SERVED_BY_HEADER, Subnet, TOKEN_HEADER, map_text};
use crate::container::label;
use crate::error::HostError;
use crate::host::{Probe, Result};
use crate::job::Job;
use crate::link::QUICK;
use crate::remote::Remote;
use crate::slot::Slot;

/// The largest file that is read from a front, in bytes.
const FILE_MAX: usize = 1 << 20;

/// Checks a configuration, and takes it up. What is renamed has been synced, so that the disk
/// holds the old file or the new one, whatever happens; a `sync` that takes no file syncs all.
const RELOAD: &str = r#"set -e
cd "$1"
printf '%s' "$2" >haproxy.cfg.new
haproxy -c -q -f haproxy.cfg.new
sync haproxy.cfg.new 2>/dev/null || sync
mv haproxy.cfg.new haproxy.cfg
kill -USR2 1"#;

/// Keeps the slot that serves.
const KEEP_LIVE: &str = r#"set -e
cd "$1"
printf '%s' "$2" >live.map.new
sync live.map.new 2>/dev/null || sync
mv live.map.new live.map"#;

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
        let auth = job.front_auth.as_ref();
        self.once("the pull", job.waits.pull_timeout, async |engine| {
            engine.pull(&reference, None, auth, |step| progress(step.layer.to_owned())).await
        })
        .await
    }

    async fn fill(&self, front: &str, files: &Files) -> Result<()> {
        let tar = archive(files).map_err(|error| HostError::Engine {
            doing: "the front's files",
            source: Error::Protocol { what: error.to_string() },
        })?;
        self.call("writing the front's files", QUICK, async |engine| {
            let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
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
            let mut tar = Vec::new();
            while let Some(chunk) = stream.next().await {
                match chunk.map_err(Error::from) {
                    Ok(chunk) if tar.len() < FILE_MAX => tar.extend_from_slice(&chunk),
                    Ok(_) => break,
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            Ok(read_archive(&tar))
        })
        .await
    }

    async fn reload(&self, front: &str, config: &str) -> Result<std::result::Result<(), String>> {
        self.call("changing the front's configuration", QUICK, async |engine| {
            script(engine, front, RELOAD, config).await
        })
        .await
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
            script(engine, front, KEEP_LIVE, &map_text(live)).await
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

/// Runs a script in a container as root, with the front's directory and one text as arguments.
/// It runs to its end also if the connection breaks.
async fn script(
    engine: &Engine,
    container: &str,
    script: &str,
    text: &str,
) -> std::result::Result<std::result::Result<(), String>, Error> {
    let words = ["sh", "-c", script, "sh", DIRECTORY, text];
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words.into_iter().map(str::to_owned).collect()),
        user: Some("0".to_owned()),
        ..ExecConfig::default()
    };
    let exec = engine.docker().create_exec(container, config).await?.id;
    let mut told = Vec::new();
    if let StartExecResults::Attached { mut output, .. } =
        engine.docker().start_exec(&exec, None).await?
    {
        while let Some(chunk) = output.next().await {
            if let LogOutput::StdOut { message } | LogOutput::StdErr { message } = chunk?
                && told.len() < FILE_MAX
            {
                told.extend_from_slice(&message);
            }
        }
    }
    let code = engine.docker().inspect_exec(&exec).await?.exit_code;
    Ok(match code {
        Some(0) => Ok(()),
        _ => Err(last_line(&String::from_utf8_lossy(&told))),
    })
}

/// The first line that tells an alert, else the last one.
fn last_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let alert = lines().find(|line| line.contains("[ALERT]"));
    alert.or_else(|| lines().next_back()).unwrap_or("it says nothing").to_owned()
}

fn archive(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let directory = DIRECTORY.trim_start_matches('/');
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    builder.append_data(&mut header, format!("{directory}/"), std::io::empty())?;
    for (name, text) in [("haproxy.cfg", &files.config), ("live.map", &files.map)] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("{directory}/{name}"), text.as_bytes())?;
    }
    builder.into_inner()
}

fn read_archive(bytes: &[u8]) -> Option<Files> {
    let (mut config, mut map) = (None, None);
    for entry in tar::Archive::new(bytes).entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path().ok()?.into_owned();
        let place = match path.file_name()?.to_str()? {
            "haproxy.cfg" => &mut config,
            "live.map" => &mut map,
            _ => continue,
        };
        let mut text = String::new();
        entry.read_to_string(&mut text).ok()?;
        *place = Some(text);
    }
    Some(Files { config: config?, map: map? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = Files { config: "global\n".into(), map: "live blue\n".into() };
        let packed = archive(&files).unwrap();
        assert_eq!(read_archive(&packed), Some(files));
        assert_eq!(read_archive(b"not an archive"), None);
    }

    #[test]
    fn what_is_told_of_a_refused_configuration() {
        let told = "[NOTICE]   (9) : haproxy version is 2.6\n[ALERT]    (9) : config : parsing [x:3] : unknown keyword\n[ALERT] (9) : Fatal errors found\n";
        assert!(last_line(told).contains("unknown keyword"));
        assert_eq!(last_line("sh: mv: not found\n\n"), "sh: mv: not found");
        assert_eq!(last_line(""), "it says nothing");
    }
}
