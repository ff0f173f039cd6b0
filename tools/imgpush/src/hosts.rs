//! A host that an image is sent to: the engine behind one SSH connection, and what it has already.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde::Deserialize;
use slipway_engine::{Engine, Reference, Request};
use slipway_ssh::{ConnectOptions, Connection, Target};
use tokio::time::timeout;

use crate::Error;

/// Images that are compared at most: those of the same repository first, then the newest.
const IMAGES: usize = 64;

/// Questions at once.
const ASKING: usize = 4;

/// How long a host may take to answer a question.
const ANSWER: Duration = Duration::from_secs(120);

/// How a stream gets to the engine.
#[derive(Clone)]
enum Way {
    /// The SSH server forwards to this socket.
    Socket(String),
    /// The docker client there joins its standard streams to it.
    Command(String),
}

/// A host.
pub(crate) struct Host {
    /// As it was given.
    pub(crate) name: String,
    pub(crate) engine: Engine,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Summary {
    id: String,
    created: i64,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

impl Host {
    /// Connects to a host, and to the engine that listens at `socket` there.
    pub(crate) async fn open(
        name: String,
        target: &Target,
        options: &ConnectOptions,
        socket: &str,
    ) -> Result<Self, Error> {
        let opening = timeout(ANSWER, Self::opened(&name, target, options, socket));
        let opened = opening.await.unwrap_or_else(|_| Err(silent(&name, ANSWER)));
        Ok(Self { engine: opened?, name })
    }

    async fn opened(
        name: &str,
        target: &Target,
        options: &ConnectOptions,
        socket: &str,
    ) -> Result<Engine, Error> {
        let failed = |source| Error::Host { host: name.into(), source };
        let connection = Connection::open(target, options).await.map_err(failed)?;
        // What cannot be forwarded is known before it is told to the engine's client, which would
        // tell it as a failure of its own.
        let way = match connection.unix(socket).await {
            Ok(_) => Way::Socket(socket.to_owned()),
            Err(refused @ slipway_ssh::Error::ConnectRefused { .. }) if plain(socket) => {
                let way = Way::Command(format!("docker -H unix://{socket} system dial-stdio"));
                let engine = Self::connect(name, connection, way).await;
                return engine.map_err(|_| failed(refused));
            }
            Err(error) => return Err(failed(error)),
        };
        let engine = Self::connect(name, connection, way).await;
        engine.map_err(|source| Error::HostEngine { host: name.into(), source })
    }

    /// A question to the engine, which has to answer in a while.
    ///
    /// # Errors
    /// What the engine says, with the host's name; [`Error::HostSilent`].
    pub(crate) async fn asked<T>(
        &self,
        question: impl Future<Output = Result<T, slipway_engine::Error>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER, question).await {
            Ok(answer) => answer.map_err(|source| self.failed(source)),
            Err(_) => Err(silent(&self.name, ANSWER)),
        }
    }

    async fn connect(
        name: &str,
        connection: Connection,
        way: Way,
    ) -> Result<Engine, slipway_engine::Error> {
        let open = move || {
            let (connection, way) = (connection.clone(), way.clone());
            async move {
                match &way {
                    Way::Socket(path) => connection.unix(path).await,
                    Way::Command(command) => connection.exec(command).await,
                }
            }
        };
        Engine::connect_over(name, open).await
    }

    /// Says on which host the engine failed.
    pub(crate) fn failed(&self, source: slipway_engine::Error) -> Error {
        Error::HostEngine { host: self.name.as_str().into(), source }
    }

    /// How many of these layers it has, from the base on: an engine knows a layer by the layers below.
    pub(crate) async fn layers(
        &self,
        layers: &[String],
        repository: &Reference,
    ) -> Result<usize, slipway_engine::Error> {
        let request = Request::new(Method::GET, "/images/json");
        let mut images: Vec<Summary> = self.engine.json(request).await?;
        images.sort_by_key(|image| (!image.is_of(repository), std::cmp::Reverse(image.created)));
        images.truncate(IMAGES);
        stream::iter(images)
            .map(async |image: Summary| match self.engine.inspect_image(&image.id).await {
                Ok(found) => {
                    let there = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
                    Ok(common(layers, &there))
                }
                // Somebody removed it since it was listed.
                Err(slipway_engine::Error::NotFound { .. }) => Ok(0),
                Err(error) => Err(error),
            })
            .buffer_unordered(ASKING)
            .try_fold(0, async |most, one| Ok(most.max(one)))
            .await
    }
}

impl Summary {
    fn is_of(&self, repository: &Reference) -> bool {
        let names = self.repo_tags.iter().flatten().chain(self.repo_digests.iter().flatten());
        let mut names = names.filter_map(|name| name.parse::<Reference>().ok());
        names.any(|name| name.path() == repository.path())
    }
}

/// The error of a host that does not answer.
pub(crate) fn silent(host: &str, waited: Duration) -> Error {
    Error::HostSilent { host: host.into(), seconds: waited.as_secs() }
}

/// How many layers two images have in common.
fn common(one: &[String], other: &[String]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Whether a path means itself to every shell.
fn plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    path.starts_with('/') && path.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_counts_only_on_the_same_ones() {
        let of = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(common(&of("abc"), &of("abd")), 2);
        assert_eq!(common(&of("abc"), &of("xbc")), 0);
        assert_eq!(common(&of("abc"), &of("abcd")), 3);
    }

    #[test]
    fn images_of_the_repository_are_known_in_any_registry() {
        let web: Reference = "web".parse().unwrap();
        let image =
            |name: &str| Summary { repo_digests: Some(vec![name.into()]), ..Summary::default() };
        let hex = "0".repeat(64);
        assert!(image(&format!("r.example/web@sha256:{hex}")).is_of(&web));
        assert!(!image("<none>@<none>").is_of(&web));
    }
}
