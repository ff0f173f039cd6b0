//! The switch itself, and the way back.

use super::{FRONT, FrontWork, LOOK, Ready, front_failed};
use crate::container::Container;
use crate::error::SwapError;
use crate::front::{Front, FrontHost};
use crate::gate::Seen;
use crate::recreate::{Failed, Gap, Swap, millis};
use crate::slot::Slot;
use crate::values::Restart;
use slipway_release::Outcome;

/// How long a front that is replaced may take to end what is in flight, in seconds: meanwhile the
/// port is closed.
const FRONT_STOP: i32 = 1;

impl<H: FrontHost> Swap<'_, H> {
    /// The front has to come back with the engine, whatever happened.
    pub(super) const FRONT_RESTART: Restart = Restart::Always;

    /// Turns the front to the new container, proves it through the port and watches it for a
    /// while; goes back if it does not hold.
    pub(super) async fn turn_over(&mut self, ready: &Ready) -> Result<(), Failed> {
        let same = self.same_image(&ready.new, &ready.image);
        let may = match same {
            Ok(()) => self.may_switch().await,
            Err(error) => Err(error),
        };
        if let Err(error) = may {
            self.sweep().await;
            return Err(error.into());
        }
        let gap = Gap::default();
        let done = match self.switch_to(ready, &gap).await {
            Ok(()) => self.watch(ready).await,
            Err(error) => Err((error, Seen::default())),
        };
        let Err((error, seen)) = done else { return Ok(()) };
        if error.is_lost() {
            return Err(undecided(error));
        }
        let evidence = self.evidence("release", &ready.new.id, seen).await;
        let failed = self.go_back(ready, error, &gap).await;
        Err(Failed { evidence: Some(evidence), ..failed })
    }

    async fn switch_to(&mut self, ready: &Ready, gap: &Gap) -> Result<(), SwapError> {
        // First, so that it comes back with the engine whenever the front passes to it.
        self.host.set_restart(&ready.new.id, Some(self.job.spec.restart)).await?;
        let step = match &ready.work {
            FrontWork::Keep(front) => {
                let step = self.step(&format!("turning the front to the slot {}", ready.slot));
                self.turn(front, ready.slot).await?;
                step
            }
            FrontWork::Replace { new, holder: None } => {
                let step = self.step("starting the front");
                self.start_front(new).await?;
                step
            }
            FrontWork::Replace { new, holder: Some(holder) } => {
                self.say(&format!(
                    "the front takes the port over from {}: connections are refused until it answers, mostly about a second",
                    holder.name
                ));
                let step = self.step(&format!("replacing {} by the front", holder.name));
                let seconds = self.patience_with(holder, ready);
                self.take_place(holder, seconds, &new.container.id, gap).await?;
                step
            }
        };
        self.answers_through_port(ready.work.front(), ready.slot).await?;
        if let FrontWork::Replace { new, holder } = &ready.work {
            if holder.is_some() {
                self.outcome.unserved_ms = gap.get().map(|begun| millis(begun.elapsed()));
            }
            self.host.set_restart(&new.container.id, Some(Self::FRONT_RESTART)).await?;
        }
        self.serves(&ready.new.id, &ready.new.name);
        step.done("the new container answers");
        Ok(())
    }

    fn patience_with(&self, holder: &Container, ready: &Ready) -> i32 {
        let ours = ready.adopted.as_ref().is_none_or(|adopted| adopted.id != holder.id);
        if ours && holder.role() == crate::container::Role::Front {
            return FRONT_STOP;
        }
        self.stop_seconds(holder)
    }

    async fn start_front(&self, front: &Front) -> Result<(), SwapError> {
        let failed = |source| SwapError::Container { what: "front", done: "started", source };
        self.host.start(&front.container.id).await.map_err(failed)
    }

    /// Turns the front to a slot: on its disk first, then in its memory.
    pub(super) async fn turn(&self, front: &Front, slot: Slot) -> Result<(), SwapError> {
        let kept = self.host.keep_live(&front.container.id, slot).await?;
        kept.map_err(|reason| front_failed("turned", reason))?;
        let mut patience = self.patience(FRONT);
        loop {
            let told = match self.tell_front(front, &format!("/live/{slot}")).await? {
                Ok(state) if state.live == slot => return Ok(()),
                Ok(_) => "it passes to the other slot".to_owned(),
                Err(reason) => reason,
            };
            if patience.is_over() {
                return Err(front_failed("turned", told));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the published port answers well from this slot.
    async fn answers_through_port(&self, front: &Front, slot: Slot) -> Result<(), SwapError> {
        let mut patience = self.patience(FRONT);
        loop {
            let asked = self.through_port(&front.config).await?;
            if self.is_from(&asked, slot) {
                return Ok(());
            }
            if let Some(told) = self.crowded(front, slot, &asked).await? {
                self.warn(&format!("the published port was not asked, as {told}: the front's own check of the new container has to do"));
                return Ok(());
            }
            if patience.is_over() {
                return Err(SwapError::NotThroughPort { reason: asked.told(slot) });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes back to what served before, and takes the new one away.
    async fn go_back(&mut self, ready: &Ready, error: SwapError, gap: &Gap) -> Failed {
        let Some(old) = ready.layout.live.as_ref().or(ready.adopted.as_ref()) else {
            self.sweep().await;
            return error.into();
        };
        let step = self.step(&format!("going back to {}", old.name));
        let back = self.back_to(ready, old).await;
        match back {
            Ok(()) => {
                self.serves(&old.id, &old.name);
                self.outcome.unserved_ms = gap.get().map(|begun| millis(begun.elapsed()));
                step.done("it serves");
                self.sweep().await;
                Failed { error, outcome: Outcome::RolledBack, evidence: None }
            }
            Err(reason) if reason.is_lost() => undecided(error),
            Err(reason) => {
                let (cause, why) = (Box::new(error), reason.to_string());
                let error = SwapError::NotRestored { cause, why };
                Failed { error, outcome: Outcome::Broken, evidence: None }
            }
        }
    }

    async fn back_to(&self, ready: &Ready, old: &Container) -> Result<(), SwapError> {
        match (&ready.work, old.slot()) {
            (FrontWork::Keep(front), Some(slot)) => {
                self.turn(front, slot).await?;
                self.answers_from(front, slot).await
            }
            (FrontWork::Replace { new, holder: Some(holder) }, slot) => {
                self.restore(&new.container.id, true, &holder.id).await?;
                match slot {
                    Some(slot) => {
                        self.answers_from(ready.front.as_ref().unwrap_or(new), slot).await
                    }
                    None => self.takes_connections().await,
                }
            }
            _ => Ok(()),
        }
    }

    /// Waits until the port answers from a slot at all: the old one was healthy when it was left.
    async fn answers_from(&self, front: &Front, slot: Slot) -> Result<(), SwapError> {
        let mut patience = self.patience(FRONT);
        loop {
            let asked = self.through_port(&front.config).await?;
            if asked.served_by == Some(slot) || self.crowded(front, slot, &asked).await?.is_some() {
                return Ok(());
            }
            if patience.is_over() {
                return Err(SwapError::NotThroughPort { reason: asked.told(slot) });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the port is open again: nothing is known of what a stranger answers there.
    async fn takes_connections(&self) -> Result<(), SwapError> {
        let (ip, port, path) = self.public();
        let mut patience = self.patience(FRONT);
        loop {
            let probe = self.host.probe(ip, port, path, FRONT).await?;
            match probe {
                crate::host::Probe::Answer { .. } => return Ok(()),
                crate::host::Probe::Silent { reason } if patience.is_over() => {
                    return Err(SwapError::NotThroughPort { reason });
                }
                crate::host::Probe::Silent { .. } => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// Nobody here can know whether the front was turned.
fn undecided(error: SwapError) -> Failed {
    let error = SwapError::Undecided { cause: Box::new(error) };
    Failed { error, outcome: Outcome::Unknown, evidence: None }
}
