//! What people see of a build while it goes on: plain lines with numbers, or a tree on a terminal.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use slipway_shell::{Line, Step as Live, Ui};
use slipway_untrusted::clean_line;

use crate::trace::{Event, Step, Trace, What, megabytes};

/// One of the builder's own chores is told if it took so many seconds.
const CHORE: f64 = 1.0;

/// Shows a build and keeps the account of it.
pub(crate) struct Progress<'a> {
    trace: Trace,
    view: View<'a>,
}

enum View<'a> {
    Lines { lines: Lines, ui: &'a Ui },
    Tree(Tree<'a>),
}

impl<'a> Progress<'a> {
    /// As a tree below `live` if people see it on a terminal.
    pub(crate) fn new(trace: Trace, ui: &'a Ui, live: &'a Live) -> Self {
        let view = if ui.is_terminal() {
            View::Tree(Tree { ui, live, lines: HashMap::new() })
        } else {
            View::Lines { lines: Lines::default(), ui }
        };
        Self { trace, view }
    }

    /// Takes in one report.
    pub(crate) fn take(&mut self, report: StatusResponse) {
        let view = &mut self.view;
        self.trace.apply(report, &mut |event| match view {
            View::Lines { lines, ui } => lines.show(&event, &mut |line| ui.line(&line)),
            View::Tree(tree) => tree.show(&event),
        });
    }

    /// The account.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// Numbered lines, as `docker build --progress=plain` has them.
#[derive(Default)]
pub(crate) struct Lines {
    numbers: HashMap<usize, usize>,
}

impl Lines {
    /// Says the lines that tell the event.
    pub(crate) fn show(&mut self, event: &Event<'_>, say: &mut dyn FnMut(String)) {
        let (at, step, what) = match event {
            Event::Warning(text) => return say(format!("warning: {text}")),
            Event::Step { at, step, what } => (*at, *step, what),
        };
        let end = matches!(what, What::Ended);
        let chore = step.internal && step.error.is_empty();
        let quiet = matches!(what, What::Bytes { .. }) || chore && !(end && slow(step));
        if quiet {
            return;
        }
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(at).or_insert_with(|| {
            say(format!("#{next} {}", step.name()));
            next
        });
        match what {
            What::Began | What::Bytes { .. } => {}
            What::Line { seconds: Some(seconds), text } => {
                say(format!("#{number} {seconds:.3} {text}"))
            }
            What::Line { seconds: None, text } | What::Part(text) => {
                say(format!("#{number} {text}"))
            }
            What::Ended => say(format!("#{number} {}", end_of(step))),
        }
    }
}

fn slow(step: &Step) -> bool {
    step.took.is_some_and(|took| took >= CHORE)
}

fn end_of(step: &Step) -> String {
    if !step.error.is_empty() {
        let why = clean_line(step.error.lines().next().unwrap_or_default());
        return format!("ERROR: {why}");
    }
    if step.cached {
        return "CACHED".to_owned();
    }
    format!("DONE {:.1}s", step.took.unwrap_or_default())
}

/// What is under way, each with what it does last, below what has ended; the output of a step that
/// failed is shown then.
struct Tree<'a> {
    ui: &'a Ui,
    live: &'a Live,
    lines: HashMap<usize, Line>,
}

impl Tree<'_> {
    fn show(&mut self, event: &Event<'_>) {
        let (at, step, what) = match event {
            Event::Warning(text) => return self.ui.line(&format!("  warning: {text}")),
            Event::Step { at, step, what } => (*at, *step, what),
        };
        match what {
            What::Began => {
                self.lines.insert(at, self.live.line(step.name()));
            }
            What::Line { text, .. } | What::Part(text) => self.doing(at, text),
            What::Bytes { done, total } if total > done => {
                self.doing(at, &format!("{} of {}", megabytes(*done), megabytes(*total)));
            }
            What::Bytes { done, .. } => self.doing(at, &megabytes(*done)),
            What::Ended => self.ended(at, step),
        }
    }

    fn doing(&self, at: usize, what: &str) {
        if let Some(line) = self.lines.get(&at) {
            line.update(what);
        }
    }

    fn ended(&mut self, at: usize, step: &Step) {
        self.lines.remove(&at);
        let failed = !step.error.is_empty();
        if step.internal && !failed && !slow(step) {
            return;
        }
        self.ui.line(&format!("  {} {}", step.name(), end_of(step)));
        for line in step.tail().iter().filter(|_| failed) {
            self.ui.line(&format!("    | {line}"));
        }
    }
}
