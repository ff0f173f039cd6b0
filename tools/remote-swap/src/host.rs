//! What a deploy asks of a host: a narrow trait, so that tests can make any of it fail.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use slipway_engine::ApiVersion;
use slipway_engine::bollard::models::ContainerCreateBody;

use crate::container::Container;
use crate::error::HostError;
use crate::handover::Order;
use crate::job::Job;
use crate::publish::Publish;
use crate::values::Restart;

/// What came of one HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// An answer.
    Answer {
        status: u16,
        /// Its head.
        body: String,
    },
    /// None, and why.
    Silent { reason: String },
}

impl Probe {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Answer { status: 200..=299, .. })
    }
}

/// By what a port is asked whether the application is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// It accepts a connection.
    Connection,
    /// It answers 2xx.
    Http {
        path: String,
        /// By TLS, with any certificate.
        tls: bool,
    },
}

/// What a port that was asked so has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthAnswer {
    pub(crate) healthy: bool,
    /// What came is not HTTP.
    pub(crate) not_http: bool,
    /// The answer, or why there is none; nothing of a connection that was accepted.
    pub(crate) probe: Option<Probe>,
}

impl From<Probe> for HealthAnswer {
    fn from(probe: Probe) -> Self {
        Self { healthy: probe.is_good(), not_http: false, probe: Some(probe) }
    }
}

/// An image that the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalImage {
    pub(crate) id: String,
    pub(crate) os: String,
    pub(crate) architecture: String,
    /// The names by digest under which it was pulled.
    pub(crate) repo_digests: Vec<String>,
    /// When it was made, RFC 3339.
    pub(crate) created: Option<String>,
}

/// What the host's engine runs on, in the words of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// What the engine tells of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The API that is spoken with it.
    pub(crate) api: ApiVersion,
    pub(crate) version: String,
    /// The directory that holds its images.
    pub(crate) root: String,
    /// Its clock, if it told it.
    pub(crate) clock: Option<Clock>,
    /// Whether it reaches registries through a proxy.
    pub(crate) proxied: bool,
    pub(crate) machine: Machine,
}

/// The machine that an engine runs on, for people who look for the cause of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) kernel: String,
    pub(crate) cpus: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) containers_running: i64,
}

/// What the engine's clock told, between two looks at this machine's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) asked: Timestamp,
    pub(crate) told: Timestamp,
    pub(crate) answered: Timestamp,
}

/// What could be learned of an image that the host does not have yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remotely {
    /// The platforms that it is for; empty if not known.
    pub(crate) platforms: Vec<String>,
    /// The size of its layers as they are transferred.
    pub(crate) bytes: Option<u64>,
}

/// Ports of the host that a running container holds.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) publish: Vec<Publish>,
}

/// What came of an order that was handed to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// What was to be started runs.
    Done,
    /// The old one would not stop, or the engine has brought it back: it runs.
    Kept,
    /// The new one could not be started: the old one runs again.
    Undone,
    /// Neither could be started.
    Failed,
    /// The host takes no orders, and nothing was done.
    Refused,
}

pub(crate) type Result<T> = std::result::Result<T, HostError>;

/// One host. Each call has a deadline. Calls that find their work done succeed, so that after a
/// break of the connection the same call can be made again.
pub(crate) trait Host {
    /// All containers with the application's label.
    async fn containers(&self, app: &str) -> Result<Vec<Container>>;
    /// All running containers that publish ports, whosever they are.
    async fn holders(&self) -> Result<Vec<Holder>>;
    /// Whether something accepts connections there, as seen from the host.
    async fn listens(&self, ip: IpAddr, port: u16) -> Result<bool>;
    async fn platform(&self) -> Result<Platform>;
    async fn about(&self) -> Result<About>;
    /// The bytes that may still be written where this directory is; none if the host does not let
    /// its user ask.
    async fn free(&self, path: &str) -> Option<u64>;
    /// What the registry tells of the image, for a host of this platform.
    async fn registry(&self, job: &Job, host: &Platform, proxied: bool) -> Remotely;
    /// The image, if the host has it under exactly this reference.
    async fn image(&self, reference: &str) -> Result<Option<LocalImage>>;
    /// The ids of all images that have a name by digest, by those names.
    async fn image_names(&self) -> Result<HashMap<String, String>>;
    /// The ids of the images that containers are made of, whosever they are.
    async fn images_in_use(&self) -> Result<HashSet<String>>;
    /// Takes this name from an image, and removes it if it has no other; not if it is used.
    async fn remove_image(&self, reference: &str) -> Result<()>;
    async fn pull(&self, job: &Job, progress: &mut dyn FnMut(String)) -> Result<()>;
    /// Creates a container and answers its id.
    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String>;
    /// None if there is no such container.
    async fn inspect(&self, id: &str) -> Result<Option<Container>>;
    /// Hands an order to the host, which brings it to its end by itself from the moment on at which
    /// it calls `begun`.
    async fn hand_over(&self, order: &Order<'_>, begun: &mut dyn FnMut()) -> Result<Handed>;
    /// Why it refused an order, if it did.
    fn no_orders(&self) -> Option<String> {
        None
    }
    async fn start(&self, id: &str) -> Result<()>;
    /// Stops, and kills after so many seconds.
    async fn stop(&self, id: &str, seconds: i32) -> Result<()>;
    async fn kill(&self, id: &str) -> Result<()>;
    /// Removes, also if it runs; its nameless volumes too if `volumes` is set.
    async fn remove(&self, id: &str, volumes: bool) -> Result<()>;
    async fn set_restart(&self, id: &str, restart: Option<Restart>) -> Result<()>;
    /// The last lines of its log.
    async fn log(&self, id: &str, lines: usize) -> Result<Vec<String>>;
    /// The lines of its log as they come, until it ends.
    async fn follow(&self, id: &str, each: &mut dyn FnMut(String)) -> Result<()>;
    /// One HTTP request as seen from the host.
    async fn probe(&self, ip: IpAddr, port: u16, path: &str, limit: Duration) -> Result<Probe>;
    /// Asks a port for the application's health, as seen from the host.
    async fn health(
        &self,
        ip: IpAddr,
        port: u16,
        ask: &Ask,
        limit: Duration,
    ) -> Result<HealthAnswer>;
}
