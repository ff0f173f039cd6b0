//! The engine's account of a build: its steps, what they print, how they end.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus};

use slipway_untrusted::{LINE, clean_line};

use crate::mask::Mask;

/// Lines of a step's output that are kept for an error.
const TAIL: usize = 50;
/// A line without an end is cut here, in bytes.
const LINE_MAX: usize = 2 * LINE;
/// Steps of a build that are told apart, and parts of one that are under way: far more than any build
/// has. Further ones are neither shown nor counted.
const STEPS_MAX: usize = 16 * 1024;
const PARTS_MAX: usize = 1024;
/// The longest name of a step, a part or an error that is kept, in bytes.
const NAME_MAX: usize = 16 * 1024;

/// How the engine calls its look at an image that a build takes from, and what it takes from there
/// for a single step.
const BASES: [&str; 2] = ["[internal] load metadata for ", "FROM "];
/// How it calls what takes from nothing but what this side sends.
const CHORES: [&str; 4] = [
    "[internal] load build definition from ",
    "[internal] load .dockerignore",
    "[internal] load build context",
    "exporting to image",
];

/// Everything that was told so far.
#[derive(Default)]
pub(crate) struct Trace {
    mask: Mask,
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
}

/// One vertex of the build's graph.
#[derive(Debug, Default)]
pub(crate) struct Step {
    name: String,
    /// Where it stands in the Dockerfile; `None` for the builder's own work.
    pub(crate) place: Option<Place>,
    /// One of the builder's own chores.
    pub(crate) internal: bool,
    started: Option<Timestamp>,
    /// How long it took, once it has ended.
    pub(crate) took: Option<f64>,
    pub(crate) cached: bool,
    pub(crate) error: String,
    tail: VecDeque<String>,
    partial: Vec<u8>,
    /// Bytes done and to do of the parts that are under way.
    parts: HashMap<String, (i64, i64)>,
    parts_done: HashSet<String>,
}

/// What people may be shown.
pub(crate) enum Event<'a> {
    /// Of the step that has the number `at` among all.
    Step { at: usize, step: &'a Step, what: What<'a> },
    /// A warning of the builder.
    Warning(&'a str),
}

/// What a step does.
pub(crate) enum What<'a> {
    /// It began.
    Began,
    /// It printed a line, so many seconds after it began.
    Line { seconds: Option<f64>, text: &'a str },
    /// A part of it is done, such as a layer that was fetched.
    Part(&'a str),
    /// So many bytes of so many are done.
    Bytes { done: i64, total: i64 },
    /// It ended: `took`, `cached` and `error` say how.
    Ended,
}

type Show<'a> = dyn FnMut(Event<'_>) + 'a;

/// A step's place: `[stage 2/5] RUN make`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stage: Option<String>,
    /// From 1, within its stage.
    pub(crate) number: u32,
    pub(crate) of: u32,
    /// The instruction.
    pub(crate) text: String,
}

impl Place {
    fn parse(name: &str) -> Option<Self> {
        let (inside, text) = name.strip_prefix('[')?.split_once("] ")?;
        let (before, count) =
            inside.rsplit_once(' ').map_or(("", inside), |(before, count)| (before, count));
        let (number, of) = count.split_once('/')?;
        // A platform may stand before the stage's name.
        let stage = before.split_whitespace().next_back().filter(|word| !word.contains('/'));
        Some(Self {
            stage: stage.map(str::to_owned),
            number: number.parse().ok()?,
            of: of.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

impl Step {
    /// What the engine calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The last lines of its output.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    fn keep(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}

impl Trace {
    /// A trace that shows nothing of what `mask` hides.
    pub(crate) fn new(mask: Mask) -> Self {
        Self { mask, ..Self::default() }
    }

    /// What is hidden.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Takes in one report and hands what is new in it to `show`.
    pub(crate) fn apply(&mut self, report: StatusResponse, show: &mut Show<'_>) {
        // A step's end may come before its last words.
        let (ended, under_way): (Vec<_>, Vec<_>) =
            report.vertexes.into_iter().partition(|vertex| vertex.completed.is_some());
        for vertex in under_way {
            self.vertex(vertex, show);
        }
        let speaks = |vertex: &&Vertex| {
            report.statuses.iter().any(|status| status.vertex == vertex.digest)
                || report.logs.iter().any(|log| log.vertex == vertex.digest)
        };
        for vertex in ended.iter().filter(speaks) {
            self.vertex(Vertex { completed: None, ..vertex.clone() }, show);
        }
        for status in report.statuses {
            self.status(&status, show);
        }
        for log in report.logs {
            self.log(&log, show);
        }
        for warning in report.warnings {
            show(Event::Warning(&self.clean(&String::from_utf8_lossy(&warning.short))));
        }
        for vertex in ended {
            self.vertex(vertex, show);
        }
    }

    fn vertex(&mut self, vertex: Vertex, show: &mut Show<'_>) {
        let name = self.clean(&vertex.name);
        let error = cut(&self.mask.hide(&vertex.error)).to_owned();
        let digest = cut(&vertex.digest);
        let at = match self.by_digest.get(digest) {
            Some(known) => *known,
            None if self.steps.len() >= STEPS_MAX => return,
            None => {
                self.steps.push(Step::default());
                self.by_digest.insert(digest.to_owned(), self.steps.len() - 1);
                self.steps.len() - 1
            }
        };
        let Some(step) = self.steps.get_mut(at) else { return };
        if step.name.is_empty() {
            step.place = Place::parse(&name);
            step.internal = ["[internal]", "[auth]"].iter().any(|prefix| name.starts_with(prefix));
            step.name = name;
        }
        let begins = step.started.is_none() && vertex.started.is_some();
        step.started = step.started.or(vertex.started);
        step.cached |= vertex.cached;
        if !error.is_empty() {
            step.error = error;
        }
        let ends = vertex.completed.is_some() && step.took.is_none();
        let mut last = None;
        if ends {
            step.took = Some(between(step.started, vertex.completed));
            last = flush(step, &self.mask);
        }
        let step = &*step;
        if begins {
            show(Event::Step { at, step, what: What::Began });
        }
        if let Some(text) = &last {
            show(Event::Step { at, step, what: What::Line { seconds: None, text } });
        }
        if ends {
            show(Event::Step { at, step, what: What::Ended });
        }
    }

    fn status(&mut self, status: &VertexStatus, show: &mut Show<'_>) {
        let text = self.clean(&status.id);
        let Some(at) = self.by_digest.get(cut(&status.vertex)).copied() else { return };
        let Some(step) = self.steps.get_mut(at) else { return };
        let part = cut(&status.id);
        if status.completed.is_some() {
            step.parts.remove(part);
            let bytes = status.total.max(status.current);
            // What has no size is told by the step itself.
            let room = step.parts_done.len() < PARTS_MAX;
            if bytes > 0 && room && step.parts_done.insert(part.to_owned()) {
                let text = format!("{text} {}", megabytes(bytes));
                show(Event::Step { at, step, what: What::Part(&text) });
            }
            return;
        }
        if status.current > 0 && (step.parts.len() < PARTS_MAX || step.parts.contains_key(part)) {
            step.parts.insert(part.to_owned(), (status.current, status.total));
            let sum = |pick: fn(&(i64, i64)) -> i64| {
                step.parts.values().map(pick).fold(0, i64::saturating_add)
            };
            let (done, total) = (sum(|part| part.0), sum(|part| part.1.max(part.0)));
            show(Event::Step { at, step, what: What::Bytes { done, total } });
        }
    }

    fn log(&mut self, log: &VertexLog, show: &mut Show<'_>) {
        let Some(at) = self.by_digest.get(cut(&log.vertex)).copied() else { return };
        let Some(step) = self.steps.get_mut(at) else { return };
        let seconds = Some(between(step.started, log.timestamp));
        for piece in log.msg.split_inclusive(|byte| *byte == b'\n') {
            step.partial.extend_from_slice(piece);
            let line = if piece.ends_with(b"\n") {
                let whole = std::mem::take(&mut step.partial);
                let line = last_overwritten(&whole, &self.mask);
                step.keep(&line);
                Some(line)
            } else if step.partial.len() > LINE_MAX {
                // It is cut rather than held in memory for ever.
                flush(step, &self.mask)
            } else {
                None
            };
            if let Some(text) = &line {
                show(Event::Step { at, step, what: What::Line { seconds, text } });
            }
        }
    }

    /// A text of the engine's as people may see it.
    fn clean(&self, text: &str) -> String {
        clean_line(&self.mask.hide(text)).into_owned()
    }

    /// Steps of the Dockerfile that were reached, and how many of them came
    /// from the cache.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let placed = || self.steps.iter().filter(|step| step.place.is_some());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(placed().count()), count(placed().filter(|step| step.cached).count()))
    }

    /// The images that the build takes from, by the names that the engine was asked for. None if it
    /// takes from elsewhere too, or if a step is of a kind that is not known to take nothing.
    pub(crate) fn bases(&self) -> Option<BTreeSet<String>> {
        let mut bases = BTreeSet::new();
        for step in &self.steps {
            let base = BASES.iter().find_map(|prefix| step.name.strip_prefix(prefix));
            let known = match &step.place {
                Some(place) => !(place.text.starts_with("ADD ") && names_an_address(&place.text)),
                None => base.is_some() || CHORES.iter().any(|name| step.name.starts_with(name)),
            };
            if !known {
                return None;
            }
            bases.extend(base.map(str::to_owned));
        }
        Some(bases)
    }

    /// The step that failed; one of the Dockerfile before the builder's own,
    /// and a cause before those that were only called off.
    pub(crate) fn failed(&self) -> Option<&Step> {
        let failed =
            |step: &&Step| !step.error.is_empty() && !step.error.contains("context canceled");
        let placed = self.steps.iter().filter(failed).find(|step| step.place.is_some());
        placed.or_else(|| self.steps.iter().find(failed))
    }

    /// The step that runs `command`. Of a step that another build shares, an
    /// old engine tells the output and the failure to that build only.
    pub(crate) fn running(&self, command: &str) -> Option<&Step> {
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let command = squeeze(command);
        self.steps.iter().find(|step| {
            let text = step.place.as_ref().and_then(|place| place.text.strip_prefix("RUN "));
            text.is_some_and(|text| squeeze(text).ends_with(&command))
        })
    }
}

fn names_an_address(text: &str) -> bool {
    ["://", "git@"].iter().any(|part| text.contains(part))
}

/// The output that had no line end.
fn flush(step: &mut Step, mask: &Mask) -> Option<String> {
    let rest = std::mem::take(&mut step.partial);
    let line = last_overwritten(&rest, mask);
    if line.is_empty() {
        return None;
    }
    step.keep(&line);
    Some(line)
}

/// What a terminal would show of a line that was written over.
fn last_overwritten(line: &[u8], mask: &Mask) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let last = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    clean_line(&mask.hide(last)).into_owned()
}

/// The beginning of a text that may be endless.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_MAX)]
}

/// Bytes as a registry counts them.
pub(crate) fn megabytes(bytes: i64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn between(begin: Option<Timestamp>, end: Option<Timestamp>) -> f64 {
    let (Some(begin), Some(end)) = (begin, end) else { return 0.0 };
    let seconds = end.seconds.saturating_sub(begin.seconds);
    let nanos = i64::from(end.nanos) - i64::from(begin.nanos);
    let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()).as_secs_f64()
}
