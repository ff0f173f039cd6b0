//! `remote-swap plan`: what a deploy would do on each host, which is not touched.

use slipway_release::{Document, Failure, HostPlan, Plan};
use slipway_shell::Context;

use super::Ways;
use super::verdict::{self, Told};
use crate::env::Lookup;
use crate::job::Job;
use crate::lock::look;
use crate::options::{Options, Strategy};
use crate::record::Key;
use crate::recreate::{Swap, plan_step};

/// Tells what a deploy would do, and why it would fail where that is known.
pub(crate) async fn plan(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let job = Job::new(options, document, lookup)?.showing_flags(options, context);
    let ways = Ways::new(&options.host, options, context, lookup)?;
    let first = ways.targets.first().map(ToString::to_string);
    let later = job.without_release_command();
    let seen = ways.ask(async |target, remote| {
        let place = target.to_string();
        let job = if Some(&place) == first.as_ref() { &job } else { &later };
        // Without a key nothing that is there can be the same.
        let keyed = Key::known(&remote, &job.app).await?.map(|key| job.on_host(&key));
        let job = keyed.as_ref().unwrap_or(job);
        let swap = Swap::new(&remote, &place, job, &context.ui, &context.cancelled, None);
        let (mut steps, changes) = match options.strategy {
            Strategy::BlueGreen => swap.plan_slot().await?,
            Strategy::Recreate => swap.plan_recreate().await?,
        };
        if let Some(held) = look(&remote, &job.app).await?.filter(|held| !held.dead) {
            steps.insert(0, plan_step("wait", "the lock", &format!("it is held by {held}")));
        }
        Ok((steps, changes))
    });
    let mut told = Told::new(ways.targets.len());
    let mut hosts = Vec::new();
    for (index, (target, seen)) in ways.targets.iter().zip(seen.await).enumerate() {
        let host = target.to_string();
        hosts.push(match seen {
            Ok((steps, changes)) => {
                for step in &steps {
                    context.ui.say(&format!("{host}: {} {}: {}", step.action, step.on, step.why));
                }
                if steps.is_empty() {
                    context.ui.say(&format!("{host}: nothing to do, it serves already"));
                }
                HostPlan { host, changes, steps, error: None }
            }
            Err(mut failure) => {
                failure.message = job.scrub.text(&failure.message);
                let error = Some(failure.message.clone());
                told.failed(index, failure);
                HostPlan { host, error, ..HostPlan::default() }
            }
        });
    }
    document.set(&Plan {
        app: Some(job.app.clone()),
        strategy: Some(options.strategy.as_str().to_owned()),
        reference: Some(job.reference.to_string()),
        hosts,
    });
    verdict::asked(told)
}
