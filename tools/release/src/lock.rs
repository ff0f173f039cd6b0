//! The section of `remote-swap lock`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Section;

/// Who deploys an application at the moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lock {
    /// The application's name on its hosts.
    pub app: Option<String>,
    /// One entry a host, in the order in which they were given.
    pub hosts: Vec<HostLock>,
}

impl Section for Lock {
    const NAME: &'static str = "lock";
}

/// The lock of one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostLock {
    /// The host as it was given.
    pub host: String,
    /// Whether somebody holds it; after `lock break`, whether somebody held it.
    pub held: bool,
    /// Whether it was taken from its holder just now.
    pub broken: bool,
    /// Who holds it: `user@machine`.
    pub owner: Option<String>,
    /// The page of the build that holds it.
    pub build_url: Option<String>,
    /// The deploy that holds it.
    pub deploy_id: Option<String>,
    /// When it was taken, by the host's clock, RFC 3339.
    pub since: Option<String>,
    /// How long ago that is, in milliseconds.
    pub age_ms: Option<u64>,
    /// Whether the holder is known to be dead: the next deploy does not wait for it.
    pub dead: Option<bool>,
    /// Why the host could not be asked, if it could not.
    pub error: Option<String>,
}
