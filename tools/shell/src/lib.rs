//! The shell of a tool: all that the five tools have in common around their own work.
//!
//! A tool implements [`Tool`]; its `main` calls [`main`] and decides nothing. The shell reads the
//! command line, the environment and the settings of the document into the tool's options, reads
//! the document from stdin, runs the tool, and prints one document as its last act. It alone
//! writes to stdout, [`Ui`] alone writes to stderr, and it alone turns a failure into an exit code.

mod cache;
mod duration;
mod input;
mod options;
mod output;
mod run;
mod size;
mod speak;
mod tip;
mod trust;
mod ui;

pub use cache::{NoCache, cache};
pub use duration::Span;
pub use input::Input;
pub use output::{Output, OutputKind};
pub use run::{Context, Streams, Tool, main, run, settings_schema};
pub use size::size;
pub use slipway_release::{Code, Document, Failure, exit};
pub use speak::{Reply, speak};
pub use tokio_util::sync::CancellationToken;
pub use trust::TrustFacts;
pub use ui::{Line, Step, Ui};
