//! Stderr: everything that people see.
//!
//! On a terminal a step is a live line; elsewhere it is one line when it starts and one when it
//! is done, since a bar in a build log is noise.
//!
//! Whatever is said here is cleaned and bounded here, whoever says it: a line may hold text from a
//! container, a registry or a repository, and a terminal obeys some of that.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use slipway_release::Failure;
use slipway_untrusted::clean_line;

/// The one writer to stderr. Clones write to the same place.
#[derive(Clone)]
pub struct Ui {
    tool: &'static str,
    terminal: bool,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    writer: Box<dyn Write + Send>,
    /// The live lines of the steps that are under way, in the order in which they began; none off a
    /// terminal.
    lines: Option<MultiProgress>,
}

impl Ui {
    /// Stderr of this process.
    #[must_use]
    pub fn from_stderr(tool: &'static str) -> Self {
        let terminal = rustix::termios::isatty(std::io::stderr());
        Self::new(tool, Box::new(std::io::stderr()), terminal)
    }

    /// Any writer; live lines only if `terminal` is set, and those always go to stderr.
    #[must_use]
    pub fn new(tool: &'static str, writer: Box<dyn Write + Send>, terminal: bool) -> Self {
        let lines = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { tool, terminal, shared: Arc::new(Mutex::new(Shared { writer, lines })) }
    }

    /// Whether people see it live on a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// One line, after the tool's name.
    pub fn say(&self, text: &str) {
        self.line(&format!("{}: {text}", self.tool));
    }

    /// One line of warning: the work goes on.
    pub fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// One line without the tool's name, above the live lines if there are any.
    pub fn line(&self, line: &str) {
        let line = clean_line(line);
        // A writer that fails, as a closed stderr does, is no reason to stop the work.
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = shared.lines.clone();
        let mut write = || {
            let _ = writeln!(shared.writer, "{line}");
        };
        match lines {
            Some(lines) => lines.suspend(write),
            None => write(),
        }
    }

    /// Begins a step: `label` says what is being done, such as `pushing web:1.2`.
    #[must_use]
    pub fn step(&self, label: impl Into<String>) -> Step {
        let label = clean_line(&label.into()).into_owned();
        let lines = self.lines();
        if lines.is_none() {
            self.say(&label);
        }
        let bar = lines.map(|lines| {
            let spinner = lines.add(ProgressBar::no_length());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}")
            {
                spinner.set_style(style);
            }
            spinner.set_prefix(format!("{}: {label}", self.tool));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Step { ui: self.clone(), label, bar, begun: Instant::now() }
    }

    fn lines(&self) -> Option<MultiProgress> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    fn clear(&self, bar: Option<ProgressBar>) {
        if let Some(bar) = bar {
            bar.finish_and_clear();
            if let Some(lines) = self.lines() {
                lines.remove(&bar);
            }
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        self.say(&format!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.say(&format!("hint: {hint}"));
        }
    }
}

/// A step that is under way. Dropped without [`Step::done`] it just ends: the error tells why.
pub struct Step {
    ui: Ui,
    label: String,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Step {
    /// Shows how far it is, on a terminal only.
    pub fn update(&self, text: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(clean_line(&text.into()).into_owned());
        }
    }

    /// Adds a line below it for a part that is under way, on a terminal only.
    #[must_use]
    pub fn line(&self, label: impl Into<String>) -> Line {
        let bar = self.ui.lines().map(|lines| {
            let bar = ProgressBar::no_length();
            let bar = match &self.bar {
                // Above the parts that began later, the newest is nearest to its step.
                Some(step) => lines.insert_after(step, bar),
                None => lines.add(bar),
            };
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let label = clean_line(&label.into()).into_owned();
        let line = Line { ui: self.ui.clone(), label, bar };
        line.update("");
        line
    }

    /// Ends the step with what came of it, such as `3 of 5 layers sent`.
    pub fn done(self, result: &str) {
        let took = seconds(self.begun.elapsed());
        let text = if result.is_empty() {
            format!("{}: done in {took}", self.label)
        } else {
            format!("{}: {result} in {took}", self.label)
        };
        let ui = self.ui.clone();
        drop(self);
        ui.say(&text);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.ui.clear(self.bar.take());
    }
}

/// A part of a step, as a live line until it is dropped.
pub struct Line {
    ui: Ui,
    label: String,
    bar: Option<ProgressBar>,
}

impl Line {
    /// Shows what it does, behind its label.
    pub fn update(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let text =
                if text.is_empty() { String::new() } else { format!(" | {}", clean_line(text)) };
            bar.set_message(format!("{}{text}", self.label));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ui.clear(self.bar.take());
    }
}

/// A duration for people, in seconds with one or two decimals.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}
