//! All targets together, and what people see of them while they are waited for.

use std::ops::ControlFlow;
use std::time::Duration;

use slipway_release::Health;
use slipway_shell::{Line, Step, Ui};

use crate::pace::Pace;
use crate::plan::{Plan, listed};
use crate::probe::Probe;
use crate::seen::Seen;
use crate::timeline::millis;
use crate::watch::{Ended, Rule, Wait, Watch};

/// How many targets have a live line of their own; beyond that the first ones that are still
/// waited for have one.
const LIVE_LINES: usize = 10;

/// With more targets than this a line a change would fill a log: one line tells of all of them.
const TOLD_ONE_BY_ONE: usize = 20;

/// How often that one line is written.
const DIGEST_PAUSE: Duration = Duration::from_secs(5);

/// All targets over time. On a terminal each has a live line; elsewhere a line is written when the
/// state of a target changes.
pub(crate) struct Board<'a> {
    ui: &'a Ui,
    step: &'a Step,
    pace: Pace,
    watches: Vec<Watch>,
    healthy: usize,
    /// The live lines, with the target that each is of.
    lines: Vec<(usize, Line)>,
    /// When the digest of many targets was written last.
    digest_at: Option<Duration>,
}

impl<'a> Board<'a> {
    pub(crate) fn new(plan: &Plan, ui: &'a Ui, step: &'a Step) -> Self {
        let watch = |probe: &Probe| Watch::new(&probe.name, probe.through.as_deref(), plan.rule);
        let watches: Vec<Watch> = plan.probes.iter().map(watch).collect();
        let mut board =
            Self { ui, step, pace: plan.pace, watches, healthy: 0, lines: vec![], digest_at: None };
        // A single target stands in the step's own line already.
        if ui.is_terminal() && board.watches.len() > 1 {
            for index in (0..board.watches.len().min(LIVE_LINES)).rev() {
                board.add_line(index);
            }
        }
        board
    }

    /// Takes in a try of a target, and answers how the waiting for it ended, or else how long to
    /// wait before the next one.
    pub(crate) fn record(
        &mut self,
        index: usize,
        at: Duration,
        seen: Seen,
    ) -> ControlFlow<Ended, Duration> {
        let Some(watch) = self.watches.get_mut(index) else {
            return ControlFlow::Break(Ended::Hopeless);
        };
        let change = watch.record(at, seen);
        self.healthy += usize::from(change.next == Ok(Ended::Healthy));
        if self.ui.is_terminal() {
            self.show(index, change.next.is_ok());
        } else if self.watches.len() > TOLD_ONE_BY_ONE {
            self.tell_digest(at);
        } else if change.tell && self.is_news(index) {
            let watch = &self.watches[index];
            self.ui.say(&format!("{}: {}", watch.label(), watch.state()));
        }
        let random = rand::random();
        match change.next {
            Ok(ended) => ControlFlow::Break(ended),
            Err(Wait::Good { stable_left }) => {
                ControlFlow::Continue(self.pace.after_good(stable_left, random))
            }
            Err(Wait::Bad { in_a_row, at_least }) => {
                ControlFlow::Continue(self.pace.after_bad(in_a_row, random).max(at_least))
            }
        }
    }

    /// What the end says anyway need not be told: how it went with the only target.
    fn is_news(&self, index: usize) -> bool {
        self.watches.len() > 1 || !self.watches[index].has_ended()
    }

    /// Brings the live lines up to date after a try of this target.
    fn show(&mut self, index: usize, ended: bool) {
        let watch = &self.watches[index];
        if self.watches.len() == 1 {
            self.step.update(format!("| {}, {} tries", watch.state(), watch.attempts()));
            return;
        }
        self.step.update(format!("| {} of {} healthy", self.healthy, self.watches.len()));
        let Some(place) = self.lines.iter().position(|(of, _)| *of == index) else { return };
        if !ended || self.watches.len() <= LIVE_LINES {
            self.lines[place].1.update(&watch.state());
            return;
        }
        // Its line goes to a target that is still waited for and has none.
        self.lines.remove(place);
        let has_line = |index: usize| self.lines.iter().any(|(of, _)| *of == index);
        let next = (0..self.watches.len())
            .find(|index| !self.watches[*index].has_ended() && !has_line(*index));
        if let Some(next) = next {
            self.add_line(next);
        }
    }

    fn add_line(&mut self, index: usize) {
        let watch = &self.watches[index];
        let line = self.step.line(watch.label());
        line.update(&watch.state());
        self.lines.push((index, line));
    }

    /// Writes how it stands with many targets, now and then.
    fn tell_digest(&mut self, at: Duration) {
        let due = self.digest_at.map_or(DIGEST_PAUSE, |last| last + DIGEST_PAUSE);
        if at < due {
            return;
        }
        self.digest_at = Some(at);
        let open: Vec<String> = self
            .watches
            .iter()
            .filter(|watch| !watch.is_healthy())
            .map(|watch| format!("{}: {}", watch.label(), watch.state()))
            .collect();
        let all = self.watches.len();
        self.ui.say(&format!("{} of {all} healthy; {}", self.healthy, listed(&open, "; ")));
    }

    /// What the document says, `waited` after the start.
    pub(crate) fn health(&self, waited: Duration) -> Health {
        Health {
            targets: self.watches.iter().map(|watch| watch.section(waited)).collect(),
            waited_ms: Some(millis(waited)),
            command: None,
            via: None,
        }
    }

    /// Whether nothing is known of any target that is not healthy, for a cause on this side.
    pub(crate) fn knows_nothing(&self) -> bool {
        let mut open = self.watches.iter().filter(|watch| !watch.is_healthy()).peekable();
        open.peek().is_some() && open.all(Watch::is_unknown)
    }

    /// Whether some target is refused for nothing but its version.
    pub(crate) fn wrong_version(&self) -> bool {
        self.watches.iter().any(|watch| !watch.is_healthy() && watch.wrong_version())
    }
}

/// How it went well, in a few words.
pub(crate) fn summary(health: &Health, rule: Rule) -> String {
    let word = if rule.gone { "gone" } else { "healthy" };
    let [only] = health.targets.as_slice() else {
        let (all, healthy) =
            (health.targets.len(), health.targets.iter().filter(|target| target.healthy).count());
        return if healthy == all {
            format!("all {all} {word}")
        } else {
            format!("{healthy} of {all} {word}")
        };
    };
    let version = only.version.as_ref().filter(|_| !rule.gone);
    let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    let tries =
        if only.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", only.attempts) };
    format!("{word}{version}, {tries}")
}
