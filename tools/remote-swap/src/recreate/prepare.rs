//! Everything before the stop: whatever fails here, what serves serves on.

use std::time::Duration;

use slipway_shell::CancellationToken;
use tokio::time::Instant;

use super::{Failed, HURRY, Prepared, Ready, Swap, millis, short, why};
use crate::bluegreen::front_of;
use crate::body;
use crate::container::{Container, HealthCheckStatus, Role, Status, label};
use crate::error::{HostError, SwapError};
use crate::gate::{self, Closed, Gate, Patience, SETTLED, Seen, Where};
use crate::host::{Host, LocalImage};
use crate::options::HealthKind;
use crate::plan::{Serving, Situation};
use crate::preflight::{self, Checked};
use crate::provenance;
use crate::prune;
use crate::release_command;
use crate::spec::Health;
use crate::values::Restart;

/// How long to look whether what was asked for serves already.
const GLANCE: Duration = Duration::from_secs(3);

/// How long a start may follow the stop that an order began with.
const UNDER_WAY: Duration = Duration::from_secs(2);

impl<H: Host> Swap<'_, H> {
    pub(super) async fn prepare(&mut self) -> Result<Prepared, Failed> {
        let situation = self.situation().await?;
        self.clear(&situation).await?;
        let (live, situation) = self.settle(situation).await?;
        if let Some(live) = &live
            && self.serves_already(live).await
        {
            self.replaces(live);
            let kind = live.health().kind.or(self.job.health_kind());
            self.outcome.health = kind.map(|kind| kind.as_str().to_owned());
            self.finish_earlier(live, &situation).await?;
            self.say(&format!("{} serves already", short(&self.job.reference)));
            return Ok(Prepared::Unchanged(Box::new(live.clone())));
        }
        live.iter().for_each(|live| self.replaces(live));
        provenance::refuse_older(self.job, live.as_ref()).map_err(SwapError::from)?;
        let image = self.image(live.as_ref()).await?;
        release_command::run(self.host, self.place, self.job, self.ui).await?;
        let (candidate, kind) = self.prove().await?;
        let health = Health { kind, ..self.job.spec.health.clone() };
        let mut body = body::create(self.job, Role::Release);
        if let Some(kind) = kind {
            let kind = kind.as_str().to_owned();
            body.labels.get_or_insert_default().insert(label::HEALTH.to_owned(), kind.clone());
            self.outcome.health = Some(kind);
        }
        // Created before the stop: what the engine does not like about it is told now.
        let name = body::name(self.job, Role::Release);
        let (created, dismissed) =
            tokio::join!(self.host.create(&name, body), self.dismiss(&candidate, true),);
        let new = created.map_err(|source| SwapError::Container {
            what: "new container",
            done: "created",
            source,
        })?;
        dismissed?;
        Ok(Prepared::Ready(Box::new(Ready { live, situation, image, new, health })))
    }

    /// Reads the situation. Where an order of a deploy that died may be just under way, it is given
    /// a moment to end.
    pub(super) async fn situation(&self) -> Result<Situation, SwapError> {
        let begun = Instant::now();
        loop {
            let all = self.host.containers(&self.job.app).await?;
            if let Some(front) = front_of(&all) {
                let (app, front) = (self.job.app.clone(), front.name.clone());
                return Err(SwapError::HasFront { app, front });
            }
            let seen = Situation::of(all);
            if !seen.is_between() || begun.elapsed() > UNDER_WAY {
                return Ok(seen);
            }
            tokio::time::sleep(UNDER_WAY / 10).await;
        }
    }

    pub(crate) fn replaces(&mut self, live: &Container) {
        let text = |name| live.label(name).map(str::to_owned);
        self.outcome.previous = text(label::REFERENCE);
        self.outcome.previous_deploy_id = text(label::DEPLOY_ID);
    }

    /// Removes what earlier deploys have left behind.
    async fn clear(&self, situation: &Situation) -> Result<(), HostError> {
        for leftover in &situation.leftovers {
            self.say(&format!("removing {}, left behind by an earlier deploy", leftover.name));
            self.dismiss(&leftover.id, leftover.role() != Role::Release).await?;
        }
        Ok(())
    }

    /// Brings a switch that was cut short to one of its ends, and answers what serves then.
    async fn settle(
        &self,
        mut situation: Situation,
    ) -> Result<(Option<Container>, Situation), Failed> {
        let live = match &situation.serving {
            Serving::Nothing => None,
            Serving::Live(live) => Some(live.clone()),
            Serving::Fallen(old) => {
                let step = self.step(&format!("starting {}, which is stopped", old.name));
                if let Err(error) = self.host.start(&old.id).await {
                    self.warn(&format!("{} cannot be started: {error}", old.name));
                    if error.is_lost() {
                        return Err(error.into());
                    }
                    // It is of no use, and is let go as soon as something serves in its place.
                    let old = old.clone();
                    situation.surplus.extend(situation.previous.replace(old));
                    None
                } else {
                    step.done("started");
                    Some(Container { status: Status::Running, ..old.clone() })
                }
            }
            Serving::Halfway { new, old } => {
                let step = self.step("an earlier deploy was cut short, looking at its container");
                let (new, old) = (new.clone(), old.clone());
                let (seen, result) =
                    self.released(&new, self.job.waits.health_timeout, SETTLED).await;
                match result {
                    Ok(()) => {
                        step.done("it is healthy, finishing that deploy");
                        self.promote(&new).await?;
                        self.host.set_restart(&old.id, None).await?;
                        // What the unfinished deploy had replaced is what is kept now.
                        situation.surplus.extend(situation.previous.replace(old));
                        Some(new)
                    }
                    Err(Closed::Host(error)) => return Err(error.into()),
                    Err(_) => {
                        step.done(&format!("{}; going back", seen.reason()));
                        let back = self.restore(&new.id, false, &old.id).await;
                        back.map_err(|source| SwapError::Container {
                            what: "old container",
                            done: "started",
                            source,
                        })?;
                        Some(Container { status: Status::Running, ..old })
                    }
                }
            }
        };
        Ok((live, situation))
    }

    /// Whether what is asked for is what serves, and healthy.
    pub(super) async fn serves_already(&self, live: &Container) -> bool {
        let same = live.label(label::REFERENCE) == Some(&self.job.reference.to_string())
            && live.label(label::FINGERPRINT) == Some(&self.job.fingerprint)
            && live.status == Status::Running;
        let unhealthy = live
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.status == HealthCheckStatus::Unhealthy);
        same && !unhealthy && self.released(live, GLANCE, Duration::ZERO).await.1.is_ok()
    }

    /// Waits for a container that is in its place, at its own health path.
    pub(super) async fn released(
        &self,
        one: &Container,
        timeout: Duration,
        settled: Duration,
    ) -> (Seen, Result<(), Closed>) {
        let health = one.health();
        let at = Where::released(&health, &one.publish);
        let gate = Gate {
            timeout,
            settled,
            restarts: one.restarts,
            ..Gate::new(at, &health, false, &self.job.waits)
        };
        let patience = Patience { cancelled: &CancellationToken::new(), then: HURRY };
        gate::wait(self.host, &one.id, &gate, patience).await
    }

    /// Does what a deploy that was cut short at its very end had left to do.
    async fn finish_earlier(&self, live: &Container, now: &Situation) -> Result<(), HostError> {
        if !live.kept_alive {
            self.promote(live).await?;
        }
        for replaced in &now.to_demote {
            self.host.set_restart(&replaced.id, None).await?;
        }
        if let Err(error) = prune::releases(self.host, self.job).await {
            self.warn(&format!("old releases are not tidied up: {error}"));
        }
        Ok(())
    }

    /// Gives a proved container the restart policy that its own deploy asked for.
    async fn promote(&self, one: &Container) -> Result<(), HostError> {
        let wanted = one.label(label::RESTART).and_then(|text| text.parse().ok());
        self.host.set_restart(&one.id, Some(wanted.unwrap_or(Restart::Always))).await
    }

    /// Looks at the host, and gets the image to it.
    pub(crate) async fn image(
        &mut self,
        live: Option<&Container>,
    ) -> Result<LocalImage, SwapError> {
        let job = self.job;
        let Checked { platform, image } =
            preflight::check(self.host, self.place, job, live, self.ui).await?;
        let begun = Instant::now();
        let reference = job.reference.to_string();
        let image = match image {
            Some(image) => image,
            None => {
                let step = self.step(&format!("pulling {}", short(&job.reference)));
                self.host.pull(job, &mut |text| step.update(text)).await?;
                let pulled = self.host.image(&reference).await?;
                step.done("pulled");
                pulled.ok_or_else(|| SwapError::Digest {
                    reference: reference.clone(),
                    found: "nothing".to_owned(),
                })?
            }
        };
        self.outcome.pull_ms = Some(millis(begun.elapsed()));
        preflight::digest(&image, &job.reference)?;
        preflight::platform(&platform, &format!("{}/{}", image.os, image.architecture))?;
        Ok(image)
    }

    /// Starts a candidate, waits until it is healthy, and answers its id and by what it told that.
    async fn prove(&self) -> Result<(String, Option<HealthKind>), Failed> {
        const WHAT: &str = "candidate";
        let job = self.job;
        let step = self.step("proving a candidate");
        let name = body::name(job, Role::Candidate);
        let id = self.host.create(&name, body::create(job, Role::Candidate)).await;
        let id =
            id.map_err(|source| SwapError::Container { what: WHAT, done: "created", source })?;
        let started = self.host.start(&id).await;
        started.map_err(|source| SwapError::Container { what: WHAT, done: "started", source })?;
        let health = &job.spec.health;
        let gate = Gate::new(Where::candidate(health), health, true, &job.waits);
        // An interruption ends all of this from outside.
        let patience = Patience { cancelled: &CancellationToken::new(), then: HURRY };
        let (seen, result) = gate::wait(self.host, &id, &gate, patience).await;
        if let Err(closed) = result {
            let error = why(WHAT, closed, &seen, gate.timeout);
            let evidence = Some(self.evidence(WHAT, &id, seen).await);
            return Err(Failed { evidence, ..error.into() });
        }
        step.done("it is healthy");
        if health.port.is_some()
            && health.kind.is_none()
            && seen.kind == Some(HealthKind::Container)
        {
            self.say("its port gives no HTTP answer, so that its HEALTHCHECK decides");
        }
        Ok((id, seen.kind))
    }
}
