//! `rollback --on-error`: undoes the deploy of a document that a later tool put an error into, if that
//! error says that the release is bad.

use slipway_release::{Deploy, Document, ErrorSection, Failure, Outcome, speaks_of_the_release};
use slipway_shell::Context;
use slipway_untrusted::Untrusted;

use super::{Back, Done, alone, app};
use crate::env::Lookup;
use crate::fleet::Ways;
use crate::lock::Who;
use crate::options::Options;
use crate::record::Impossible;

/// Goes back on every host on which the document's deploy brought something new, to exactly what
/// served there before. A host that fails keeps no other one from being put right.
pub(super) async fn run(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let Some(exit) = document.error_exit() else { return Ok(()) };
    let Some(mut deploy) = document.get::<Deploy>()? else { return Ok(()) };
    let Some(undone) = deploy.deploy_id.clone() else { return Ok(()) };
    let named = |host: &str| options.host.is_empty() || options.host.iter().any(|one| one == host);
    let due: Vec<usize> = (0..deploy.hosts.len())
        .filter(|index| {
            let host = &deploy.hosts[*index];
            host.outcome == Some(Outcome::Deployed) && named(&host.host)
        })
        .collect();
    if due.is_empty() {
        return Ok(());
    }
    let error: ErrorSection = document.get().ok().flatten().unwrap_or_default();
    if !speaks_of_the_release(&error.code, exit) {
        // The code may be anybody's.
        let code = Untrusted::new(error.code);
        context.ui.say(&format!(
            "nothing is undone: the error {code} does not say that the release is bad"
        ));
        return Ok(());
    }
    let places: Vec<String> = due.iter().map(|index| deploy.hosts[*index].host.clone()).collect();
    let ways = Ways::new(&places, options, context, lookup)?;
    let back = Back::new(app(options, document)?, options, document, lookup)?;
    let back = Back { only_from: Some(&undone), ..back };
    let who = Who::of_process(&back.deploy_id, lookup);
    let mut failures = Vec::new();
    for (index, target) in due.into_iter().zip(&ways.targets) {
        let host = &mut deploy.hosts[index];
        let place = target.to_string();
        let before = host.previous_deploy_id.clone();
        let back = Back { to: before.as_deref(), ..back.clone() };
        let done = match (&before, ways.open(target).await) {
            (_, Err(error)) => Done::failed(&error, &place),
            (None, _) => {
                Done::failed(&Impossible::NoEarlier { live: undone.clone() }.into(), &place)
            }
            (Some(_), Ok(remote)) => alone(&ways, &remote, &place, &back, context, &who).await,
        };
        let outcome = done.report.outcome;
        match done.report.failure {
            Some(failure) => {
                if outcome.outcome == Some(Outcome::Broken) {
                    host.outcome = Some(Outcome::Broken);
                }
                host.error = Some(format!("it was not undone: {}", failure.message));
                failures.push(failure);
            }
            None => {
                host.outcome = Some(Outcome::RolledBack);
                host.container = outcome.container;
                host.container_id = outcome.container_id;
                host.unserved_ms = outcome.unserved_ms;
            }
        }
        document.set(&deploy);
    }
    // The first is told by who called; the pipeline's own error stays the one that travels.
    for failure in failures.iter().skip(1) {
        context.ui.warn(&failure.message);
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}
