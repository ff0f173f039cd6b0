//! Stdout: what it is, and the one write to it.

use std::io::Write;

use rustix::fs::{FileType, fstat};
use slipway_release::{Document, Written};
use slipway_untrusted::{clean, obeyed};

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
        let text = if self.kind == OutputKind::Terminal { escaped(&text) } else { text };
        self.write(&text)?;
        Ok(withheld)
    }

    /// Writes a text, all of it; cleaned where a terminal would obey it.
    pub(crate) fn text(&mut self, text: &str) -> std::io::Result<()> {
        if self.kind == OutputKind::Terminal { self.write(&clean(text)) } else { self.write(text) }
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}

/// JSON with escapes in the place of the characters that a terminal would obey. JSON itself escapes
/// some of them only; all of them stand in its texts.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && obeyed(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_the_same_json_and_nothing_to_obey() {
        let text = "{\n  \"a\": \"\u{9b}2J \u{7f} \u{202e} ü\"\n}\n";
        let shown = escaped(text);
        assert!(!shown.chars().any(|c| c != '\n' && obeyed(c)), "{shown:?}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(text));
    }
}
