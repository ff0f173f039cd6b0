//! The strategy `blue-green` on one host.
//!
//! The new container starts in the spare slot beside the one that serves, is proved there, and only
//! then the front is turned to it: one step that takes effect at once and is on the disk before.
//! The new one is proved again through the published port, watched for a while with the old one
//! ready to take over, and the old one is let go when its last request has ended. At every moment
//! both that could serve are healthy, so whoever dies in between, something healthy serves; what is
//! left to do follows from what is there ([`layout`]), and the next run does it.

mod front_work;
mod layout;
mod plan;
mod prepare;
mod scene;
mod soak;
mod switch;

use std::net::IpAddr;
use std::time::Duration;

use slipway_release::Outcome;
use slipway_shell::{CancellationToken, Ui};
use tokio::time::Instant;

use crate::container::Container;
use crate::error::SwapError;
use crate::front::{Asked, Config, Front, FrontHost, State};
use crate::host::{LocalImage, Probe};
use crate::job::Job;
use crate::recreate::{Failed, Guard, HURRY, Report, Swap};
use crate::slot::Slot;

pub(crate) use layout::{Layout, front_of};

/// How long the front may take to answer, to take up a configuration, or to see what is there.
const FRONT: Duration = Duration::from_secs(10);

/// The pause between two looks at the front.
const LOOK: Duration = Duration::from_millis(25);

/// How long one request through the published port may take.
const ASK: Duration = Duration::from_secs(5);

/// What was found on the host and put in order.
struct Scene {
    layout: Layout,
    front: Option<Front>,
}

/// What the front needs to know a new container.
enum FrontIntent {
    /// Nothing: it knows both slots.
    Keep,
    /// Another configuration, which it takes up without losing a request.
    Reload(Config),
    /// Another front.
    Create(Config),
}

/// What has to be done about the front.
enum FrontWork {
    /// It passes to the slot as it is.
    Keep(Box<Front>),
    /// A new one takes the place of what holds the ports, if something does.
    Replace {
        /// Created and not started.
        new: Box<Front>,
        /// A front, or a container that publishes the ports itself.
        holder: Option<Box<Container>>,
    },
}

impl FrontWork {
    fn front(&self) -> &Front {
        match self {
            Self::Keep(front) | Self::Replace { new: front, .. } => front,
        }
    }
}

/// What is there when everything that can fail without harm is done: the new container runs in its
/// slot and is healthy.
struct Ready {
    layout: Layout,
    image: LocalImage,
    new: Container,
    slot: Slot,
    work: FrontWork,
    /// The front that there was. It knows no other token than its own.
    front: Option<Front>,
    /// A container of somebody else's whose port is taken over.
    adopted: Option<Container>,
}

enum Prepared {
    Unchanged(Box<Container>),
    Ready(Box<Ready>),
}

/// Deploys on one host; `place` is how messages call it.
pub(crate) async fn deploy<H: FrontHost>(
    host: &H,
    place: &str,
    job: &Job,
    ui: &Ui,
    cancelled: &CancellationToken,
    guard: Guard<'_>,
) -> Report {
    let begun = Instant::now();
    let mut swap = Swap::new(host, place, job, ui, cancelled, guard);
    let result = swap.blue_green().await;
    swap.report(begun, result)
}

impl<H: FrontHost> Swap<'_, H> {
    async fn blue_green(&mut self) -> Result<Outcome, Failed> {
        let cancelled = self.cancelled;
        let prepared = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(SwapError::Interrupted.into()),
            prepared = self.prepare_slot() => prepared,
        };
        match prepared {
            Ok(Prepared::Unchanged(live)) => {
                self.serves(&live.id, &live.name);
                Ok(Outcome::Unchanged)
            }
            Ok(Prepared::Ready(ready)) => {
                self.turn_over(&ready).await?;
                self.let_go(&ready).await;
                Ok(Outcome::Deployed)
            }
            Err(failed) => {
                self.sweep().await;
                Err(failed)
            }
        }
    }

    fn patience(&self, limit: Duration) -> Patience<'_> {
        Patience { end: Instant::now() + limit, cancelled: self.cancelled, hurried: false }
    }

    /// Asks the front what it does.
    async fn front_state(&self, front: &Front) -> Result<Result<State, String>, SwapError> {
        self.tell_front(front, "/").await
    }

    async fn tell_front(
        &self,
        front: &Front,
        path: &str,
    ) -> Result<Result<State, String>, SwapError> {
        let config = &front.config;
        let (ip, port) = (IpAddr::V4(front.address), config.control_port());
        let asked = self.host.ask(ip, port, path, &config.token, ASK).await?;
        Ok(match asked.probe {
            Probe::Answer { status: 200, body } => {
                State::parse(&body).ok_or_else(|| "it gave an answer of another kind".to_owned())
            }
            Probe::Answer { status, .. } => Err(format!("it answered with status {status}")),
            Probe::Silent { reason } => Err(reason),
        })
    }

    /// Looks at the front until it is as wanted; what it was in the end if it does not come to be.
    async fn front_is(
        &self,
        front: &Front,
        limit: Duration,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<Result<(), String>, SwapError> {
        let mut patience = self.patience(limit);
        loop {
            let seen = self.front_state(front).await?;
            let told = match &seen {
                Ok(state) if wanted(state) => return Ok(Ok(())),
                Ok(_) => "it answers, and is not as it was told to be".to_owned(),
                Err(reason) => reason.clone(),
            };
            if patience.is_over() {
                return Ok(Err(told));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One request through the published port, at the health path if that is published.
    async fn through_port(&self, config: &Config) -> Result<Asked, SwapError> {
        let (ip, port, path) = self.public();
        Ok(self.host.ask(ip, port, path, &config.token, ASK).await?)
    }

    /// Why the published port gave no answer, where that is because clients take all of its
    /// connections: then it tells nothing of the container in this slot, which the front passes to
    /// and finds healthy.
    async fn crowded(
        &self,
        front: &Front,
        slot: Slot,
        asked: &Asked,
    ) -> Result<Option<String>, SwapError> {
        if !matches!(asked.probe, Probe::Silent { .. }) {
            return Ok(None);
        }
        let state = self.front_state(front).await?.ok();
        let state = state.filter(|state| state.live == slot && state.is_up(slot));
        Ok(state.and_then(|state| state.crowded(&front.config)))
    }

    /// Where the application is asked as its users do, and for what.
    fn public(&self) -> (IpAddr, u16, &str) {
        let spec = &self.job.spec;
        let tcp = || spec.publish.iter().filter(|one| one.is_tcp());
        let health = tcp().find(|one| Some(one.container_port) == spec.health.port);
        let path = if health.is_some() { spec.health.path.as_str() } else { "/" };
        // There is one: without it the job is refused at once.
        match health.or_else(|| tcp().next()) {
            Some(one) => (one.local_address(), one.host_port, path),
            None => (IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0, path),
        }
    }

    /// Whether an answer through the port is good, and from this slot.
    fn is_from(&self, asked: &Asked, slot: Slot) -> bool {
        let healthy = match &asked.probe {
            Probe::Answer { status, .. } if self.public().2 == self.job.spec.health.path => {
                (200..300).contains(status)
            }
            Probe::Answer { status, .. } => *status < 500,
            Probe::Silent { .. } => false,
        };
        healthy && asked.served_by == Some(slot)
    }
}

/// How long something is waited for: less once the tool was told to end.
struct Patience<'a> {
    end: Instant,
    cancelled: &'a CancellationToken,
    hurried: bool,
}

impl Patience<'_> {
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.cancelled.is_cancelled() && !self.hurried {
            self.hurried = true;
            self.end = self.end.min(now + HURRY);
        }
        now >= self.end
    }
}

/// A failure of the front, in words of its own.
fn front_failed(what: &'static str, reason: String) -> SwapError {
    SwapError::Front { what, reason }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_front;
