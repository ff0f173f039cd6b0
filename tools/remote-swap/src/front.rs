//! The front: a HAProxy container that owns an application's published ports and passes what comes
//! to one of two slots.
//!
//! What it does is in two files on a volume of its own, `haproxy.cfg` and `live.map`; both are
//! replaced by a rename that is synced first, so that after a power loss there is the old one or
//! the new one. The map says which slot serves: the front reads it when it starts, and is told of
//! a change over HTTP, at a port that is published nowhere and wants a token.

mod address;
mod body;
mod claims;
mod config;
mod control;
mod files;
mod remote;
mod script;
mod settings;
mod state;

pub(crate) use address::Subnet;
pub(crate) use body::{at, body, name, network};
pub(crate) use config::{Backend, Config, PortMapping};
pub(crate) use control::{Asked, FrontHost, Network};
pub(crate) use files::read_archive;
pub(crate) use settings::{Settings, trusted_proxy};
pub(crate) use state::State;

use std::net::Ipv4Addr;

use crate::container::{Container, label};
use crate::slot::Slot;

/// The user that a front runs as, that of the official images. It needs nothing of its own: files
/// are root's, for this group to read.
pub(crate) const USER: u32 = 99;

/// Where the front's files are in its container.
pub(crate) const DIRECTORY: &str = "/slipway";

/// The header that carries the front's token.
pub(crate) const TOKEN_HEADER: &str = "x-slipway-token";

/// The header that tells which slot gave an answer, to those who know the token.
pub(crate) const SERVED_BY_HEADER: &str = "x-slipway-served-by";

/// The image of a front that is set up anew.
pub(crate) const DEFAULT_IMAGE: &str = "haproxy:3.2";

/// The front's two files.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) config: String,
    pub(crate) map: String,
}

impl Files {
    pub(crate) fn new(config: &Config, live: Slot) -> Self {
        Self { config: config.text(), map: map_text(live) }
    }

    /// The slot that the map names.
    pub(crate) fn live(&self) -> Option<Slot> {
        let line = self.map.lines().find_map(|line| line.strip_prefix("live "))?;
        Slot::parse(line.trim())
    }
}

/// The text of the map.
pub(crate) fn map_text(live: Slot) -> String {
    format!("live {live}\n")
}

/// A front as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Front {
    pub(crate) container: Container,
    pub(crate) address: Ipv4Addr,
    pub(crate) config: Config,
    /// The slot that the map on its disk names.
    pub(crate) live: Slot,
    /// The image that its image's name means on the host, if that is another one by now.
    pub(crate) newer: Option<String>,
}

/// What is told of a front whose image is out of date.
pub(crate) fn outdated(front: &Container, newer: &str) -> String {
    format!(
        "the front {} runs {}, and {} is a newer image on the host, {}: --front-update local takes it, and refuses connections for about a second",
        front.name,
        short_id(&front.image_id),
        front.label(label::REFERENCE).unwrap_or_default(),
        short_id(newer),
    )
}

/// As much of an image's id as people tell images apart by.
fn short_id(id: &str) -> String {
    id.chars().take("sha256:".len() + 12).collect()
}
