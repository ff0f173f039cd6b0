//! From the stop on: forward to the new one, or back to the old one.

use std::cell::Cell;

use slipway_release::Outcome;
use tokio::time::Instant;

use super::{DISMISS, Failed, HURRY, HURRY_BACK, HURRY_STOP, Ready, Swap, millis, why};
use crate::body;
use crate::container::{Container, Role};
use crate::error::{HostError, SwapError};
use crate::gate::{self, Closed, Gate, Patience, SETTLED, Seen, Where};
use crate::handover::Order;
use crate::host::{Handed, Host};
use crate::plan::{Serving, Situation};
use crate::prune;

/// The engine's own stop timeout, in seconds, where nothing else is said.
const ENGINE_STOP: i64 = 10;

/// When the old one was first told to stop; none as long as nothing was done to it.
pub(crate) type Gap = Cell<Option<Instant>>;

impl<H: Host> Swap<'_, H> {
    pub(super) async fn switch(&mut self, ready: &Ready) -> Result<(), Failed> {
        if let Err(error) = self.still_as_seen(ready).await {
            self.sweep().await;
            return Err(error.into());
        }
        let step = match &ready.live {
            Some(live) => self.step(&format!("replacing {}", live.name)),
            None => self.step("starting"),
        };
        let gap = Gap::default();
        let (error, seen) = match self.exchange(ready, &gap).await {
            Ok(good) => {
                let gap = gap.get().map(|begun| good.duration_since(begun)).unwrap_or_default();
                let text = match &ready.live {
                    Some(_) => {
                        self.outcome.unserved_ms = Some(millis(gap));
                        format!("replaced, {} ms unserved", millis(gap))
                    }
                    None => "it serves".to_owned(),
                };
                self.serves(&ready.new, &body::name(self.job, Role::Release));
                step.done(&text);
                return Ok(());
            }
            Err(failed) => failed,
        };
        drop(step);
        let evidence = match &error {
            SwapError::Interrupted => None,
            _ => Some(self.evidence("release", &ready.new, seen).await),
        };
        let failed = self.put_back(ready, error, gap.get()).await;
        Err(Failed { evidence, ..failed })
    }

    /// Refuses to go on where another deploy has put something else in the place meanwhile: the
    /// old one that would be put back would not be what serves.
    async fn still_as_seen(&self, ready: &Ready) -> Result<(), SwapError> {
        self.may_switch().await?;
        let all = self.host.containers(&self.job.app).await?;
        let ours = all.iter().any(|one| one.id == ready.new);
        if ours && !has_another(all, ready) {
            return Ok(());
        }
        Err(SwapError::Overtaken { app: self.job.app.clone() })
    }

    /// Whether something serves that is neither of the two that this deploy knows of.
    async fn is_overtaken(&self, ready: &Ready) -> bool {
        self.host.containers(&self.job.app).await.is_ok_and(|all| has_another(all, ready))
    }

    /// Stops the old one, starts the new one and waits until it answers; tells when it first did.
    async fn exchange(&self, ready: &Ready, gap: &Gap) -> Result<Instant, (SwapError, Seen)> {
        const WHAT: &str = "new container";
        let job = self.job;
        let plain = |error: SwapError| (error, Seen::default());
        let started = match &ready.live {
            Some(live) => self.take_place(live, self.stop_seconds(live), &ready.new, gap).await,
            None => {
                gap.set(Some(Instant::now()));
                self.host.start(&ready.new).await.map_err(not_started)
            }
        };
        started.map_err(plain)?;
        let begun = Instant::now();
        let health = &ready.health;
        let at = Where::released(health, &job.spec.publish);
        let gate = Gate::new(at, health, false, &job.waits);
        let patience = Patience { cancelled: self.cancelled, then: HURRY };
        let (seen, result) = gate::wait(self.host, &ready.new, &gate, patience).await;
        if let Err(closed) = result {
            let error = why(WHAT, closed, &seen, gate.timeout);
            return Err((error, seen));
        }
        let image = seen.container.as_ref().map(|one| one.image_id.clone()).unwrap_or_default();
        if image != ready.image.id {
            let reference = job.reference.to_string();
            return Err((SwapError::Digest { reference, found: image }, seen));
        }
        // What can be asked nothing serves from its start.
        let good = seen.first_good.unwrap_or(begun);
        match self.host.set_restart(&ready.new, Some(job.spec.restart)).await {
            Ok(()) => Ok(good),
            Err(error) => Err((error.into(), seen)),
        }
    }

    /// Stops the old one within its stop timeout, or soon after a signal, and starts the new one.
    pub(crate) async fn take_place(
        &self,
        live: &Container,
        seconds: i32,
        new: &str,
        gap: &Gap,
    ) -> Result<(), SwapError> {
        let order = Order::Exchange { old: &live.id, seconds, new };
        let mut begun = || gap.set(gap.get().or(Some(Instant::now())));
        let mut handed = self.hurried(live, gap, self.host.hand_over(&order, &mut begun)).await?;
        if handed == Handed::Kept {
            // As after a restart of the engine, which then answers again.
            handed = self.hurried(live, gap, self.host.hand_over(&order, &mut begun)).await?;
        }
        match handed {
            Handed::Done => Ok(()),
            Handed::Refused => {
                self.warn_of_the_gap();
                begun();
                let stopping = self.hurried(live, gap, self.host.stop(&live.id, seconds));
                stopping.await?;
                self.host.start(new).await.map_err(not_started)
            }
            Handed::Kept => Err(SwapError::Stays),
            Handed::Undone | Handed::Failed => {
                let seen = self.host.inspect(new).await.map_err(not_started)?;
                let reason = seen.and_then(|one| one.error);
                let message = reason.unwrap_or_else(|| "the engine does not say why".to_owned());
                let source = slipway_engine::Error::Api { status: 500, message };
                Err(not_started(HostError::Engine { doing: "starting the container", source }))
            }
        }
    }

    /// Waits for the work that stops the old one, which is killed soon after a signal. Work that
    /// has not begun by then never does.
    pub(crate) async fn hurried<T>(
        &self,
        live: &Container,
        gap: &Gap,
        work: impl Future<Output = Result<T, HostError>>,
    ) -> Result<T, SwapError> {
        let failed =
            |source| SwapError::Container { what: "old container", done: "stopped", source };
        let mut work = std::pin::pin!(work);
        let hurry = async {
            self.cancelled.cancelled().await;
            if gap.get().is_some() {
                tokio::time::sleep(HURRY_STOP).await;
            }
        };
        tokio::select! {
            biased;
            result = &mut work => return result.map_err(failed),
            () = hurry => {}
        }
        if gap.get().is_none() {
            return Err(SwapError::Interrupted);
        }
        self.host.kill(&live.id).await.map_err(failed)?;
        work.await.map_err(failed)
    }

    /// How long a container may take to stop, in seconds.
    pub(crate) fn stop_seconds(&self, one: &Container) -> i32 {
        self.job.spec.stop_timeout.unwrap_or_else(|| {
            let own = one.stop_timeout.filter(|seconds| *seconds >= 0).unwrap_or(ENGINE_STOP);
            i32::try_from(own).unwrap_or(i32::MAX)
        })
    }

    /// Takes the new one away and starts the old one again.
    async fn put_back(
        &mut self,
        ready: &Ready,
        error: SwapError,
        begun: Option<Instant>,
    ) -> Failed {
        let (Some(old), Some(begun)) = (&ready.live, begun) else {
            // Nothing was stopped.
            if let Err(why) = self.dismiss(&ready.new, true).await {
                self.warn(&format!("the new container cannot be removed: {why}"));
            }
            return error.into();
        };
        let step = self.step(&format!("putting {} back", old.name));
        let back = match self.restore(&ready.new, true, &old.id).await {
            Ok(()) => self.came_back(old).await,
            Err(source) => Err(source),
        };
        let (why, lost) = match back {
            Ok(Ok(good)) => {
                let gap = millis(good.duration_since(begun));
                self.outcome.unserved_ms = Some(gap);
                self.serves(&old.id, &old.name);
                step.done(&format!("it serves again, {gap} ms unserved"));
                return Failed { error, outcome: Outcome::RolledBack, evidence: None };
            }
            Ok(Err(reason)) => (reason, false),
            Err(source) => (source.to_string(), source.is_lost()),
        };
        if !lost && self.is_overtaken(ready).await {
            return SwapError::Overtaken { app: self.job.app.clone() }.into();
        }
        let cause = Box::new(error);
        let error =
            if lost { SwapError::Unknown { cause } } else { SwapError::NotRestored { cause, why } };
        Failed { error, outcome: Outcome::Broken, evidence: None }
    }

    /// Waits for the old one: when it first answered, or why it did not.
    async fn came_back(&self, old: &Container) -> Result<Result<Instant, String>, HostError> {
        let hurried = self.cancelled.is_cancelled();
        let timeout = if hurried { HURRY_BACK } else { self.job.waits.health_timeout };
        let old = Container { restarts: 0, ..old.clone() };
        let (seen, result) = self.released(&old, timeout, SETTLED.min(timeout / 2)).await;
        match result {
            Ok(()) => Ok(Ok(seen.first_good.unwrap_or_else(Instant::now))),
            Err(Closed::Host(error)) => Err(error),
            Err(closed) => Ok(Err(why("old container", closed, &seen, timeout).to_string())),
        }
    }

    /// Starts what serves if it does not run: an engine that was restarted while something else was
    /// meant to run on its port, too, has given it to that. Answers what it had to start.
    pub(crate) async fn keep_up(&self, id: &str) -> Result<Option<Container>, HostError> {
        let Some(down) = self.host.inspect(id).await?.filter(|one| !one.is_up()) else {
            return Ok(None);
        };
        self.host.start(id).await?;
        Ok(Some(down))
    }

    /// Keeps the one that was replaced and some before it, and removes the rest. What is left undone here is
    /// done by the next deploy.
    pub(super) async fn tidy(&self, ready: &Ready) {
        let now = &ready.situation;
        let others = now.previous.iter().chain(&now.surplus).filter(|one| one.kept_alive);
        let work = async {
            // What is stopped must not come back with the engine; only then may it be removed.
            for one in ready.live.iter().chain(others) {
                self.host.set_restart(&one.id, None).await?;
            }
            if let Some(live) = &ready.live {
                // An engine that was restarted at the very moment may have brought it back.
                self.host.stop(&live.id, DISMISS).await?;
            }
            if let Some(new) = self.keep_up(&ready.new).await? {
                let timeout = self.job.waits.health_timeout;
                let _ = self.released(&new, timeout, SETTLED.min(timeout / 2)).await;
            }
            prune::releases(self.host, self.job).await
        };
        if let Err(error) = work.await {
            self.warn(&format!(
                "the new container serves, and an old one is not tidied up: {error}"
            ));
        }
    }
}

fn not_started(source: HostError) -> SwapError {
    SwapError::Container { what: "new container", done: "started", source }
}

/// Whether a release runs in the place that is neither the old one nor the new one.
fn has_another(mut all: Vec<Container>, ready: &Ready) -> bool {
    all.retain(|one| one.id != ready.new);
    match Situation::of(all).serving {
        Serving::Nothing | Serving::Fallen(_) => false,
        Serving::Live(one) | Serving::Halfway { new: one, .. } => {
            ready.live.as_ref().is_none_or(|live| live.id != one.id)
        }
    }
}
