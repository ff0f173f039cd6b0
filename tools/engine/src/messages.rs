//! The engine's stream of JSON messages: the answer of a pull, a push and a build.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use slipway_untrusted::clean_line;
use slipway_untrusted::limit::ENGINE_MESSAGE;

use crate::error::Error;

/// One message.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// What it is about: a layer's short id, or the kind of `aux`.
    #[serde(default)]
    pub id: Option<String>,
    /// A status for people.
    #[serde(default)]
    pub status: Option<String>,
    /// Bytes done of bytes to do.
    #[serde(default, rename = "progressDetail")]
    pub progress: Option<ProgressDetail>,
    /// Output of the classic builder.
    #[serde(default)]
    pub stream: Option<String>,
    /// Data for programs.
    #[serde(default)]
    pub aux: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

/// Progress in bytes.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(default)]
    pub current: Option<i64>,
    /// Bytes to do; absent or negative when it is unknown.
    #[serde(default)]
    pub total: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: Option<String>,
}

impl Message {
    /// The failure that the message carries, in the engine's words.
    fn failure(&self) -> Option<&str> {
        let detail = self.error_detail.as_ref().and_then(|detail| detail.message.as_deref());
        detail.filter(|text| !text.is_empty()).or(self.error.as_deref())
    }
}

/// The messages of one answer.
///
/// Read it to its end: a failure inside an answer of status 200 comes out of
/// [`Messages::next`] as an error, after which there may be more messages.
#[derive(Debug)]
pub struct Messages {
    body: Option<Incoming>,
    lines: Lines,
}

impl Messages {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body: Some(body), lines: Lines::default() }
    }

    /// The next message, `None` at the end.
    ///
    /// # Errors
    /// The failure that a message carries, a broken connection, or text that
    /// is not JSON.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        loop {
            if let Some(line) = self.lines.ready.pop_front() {
                return Some(parse(&line));
            }
            let body = self.body.as_mut()?;
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && let Err(error) = self.lines.feed(&data)
                    {
                        self.body = None;
                        return Some(Err(error));
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    return Some(Err(error.into()));
                }
                None => {
                    self.body = None;
                    self.lines.end();
                }
            }
        }
    }

    /// Reads to the end and hands every message to `each`.
    ///
    /// # Errors
    /// The first failure, once the stream has ended.
    pub async fn drain(mut self, mut each: impl FnMut(&Message)) -> Result<(), Error> {
        let mut first = None;
        while let Some(next) = self.next().await {
            match next {
                Ok(message) => each(&message),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }
}

pub(crate) fn parse(line: &[u8]) -> Result<Message, Error> {
    let message: Message = serde_json::from_slice(line).map_err(|error| Error::Protocol {
        what: if error.is_eof() {
            "the stream of messages was cut off".to_owned()
        } else {
            clean_line(&error.to_string()).into_owned()
        },
    })?;
    match message.failure() {
        Some(text) => Err(Error::from_answer(200, text)),
        None => Ok(message),
    }
}

/// Splits bytes into lines as they come.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) ready: VecDeque<BytesMut>,
    rest: BytesMut,
    /// How far `rest` is known to hold no newline.
    seen: usize,
}

impl Lines {
    pub(crate) fn feed(&mut self, data: &[u8]) -> Result<(), Error> {
        self.rest.extend_from_slice(data);
        while let Some(at) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(self.seen + at);
            self.rest.advance(1);
            self.seen = 0;
            self.push(line);
        }
        self.seen = self.rest.len();
        Ok(ENGINE_MESSAGE.admit(self.seen as u64)?)
    }

    pub(crate) fn end(&mut self) {
        let line = self.rest.split();
        self.seen = 0;
        self.push(line);
    }

    fn push(&mut self, line: BytesMut) {
        if !line.trim_ascii().is_empty() {
            self.ready.push_back(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_in_either_form() {
        let text = |line: &str| parse(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(text(r#"{"errorDetail":{"message":"deep"},"error":"flat"}"#), "deep");
        assert_eq!(text(r#"{"error":"flat"}"#), "flat");
        assert!(text(r#"{"status":"x"#).contains("cut off"));
        assert!(parse(br#"{"status":"Pushed","progressDetail":{},"id":"ab","new":1}"#).is_ok());
    }

    #[test]
    fn a_message_without_an_end_is_refused() {
        let mut lines = Lines::default();
        let most = usize::try_from(ENGINE_MESSAGE.bytes).unwrap();
        lines.feed(&vec![b'x'; most]).unwrap();
        assert!(matches!(lines.feed(b"x"), Err(Error::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_bytes_arrive(
            lines in proptest::collection::vec("[a-z]{0,9}", 0..8),
            cuts in proptest::collection::vec(1usize..7, 1..20),
        ) {
            let text = lines.join("\r\n");
            let mut split = Lines::default();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                split.feed(now).unwrap();
                rest = later;
            }
            split.end();
            let found: Vec<String> = split.ready.iter()
                .map(|line| String::from_utf8_lossy(line).trim().to_owned()).collect();
            let wanted: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
