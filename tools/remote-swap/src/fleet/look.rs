//! What is live on each host, without a change to any.

use slipway_release::{Deploy, Document, Failure, HostOutcome, Push};
use slipway_shell::Context;

use super::verdict::{self, Told};
use super::{Ways, usage};
use crate::container::label;
use crate::env::Lookup;
use crate::error::SwapError;
use crate::host::Host as _;
use crate::options::Options;
use crate::plan::{Serving, Situation};

/// Tells what serves on each host.
pub(crate) async fn status(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let app = app(options, document)?;
    let ways = Ways::new(options, context, lookup)?;
    let seen = ways.ask(async |_, remote| {
        let situation = Situation::of(remote.containers(&app).await?);
        Ok::<_, SwapError>(match situation.serving {
            Serving::Live(live) => HostOutcome {
                reference: live.label(label::REFERENCE).map(str::to_owned),
                container: Some(live.name),
                container_id: Some(live.id),
                ..HostOutcome::default()
            },
            Serving::Nothing | Serving::Fallen(_) | Serving::Halfway { .. } => {
                HostOutcome::default()
            }
        })
    });
    let mut told = Told::new(ways.targets.len());
    let mut hosts = Vec::new();
    for (index, (target, seen)) in ways.targets.iter().zip(seen.await).enumerate() {
        let seen = seen.unwrap_or_else(|failure| {
            let error = Some(failure.message.clone());
            told.failed(index, failure);
            HostOutcome { error, ..HostOutcome::default() }
        });
        hosts.push(HostOutcome { host: target.to_string(), ..seen });
    }
    let ended = verdict::of(&hosts, told, None);
    document.set(&Deploy { app: Some(app), hosts, ..Deploy::default() });
    ended.result
}

pub(super) fn app(options: &Options, document: &Document) -> Result<String, Failure> {
    if let Some(app) = &options.app {
        return Ok(app.clone());
    }
    let deployed = document.get::<Deploy>()?.and_then(|deploy| deploy.app);
    let pushed = || Ok::<_, Failure>(document.get::<Push>()?.and_then(|push| push.repository));
    let named = match deployed {
        Some(app) => Some(app),
        None => pushed()?.and_then(|path| path.rsplit('/').next().map(str::to_owned)),
    };
    named.ok_or_else(|| usage("nothing names the application".to_owned()).hint("give --app NAME"))
}
