//! What is there, and what an earlier deploy left unfinished brought to one of its ends.

use std::net::IpAddr;
use std::time::Duration;

use slipway_shell::CancellationToken;

use super::{Layout, Scene, front_failed, front_of};
use crate::container::{Container, HealthCheckStatus, Role, Status, label};
use crate::error::SwapError;
use crate::front::{Config, Front, FrontHost};
use crate::gate::{self, Gate, Patience, Where};
use crate::prune;
use crate::recreate::{Failed, HURRY, Swap};

/// How long to look whether something that should be healthy is.
const GLANCE: Duration = Duration::from_secs(3);

impl<H: FrontHost> Swap<'_, H> {
    /// Reads what is there.
    pub(super) async fn scene(&self) -> Result<Scene, SwapError> {
        let all = self.host.containers(&self.job.app).await?;
        let mut front = None;
        if let Some(container) = front_of(&all) {
            front = Some(self.read_front(container.clone()).await?);
        }
        let at = front.as_ref().map(|front| (front.container.id.as_str(), front.live));
        Ok(Scene { layout: Layout::of(all, at), front })
    }

    async fn read_front(&self, container: Container) -> Result<Front, SwapError> {
        let files = self.host.files(&container.id).await?;
        let network = self.host.network(&self.job.app).await?;
        let read = files.as_ref().and_then(|files| {
            let address = network.as_ref()?.subnet.front();
            Some((address, Config::parse(&files.config)?, files.live()?))
        });
        let Some((address, config, live)) = read else {
            let reason = format!("{} does not hold what was put there", container.name);
            return Err(front_failed("read", reason));
        };
        let newer = self.newer_image(&container).await?;
        Ok(Front { container, address, config, live, newer })
    }

    /// Brings what an earlier deploy left unfinished to one of its ends.
    pub(super) async fn put_in_order(&self, mut scene: Scene) -> Result<Scene, Failed> {
        if let Some(front) = &mut scene.front
            && !front.container.is_up()
        {
            let step = self.step("starting the front, which is stopped");
            self.host.start(&front.container.id).await?;
            front.container.status = Status::Running;
            step.done("started");
        }
        if let Some(front) = &mut scene.front {
            self.catch_up(front).await?;
        }
        self.heed_front_image(&mut scene).await?;
        self.choose(&mut scene).await?;
        let layout = &mut scene.layout;
        for leftover in std::mem::take(&mut layout.leftovers) {
            self.say(&format!("removing {}, left behind by an earlier deploy", leftover.name));
            self.dismiss(&leftover.id, leftover.role() != Role::Release).await?;
        }
        for old in std::mem::take(&mut layout.draining) {
            self.say(&format!("stopping {}, which an earlier deploy replaced", old.name));
            self.host.set_restart(&old.id, None).await?;
            self.stop_idle(&old).await?;
            layout.kept.insert(0, Container { status: Status::Stopped, kept_alive: false, ..old });
        }
        Ok(scene)
    }

    /// Turns the front to what is healthy, where that is not what it passes to: a deploy was cut
    /// short after the switch, and the new container has died since.
    async fn choose(&self, scene: &mut Scene) -> Result<(), Failed> {
        let Some(front) = &mut scene.front else { return Ok(()) };
        let layout = &mut scene.layout;
        let other = match (&layout.live, &layout.refuge) {
            (None, Some(refuge)) => refuge.clone(),
            (Some(live), _) => {
                let Some(old) = layout.draining.iter().find(|one| one.slot().is_some()) else {
                    return Ok(());
                };
                if self.is_well(live, front).await {
                    return Ok(());
                }
                old.clone()
            }
            (None, None) => return Ok(()),
        };
        let Some(slot) = other.slot() else { return Ok(()) };
        if !self.is_well(&other, front).await {
            // Neither is: then the one that was switched to stays where it is.
            layout.leftovers.extend(layout.refuge.take());
            return Ok(());
        }
        let step = self.step(&format!("going back to {}: what replaced it is down", other.name));
        self.host.set_restart(&other.id, Some(self.job.spec.restart)).await?;
        self.turn(front, slot).await?;
        step.done("it serves");
        front.live = slot;
        layout.refuge = None;
        layout.draining.retain(|one| one.id != other.id);
        layout.leftovers.extend(layout.live.replace(other));
        layout.slot = Some(slot);
        Ok(())
    }

    /// Whether a container in a slot runs and answers well at the moment.
    async fn is_well(&self, one: &Container, front: &Front) -> bool {
        let Some(slot) = one.slot() else { return false };
        let health = one.health();
        let at = match health.port {
            Some(port) => Where::Slot(IpAddr::V4(front.config.backend(slot).address), port),
            None => Where::Nowhere,
        };
        let gate = Gate {
            timeout: GLANCE,
            settled: Duration::ZERO,
            restarts: one.restarts,
            ..Gate::new(at, &health, false, &self.job.waits)
        };
        let patience = Patience { cancelled: &CancellationToken::new(), then: HURRY };
        gate::wait(self.host, &one.id, &gate, patience).await.1.is_ok()
    }

    /// Whether what is asked for is what serves, through a front as it is asked for.
    pub(super) async fn is_unchanged(
        &self,
        live: &Container,
        scene: &Scene,
    ) -> Result<bool, SwapError> {
        let Some(front) = &scene.front else { return Ok(false) };
        let same = live.label(label::REFERENCE) == Some(&self.job.reference.to_string())
            && live.label(label::FINGERPRINT) == Some(&self.job.fingerprint)
            && live.status == Status::Running;
        let sick = live
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.status == HealthCheckStatus::Unhealthy);
        let Some(slot) = live.slot() else { return Ok(false) };
        if !same || sick || self.needs_new_front(front) {
            return Ok(false);
        }
        let wanted = self.wanted(&front.config, slot, front.config.backend(slot).address)?;
        let asked = self.through_port(&front.config).await?;
        Ok(wanted.does_the_same(&front.config) && self.is_from(&asked, slot))
    }

    /// Does what a deploy that was cut short at its very end had left to do.
    pub(super) async fn confirm(&self, live: &Container, scene: &Scene) -> Result<(), SwapError> {
        if !live.kept_alive {
            self.host.set_restart(&live.id, Some(self.job.spec.restart)).await?;
        }
        if let Some(front) = &scene.front
            && !front.container.kept_alive
        {
            self.host.set_restart(&front.container.id, Some(Self::FRONT_RESTART)).await?;
        }
        for old in scene.layout.kept.iter().filter(|one| one.kept_alive) {
            self.host.set_restart(&old.id, None).await?;
        }
        Ok(prune::releases(self.host, self.job).await?)
    }

    /// The container of somebody else's that is to be taken over, unless that is done already.
    pub(super) async fn adopted(&self, scene: &Scene) -> Result<Option<Container>, SwapError> {
        let Some(name) = &self.job.adopt else { return Ok(None) };
        let missing = || SwapError::Adopt { name: name.clone(), reason: "there is none" };
        if scene.front.is_some() {
            return Ok(None);
        }
        let one = self.host.inspect(name).await?.ok_or_else(missing)?;
        let reason = if one.label(label::APP).is_some() {
            "it is a container of this tool's"
        } else if !one.is_up() {
            "it does not run"
        } else if !self
            .job
            .spec
            .publish
            .iter()
            .all(|wanted| one.publish.iter().any(|held| held.collides(wanted)))
        {
            "it does not hold the ports that are to be published"
        } else {
            return Ok(Some(one));
        };
        Err(SwapError::Adopt { name: name.clone(), reason })
    }
}
