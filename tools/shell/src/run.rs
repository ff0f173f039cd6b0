//! Running a tool: from its arguments and streams to its exit code.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use clap::error::{ContextKind, ContextValue};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_release::{Code, Document, Failure, SettingsSchema, exit, schema};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::options::{CommandLine, Joined, command, variable, warn_of_strangers};
use crate::tip::tip;
use crate::{Input, Output, OutputKind, TrustFacts, Ui};

/// One tool.
pub trait Tool {
    /// The tool's name: that of its binary and of its settings.
    const NAME: &'static str;
    /// The tool's version.
    const VERSION: &'static str;
    /// How long the tool may go on after SIGINT or SIGTERM to leave things in order; it sees the
    /// signal as [`Context::cancelled`]. Zero drops its work at once. At most 9 s.
    const GRACE: Duration = Duration::ZERO;
    /// The tool's options: one flat struct for the command line, the settings and the schema. The
    /// struct's doc comment is the text at the head of `--help`.
    type Options: Args + Serialize + DeserializeOwned + JsonSchema;

    /// Whether the tool has work to do although an earlier tool failed. The first error travels on
    /// and decides the exit code whatever comes of that work.
    fn works_after_errors(_given: &Self::Options) -> bool {
        false
    }

    /// What the rule of trust has to know of these options, some of which the document decided.
    fn trust_facts(
        _options: &Self::Options,
        _document: &Document,
        _from_document: &dyn Fn(&str) -> bool,
    ) -> TrustFacts {
        TrustFacts::default()
    }

    /// Does the tool's step, and writes its section into the document. A section set before a
    /// failure is kept beside the error.
    ///
    /// # Errors
    /// Whatever made the step fail, ready to be told to people.
    fn run(
        options: Self::Options,
        document: &mut Document,
        context: &Context,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// What a tool gets beside its options and the document.
pub struct Context {
    /// Where everything for people goes.
    pub ui: Ui,
    /// Cancelled on the first SIGINT or SIGTERM.
    pub cancelled: CancellationToken,
    /// Whether a document came in, which then has to go out.
    pub has_input: Cell<bool>,
    /// A text to print in the place of the document, for people who asked for it.
    pub text: OnceCell<String>,
    /// A text to print in the place of the document if the tool fails, where a document would be read
    /// as something else.
    pub otherwise: OnceCell<String>,
    /// Whether people read stdout, on a terminal.
    pub on_terminal: bool,
    /// Whether such a text may hold a secret: stdout is a pipe, or `--reveal` was given.
    pub secrets: bool,
    /// Whether the document's settings may decide all that flags may, here and in a tool that this
    /// one runs.
    pub trusts_settings: bool,
    /// The options that the command line gave.
    flags: OnceCell<Vec<String>>,
}

impl Context {
    /// A context that shows people what is said there.
    #[must_use]
    pub fn new(ui: Ui) -> Self {
        Self {
            ui,
            cancelled: CancellationToken::new(),
            has_input: Cell::new(false),
            text: OnceCell::new(),
            otherwise: OnceCell::new(),
            on_terminal: false,
            secrets: false,
            trusts_settings: false,
            flags: OnceCell::new(),
        }
    }
}

impl Context {
    /// Whether an option stands on the command line, where everybody on this machine can read it.
    #[must_use]
    pub fn is_flag(&self, option: &str) -> bool {
        self.flags.get().is_some_and(|flags| flags.iter().any(|flag| flag == option))
    }
}

/// The three streams of a tool.
pub struct Streams {
    /// Where the document comes from.
    pub input: Input,
    /// Where the document goes.
    pub output: Output,
    /// Where everything else goes.
    pub ui: Ui,
}

impl Streams {
    /// The streams of this process.
    #[must_use]
    pub fn of_process(tool: &'static str) -> Self {
        Self {
            input: Input::from_stdin(),
            output: Output::from_stdout(),
            ui: Ui::from_stderr(tool),
        }
    }
}

/// Runs a tool as this process.
#[must_use]
pub fn main<T: Tool>() -> ExitCode {
    quiet_panics();
    ExitCode::from(run::<T>(std::env::args_os(), Streams::of_process(T::NAME)))
}

/// Runs a tool with these arguments (the first is the program's name) and streams, and answers
/// its exit code.
pub fn run<T: Tool>(args: impl IntoIterator<Item = OsString>, mut streams: Streams) -> u8 {
    let args: Vec<_> = args.into_iter().collect();
    let line = match CommandLine::<T::Options>::parse(T::NAME, T::VERSION, args.iter().cloned()) {
        Ok(line) => line,
        Err(error) if error.use_stderr() => return usage::<T>(&error, &args, streams),
        Err(help) => return print(&mut streams.output, &streams.ui, &help.to_string()),
    };
    if line.common.schema {
        let schema = schema(&[settings_schema::<T>()]);
        let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        return print(&mut streams.output, &streams.ui, &format!("{text}\n"));
    }
    let reveal = line.common.reveal;
    let input = if line.common.no_input { Input::None } else { streams.input };
    let mut context = Context::new(streams.ui.clone());
    context.on_terminal = streams.output.kind() == OutputKind::Terminal;
    context.trusts_settings = line.common.trust_settings;
    context.secrets = reveal || streams.output.kind() == OutputKind::Pipe;
    let mut document = Document::default();
    let end = guarded(work::<T>(Some(line), input, &mut document, &context));
    if let (Ok(End::Done), Some(text)) = (&end, context.text.get()) {
        return print(&mut streams.output, &streams.ui, text);
    }
    if let (Err(failure), Some(text)) = (&end, context.otherwise.get()) {
        streams.ui.failure(failure);
        let _ = print(&mut streams.output, &streams.ui, text);
        return failure.exit;
    }
    finish(T::NAME, document, end, streams.output, &streams.ui, reveal)
}

/// The schema of a tool's settings.
#[must_use]
pub fn settings_schema<T: Tool>() -> SettingsSchema {
    fn options<T: Tool>(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T::Options>()
    }
    SettingsSchema { tool: T::NAME, schema: options::<T> }
}

/// How the work ended, if it did not go wrong.
enum End {
    /// The step is done.
    Done,
    /// The document carries an error of an earlier tool, with this exit code.
    PassedOn(u8),
}

/// Reads the document and does the tool's work with it; without a command line only the former.
async fn work<T: Tool>(
    line: Option<CommandLine<T::Options>>,
    input: Input,
    document: &mut Document,
    context: &Context,
) -> Result<End, Failure> {
    let (mut interrupts, mut terminations) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupts), Ok(terminations)) => (interrupts, terminations),
            (Err(error), _) | (_, Err(error)) => {
                let message = format!("signals cannot be handled: {error}");
                return Err(Failure::new(Code::Internal, message));
            }
        };
    let mut signalled = async || {
        tokio::select! {
            _ = interrupts.recv() => ("SIGINT", exit::SIGINT),
            _ = terminations.recv() => ("SIGTERM", exit::SIGTERM),
        }
    };

    // A thread of its own reads, since a read of a pipe cannot be called off. After a signal it is
    // left behind and ends with the process.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(input.read()));
    let read = tokio::select! {
        read = receiver => read,
        signal = signalled() => return Err(interrupted(signal, None)),
    };
    if let Some(read) = read.map_err(|_| Failure::new(Code::Internal, "the reader is gone"))?? {
        *document = read;
        context.has_input.set(true);
    }
    let earlier = document.error_exit();
    let line = match (line, earlier) {
        (Some(line), Some(_)) if T::works_after_errors(line.given()) => line,
        (_, Some(code)) => return Ok(End::PassedOn(code)),
        (Some(line), None) => line,
        (None, None) => return Ok(End::Done),
    };
    warn_of_strangers(document, T::NAME, &context.ui);
    let facts = |options: &T::Options, from_document: &dyn Fn(&str) -> bool| {
        T::trust_facts(options, document, from_document)
    };
    let done = match line.options(document, facts) {
        Ok(Joined { options, origins }) => {
            let _ = context.flags.set(origins.flags.clone());
            run_until_signalled::<T>(options, document, context, &mut signalled)
                .await
                .map_err(|failure| origins.told(failure))
        }
        Err(failure) => Err(failure),
    };
    match (earlier, done) {
        (None, done) => done.map(|()| End::Done),
        (Some(code), done) => {
            if let Err(failure) = done {
                context.ui.failure(&failure);
            }
            Ok(End::PassedOn(code))
        }
    }
}

/// Does the tool's work; a signal ends it, after the tool's grace.
async fn run_until_signalled<T: Tool>(
    options: T::Options,
    document: &mut Document,
    context: &Context,
    signalled: &mut impl AsyncFnMut() -> (&'static str, u8),
) -> Result<(), Failure> {
    let mut running = std::pin::pin!(T::run(options, document, context));
    let signal = tokio::select! {
        result = &mut running => return result,
        signal = signalled() => signal,
    };
    context.cancelled.cancel();
    if T::GRACE.is_zero() {
        return Err(interrupted(signal, None));
    }
    context.ui.warn(&format!("{}: leaving things in order; once more to end at once", signal.0));
    let result = tokio::select! {
        result = &mut running => result,
        again = signalled() => return Err(interrupted(again, None)),
        () = tokio::time::sleep(T::GRACE) => return Err(interrupted(signal, None)),
    };
    result.map_err(|failure| interrupted(signal, Some(failure)))
}

/// The failure of a tool that was told to end. What it says of its own failing is kept, and its
/// exit code too where the remote state needs a person.
fn interrupted((name, code): (&str, u8), failure: Option<Failure>) -> Failure {
    let mut end = Failure::new(Code::Interrupted, format!("interrupted by {name}"))
        .hint("run it again when there is time for it to end")
        .retryable(true);
    end.exit = code;
    match failure {
        Some(failure) if failure.exit == exit::NEEDS_PERSON => failure,
        Some(failure) => {
            end.message = format!("{}: {}", end.message, failure.message);
            Failure { hint: failure.hint.or(end.hint), evidence: failure.evidence, ..end }
        }
        None => end,
    }
}

/// Runs the work on a runtime of its own; a panic becomes a failure, so that the next tool in the
/// pipe is told of it.
pub(crate) fn guarded<R>(work: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Code::Internal, format!("the runtime cannot start: {error}"))
    })?;
    let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    // Not waited for: a name look-up in the background must not hold up the end.
    runtime.shutdown_background();
    end.unwrap_or_else(|panic| {
        let place = PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner).take();
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        let message = format!("a defect of the tool{place}: {}", text_of(&*panic));
        Err(Failure::new(Code::Internal, message)
            .hint("please report it with the command line that led to it"))
    })
}

/// Where the last panic was. It is told with the failure that it becomes.
static PANICKED_AT: Mutex<Option<String>> = Mutex::new(None);

/// Leaves the telling of panics to the failures that they become: only [`Ui`] writes to stderr.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        *PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

/// The last act: says the failure, and writes the document.
fn finish(
    tool: &str,
    mut document: Document,
    end: Result<End, Failure>,
    mut output: Output,
    ui: &Ui,
    reveal: bool,
) -> u8 {
    let code = match end {
        Ok(End::Done) => exit::DONE,
        Ok(End::PassedOn(code)) => code,
        Err(mut failure) => {
            if failure.code == Code::Usage {
                failure.hint.get_or_insert_with(|| help_hint(tool));
            }
            ui.failure(&failure);
            document.set_error(&failure.section(tool));
            failure.exit
        }
    };
    match output.document(&document, reveal) {
        Ok(false) => code,
        Ok(true) => {
            ui.warn("the registry password is left out of the output, which is not a pipe (--reveal writes it)");
            code
        }
        Err(error) => {
            let message = format!("the document could not be written to stdout: {error}");
            let hint = "the tool's own work is not undone by that";
            let failure = Failure::new(Code::OutputFailed, message).hint(hint);
            ui.failure(&failure);
            if code == exit::DONE { failure.exit } else { code }
        }
    }
}

/// A wrong command line. The next tool in the pipe is told of it, unless an earlier one failed.
fn usage<T: Tool>(error: &clap::Error, args: &[OsString], streams: Streams) -> u8 {
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let command = command::<T::Options>(T::NAME, T::VERSION);
    let message = by_variable(message, error, &command, args, T::NAME);
    let hint = tip(error, &command, args).unwrap_or_else(|| help_hint(T::NAME));
    let failure = Failure::new(Code::Usage, message).hint(hint);
    if streams.output.kind() == OutputKind::Terminal {
        // A person is typing: a document would hide the message.
        streams.ui.failure(&failure);
        return failure.exit;
    }
    let context = Context::new(streams.ui.clone());
    let mut document = Document::default();
    let end = match guarded(work::<T>(None, streams.input, &mut document, &context)) {
        Ok(End::PassedOn(code)) => Ok(End::PassedOn(code)),
        // An interruption has to be told as one; a bad input is less than the wrong command line.
        Err(other) if other.code == Code::Interrupted => Err(other),
        Ok(End::Done) | Err(_) => Err(failure),
    };
    finish(T::NAME, document, end, streams.output, &streams.ui, false)
}

/// The message, with the variable in the place of a flag that nobody gave.
fn by_variable(
    message: &str,
    error: &clap::Error,
    command: &clap::Command,
    args: &[OsString],
    tool: &str,
) -> String {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else {
        return message.to_owned();
    };
    let long = named.trim_start_matches("--").split([' ', '=', '[']).next().unwrap_or_default();
    let option = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    let short = option.and_then(clap::Arg::get_short).map(|short| format!("-{short}"));
    let given = args.iter().skip(1).filter_map(|arg| arg.to_str()).any(|arg| {
        arg == format!("--{long}")
            || arg.starts_with(&format!("--{long}="))
            || short.as_ref().is_some_and(|short| !arg.starts_with("--") && arg.starts_with(short))
    });
    let variable = option
        .and_then(clap::Arg::get_env)
        .map_or_else(|| variable(tool, long), |name| name.to_string_lossy().into_owned());
    if given || option.is_none() || std::env::var_os(&variable).is_none() {
        return message.to_owned();
    }
    message.replace(&format!("'{named}'"), &format!("the variable {variable}"))
}

fn help_hint(tool: &str) -> String {
    format!("{tool} --help lists the options")
}

/// Prints what was asked for instead of the document: help, version, schema, a table.
fn print(output: &mut Output, ui: &Ui, text: &str) -> u8 {
    match output.text(text) {
        Ok(()) => exit::DONE,
        // `tool --help | head -1` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit::DONE,
        Err(error) => {
            let message = format!("stdout cannot be written: {error}");
            let failure = Failure::new(Code::OutputFailed, message);
            ui.failure(&failure);
            failure.exit
        }
    }
}
