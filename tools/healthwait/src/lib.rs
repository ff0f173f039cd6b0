//! Waits until a service answers as it should: the fifth part of the document, `health`.
//!
//! What to ask and what to hope for is settled first, so that nothing is
//! asked where something is wrong with that. Then each target is polled beside the others until
//! all are healthy or the deadline passes. What was seen is written either way.

mod board;
mod container;
mod error;
mod options;
mod plan;
mod poll;
mod probe;
mod reach;
mod refusal;
mod text;
mod timeline;
mod via;
mod watch;

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use slipway_release::{Document, Failure, Health};
use slipway_shell::{Context, Step, Tool};
use tokio::time::{Instant, timeout};

use board::Board;
use error::Error;
pub use options::Options;
use plan::Plan;
pub use text::{HeaderFromEnv, Method, Pattern, RequestHeader, Text};

/// The tool.
pub struct HealthWait;

/// How the waiting ended.
enum End {
    Healthy,
    Deadline,
    Interrupted,
    /// What leads to the targets will not let us.
    Refused(Failure),
}

impl Tool for HealthWait {
    const NAME: &'static str = "healthwait";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// Enough to write down what was seen, which takes no time.
    const GRACE: Duration = Duration::from_secs(2);
    type Options = Options;

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let plan = Plan::new(&options, document, |name| std::env::var(name).ok())?;
        for host in &plan.without_url {
            context.ui.warn(&format!("{host} publishes no port, so it is not asked"));
        }
        let step = context.ui.step(format!("waiting for {}", plan.names()));
        let (end, health, mismatch) = wait(&plan, context, &step).await;
        document.set(&health);
        match end {
            End::Healthy => {
                step.done(&board::summary(&health));
                if let Some(note) = silent(&plan, &health) {
                    context.ui.warn(&note);
                }
                Ok(())
            }
            End::Deadline => {
                Err(Error::Deadline { health, limit: options.timeout, mismatch }.into())
            }
            End::Interrupted => Err(Error::Interrupted { health }.into()),
            End::Refused(failure) => Err(failure),
        }
    }
}

/// Polls all targets beside each other until the end, whichever it is; answers also what was seen, and whether a
/// target was refused for its version alone.
async fn wait(plan: &Plan, context: &Context, step: &Step) -> (End, Health, bool) {
    let begun = Instant::now();
    let board = RefCell::new(Board::new(plan, &context.ui, step));
    let polls = plan.probes.iter().enumerate().map(|(index, probe)| {
        let board = &board;
        let record = move |seen| board.borrow_mut().record(index, begun.elapsed(), seen);
        poll::until_healthy(plan.interval, || probe.ask(), record)
    });
    let mut polls: FuturesUnordered<_> = polls.collect();
    let enough = async { while polls.next().await.is_some() && !plan.any {} };
    let end = tokio::select! {
        biased;
        enough = timeout(plan.timeout, enough) => match enough {
            Ok(()) => End::Healthy,
            Err(_) => End::Deadline,
        },
        failure = plan.reach.refused() => End::Refused(failure),
        () = context.cancelled.cancelled() => End::Interrupted,
    };
    let board = board.borrow();
    (end, board.health(begun.elapsed()), board.wrong_version())
}

/// What to say of targets that were taken for the new release without a proof.
fn silent(plan: &Plan, health: &Health) -> Option<String> {
    let expected = plan.expected_version()?;
    let asked = plan.probes.iter().zip(&health.targets);
    let silent: Vec<&str> = asked
        .filter(|(probe, seen)| probe.answers() && seen.healthy && seen.version.is_none())
        .map(|(_, seen)| seen.url.as_str())
        .collect();
    if silent.is_empty() {
        return None;
    }
    let verb = if silent.len() == 1 { "tells" } else { "tell" };
    Some(format!(
        "{} {verb} no version, so it is not proven that {expected} is what answers",
        plan::listed(&silent, ", ")
    ))
}
