//! Stdin: whether it holds a document, and reading it.

use std::io::Read;

use rustix::fs::{FileType, fstat};
use slipway_release::{Code, Document, Failure};

/// More than this is no release document: it bounds what a wrong input can take, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Where the document comes from.
pub enum Input {
    /// There is none: the tool is at the head of the pipe.
    None,
    /// Something that must hold a document.
    Document(Box<dyn Read + Send>),
}

impl Input {
    /// Stdin of this process. A pipe, a socket or a file must hold a document; a terminal, another
    /// character device such as `/dev/null`, and a closed stdin (which the runtime of the language
    /// opens as `/dev/null`) hold none.
    #[must_use]
    pub fn from_stdin() -> Self {
        let stdin = std::io::stdin();
        match fstat(&stdin).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::CharacterDevice) | Err(_) => Self::None,
            Ok(_) => Self::Document(Box::new(stdin)),
        }
    }

    /// Reads all of it: none where there is none, else a document.
    ///
    /// # Errors
    /// When it cannot be read, or is not a document.
    pub fn read(self) -> Result<Option<Document>, Failure> {
        let Self::Document(reader) = self else { return Ok(None) };
        let mut bytes = Vec::new();
        reader.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| {
            Failure::new(Code::BadInput, format!("the input cannot be read: {error}"))
        })?;
        if bytes.len() as u64 > LIMIT {
            return Err(Failure::new(
                Code::BadInput,
                format!(
                    "the input is larger than {} MiB, so it is no release document",
                    LIMIT >> 20
                ),
            ));
        }
        Ok(Some(Document::parse(&bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_input_is_refused_at_the_limit() {
        let failure = Input::Document(Box::new(std::io::repeat(b' '))).read().unwrap_err();
        assert_eq!(failure.code, Code::BadInput);
        assert!(failure.message.contains("16 MiB"), "{}", failure.message);
    }
}
