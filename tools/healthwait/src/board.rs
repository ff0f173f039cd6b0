//! All targets together, and what people see of them.

use std::time::Duration;

use slipway_release::Health;
use slipway_shell::{Step, Ui};

use crate::plan::Plan;
use crate::probe::Probe;
use crate::timeline::millis;
use crate::watch::{Seen, Watch};

/// All targets over time. On a terminal it keeps a live line; elsewhere a line is written when
/// the state of a target changes.
pub(crate) struct Board<'a> {
    ui: &'a Ui,
    step: &'a Step,
    watches: Vec<Watch>,
}

impl<'a> Board<'a> {
    pub(crate) fn new(plan: &Plan, ui: &'a Ui, step: &'a Step) -> Self {
        let watch = |probe: &Probe| Watch::new(&probe.name, plan.consecutive);
        Self { ui, step, watches: plan.probes.iter().map(watch).collect() }
    }

    /// Takes in a try of a target, and answers whether the target is healthy now.
    pub(crate) fn record(&mut self, index: usize, at: Duration, seen: Seen) -> bool {
        let Some(watch) = self.watches.get_mut(index) else { return true };
        let change = watch.record(at, seen);
        if self.ui.is_terminal() {
            self.step.update(self.live());
        } else if change.tell {
            let watch = &self.watches[index];
            self.ui.say(&format!("{}: {}", watch.name(), watch.state()));
        }
        change.healthy
    }

    /// The live line: the first target that is still waited for.
    fn live(&self) -> String {
        let Some(open) = self.watches.iter().find(|watch| !watch.is_healthy()) else {
            return "healthy".to_owned();
        };
        if self.watches.len() == 1 {
            return open.state().to_owned();
        }
        let healthy = self.watches.iter().filter(|watch| watch.is_healthy()).count();
        let all = self.watches.len();
        format!("{healthy} of {all} healthy; {}: {}", open.name(), open.state())
    }

    /// What the document says, `waited` after the start.
    pub(crate) fn health(&self, waited: Duration) -> Health {
        Health {
            targets: self.watches.iter().map(|watch| watch.section(waited)).collect(),
            waited_ms: Some(millis(waited)),
        }
    }

    /// Whether some target is refused for nothing but its version.
    pub(crate) fn wrong_version(&self) -> bool {
        self.watches.iter().any(|watch| !watch.is_healthy() && watch.wrong_version())
    }
}

/// How it went well, in a few words.
pub(crate) fn summary(health: &Health) -> String {
    let only = match health.targets.as_slice() {
        [only] => only,
        all if all.iter().all(|target| target.healthy) => {
            return format!("all {} healthy", all.len());
        }
        some => {
            let healthy = some.iter().find(|target| target.healthy);
            let url = healthy.map(|target| target.url.as_str()).unwrap_or_default();
            return format!("{url} is healthy");
        }
    };
    match &only.version {
        Some(version) => format!("healthy, version {version}"),
        None => "healthy".to_owned(),
    }
}
