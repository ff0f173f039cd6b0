//! Each thing that a deploy asks of a host, in terms of the Engine API.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use slipway_engine::bollard::models::{ContainerCreateBody, ContainerUpdateBody};
use slipway_engine::bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, RemoveImageOptions,
    StartContainerOptions, StopContainerOptions,
};
use slipway_engine::{Error, LayerState, ListedContainer};

use crate::body;
use crate::container::{Container, label};
use crate::handover::Order;
use crate::host::{
    About, Ask, Handed, HealthAnswer, Holder, Host, LocalImage, Platform, Probe, Remotely, Result,
};
use crate::job::Job;
use crate::lines::Lines;
use crate::link::QUICK;
use crate::publish::{Protocol, Publish};
use crate::remote::Remote;
use crate::sent;
use crate::values::Restart;

/// How long the engine may take to create or to start a container: a slow disk has to unpack.
const START: Duration = Duration::from_secs(60);

/// How much longer than the stop timeout a stop may take, for the engine to clean up.
const STOP_SLACK: Duration = Duration::from_secs(15);

/// How long the removal of an image may take: a slow disk has many files to delete.
const REMOVE_IMAGE: Duration = Duration::from_secs(120);

/// Bytes of a log that are read: a line can be of any length.
const LOG_BYTES: usize = 256 * 1024;

/// Containers of one application that are looked at, and how many of them at once.
const CONTAINERS: usize = 1000;
const LOOKING: usize = 16;

/// Layers of an image that are counted while it is pulled; engines take 128.
const LAYERS: usize = 1024;

/// The engine's answer to a start of what runs and to a stop of what is stopped.
const NOT_MODIFIED: u16 = 304;

/// Takes "it is so already" for success.
fn done(
    result: std::result::Result<(), slipway_engine::bollard::errors::Error>,
) -> std::result::Result<(), Error> {
    match result.map_err(Error::from) {
        Err(Error::Api { status: NOT_MODIFIED, .. }) => Ok(()),
        other => other,
    }
}

impl Host for Remote {
    async fn containers(&self, app: &str) -> Result<Vec<Container>> {
        let label = format!("{}={app}", label::APP);
        let found = self
            .call("listing the containers", QUICK, async |engine| {
                let found = engine.containers(true, Some(&label)).await?;
                if found.len() > CONTAINERS {
                    let what = format!("more than {CONTAINERS} containers of one application");
                    return Err(Error::Protocol { what });
                }
                Ok(found)
            })
            .await?;
        let seen = stream::iter(&found).map(|one| self.inspect(&one.id)).buffered(LOOKING);
        let seen: Vec<Option<Container>> = seen.try_collect().await?;
        Ok(seen.into_iter().flatten().collect())
    }

    async fn holders(&self) -> Result<Vec<Holder>> {
        self.call("listing the ports", QUICK, async |engine| {
            Ok(engine.containers(false, None).await?.into_iter().filter_map(holder).collect())
        })
        .await
    }

    async fn listens(&self, ip: IpAddr, port: u16) -> Result<bool> {
        self.accepts(ip, port).await
    }

    async fn platform(&self) -> Result<Platform> {
        self.call("asking for the platform", QUICK, async |engine| {
            let version = engine.docker().version().await?;
            Ok(Platform {
                os: version.os.unwrap_or_default(),
                architecture: version.arch.unwrap_or_default(),
            })
        })
        .await
    }

    async fn about(&self) -> Result<About> {
        self.ask_about().await
    }

    async fn free(&self, path: &str) -> Option<u64> {
        self.measure(path).await
    }

    async fn registry(&self, job: &Job, host: &Platform, proxied: bool) -> Remotely {
        self.ask_registry(job, host, proxied).await
    }

    async fn image(&self, reference: &str) -> Result<Option<LocalImage>> {
        self.call("looking for the image", QUICK, async |engine| {
            let name = sent::engine_name(reference);
            let seen = match engine.inspect_image(&name).await {
                Ok(seen) => seen,
                Err(Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let id = seen.id.unwrap_or_default();
            let mut repo_digests = seen.repo_digests.unwrap_or_default();
            if id == *name {
                repo_digests.push(reference.to_owned());
            }
            Ok(Some(LocalImage {
                id,
                os: seen.os.unwrap_or_default(),
                architecture: seen.architecture.unwrap_or_default(),
                repo_digests,
                created: seen.created.map(|created| created.to_string()),
            }))
        })
        .await
    }

    async fn image_names(&self) -> Result<HashMap<String, String>> {
        self.call("listing the images", QUICK, async |engine| {
            let names = engine.images().await?.into_iter().flat_map(|one| {
                let names =
                    one.repo_digests.unwrap_or_default().into_iter().chain([one.id.clone()]);
                names.map(move |name| (name, one.id.clone())).collect::<Vec<_>>()
            });
            Ok(names.collect())
        })
        .await
    }

    async fn images_in_use(&self) -> Result<HashSet<String>> {
        self.call("listing what uses images", QUICK, async |engine| {
            let found = engine.containers(true, None).await?;
            Ok(found.into_iter().map(|one| one.image_id).collect())
        })
        .await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.call("removing an image", REMOVE_IMAGE, async |engine| {
            let name = sent::engine_name(reference);
            let mut names = vec![name.to_string()];
            if *name != *reference
                && let Ok(image) = engine.inspect_image(&name).await
            {
                // With its last name the image goes as well; without any it goes by its id.
                let tags = image.repo_tags.unwrap_or_default();
                let ours = sent::names(reference, &tags);
                if !tags.is_empty() {
                    names = ours.into_iter().cloned().collect();
                }
            }
            for name in names {
                let options = None::<RemoveImageOptions>;
                let removed = engine.docker().remove_image(&name, options, None).await;
                match removed.map_err(Error::from) {
                    // It is gone, or somebody began to use it.
                    Ok(_) | Err(Error::NotFound { .. } | Error::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await
    }

    async fn pull(&self, job: &Job, progress: &mut dyn FnMut(String)) -> Result<()> {
        self.once("the pull", job.waits.pull_timeout, async |engine| {
            let (mut all, mut here) = (HashSet::new(), HashSet::new());
            let pulled = engine.pull(&job.reference, None, job.auth.as_ref(), |step| {
                if all.len() < LAYERS {
                    all.insert(step.layer.to_owned());
                }
                let done = matches!(step.state, LayerState::Done | LayerState::Exists);
                if done && all.contains(step.layer) {
                    here.insert(step.layer.to_owned());
                }
                progress(format!("{} of {} layers", here.len(), all.len()));
            });
            pulled.await
        })
        .await
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        self.once("creating the container", START, async |engine| {
            let options = CreateContainerOptions {
                name: Some(name.to_owned()),
                ..CreateContainerOptions::default()
            };
            Ok(engine.docker().create_container(Some(options), body).await?.id)
        })
        .await
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>> {
        self.call("looking at the container", QUICK, async |engine| {
            match engine.inspect_container(id).await {
                Ok(seen) => Ok(Some(Container::from_engine(seen))),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn hand_over(&self, order: &Order<'_>, begun: &mut dyn FnMut()) -> Result<Handed> {
        let wait = u64::try_from(order.seconds()).unwrap_or_default();
        let limit = Duration::from_secs(wait) + STOP_SLACK + START;
        self.order(order, limit, begun).await
    }

    fn no_orders(&self) -> Option<String> {
        self.refused_orders()
    }

    async fn start(&self, id: &str) -> Result<()> {
        self.call("starting the container", START, async |engine| {
            done(engine.docker().start_container(id, None::<StartContainerOptions>).await)
        })
        .await
    }

    async fn stop(&self, id: &str, seconds: i32) -> Result<()> {
        let wait = u64::try_from(seconds).unwrap_or_default();
        let limit = Duration::from_secs(wait) + STOP_SLACK;
        self.call("stopping the container", limit, async |engine| {
            let options = StopContainerOptions { t: Some(seconds), signal: None };
            done(engine.docker().stop_container(id, Some(options)).await)
        })
        .await
    }

    async fn kill(&self, id: &str) -> Result<()> {
        self.call("killing the container", QUICK, async |engine| {
            let killed = engine.docker().kill_container(id, None::<KillContainerOptions>).await;
            match killed.map_err(Error::from) {
                // It ended by itself.
                Err(Error::Conflict { .. }) => Ok(()),
                other => other,
            }
        })
        .await
    }

    async fn remove(&self, id: &str, volumes: bool) -> Result<()> {
        self.call("removing the container", QUICK, async |engine| {
            let options = RemoveContainerOptions { force: true, v: volumes, link: false };
            let removed = engine.docker().remove_container(id, Some(options)).await;
            match removed.map_err(Error::from) {
                // It is gone, or on its way out.
                Err(Error::NotFound { .. } | Error::Conflict { .. }) => Ok(()),
                other => other,
            }
        })
        .await
    }

    async fn set_restart(&self, id: &str, restart: Option<Restart>) -> Result<()> {
        self.call("setting the restart policy", QUICK, async |engine| {
            let change = ContainerUpdateBody {
                restart_policy: Some(body::policy(restart)),
                ..ContainerUpdateBody::default()
            };
            engine.docker().update_container(id, change).await?;
            Ok(())
        })
        .await
    }

    async fn log(&self, id: &str, lines: usize) -> Result<Vec<String>> {
        self.call("reading the log", QUICK, async |engine| {
            let mut log = engine.logs(id, Some(lines), false).await?;
            let mut text = Vec::new();
            while let Some(piece) = log.next().await {
                text.extend_from_slice(&piece?);
                if text.len() > LOG_BYTES {
                    break;
                }
            }
            // More lines than were asked for are none of this log.
            Ok(String::from_utf8_lossy(&text).lines().take(lines).map(str::to_owned).collect())
        })
        .await
    }

    async fn follow(&self, id: &str, each: &mut dyn FnMut(String)) -> Result<()> {
        self.once("following the log", Duration::MAX, async |engine| {
            let mut log = engine.logs(id, None, true).await?;
            let mut lines = Lines::default();
            while let Some(piece) = log.next().await {
                lines.push(&piece?, each);
            }
            lines.end(each);
            Ok(())
        })
        .await
    }

    async fn probe(&self, ip: IpAddr, port: u16, path: &str, limit: Duration) -> Result<Probe> {
        self.ask(ip, port, path, limit).await
    }

    async fn health(
        &self,
        ip: IpAddr,
        port: u16,
        ask: &Ask,
        limit: Duration,
    ) -> Result<HealthAnswer> {
        self.ask_health(ip, port, ask, limit).await
    }
}

fn holder(one: ListedContainer) -> Option<Holder> {
    let publish = one.ports.unwrap_or_default().into_iter().filter_map(|port| {
        Some(Publish {
            ip: port.ip.and_then(|ip| ip.parse().ok()),
            host_port: port.public_port?,
            container_port: port.private_port,
            protocol: match port.protocol.as_deref() {
                Some("udp") => Protocol::Udp,
                _ => Protocol::Tcp,
            },
        })
    });
    let publish: Vec<_> = publish.collect();
    let name = one.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
    let name = name.trim_start_matches('/').to_owned();
    (!publish.is_empty()).then_some(Holder { id: one.id, name, publish })
}
