//! The strategy `recreate` on one host.
//!
//! Prove a candidate beside what serves; stop what serves; start the new one on its port; put the
//! old one back if that fails. Everything that can fail without harm comes before the stop: the
//! pull, the candidate's proof, and the creation of the new container. The stop and the start are
//! handed to the host as one order, which it brings to its end also without this process. The old
//! container keeps its restart policy and the new one has none, until the new one is proved: so
//! whoever dies in between, the engine's next start brings back what was proved last, and the
//! next run of this tool finds out by the same sign what it has to put right.

mod plan;
mod prepare;
mod switch;

pub(crate) use switch::Gap;

use std::cell::Cell;
use std::time::Duration;

use slipway_engine::Reference;
use slipway_release::{Failure, HostOutcome, Outcome, PlanStep};
use slipway_shell::{CancellationToken, Ui};
use tokio::time::Instant;

use crate::container::{Container, label};
use crate::error::{HostError, SwapError};
use crate::evidence::{Evidence, HostFacts, LOG_LINES};
use crate::gate::{Closed, Seen};
use crate::handover::Order;
use crate::host::{Handed, Host, LocalImage};
use crate::job::Job;
use crate::lock::Lease;
use crate::plan::Situation;
use crate::release_command::{self, TaskFailed};
use crate::remote::Remote;
use crate::spec::Health;

/// After a signal: how long the old container may still take to stop before it is killed.
pub(crate) const HURRY_STOP: Duration = Duration::from_secs(1);

/// After a signal: how long the new container may still take to become healthy.
pub(crate) const HURRY: Duration = Duration::from_secs(2);

/// After a signal: how long the old one may take to answer again. All three leave the calls between
/// them two of the nine seconds of the shell's grace; mostly the old one answers much sooner.
const HURRY_BACK: Duration = Duration::from_secs(4);

/// How long evidence may take: the old container waits for it to be put back.
const EVIDENCE: Duration = Duration::from_secs(3);

/// How long a container that is only going to be removed may take to end by itself, in seconds.
const DISMISS: i32 = 1;

/// What came of it on one host.
pub(crate) struct Report {
    pub(crate) outcome: HostOutcome,
    pub(crate) failure: Option<Failure>,
}

/// A failure, and in what state it left the host.
pub(crate) struct Failed {
    pub(crate) error: SwapError,
    pub(crate) outcome: Outcome,
    pub(crate) evidence: Option<Evidence>,
}

impl<E: Into<SwapError>> From<E> for Failed {
    /// Before the stop nothing was changed.
    fn from(error: E) -> Self {
        Self { error: error.into(), outcome: Outcome::Failed, evidence: None }
    }
}

impl From<TaskFailed> for Failed {
    fn from(failed: TaskFailed) -> Self {
        Self { evidence: failed.evidence, ..failed.error.into() }
    }
}

/// What is there when everything that can fail without harm is done.
struct Ready {
    live: Option<Container>,
    situation: Situation,
    image: LocalImage,
    /// The new container, created and not started.
    new: String,
    /// How its health is asked for, as its candidate has shown.
    health: Health,
}

enum Prepared {
    Unchanged(Box<Container>),
    Ready(Box<Ready>),
}

/// Deploys on one host; `place` is how messages call it.
pub(crate) async fn deploy<H: Host>(
    host: &H,
    place: &str,
    job: &Job,
    ui: &Ui,
    cancelled: &CancellationToken,
    guard: Guard<'_>,
) -> Report {
    let begun = Instant::now();
    let mut swap = Swap::new(host, place, job, ui, cancelled, guard);
    let result = swap.run().await;
    swap.report(begun, result)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What says whether this deploy still holds the lock of its application; none in memory.
pub(crate) type Guard<'a> = Option<&'a Lease<'a, Remote>>;

/// A deploy under way on one host.
pub(crate) struct Swap<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) place: &'a str,
    pub(crate) job: &'a Job,
    pub(crate) ui: &'a Ui,
    pub(crate) cancelled: &'a CancellationToken,
    guard: Guard<'a>,
    pub(crate) outcome: HostOutcome,
    /// Whether it was told already that the host takes no orders.
    warned: Cell<bool>,
}

impl<'a, H: Host> Swap<'a, H> {
    pub(crate) fn new(
        host: &'a H,
        place: &'a str,
        job: &'a Job,
        ui: &'a Ui,
        cancelled: &'a CancellationToken,
        guard: Guard<'a>,
    ) -> Self {
        let outcome = HostOutcome {
            host: place.to_owned(),
            reference: Some(job.reference.to_string()),
            health: job.health_kind().map(|kind| kind.as_str().to_owned()),
            ..HostOutcome::default()
        };
        Self { host, place, job, ui, cancelled, guard, outcome, warned: Cell::new(false) }
    }

    /// Whether what serves may be changed now.
    pub(crate) async fn may_switch(&self) -> Result<(), SwapError> {
        if self.cancelled.is_cancelled() {
            return Err(SwapError::Interrupted);
        }
        match self.guard {
            Some(lease) => Ok(lease.check().await?),
            None => Ok(()),
        }
    }

    /// What came of it, for the document and for people.
    pub(crate) fn report(self, begun: Instant, result: Result<Outcome, Failed>) -> Report {
        let Self { place, job, ui, mut outcome, .. } = self;
        outcome.swap_ms = Some(millis(begun.elapsed()));
        let failed = match result {
            Ok(end) => {
                outcome.outcome = Some(end);
                return Report { outcome, failure: None };
            }
            Err(failed) => failed,
        };
        let mut failure = failed.error.failure(place);
        if let Some(seen) = failed.evidence {
            // The release command's output was told as it came.
            if seen.phase != release_command::PHASE {
                for line in seen.last_lines(&job.scrub) {
                    ui.line(&format!("  | {line}"));
                }
            }
            failure.evidence = Some(seen.value(place, &job.scrub));
        }
        failure.message = job.scrub.text(&failure.message);
        outcome.outcome = Some(failed.outcome);
        outcome.error = Some(failure.message.clone());
        Report { outcome, failure: Some(failure) }
    }

    async fn run(&mut self) -> Result<Outcome, Failed> {
        let cancelled = self.cancelled;
        let prepared = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(SwapError::Interrupted.into()),
            prepared = self.prepare() => prepared,
        };
        match prepared {
            Ok(Prepared::Unchanged(live)) => {
                self.serves(&live.id, &live.name);
                Ok(Outcome::Unchanged)
            }
            Ok(Prepared::Ready(ready)) => {
                self.switch(&ready).await?;
                self.tidy(&ready).await;
                Ok(Outcome::Deployed)
            }
            Err(failed) => {
                self.sweep().await;
                Err(failed)
            }
        }
    }

    pub(crate) fn step(&self, text: &str) -> slipway_shell::Step {
        self.ui.step(format!("{}: {text}", self.place))
    }

    pub(crate) fn say(&self, text: &str) {
        self.ui.say(&format!("{}: {text}", self.place));
    }

    pub(crate) fn warn(&self, text: &str) {
        self.ui.warn(&self.job.scrub.text(&format!("{}: {text}", self.place)));
    }

    pub(crate) fn serves(&mut self, id: &str, name: &str) {
        self.outcome.container = Some(name.to_owned());
        self.outcome.container_id = Some(id.to_owned());
    }

    /// Ends a container that serves nobody, and removes it.
    pub(crate) async fn dismiss(&self, id: &str, volumes: bool) -> Result<(), HostError> {
        // What does not stop is killed by the removal.
        if let Err(error) = self.host.stop(id, DISMISS).await
            && error.is_lost()
        {
            return Err(error);
        }
        self.host.remove(id, volumes).await
    }

    /// Takes a new container away and starts the old one again, as one order where the host takes
    /// any.
    pub(crate) async fn restore(
        &self,
        new: &str,
        volumes: bool,
        old: &str,
    ) -> Result<(), HostError> {
        let order = Order::Restore { new, seconds: DISMISS, volumes, old };
        match self.host.hand_over(&order, &mut || {}).await? {
            Handed::Done => return Ok(()),
            Handed::Refused => {
                self.warn_of_the_gap();
                // One that is still there may hold the port, which the start then tells.
                if let Err(error) = self.dismiss(new, volumes).await
                    && error.is_lost()
                {
                    return Err(error);
                }
            }
            // Why it did not start is known to whoever asks the engine for it.
            Handed::Kept | Handed::Undone | Handed::Failed => {}
        }
        self.host.start(old).await
    }

    fn warn_of_the_gap(&self) {
        if !self.warned.replace(true) {
            let reason = self.host.no_orders();
            let reason = reason.unwrap_or_else(|| "the host takes no orders".to_owned());
            self.warn(&format!(
                "{reason}: an interruption between stop and start would leave the application \
                 down until the next run"
            ));
        }
    }

    /// Removes what this deploy has made; nothing of it serves.
    pub(crate) async fn sweep(&self) {
        let work = async {
            for one in self.host.containers(&self.job.app).await? {
                if one.label(label::DEPLOY_ID) == Some(&self.job.deploy_id) {
                    self.dismiss(&one.id, true).await?;
                }
            }
            Ok::<_, HostError>(())
        };
        if let Err(error) = work.await {
            self.warn(&format!(
                "what this deploy made may be left behind, for the next one to remove: {error}"
            ));
        }
    }

    pub(crate) async fn evidence(&self, phase: &'static str, id: &str, seen: Seen) -> Evidence {
        let asked = async {
            let (container, log, host) = tokio::join!(
                self.host.inspect(id),
                self.host.log(id, LOG_LINES),
                self.host_facts(),
            );
            (container.ok().flatten(), log.unwrap_or_default(), host)
        };
        let asked = tokio::time::timeout(EVIDENCE, asked).await;
        let (container, log, host) = asked.unwrap_or_default();
        Evidence { phase, container: container.or(seen.container), probe: seen.probe, log, host }
    }

    async fn host_facts(&self) -> Option<HostFacts> {
        let about = self.host.about().await.ok()?;
        let free = self.host.free(&about.root).await;
        Some(HostFacts { about, free })
    }
}

/// One step of a plan.
pub(crate) fn plan_step(action: &str, on: &str, why: &str) -> PlanStep {
    PlanStep { action: action.to_owned(), on: on.to_owned(), why: why.to_owned() }
}

/// A reference for people: the repository and what tells digests apart at a glance.
pub(crate) fn short(reference: &Reference) -> String {
    let digest = reference.digest().unwrap_or_default();
    let digest: String = digest.chars().take("sha256:".len() + 12).collect();
    format!("{}@{digest}", reference.path())
}

/// What a closed gate means.
pub(crate) fn why(what: &'static str, closed: Closed, seen: &Seen, limit: Duration) -> SwapError {
    match closed {
        Closed::Exited => {
            let container = seen.container.as_ref();
            SwapError::Exited {
                what,
                exit_code: container.map_or(0, |container| container.exit_code),
                oom: container.is_some_and(|container| container.oom_killed),
            }
        }
        Closed::Gone => SwapError::Gone { what },
        Closed::Unchecked => SwapError::Unchecked { what },
        Closed::Late => SwapError::Unhealthy { what, limit, reason: seen.reason() },
        Closed::Interrupted => SwapError::Interrupted,
        Closed::Host(error) => error.into(),
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fake_records;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_back;
