//! A failure as it is told to people and written into the document.

use serde_json::Value;

use crate::{Code, ErrorSection};

/// Why a tool failed. Each tool has its own error type; this is what all of them become.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The fine code.
    pub code: Code,
    /// The exit code; [`Code::exit`] unless something more exact is known.
    pub exit: u8,
    /// One line: what failed, on what, and why. A lowercase fragment without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether the same command may succeed if it is run again later.
    pub retryable: bool,
    /// What was seen: the tail of a log, the last answer, the state of a container.
    pub evidence: Option<Value>,
}

impl Failure {
    /// The longest message, in characters: many a cause from outside has no end.
    const MESSAGE: usize = 4000;

    /// A failure of this code, with the exit code that belongs to it. Line breaks in the message
    /// become spaces, since many a cause from outside has some.
    #[must_use]
    pub fn new(code: Code, message: impl AsRef<str>) -> Self {
        let lines = message.as_ref().lines().map(str::trim);
        let message = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = match message.char_indices().nth(Self::MESSAGE) {
            Some((end, _)) => format!("{}… ({} bytes more)", &message[..end], message.len() - end),
            None => message,
        };
        Self { code, exit: code.exit(), message, hint: None, retryable: false, evidence: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says whether the same command may succeed if it is run again later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Adds what was seen.
    #[must_use]
    pub fn evidence(mut self, evidence: Value) -> Self {
        self.evidence = Some(evidence);
        self
    }

    /// The failure as the section `error` of the document.
    #[must_use]
    pub fn section(&self, tool: &str) -> ErrorSection {
        ErrorSection {
            tool: tool.to_owned(),
            code: self.code.as_str().to_owned(),
            exit: self.exit,
            message: self.message.clone(),
            hint: self.hint.clone(),
            retryable: self.retryable,
            evidence: self.evidence.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(Failure::new(Code::Internal, " a \n\n b").message, "a b");
        let long = Failure::new(Code::Internal, "ü".repeat(5000)).message;
        assert!(long.ends_with("ü… (2000 bytes more)") && long.len() < 8100, "{}", long.len());
    }
}
