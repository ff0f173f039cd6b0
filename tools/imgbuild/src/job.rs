//! Reads the options into a job, before the engine hears of anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::build::Job;
use crate::contexts::Named;
use crate::error::Error;
use crate::names::Names;
use crate::options::Options;
use crate::place::Place;
use crate::plan::Dockerfile;
use crate::secrets::Secrets;
use crate::ssh::Agents;
use crate::{cache, flags};

/// The job, but for what follows from the source: names, arguments, labels, address.
pub(crate) async fn read<'a>(
    options: &'a Options,
    place: &'a Place,
    dockerfile: &'a Dockerfile,
) -> Result<Job<'a>, Error> {
    let shm_size = options.shm_size.as_ref().map(|text| flags::size("--shm-size", text));
    Ok(Job {
        address: None,
        place,
        contexts: each(&options.build_context, Named::parse)?,
        dockerfile,
        names: Names::default(),
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        target: options.target.as_deref(),
        platforms: flags::platforms(options.platform.as_deref())?,
        network: flags::network(options.network.as_deref())?,
        anew: flags::anew(options.no_cache, &options.no_cache_filter)?,
        cache_from: each(&options.cache_from, cache::from)?,
        cache_to: each(&options.cache_to, cache::to)?,
        hosts: each(&options.add_host, flags::host)?,
        shm_size: shm_size.transpose()?,
        limits: each(&options.ulimit, flags::limit)?,
        pull: options.pull,
        secrets: off_runtime(&options.secret, Secrets::load).await?,
        agents: off_runtime(&options.ssh, Agents::load).await?,
        logins: Arc::default(),
    })
}

/// Reads each of a flag's values.
fn each<T>(texts: &[String], read: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    texts.iter().map(|text| read(text)).collect()
}

/// Reads what may keep its reader waiting on a thread of its own, so that the deadline holds.
async fn off_runtime<T: Send + 'static>(
    texts: &[String],
    load: fn(&[String]) -> Result<T, Error>,
) -> Result<T, Error> {
    let texts = texts.to_vec();
    let loading = tokio::task::spawn_blocking(move || load(&texts));
    loading.await.unwrap_or_else(|error| Err(Error::Build { why: error.to_string() }))
}
