//! What a deploy would do, decided by the same functions that the deploy uses, and not done.

use slipway_release::PlanStep;

use super::{FrontIntent, Scene};
use crate::container::{Container, Status, label};
use crate::error::SwapError;
use crate::front::{self, FrontHost, Network, Subnet};
use crate::options::FrontUpdate;
use crate::preflight;
use crate::provenance;
use crate::recreate::{Swap, plan_step, short};

impl<H: FrontHost> Swap<'_, H> {
    /// The steps of a deploy behind a front; and whether another
    /// release serves after them.
    pub(crate) async fn plan_slot(&self) -> Result<(Vec<PlanStep>, bool), SwapError> {
        let scene = self.scene().await?;
        let mut steps = put_in_order(&scene);
        let live = scene.layout.live.as_ref();
        if let Some(live) = live
            && self.is_unchanged(live, &scene).await?
        {
            return Ok((steps, false));
        }
        let adopted = self.adopted(&scene).await?;
        let front = scene.front.as_ref().map(|front| &front.container);
        let holder = front.or(adopted.as_ref()).or(live);
        provenance::refuse_older(self.job, live)?;
        let checked = preflight::check(self.host, self.place, self.job, holder, self.ui).await?;
        let reference = short(&self.job.reference);
        if checked.image.is_none() {
            steps.push(plan_step("pull", &reference, "the host does not have it"));
        }
        steps.extend(self.plan_release_command());
        let slot = scene.layout.spare();
        let why = match live {
            Some(live) => format!("{} serves until it is healthy", live.name),
            None => "nothing serves yet".to_owned(),
        };
        steps.push(plan_step("start", &format!("{reference} in the slot {slot}"), &why));
        self.plan_front(&scene, holder, &mut steps).await?;
        let seconds = self.job.waits.soak.as_secs_f32();
        let why = format!("to go back by itself if it does not hold for {seconds} s");
        steps.push(plan_step("watch", &reference, &why));
        for old in live.into_iter().chain(&adopted) {
            let limit = self.job.waits.drain_timeout.as_secs_f32();
            let why = format!("when its requests have ended, at most {limit} s; it is kept");
            steps.push(plan_step("stop", &old.name, &why));
        }
        Ok((steps, true))
    }

    async fn plan_front(
        &self,
        scene: &Scene,
        holder: Option<&Container>,
        steps: &mut Vec<PlanStep>,
    ) -> Result<(), SwapError> {
        let network = match self.host.network(&self.job.app).await? {
            Some(network) => network,
            None => any_network(&self.job.app)?,
        };
        let slot = scene.layout.spare();
        let intent = self.front_intent(scene, &network, slot)?;
        let newer = scene.front.as_ref().and_then(|front| Some((front, front.newer.as_ref()?)));
        match (self.job.front_update, newer) {
            (FrontUpdate::Never, Some((front, newer))) => {
                self.say(&front::outdated(&front.container, newer));
            }
            (FrontUpdate::Pull, _) => {
                let why = "the front is replaced if it is a newer one";
                let image = self.front_image(scene.front.as_ref());
                steps.push(plan_step("pull", &format!("the front's image {image}"), why));
            }
            _ => {}
        }
        let image = self.front_image(scene.front.as_ref());
        match (intent, holder.filter(|holder| holder.is_up())) {
            (FrontIntent::Keep, _) => {}
            (FrontIntent::Reload(_), _) => {
                let why =
                    "it has to know the new container or the changed options; no request is lost";
                steps.push(plan_step("configure", "the front", why));
            }
            (FrontIntent::Create(_), None) => {
                steps.push(plan_step("start", &format!("the front, {image}"), "it owns the ports"));
                return Ok(());
            }
            (FrontIntent::Create(_), Some(holder)) => {
                let why = "it takes the ports over: connections are refused for about a second";
                let what = format!("{} by the front, {image}", holder.name);
                steps.push(plan_step("replace", &what, why));
                return Ok(());
            }
        }
        let what = format!("the front to the slot {slot}");
        steps.push(plan_step("turn", &what, "the new container is healthy there"));
        Ok(())
    }
}

fn any_network(app: &str) -> Result<Network, SwapError> {
    // Only which addresses it has is not known yet.
    let subnet = Subnet::parse("192.0.2.0/24").ok_or(SwapError::Gone { what: "network" })?;
    Ok(Network { name: front::network(app), subnet })
}

/// What an earlier deploy left to do.
fn put_in_order(scene: &Scene) -> Vec<PlanStep> {
    let mut steps = Vec::new();
    if let Some(front) = scene.front.as_ref().filter(|front| !front.container.is_up()) {
        steps.push(plan_step("start", &front.container.name, "the front is stopped"));
    }
    if let Some(refuge) = &scene.layout.refuge {
        let why = "what replaced it is down; if it is healthy";
        steps.push(plan_step("turn", &format!("the front to {}", refuge.name), why));
    }
    for one in &scene.layout.leftovers {
        steps.push(plan_step("remove", &one.name, "an earlier deploy left it behind"));
    }
    for one in &scene.layout.draining {
        steps.push(plan_step("stop", &one.name, "an earlier deploy replaced it"));
    }
    if let Some(live) = &scene.layout.live
        && live.status == Status::Restarting
    {
        let reference = live.label(label::REFERENCE).unwrap_or_default();
        steps.push(plan_step("replace", &live.name, &format!("{reference} ends again and again")));
    }
    steps
}
