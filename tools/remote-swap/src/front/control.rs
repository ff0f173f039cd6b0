//! What a front and its network are asked: a narrow trait beside [`Host`], for the same reason.

use std::net::IpAddr;
use std::time::Duration;

use super::{Config, Files, Subnet};
use crate::host::{Host, Probe, Result};
use crate::job::Job;
use crate::slot::Slot;

/// A network of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) subnet: Subnet,
}

/// What came of a request that carried the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) probe: Probe,
    /// The slot that the answer is from, if the front told one.
    pub(crate) served_by: Option<Slot>,
}

impl Asked {
    /// What is told of an answer that was to come from this slot.
    pub(crate) fn told(&self, wanted: Slot) -> String {
        match (&self.probe, self.served_by) {
            (Probe::Silent { reason }, _) => format!("the last try: {reason}"),
            (Probe::Answer { status, .. }, Some(slot)) if slot != wanted => {
                format!("the last answer, status {status}, was from the slot {slot}")
            }
            (Probe::Answer { status, .. }, Some(_)) => {
                format!("the last answer was status {status}")
            }
            (Probe::Answer { status, .. }, None) => {
                format!("the last answer, status {status}, was from no container")
            }
        }
    }
}

/// A host as fronts need it. Calls that find their work done succeed.
pub(crate) trait FrontHost: Host {
    /// The application's network, if there is one.
    async fn network(&self, app: &str) -> Result<Option<Network>>;
    /// Makes the application's network, with a range of addresses that the engine has free.
    async fn create_network(&self, app: &str) -> Result<Network>;
    /// Connects a container to one more network, under a name of its own if there is an alias.
    async fn connect(&self, network: &str, container: &str, alias: Option<&str>) -> Result<()>;
    /// Pulls an image that the host does not have; with the job's credentials if they are for its
    /// registry.
    async fn pull_image(
        &self,
        image: &str,
        job: &Job,
        progress: &mut dyn FnMut(String),
    ) -> Result<()>;
    /// Puts both files into a front that does not run.
    async fn fill(&self, front: &str, files: &Files) -> Result<()>;
    /// Reads both files; none if they are not there.
    async fn files(&self, front: &str) -> Result<Option<Files>>;
    /// Has a front that runs check a configuration, keep it and take it up. What it says of one
    /// that it refuses; nothing is changed then. Nobody else gets to see it.
    async fn reload(&self, front: &str, config: &Config)
    -> Result<std::result::Result<(), String>>;
    /// How many workers of a front run: more than one as long as those of before a reload end what
    /// they are busy with.
    async fn workers(&self, front: &str) -> Result<usize>;
    /// Has a front that runs keep the slot that serves.
    async fn keep_live(&self, front: &str, live: Slot) -> Result<std::result::Result<(), String>>;
    /// One HTTP request with the front's token, as seen from the host.
    async fn ask(
        &self,
        ip: IpAddr,
        port: u16,
        path: &str,
        token: &str,
        limit: Duration,
    ) -> Result<Asked>;
}
