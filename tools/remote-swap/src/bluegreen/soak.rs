//! After the switch: the new container is watched, the old one ends what it is busy with.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{ASK, FrontWork, Ready};
use crate::container::{Container, HealthCheckStatus, Status};
use crate::error::{HostError, SwapError};
use crate::front::FrontHost;
use crate::gate::Seen;
use crate::host::Probe;
use crate::prune;
use crate::recreate::{HURRY_STOP, Swap, millis};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// So many bad answers in a row are no accident.
const BAD: u32 = 3;

/// So many looks in a row at which the old one was idle: between two of them a request that was
/// passed on before the switch may have come to it.
const IDLE: u32 = 2;

impl<H: FrontHost> Swap<'_, H> {
    /// Watches the new container for the time of the soak, and until the old one is idle or its
    /// time is over. Told to end, it stops watching: the new one serves.
    pub(super) async fn watch(&mut self, ready: &Ready) -> Result<(), (SwapError, Seen)> {
        let waits = &self.job.waits;
        let begun = Instant::now();
        let (soaked, drained) = (begun + waits.soak, begun + waits.drain_timeout);
        let old = ready.layout.live.as_ref().and_then(Container::slot);
        let old = old.filter(|_| matches!(ready.work, FrontWork::Keep(_)));
        let step = match old {
            Some(_) => self.step("watching the new container, draining the old one"),
            None => self.step("watching the new container"),
        };
        let (mut bad, mut idle, mut busy, mut reloads) = (0, 0, 0, true);
        loop {
            let mut seen = Seen::default();
            if let Err(error) = self.look(ready, &mut seen, &mut bad).await {
                return Err((error, seen));
            }
            // Once it was idle it is asked again at the end only: nothing new is passed to it.
            let asks = idle < IDLE || Instant::now() >= soaked;
            if let Some(old) = old.filter(|_| asks) {
                let state = self.front_state(ready.work.front()).await;
                busy = match state.map_err(|error| (error, Seen::default()))? {
                    Ok(state) => state.busy(old),
                    Err(_) => 1,
                };
                idle = if busy == 0 { idle + 1 } else { 0 };
            }
            if idle >= IDLE && reloads {
                reloads = self.reloads(ready).await.map_err(|error| (error.into(), seen))?;
                if reloads {
                    (busy, idle) = (1, 0);
                }
            }
            let now = Instant::now();
            let quiet = old.is_none() || idle >= IDLE || now >= drained;
            if (now >= soaked && quiet && bad == 0) || self.cancelled.is_cancelled() {
                self.outcome.drain_ms = Some(millis(begun.elapsed()));
                match busy {
                    0 => step.done("it holds"),
                    _ => {
                        step.done(&format!("it holds; {busy} requests to the old one are cut off"))
                    }
                }
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether workers of before a reload are busy, of which the front that answers knows nothing.
    async fn reloads(&self, ready: &Ready) -> Result<bool, HostError> {
        Ok(self.host.workers(&ready.work.front().container.id).await? > 1)
    }

    /// One look at the new container, and through the port.
    async fn look(&self, ready: &Ready, seen: &mut Seen, bad: &mut u32) -> Result<(), SwapError> {
        const WHAT: &str = "new container";
        let asked = self.through_port(&ready.work.front().config).await?;
        let container = self.host.inspect(&ready.new.id).await?;
        let container = container.ok_or(SwapError::Gone { what: WHAT })?;
        let crowded = self.crowded(ready.work.front(), ready.slot, &asked).await?;
        let good = self.is_from(&asked, ready.slot) || crowded.is_some();
        let reason = asked.told(ready.slot);
        let (exit_code, oom) = (container.exit_code, container.oom_killed);
        let ended = container.status != Status::Running || container.restarts > 0;
        let check = container.healthcheck.as_ref().map(|check| check.status);
        seen.container = Some(container);
        seen.probe = Some(asked.probe);
        if ended {
            return Err(SwapError::Exited { what: WHAT, exit_code, oom });
        }
        *bad = if good { 0 } else { *bad + 1 };
        if *bad >= BAD {
            // What came through the port may be the old one's answer, which hides the new one's.
            seen.probe = self.own_answer(ready).await?.or(seen.probe.take());
            return Err(SwapError::DidNotHold { reason });
        }
        if check == Some(HealthCheckStatus::Unhealthy) {
            let reason = "its HEALTHCHECK is unhealthy".to_owned();
            return Err(SwapError::DidNotHold { reason });
        }
        Ok(())
    }

    /// What the new container answers by itself.
    async fn own_answer(&self, ready: &Ready) -> Result<Option<Probe>, HostError> {
        let health = &self.job.spec.health;
        let Some(port) = health.port else { return Ok(None) };
        let ip = IpAddr::V4(ready.work.front().config.backend(ready.slot).address);
        self.host.probe(ip, port, &health.path, ASK).await.map(Some)
    }

    /// Stops what served before and keeps it; removes what is too many. What is left undone here is
    /// done by the next deploy.
    pub(super) async fn let_go(&mut self, ready: &Ready) {
        let begun = Instant::now();
        if let Err(error) = self.let_go_of_old(ready).await {
            self.warn(&format!(
                "the new container serves, and the old one is not stopped: {error}"
            ));
        }
        if let Some(watched) = self.outcome.drain_ms {
            self.outcome.drain_ms = Some(watched + millis(begun.elapsed()));
        }
        if let Err(error) = prune::releases(self.host, self.job).await {
            self.warn(&format!(
                "the new container serves, and old releases are not removed: {error}"
            ));
        }
    }

    async fn let_go_of_old(&self, ready: &Ready) -> Result<(), HostError> {
        for old in ready.layout.live.iter().chain(&ready.adopted) {
            self.host.set_restart(&old.id, None).await?;
            self.stop_idle(old).await?;
        }
        if let FrontWork::Replace { new, holder: Some(holder) } = &ready.work {
            if holder.role() == crate::container::Role::Front {
                self.dismiss(&holder.id, true).await?;
            }
            self.keep_up(&new.container.id).await?;
        }
        for old in ready.layout.kept.iter().filter(|one| one.kept_alive) {
            self.host.set_restart(&old.id, None).await?;
        }
        Ok(())
    }

    /// Stops one that serves nobody any more, within its stop timeout, or soon after a signal.
    pub(super) async fn stop_idle(&self, old: &Container) -> Result<(), HostError> {
        let mut stopping = std::pin::pin!(self.host.stop(&old.id, self.stop_seconds(old)));
        let hurry = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(HURRY_STOP).await;
        };
        tokio::select! {
            biased;
            result = &mut stopping => return result,
            () = hurry => {}
        }
        self.host.kill(&old.id).await?;
        stopping.await
    }
}
