//! Waits until a service answers as it should: the fifth part of the document, `health`.
//!
//! What to ask and what to hope for is settled first, so that nothing is
//! asked where something is wrong with that. Then each target is polled beside the others until
//! all are healthy or the deadline passes. What was seen is written either way. A command may
//! follow.

mod board;
mod command;
mod conditions;
mod container;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod goals;
mod known;
mod latency;
mod options;
mod pace;
mod plan;
mod poll;
mod probe;
mod reach;
mod refusal;
mod report;
mod seen;
mod sockets;
mod text;
mod timeline;
mod via;
mod watch;

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use slipway_release::{Document, Failure, Health};
use slipway_shell::{Context, Step, Tool, TrustFacts};
use tokio::time::{Instant, timeout};

use board::Board;
use command::Command;
use error::Error;
pub use known::known_destination;
pub use options::Options;
use plan::Plan;
use sockets::Sockets;
pub use text::{Factor, HeaderFromEnv, Method, Pattern, Percent, RequestHeader, Text};
use watch::Ended;

/// The tool.
pub struct HealthWait;

/// How the waiting ended.
enum End {
    Healthy,
    Hopeless,
    Deadline,
    Interrupted,
    /// What leads to the targets will not let us.
    Refused(Failure),
}

impl Tool for HealthWait {
    const NAME: &'static str = "healthwait";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// For the command that runs when all is healthy; to write down what was seen takes no time.
    const GRACE: Duration = Duration::from_secs(9);
    type Options = Options;

    fn trust_facts(
        options: &Options,
        document: &Document,
        from_document: &dyn Fn(&str) -> bool,
    ) -> TrustFacts {
        let given = !options.target.is_empty()
            && !["target", "resolve", "proxy", "via"].into_iter().any(from_document);
        TrustFacts {
            known_destination: given || known_destination(options, document),
            from_elsewhere: options.via.is_some(),
        }
    }

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let plan = Plan::new(&options, document, |name| std::env::var(name).ok())?;
        let command = Command::find(&options.command)?;
        for host in &plan.silent {
            let line =
                format!("{host}: the application publishes no port, so there is nothing to ask");
            context.ui.say(&line);
        }
        if plan.probes.is_empty() {
            let mut health = Health { waited_ms: Some(0), ..Health::default() };
            document.set(&health);
            return follow(command, &mut health, document, context).await;
        }
        let step = context.ui.step(label(&plan, context.ui.is_terminal()));
        let Waited { end, mut health, mismatch, unknown } = wait(&plan, context, &step).await;
        health.via = plan.ways.via().map(str::to_owned);
        document.set(&health);
        let error = match end {
            End::Healthy => {
                tell_healthy(&plan, &health, context, step);
                return follow(command, &mut health, document, context).await;
            }
            End::Hopeless => Error::GivenUp { health },
            End::Deadline => {
                let (limit, gone) = (options.timeout, options.not);
                Error::Deadline { health, limit, mismatch, gone, unknown }
            }
            End::Interrupted => Error::Interrupted { health },
            End::Refused(failure) => return Err(failure),
        };
        drop(step);
        if let Error::GivenUp { health } | Error::Deadline { health, .. } = &error {
            let lines = report::table(health).into_iter().chain(report::failures(health));
            lines.for_each(|line| context.ui.say(&line));
        }
        Err(error.into())
    }
}

/// What is being done. On a terminal each of several targets has a line of its own below it.
fn label(plan: &Plan, terminal: bool) -> String {
    let gone = if plan.rule.gone { " the end of" } else { "" };
    let via = plan.ways.via().map(|via| format!(" through {via}")).unwrap_or_default();
    match plan.probes.len() {
        count @ 2.. if terminal => format!("waiting for{gone} {count} targets{via}"),
        _ => format!("waiting for{gone} {}{via}", plan.names()),
    }
}

/// How the waiting ended, and what was seen.
struct Waited {
    end: End,
    health: Health,
    /// Whether a target was refused for its version alone.
    mismatch: bool,
    /// Whether nothing is known of the targets, for a cause on this side.
    unknown: bool,
}

/// Polls all targets until the end, whichever it is.
async fn wait(plan: &Plan, context: &Context, step: &Step) -> Waited {
    let _sockets = Sockets::for_targets(plan.probes.len());
    let begun = Instant::now();
    let board = RefCell::new(Board::new(plan, &context.ui, step));
    let polls = plan.probes.iter().enumerate().map(|(index, probe)| {
        let board = &board;
        let record = move |seen| board.borrow_mut().record(index, begun.elapsed(), seen);
        poll::poll(|| probe.ask(), record)
    });
    let end = tokio::select! {
        biased;
        ended = timeout(plan.timeout, outcome(polls.collect(), plan.any)) => match ended {
            Ok(Ended::Healthy) => End::Healthy,
            Ok(Ended::Hopeless) => End::Hopeless,
            Err(_) => End::Deadline,
        },
        failure = plan.ways.refused() => End::Refused(failure),
        () = context.cancelled.cancelled() => End::Interrupted,
    };
    let board = board.borrow();
    Waited {
        end,
        health: board.health(begun.elapsed()),
        mismatch: board.wrong_version(),
        unknown: board.knows_nothing(),
    }
}

/// How it ends with the targets together: at the first one that decides, or else as the last.
async fn outcome<P: Future<Output = Ended>>(mut polls: FuturesUnordered<P>, any: bool) -> Ended {
    let deciding = if any { Ended::Healthy } else { Ended::Hopeless };
    while let Some(ended) = polls.next().await {
        if ended == deciding {
            return ended;
        }
    }
    if any { Ended::Hopeless } else { Ended::Healthy }
}

fn tell_healthy(plan: &Plan, health: &Health, context: &Context, step: Step) {
    step.done(&board::summary(health, plan.rule));
    report::table(health).iter().for_each(|line| context.ui.say(line));
    if let Some(note) = silent(plan, health) {
        context.ui.warn(&note);
    }
}

/// Runs the command, if there is one. Where a document came in one goes out, so that the command
/// is run beside it; else this process becomes the command: nothing is left between it and who has
/// started it.
async fn follow(
    command: Option<Command>,
    health: &mut Health,
    document: &mut Document,
    context: &Context,
) -> Result<(), Failure> {
    let Some(command) = command else { return Ok(()) };
    if !context.has_input.get() {
        return Err(command.become_it().into());
    }
    let ran = command.run().await?;
    let failure = command::failure(&ran);
    health.command = Some(ran);
    document.set(health);
    failure.map_or(Ok(()), |failure| Err(failure.into()))
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
