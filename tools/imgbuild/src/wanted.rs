//! What the options want of the builder, read and judged before anything begins.

use crate::cache::{self, Cache};
use crate::contexts::Named;
use crate::error::Error;
use crate::flags::{self, Anew, Host, Limit};
use crate::options::Options;
use crate::secrets::Secrets;
use crate::ssh::Agents;

/// The options that are the builder's business.
pub(crate) struct Wanted {
    pub(crate) contexts: Vec<Named>,
    pub(crate) target: Option<String>,
    pub(crate) platforms: Vec<String>,
    pub(crate) network: Option<String>,
    pub(crate) anew: Anew,
    pub(crate) cache_from: Vec<Cache>,
    pub(crate) cache_to: Vec<Cache>,
    pub(crate) pull: bool,
    pub(crate) hosts: Vec<Host>,
    pub(crate) shm_size: Option<u64>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) secrets: Secrets,
    pub(crate) agents: Agents,
}

impl Wanted {
    pub(crate) fn read(options: &Options) -> Result<Self, Error> {
        let shm_size = options.shm_size.as_ref().map(|text| flags::size("--shm-size", text));
        Ok(Self {
            contexts: each(&options.build_context, Named::parse)?,
            target: options.target.clone(),
            platforms: flags::platforms(options.platform.as_deref())?,
            network: flags::network(options.network.as_deref())?.map(str::to_owned),
            anew: flags::anew(options.no_cache, &options.no_cache_filter)?,
            cache_from: each(&options.cache_from, cache::from)?,
            cache_to: each(&options.cache_to, cache::to)?,
            pull: options.pull,
            hosts: each(&options.add_host, flags::host)?,
            shm_size: shm_size.transpose()?,
            limits: each(&options.ulimit, flags::limit)?,
            secrets: Secrets::load(&options.secret)?,
            agents: Agents::load(&options.ssh)?,
        })
    }
}

/// Reads each of a flag's values.
fn each<T>(texts: &[String], read: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    texts.iter().map(|text| read(text)).collect()
}
