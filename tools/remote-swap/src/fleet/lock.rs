//! `remote-swap lock`: who deploys at the moment, and `lock break`.

use slipway_release::{Document, Failure, HostLock, Lock};
use slipway_shell::Context;

use super::Ways;
use super::verdict::{self, Told};
use crate::env::Lookup;
use crate::lock::{Held, break_lock, look};
use crate::options::{LockAction, Options};
use crate::recreate::millis;
use crate::rollback::{app, hosts};

/// Tells who holds the lock on each host, and takes it from them if that is asked for.
pub(crate) async fn lock(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let app = app(options, document)?;
    let ways = Ways::new(&hosts(options, document)?, options, context, lookup)?;
    let breaking = options.action == Some(LockAction::Break);
    let seen = ways.ask(async |target, remote| {
        if !breaking {
            return Ok(look(&remote, &app).await?);
        }
        let held = break_lock(&remote, &app).await?;
        match &held {
            Some(held) => context.ui.say(&format!("{target}: the lock was taken from {held}")),
            None => context.ui.say(&format!("{target}: nobody holds the lock")),
        }
        Ok(held)
    });
    let mut told = Told::new(ways.targets.len());
    let mut seen_hosts = Vec::new();
    for (index, (target, seen)) in ways.targets.iter().zip(seen.await).enumerate() {
        let (held, error) = match seen {
            Ok(held) => (held, None),
            Err(failure) => {
                let message = failure.message.clone();
                told.failed(index, failure);
                (None, Some(message))
            }
        };
        seen_hosts.push(entry(target.to_string(), held, breaking, error));
    }
    document.set(&Lock { app: Some(app), hosts: seen_hosts });
    verdict::asked(told)
}

fn entry(host: String, held: Option<Held>, breaking: bool, error: Option<String>) -> HostLock {
    let Some(held) = held else { return HostLock { host, error, ..HostLock::default() } };
    HostLock {
        host,
        held: true,
        broken: breaking,
        owner: Some(held.owner),
        build_url: held.build_url,
        deploy_id: Some(held.deploy_id),
        since: Some(held.since.to_string()),
        age_ms: Some(millis(held.age)),
        dead: Some(held.dead),
        error,
    }
}
