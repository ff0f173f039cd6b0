//! From the stop on: forward to the new one, or back to the old one.

use slipway_release::Outcome;
use tokio::time::Instant;

use super::{Failed, HURRY, HURRY_BACK, HURRY_STOP, Ready, Swap, millis, why};
use crate::body;
use crate::container::{Container, Role};
use crate::error::{HostError, SwapError};
use crate::gate::{self, Closed, Gate, Patience, SETTLED, Seen, Where};
use crate::host::Host;
use crate::plan::{Serving, Situation};
use crate::prune;

/// The engine's own stop timeout, in seconds, where nothing else is said.
const ENGINE_STOP: i64 = 10;

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
        let begun = Instant::now();
        let (error, seen) = match self.exchange(ready).await {
            Ok(good) => {
                let gap = good.duration_since(begun);
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
        let failed = self.put_back(ready, error, begun).await;
        Err(Failed { evidence, ..failed })
    }

    /// Refuses to go on where another deploy has put something else in the place meanwhile: the
    /// old one that would be put back would not be what serves.
    async fn still_as_seen(&self, ready: &Ready) -> Result<(), SwapError> {
        if self.cancelled.is_cancelled() {
            return Err(SwapError::Interrupted);
        }
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
    async fn exchange(&self, ready: &Ready) -> Result<Instant, (SwapError, Seen)> {
        const WHAT: &str = "new container";
        let job = self.job;
        let plain = |error: SwapError| (error, Seen::default());
        if let Some(live) = &ready.live {
            let stopped = self.stop(live).await;
            stopped.map_err(|source| {
                plain(SwapError::Container { what: "old container", done: "stopped", source })
            })?;
        }
        let started = self.host.start(&ready.new).await;
        started.map_err(|source| {
            plain(SwapError::Container { what: WHAT, done: "started", source })
        })?;
        let begun = Instant::now();
        let health = &job.spec.health;
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

    /// Stops the old one within its stop timeout, or soon after a signal.
    async fn stop(&self, live: &Container) -> Result<(), HostError> {
        let seconds = self.job.spec.stop_timeout.unwrap_or_else(|| {
            let own = live.stop_timeout.filter(|seconds| *seconds >= 0).unwrap_or(ENGINE_STOP);
            i32::try_from(own).unwrap_or(i32::MAX)
        });
        let mut stopping = std::pin::pin!(self.host.stop(&live.id, seconds));
        let hurry = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(HURRY_STOP).await;
        };
        tokio::select! {
            biased;
            result = &mut stopping => return result,
            () = hurry => {}
        }
        self.host.kill(&live.id).await?;
        stopping.await
    }

    /// Takes the new one away and starts the old one again.
    async fn put_back(&mut self, ready: &Ready, error: SwapError, begun: Instant) -> Failed {
        let away = self.dismiss(&ready.new, true).await;
        let Some(old) = &ready.live else {
            if let Err(why) = away {
                self.warn(&format!("the new container cannot be removed: {why}"));
            }
            return error.into();
        };
        let step = self.step(&format!("putting {} back", old.name));
        // A new one that is still there may hold the port, which the start then tells.
        let back = match self.host.start(&old.id).await {
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
            prune::releases(self.host, self.job).await
        };
        if let Err(error) = work.await {
            self.warn(&format!(
                "the new container serves, and an old one is not tidied up: {error}"
            ));
        }
    }
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
