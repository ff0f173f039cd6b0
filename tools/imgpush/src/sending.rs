//! The way without a registry: the image goes from one engine to others, over SSH.

use std::time::Instant;

use slipway_engine::{Engine, Reference};
use slipway_release::{Failure, Image, Push};
use slipway_shell::{Step, Ui};
use slipway_ssh::{ConnectOptions, Login, Target};

use crate::hosts::Host;
use crate::image::Local;
use crate::options::{Compression, Platforms, Via};
use crate::outcome::{count, megabytes};
use crate::plan::{image_of, name_of, tags};
use crate::repack::{self, Missing};
use crate::{Error, Options, millis};

/// What is to be sent, and where to.
#[derive(Debug)]
pub(crate) struct Sending {
    /// The image's id, or a name that the engine knows.
    image: String,
    repository: Reference,
    /// The names that it gets there.
    tags: Vec<Reference>,
    /// As they were given, and what they mean.
    hosts: Vec<(String, Target)>,
    login: ConnectOptions,
    socket: String,
}

/// What came of one host.
#[derive(Default)]
struct Sent {
    layers: u32,
    existing: u32,
    bytes: u64,
    /// Whether it had the image and all of its names.
    already_present: bool,
}

impl Sending {
    /// Joins the options with the document.
    pub(crate) fn new(
        options: &Options,
        image: Option<&Image>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        contradictions(options)?;
        let what = image_of(options, image)?.ok_or(Error::NoImage)?;
        let named = options
            .repository
            .clone()
            .or_else(|| image?.name.clone())
            .or_else(|| name_of(options.image.as_ref()?))
            .ok_or(Error::NoRepository)?;
        let repository: Reference = named.parse().map_err(Error::Reference)?;
        if repository.tag().is_some() || repository.digest().is_some() {
            return Err(Error::TagInRepository { repository: named.into() }.into());
        }
        if repository.domain().is_some() {
            return Err(Error::Contradiction(
                "--to sends without a registry: --repository is a name without a host then",
            )
            .into());
        }
        let tags = tags(options, image).into_iter().map(|tag| repository.with_tag(&tag));
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(Error::Reference)?;
        if tags.is_empty() {
            return Err(Error::NoTag.into());
        }
        let login = Login {
            identity: &options.identity,
            identity_env: options.identity_env.as_deref(),
            passphrase_env: options.identity_passphrase_env.as_deref(),
            known_hosts: options.known_hosts.as_deref(),
            host_key: &options.host_key,
            timeout: options.connect_timeout.0,
        };
        Ok(Self {
            image: what,
            tags,
            repository,
            hosts: hosts(&options.to)?,
            login: login.options(lookup)?,
            socket: options.docker_socket.clone(),
        })
    }

    /// Sends it to all hosts, one after the other.
    pub(crate) async fn run(&self, ui: &Ui) -> Result<Push, Error> {
        let begun = Instant::now();
        let engine = Engine::connect_local().await?;
        suits(&engine).await?.map_err(|what| Error::Store { place: "from here".into(), what })?;
        let image = Local::inspect(&engine, &self.image).await?;
        let mut total = Sent { already_present: true, ..Sent::default() };
        for (name, target) in &self.hosts {
            let step = ui.step(format!("sending {} to {name}", self.repository));
            let host = Host::open(name.clone(), target, &self.login, &self.socket).await?;
            let sent = self.send(&engine, &image, &host, &step).await?;
            step.done(&sent.to_string());
            total.layers += sent.layers;
            total.existing += sent.existing;
            total.bytes += sent.bytes;
            total.already_present &= sent.already_present;
        }
        Ok(Push {
            repository: Some(self.repository.path().to_owned()),
            tags: self.tags.iter().filter_map(|tag| tag.tag().map(str::to_owned)).collect(),
            image_id: Some(image.id),
            hosts: self.hosts.iter().map(|(_, target)| target.to_string()).collect(),
            layers_uploaded: Some(total.layers),
            layers_existing: Some(total.existing),
            bytes_uploaded: Some(total.bytes),
            already_present: Some(total.already_present),
            via: (total.layers > 0).then(|| "ssh".to_owned()),
            push_ms: Some(millis(begun)),
            ..Push::default()
        })
    }

    async fn send(
        &self,
        engine: &Engine,
        image: &Local,
        host: &Host,
        step: &Step,
    ) -> Result<Sent, Error> {
        let place = || format!("to {}", host.name);
        host.asked(suits(&host.engine))
            .await?
            .map_err(|what| Error::Store { place: place().into(), what })?;
        let names = named(host, &image.id).await?;
        let mut sent = Sent { existing: count(image.layers.len()), ..Sent::default() };
        if names.is_none() {
            let have = host.asked(host.layers(&image.layers, &self.repository)).await?;
            sent = transfer(engine, image, host, have, step).await?;
            if named(host, &image.id).await?.is_none() {
                return Err(Error::NotTaken {
                    host: host.name.as_str().into(),
                    id: image.id.as_str().into(),
                });
            }
        }
        let has =
            |tag: &Reference| names.as_ref().is_some_and(|names| names.contains(&tag.to_string()));
        sent.already_present = self.tags.iter().all(has);
        for tag in self.tags.iter().filter(|tag| !has(tag)) {
            host.asked(host.engine.tag(&image.id, tag)).await?;
        }
        Ok(sent)
    }
}

/// Sends what is missing. What a host had when it was asked it may have lost meanwhile: then all.
async fn transfer(
    engine: &Engine,
    image: &Local,
    host: &Host,
    have: usize,
    step: &Step,
) -> Result<Sent, Error> {
    let progress = |bytes| step.update(format!("{} sent", megabytes(bytes)));
    let missing = |have| Missing { layers: &image.layers, have };
    let mut sent = repack::send(engine, &image.id, missing(have), host, progress).await;
    if let Err(Error::HostEngine { source: slipway_engine::Error::Api { .. }, .. }) = &sent
        && have > 0
    {
        sent = repack::send(engine, &image.id, missing(0), host, progress).await;
    }
    let sent = sent?;
    let existing = count(image.layers.len()).saturating_sub(sent.layers);
    Ok(Sent { layers: sent.layers, existing, bytes: sent.bytes, already_present: false })
}

/// The names of the image on a host; none if it is not there.
async fn named(host: &Host, id: &str) -> Result<Option<Vec<String>>, Error> {
    let found = host.asked(async {
        match host.engine.inspect_image(id).await {
            Ok(found) => Ok(Some(found.repo_tags.unwrap_or_default())),
            Err(slipway_engine::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    found.await
}

/// Whether an engine names images by their configuration, and looks for a layer before it reads one.
async fn suits(engine: &Engine) -> Result<Result<(), &'static str>, slipway_engine::Error> {
    if engine.is_podman() {
        return Ok(Err("Podman"));
    }
    let containerd = engine.info().await?.containerd_store();
    Ok(if containerd { Err("one with the containerd image store") } else { Ok(()) })
}

fn hosts(given: &[String]) -> Result<Vec<(String, Target)>, Failure> {
    let mut hosts = Vec::<(String, Target)>::new();
    for text in given {
        let target: Target = text
            .parse()
            .map_err(|error: slipway_ssh::Error| error.failure(format!("--to: {error}")))?;
        if !hosts.iter().any(|(_, known)| *known == target) {
            hosts.push((target.to_string(), target));
        }
    }
    Ok(hosts)
}

/// What only a registry can do.
fn contradictions(options: &Options) -> Result<(), Error> {
    Err(Error::Contradiction(if options.registry.is_some() {
        "--to sends without a registry: leave --registry out"
    } else if !options.also.is_empty() {
        "--to has no tags that follow: give them with --tag"
    } else if !options.sbom.is_empty() || !options.attach.is_empty() {
        "--to has no registry that files could be attached in: leave --sbom and --attach out"
    } else if options.via != Via::Auto || options.compression != Compression::Gzip {
        "--to sends the archive of the engine by gzip: leave --via and --compression out"
    } else if options.platform == Platforms::All {
        "--to sends the image of the engine's own platform: leave --platform out"
    } else {
        return Ok(());
    }))
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.already_present {
            return f.write_str("the host has it already");
        }
        let all = self.layers + self.existing;
        write!(f, "{} of {all} layers sent, {}", self.layers, megabytes(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn sending(args: &[&str]) -> Result<Sending, Failure> {
        let command = Options::augment_args(Command::new("imgpush").no_binary_name(true));
        let matches = command.get_matches_from(args);
        let image = Image {
            name: Some("team/web".into()),
            tag: Some("1".into()),
            id: Some("sha256:1".into()),
            ..Image::default()
        };
        let options = Options::from_arg_matches(&matches).unwrap();
        Sending::new(&options, Some(&image), &|_| None)
    }

    #[test]
    fn the_names_are_those_of_the_document_without_a_registry() {
        let sending = sending(&["--to", "ssh://a@h", "--to", "a@h:22", "--to", "b@h"]).unwrap();
        assert_eq!(sending.tags[0].to_string(), "team/web:1");
        assert_eq!(sending.hosts.len(), 2, "one host is given twice");
    }

    #[test]
    fn what_only_a_registry_can_do_is_refused() {
        for args in [
            ["--also", "latest"],
            ["--registry", "r.example"],
            ["--compression", "zstd"],
            ["--via", "direct"],
            ["--platform", "all"],
            ["--repository", "r.example/web"],
            ["--to", "ssh://"],
        ] {
            let failure = sending(&[["--to", "a@h"], args].concat()).unwrap_err();
            assert_eq!(failure.code, slipway_release::Code::Usage, "{args:?}");
        }
    }
}
