//! The section `status`: what is live on each host, what was, and what could be again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeployKind, Outcome, Section};

/// What `remote-swap status` saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// The application's name on its hosts.
    pub app: Option<String>,
    /// What was seen on each host, in the order in which they were given.
    pub hosts: Vec<HostStatus>,
}

impl Section for Status {
    const NAME: &'static str = "status";
}

/// What was seen on one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostStatus {
    /// The host as it was given.
    pub host: String,
    /// What serves, or is meant to; absent if the host has no such application.
    pub live: Option<LiveStatus>,
    /// The slots by their names, with the strategy `blue-green`.
    pub slots: BTreeMap<String, SlotStatus>,
    /// What owns the published port, with the strategy `blue-green`.
    pub front: Option<FrontStatus>,
    /// The deploy id of the release to which `rollback` without `--to` would go, if there is one.
    pub rollback_to: Option<String>,
    /// The releases that can be gone back to, the newest first.
    pub previous: Vec<PreviousRelease>,
    /// What became of the deploys, the newest first. The host keeps a bounded number.
    pub history: Vec<HistoryEntry>,
    /// In what the running container differs from what was deployed, one sentence each.
    pub drift: Vec<String>,
    /// Why the host could not be asked, if it could not.
    pub error: Option<String>,
}

/// What serves on a host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LiveStatus {
    /// The deploy that put it there.
    pub deploy_id: String,
    /// The deploy that first brought this release: another one than `deploy_id` after a rollback.
    pub origin: String,
    /// What it was made from, by digest.
    pub reference: Option<String>,
    /// The digest alone.
    pub digest: Option<String>,
    /// The release's tag.
    pub tag: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// The container's name.
    pub container: String,
    /// The container's id.
    pub container_id: String,
    /// What the engine says it does: `running`, `paused`, `restarting`, `exited`.
    pub state: String,
    /// How many times the engine has started it again.
    pub restarts: i64,
    /// When it was made, by the host's clock, RFC 3339.
    pub since: String,
    /// Who deployed it: user and machine.
    pub by: Option<String>,
    /// The page of the build that deployed it.
    pub build_url: Option<String>,
    /// Its slot, with the strategy `blue-green`.
    pub slot: Option<String>,
}

/// A slot of the strategy `blue-green`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SlotStatus {
    /// The name of the newest container in it.
    pub container: String,
    /// What that container does.
    pub state: String,
    /// The deploy that made it.
    pub deploy_id: String,
}

/// The front of the strategy `blue-green`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FrontStatus {
    /// The container's name.
    pub container: String,
    /// The name of the image that it was made from.
    pub image: Option<String>,
    /// The id of that image.
    pub image_id: Option<String>,
    /// The digest by which its registry knows it, if it was pulled from one.
    pub image_digest: Option<String>,
    /// When it was made, RFC 3339.
    pub image_created: Option<String>,
    /// When the container was made, RFC 3339.
    pub since: String,
    /// What the container does.
    pub state: String,
    /// The slot that it passes requests to, where that is known.
    pub live_slot: Option<String>,
}

/// A release that can be gone back to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PreviousRelease {
    /// The deploy that first brought it.
    pub deploy_id: String,
    /// The digest of its image.
    pub digest: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Its commit.
    pub revision: Option<String>,
    /// When it was first deployed, RFC 3339.
    pub at: String,
    /// Whether the host has the image: if not, it is pulled again.
    pub image_present: bool,
    /// Whether the host still has a container of it.
    pub container_present: bool,
}

/// What became of one deploy on one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HistoryEntry {
    /// When it began, by the clock of who deployed, RFC 3339.
    pub at: String,
    /// The name of the deploy.
    pub deploy_id: String,
    /// The deploy that first brought the release: another one than `deploy_id` for a rollback.
    pub origin: String,
    /// Whether it was a deploy or a rollback.
    pub kind: Option<DeployKind>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The digest of the image.
    pub digest: Option<String>,
    /// The release's tag.
    pub tag: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// Who deployed: user and machine.
    pub by: Option<String>,
    /// The page of the build that deployed.
    pub build_url: Option<String>,
    /// The number of the build that made the image.
    pub build_number: Option<u64>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The same as a code of `error.code`.
    pub error_code: Option<String>,
}
