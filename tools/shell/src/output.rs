//! Stdout: what it is, and the one write to it.

use std::io::Write;

use rustix::fs::{FileType, fstat};
use slipway_release::{Document, Written};

/// What stdout is, for the rule of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A pipe (FIFO): the next tool reads it, secrets may pass.
    Pipe,
    /// A terminal: a person reads it.
    Terminal,
    /// A file, a device, a socket: it may be kept, so no secret goes there.
    Other,
}

/// Where the document goes.
pub struct Output {
    writer: Box<dyn Write + Send>,
    kind: OutputKind,
}

impl Output {
    /// Stdout of this process.
    #[must_use]
    pub fn from_stdout() -> Self {
        let stdout = std::io::stdout();
        let kind = match fstat(&stdout).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Fifo) => OutputKind::Pipe,
            Ok(FileType::CharacterDevice) if rustix::termios::isatty(&stdout) => {
                OutputKind::Terminal
            }
            _ => OutputKind::Other,
        };
        Self { writer: Box::new(stdout), kind }
    }

    /// Any writer, taken for what `kind` says.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, kind: OutputKind) -> Self {
        Self { writer, kind }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> OutputKind {
        self.kind
    }

    /// Writes the document, and answers whether a secret was left out: it is where the output is
    /// no pipe, unless `reveal` says otherwise.
    pub(crate) fn document(&mut self, document: &Document, reveal: bool) -> std::io::Result<bool> {
        let reveal = reveal || self.kind == OutputKind::Pipe;
        let Written { text, withheld } = document.write(reveal, self.kind == OutputKind::Terminal);
        self.text(&text)?;
        Ok(withheld)
    }

    /// Writes a text, all of it.
    pub(crate) fn text(&mut self, text: &str) -> std::io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}
