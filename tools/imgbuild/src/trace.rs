//! The engine's account of a build: its steps, their output, and the lines
//! that people read of it.

use std::collections::{HashMap, VecDeque};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

/// Lines of a step's output that are kept for an error.
const TAIL: usize = 50;
/// A kept or printed line has at most so many characters.
const LINE_MAX: usize = 2000;

/// Everything that was told so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
    shown: usize,
}

/// One vertex of the build's graph.
#[derive(Debug, Default)]
pub(crate) struct Step {
    name: String,
    /// Where it stands in the Dockerfile; `None` for the builder's own work.
    pub(crate) place: Option<Place>,
    /// The builder's own chores are not shown unless they fail.
    internal: bool,
    /// Its number among the lines, once it has one.
    number: Option<usize>,
    started: Option<Timestamp>,
    completed: bool,
    pub(crate) cached: bool,
    pub(crate) error: String,
    tail: VecDeque<String>,
    partial: Vec<u8>,
}

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
    /// Takes in one report and hands every new line for people to `say`.
    pub(crate) fn apply(&mut self, report: StatusResponse, say: &mut dyn FnMut(&str)) {
        for vertex in report.vertexes {
            self.vertex(vertex, say);
        }
        for log in report.logs {
            self.log(&log, say);
        }
        for warning in report.warnings {
            say(&format!("warning: {}", printable(&String::from_utf8_lossy(&warning.short))));
        }
    }

    fn vertex(&mut self, vertex: Vertex, say: &mut dyn FnMut(&str)) {
        let at = *self.by_digest.entry(vertex.digest).or_insert_with(|| {
            self.steps.push(Step::default());
            self.steps.len() - 1
        });
        let Some(step) = self.steps.get_mut(at) else { return };
        if step.name.is_empty() {
            step.place = Place::parse(&vertex.name);
            step.internal =
                ["[internal]", "[auth]"].iter().any(|prefix| vertex.name.starts_with(prefix));
            step.name = vertex.name;
        }
        step.started = step.started.or(vertex.started);
        step.cached |= vertex.cached;
        if !vertex.error.is_empty() {
            step.error = vertex.error;
        }
        let completes = vertex.completed.is_some() && !step.completed;
        step.completed |= completes;
        let failed = !step.error.is_empty();
        if step.internal && !failed || step.started.is_none() && !completes {
            return;
        }
        let number = number(step, &mut self.shown, say);
        if completes {
            if let Some(rest) = flush(step) {
                say(&format!("#{number} {rest}"));
            }
            let step = &self.steps[at];
            if failed {
                let first = printable(step.error.lines().next().unwrap_or_default());
                say(&format!("#{number} ERROR: {first}"));
            } else if step.cached {
                say(&format!("#{number} CACHED"));
            } else {
                let seconds = between(step.started, vertex.completed);
                say(&format!("#{number} DONE {seconds:.1}s"));
            }
        }
    }

    fn log(&mut self, log: &VertexLog, say: &mut dyn FnMut(&str)) {
        let Some(step) = self.by_digest.get(&log.vertex).and_then(|at| self.steps.get_mut(*at))
        else {
            return;
        };
        let number = number(step, &mut self.shown, say);
        let seconds = between(step.started, log.timestamp);
        step.partial.extend_from_slice(&log.msg);
        while let Some(end) = step.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = step.partial.drain(..=end).collect();
            let line = last_overwritten(&line);
            step.keep(&line);
            say(&format!("#{number} {seconds:.3} {line}"));
        }
        // A line without an end is cut rather than held in memory for ever.
        if step.partial.len() > 4 * LINE_MAX
            && let Some(line) = flush(step)
        {
            say(&format!("#{number} {seconds:.3} {line}"));
        }
    }

    /// Steps of the Dockerfile that were reached, and how many of them came
    /// from the cache.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let placed = || self.steps.iter().filter(|step| step.place.is_some());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(placed().count()), count(placed().filter(|step| step.cached).count()))
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

    /// The step that is being worked on, for a live line.
    pub(crate) fn current(&self) -> Option<&str> {
        let running = |step: &&Step| step.started.is_some() && !step.completed && !step.internal;
        self.steps.iter().rev().find(running).map(|step| step.name.as_str())
    }
}

/// The step's number; the first time its header is said.
fn number(step: &mut Step, shown: &mut usize, say: &mut dyn FnMut(&str)) -> usize {
    if let Some(number) = step.number {
        return number;
    }
    *shown += 1;
    step.number = Some(*shown);
    say(&format!("#{shown} {}", printable(&step.name)));
    *shown
}

/// The output that had no line end.
fn flush(step: &mut Step) -> Option<String> {
    let rest = std::mem::take(&mut step.partial);
    let line = last_overwritten(&rest);
    if line.is_empty() {
        return None;
    }
    step.keep(&line);
    Some(line)
}

/// What a terminal would show of a line that was written over.
fn last_overwritten(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    printable(text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default())
}

/// The text without what would steer a terminal, and not endless.
fn printable(text: &str) -> String {
    let mut clean = String::new();
    let mut chars = text.chars().take(LINE_MAX);
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ … letter is a colour or a movement.
            if chars.next() == Some('[') {
                chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if c == '\t' || !c.is_control() {
            clean.push(c);
        }
    }
    clean
}

fn between(begin: Option<Timestamp>, end: Option<Timestamp>) -> f64 {
    let (Some(begin), Some(end)) = (begin, end) else { return 0.0 };
    let nanos = (end.seconds - begin.seconds).saturating_mul(1_000_000_000)
        + i64::from(end.nanos - begin.nanos);
    std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex { digest: digest.into(), name: name.into(), started: at(10), ..Vertex::default() }
    }

    fn log(digest: &str, text: &str) -> VertexLog {
        VertexLog { vertex: digest.into(), timestamp: at(11), stream: 1, msg: text.into() }
    }

    fn lines(reports: Vec<StatusResponse>) -> (Vec<String>, Trace) {
        let (mut said, mut trace) = (Vec::new(), Trace::default());
        for report in reports {
            trace.apply(report, &mut |line| said.push(line.to_owned()));
        }
        (said, trace)
    }

    #[test]
    fn places() {
        let place = Place::parse("[builder 2/5] RUN make [x] y").unwrap();
        assert_eq!((place.stage.as_deref(), place.number, place.of), (Some("builder"), 2, 5));
        assert_eq!(place.text, "RUN make [x] y");
        assert_eq!(Place::parse("[1/4] FROM x").unwrap().stage, None);
        assert_eq!(
            Place::parse("[linux/arm64 web 1/4] FROM x").unwrap().stage.as_deref(),
            Some("web")
        );
        assert_eq!(Place::parse("[linux/arm64 1/4] FROM x").unwrap().stage, None);
        for name in ["[internal] load build context", "exporting to image", "[a] b"] {
            assert_eq!(Place::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_step_its_output_and_its_end() {
        let done = Vertex { completed: at(12), ..vertex("a", "[1/2] RUN x") };
        let cached = Vertex { cached: true, completed: at(12), ..vertex("b", "[2/2] RUN y") };
        let (said, trace) = lines(vec![
            StatusResponse {
                vertexes: vec![vertex("i", "[internal] load"), vertex("a", "[1/2] RUN x")],
                ..Default::default()
            },
            StatusResponse {
                logs: vec![log("a", "one\ntw"), log("a", "o\n10%\r20%\rdone\n\u{1b}[31mred")],
                ..Default::default()
            },
            StatusResponse { vertexes: vec![done.clone(), done, cached], ..Default::default() },
        ]);
        assert_eq!(
            said,
            [
                "#1 [1/2] RUN x",
                "#1 1.000 one",
                "#1 1.000 two",
                "#1 1.000 done",
                "#1 red",
                "#1 DONE 2.0s",
                "#2 [2/2] RUN y",
                "#2 CACHED"
            ]
        );
        assert_eq!(trace.counts(), (2, 1));
        assert!(trace.failed().is_none());
    }

    #[test]
    fn the_failed_step_keeps_its_last_lines() {
        let failed = Vertex {
            error: "exit code: 3".into(),
            completed: at(12),
            ..vertex("a", "[web 3/7] RUN x")
        };
        let off = Vertex { error: "context canceled".into(), ..vertex("b", "[1/7] RUN y") };
        let text: String = (0..80).map(|n| format!("line {n}\n")).collect();
        let (said, trace) = lines(vec![
            StatusResponse {
                vertexes: vec![vertex("b", "[1/7] RUN y"), vertex("a", "[web 3/7] RUN x")],
                ..Default::default()
            },
            StatusResponse {
                logs: vec![log("a", &text), log("gone", "x\n")],
                ..Default::default()
            },
            StatusResponse { vertexes: vec![off, failed], ..Default::default() },
        ]);
        let step = trace.failed().unwrap();
        assert_eq!(step.place.as_ref().unwrap().stage.as_deref(), Some("web"));
        let tail = step.tail();
        assert_eq!((tail.len(), tail[0].as_str(), tail[49].as_str()), (50, "line 30", "line 79"));
        assert!(said.iter().any(|line| line == "#2 ERROR: exit code: 3"), "{said:?}");
    }
}
