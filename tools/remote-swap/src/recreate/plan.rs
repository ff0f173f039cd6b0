//! What a deploy would do, decided by the same functions that the deploy uses, and not done.

use slipway_release::PlanStep;

use super::{Swap, plan_step, short};
use crate::error::SwapError;
use crate::host::Host;
use crate::plan::{Serving, Situation};
use crate::preflight;
use crate::provenance;

impl<H: Host> Swap<'_, H> {
    /// The steps of a deploy without a front; and whether another
    /// release serves after them.
    pub(crate) async fn plan_recreate(&self) -> Result<(Vec<PlanStep>, bool), SwapError> {
        let situation = self.situation().await?;
        let mut steps = put_in_order(&situation);
        let live = match &situation.serving {
            Serving::Nothing => None,
            Serving::Live(one) | Serving::Fallen(one) | Serving::Halfway { new: one, .. } => {
                Some(one)
            }
        };
        if let Serving::Live(live) = &situation.serving
            && self.serves_already(live).await
        {
            return Ok((steps, false));
        }
        provenance::refuse_older(self.job, live)?;
        let checked = preflight::check(self.host, self.place, self.job, live, self.ui).await?;
        let reference = short(&self.job.reference);
        if checked.image.is_none() {
            steps.push(plan_step("pull", &reference, "the host does not have it"));
        }
        steps.extend(self.plan_release_command());
        let why = "in a container of its own, without the ports";
        steps.push(plan_step("prove", &reference, why));
        match live {
            Some(live) => {
                let why = "nothing answers from its stop until the new one is healthy; it is kept";
                steps.push(plan_step("replace", &live.name, why));
            }
            None => steps.push(plan_step("start", &reference, "nothing serves yet")),
        }
        Ok((steps, true))
    }

    /// The release command, where this host runs it.
    pub(crate) fn plan_release_command(&self) -> Option<PlanStep> {
        let command = &self.job.release_command.as_ref()?.command;
        Some(plan_step("run", &self.job.scrub.text(command), "the release command"))
    }
}

/// What an earlier deploy left to do.
fn put_in_order(situation: &Situation) -> Vec<PlanStep> {
    let mut steps = Vec::new();
    for one in &situation.leftovers {
        steps.push(plan_step("remove", &one.name, "an earlier deploy left it behind"));
    }
    match &situation.serving {
        Serving::Fallen(old) => {
            steps.push(plan_step("start", &old.name, "it is meant to run and does not"));
        }
        Serving::Halfway { new, .. } => {
            let why = "an earlier deploy was cut short before it was proved";
            steps.push(plan_step("prove", &new.name, why));
        }
        Serving::Nothing | Serving::Live(_) => {}
    }
    steps
}
