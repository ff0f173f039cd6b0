//! A tool that is called by another program, which has a protocol of its own.

use std::ffi::OsString;
use std::process::ExitCode;

use slipway_release::{Code, Failure, exit};
use slipway_untrusted::clean_line;

use crate::options::CommandLine;
use crate::run::{guarded, quiet_panics};
use crate::{Output, Tool, Ui};

/// What a tool answers in the protocol of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What goes to stdout.
    pub text: String,
    /// Whether the exit code is 0; else it is 1.
    pub success: bool,
}

/// Runs a tool as this process for a caller that passes neither options nor a document: the options
/// come from the environment alone. A failure is told to people on stderr, and its message to the
/// caller on stdout; its exit code is 1 whatever happened, since such protocols know no other.
#[must_use]
pub fn speak<T: Tool>(
    work: impl AsyncFnOnce(T::Options, &Ui) -> Result<Reply, Failure>,
) -> ExitCode {
    quiet_panics();
    let ui = Ui::from_stderr(T::NAME);
    let reply = options::<T>().and_then(|options| guarded(work(options, &ui)));
    let reply = reply.unwrap_or_else(|failure| {
        ui.failure(&failure);
        Reply { text: format!("{}\n", clean_line(&failure.message)), success: false }
    });
    // A caller that has gone needs no answer.
    let written = Output::from_stdout().text(&reply.text).is_ok();
    ExitCode::from(if reply.success && written { exit::DONE } else { exit::FAILED })
}

fn options<T: Tool>() -> Result<T::Options, Failure> {
    let line = CommandLine::<T::Options>::parse(T::NAME, T::VERSION, [OsString::from(T::NAME)]);
    let line = line.map_err(|error| {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default();
        Failure::new(Code::Usage, message.strip_prefix("error: ").unwrap_or(message))
            .hint(format!("{} --help tells of the variables of the environment", T::NAME))
    })?;
    Ok(line.into_given())
}
