//! The log of a container: output in frames (Docker Engine API, "Attach to a container", "Stream
//! format"), or as it is if the container has a terminal.
//!
//! A frame's length is what the engine says it is, up to 4 GiB. So what has come of a frame is
//! handed on at once: nothing is kept until it is whole.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::engine::Engine;
use crate::error::Error;
use crate::transport::Request;

/// The header of a frame: the stream, three zeros, the length.
const HEADER: usize = 8;

/// A log that is being read, both of its streams as one.
#[derive(Debug)]
pub struct Logs {
    body: Option<Incoming>,
    frames: Frames,
    ready: VecDeque<Bytes>,
}

impl Engine {
    /// The log of a container: all of it, or its last lines; with `follow` until the container ends.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such container.
    pub async fn logs(&self, id: &str, tail: Option<usize>, follow: bool) -> Result<Logs, Error> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let query = [
            ("stdout", "1"),
            ("stderr", "1"),
            ("tail", tail.as_str()),
            ("follow", if follow { "1" } else { "0" }),
        ];
        let request = Request::new(Method::GET, format!("/containers/{id}/logs")).query(query);
        let body = Some(self.send(request).await?.into_body());
        Ok(Logs { body, frames: Frames::default(), ready: VecDeque::new() })
    }
}

impl Logs {
    /// The next piece of output, which ends anywhere; none at the end.
    ///
    /// # Errors
    /// A broken connection, or bytes that are no frames.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            let body = self.body.as_mut()?;
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && let Err(error) = self.frames.feed(data, &mut self.ready)
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
                    self.frames.end(&mut self.ready);
                }
            }
        }
    }
}

/// Takes frames apart as their bytes come.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What has come of a header.
    header: Vec<u8>,
    /// How much of a frame is still to come.
    left: u64,
    /// Whether there are frames; not known before the first header.
    framed: Option<bool>,
}

impl Frames {
    /// Adds what the bytes hold of the output.
    pub(crate) fn feed(&mut self, mut data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Error> {
        while data.has_remaining() {
            if self.framed == Some(false) {
                out.push_back(data);
                return Ok(());
            }
            if self.left > 0 {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.left -= most as u64;
                out.push_back(data.split_to(most));
                continue;
            }
            let wanted = (HEADER - self.header.len()).min(data.len());
            self.header.extend_from_slice(&data.split_to(wanted));
            if self.begins_frame() {
                if let [_, 0, 0, 0, length @ ..] = &*self.header
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.framed = Some(true);
                    self.left = u32::from_be_bytes(length).into();
                    self.header.clear();
                }
            } else if self.framed.is_none() {
                // A container with a terminal.
                self.framed = Some(false);
                self.end(out);
            } else {
                return Err(Error::Protocol { what: "a log without frames".to_owned() });
            }
        }
        Ok(())
    }

    /// Whether what has come of a header may begin one: stdin, stdout or stderr, and three zeros.
    fn begins_frame(&self) -> bool {
        let zeros = self.header.iter().skip(1).take(3).all(|byte| *byte == 0);
        self.header.first().is_none_or(|stream| *stream <= 2) && zeros
    }

    /// Hands out what was taken for a header and is none.
    pub(crate) fn end(&mut self, out: &mut VecDeque<Bytes>) {
        if self.framed != Some(true) && !self.header.is_empty() {
            out.push_back(std::mem::take(&mut self.header).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let (mut frames, mut out) = (Frames::default(), VecDeque::new());
        for piece in pieces {
            frames.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        frames.end(&mut out);
        Ok(out.into_iter().flatten().collect())
    }

    #[test]
    fn frames_and_plain_output() {
        assert_eq!(read(&[b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!"]).unwrap(), b"hi!");
        assert_eq!(read(&[b"plain\n", b"\x01\0\0\0"]).unwrap(), b"plain\n\x01\0\0\0");
        assert_eq!(read(&[b"\x01"]).unwrap(), b"\x01");
        assert!(read(&[b"\x01\0\0\0\0\0\0\x01xplain"]).is_err());
    }

    #[test]
    fn a_frame_of_any_length_is_handed_on_as_it_comes() {
        let (mut frames, mut out) = (Frames::default(), VecDeque::new());
        frames.feed(Bytes::from_static(b"\x01\0\0\0\xff\xff\xff\xff"), &mut out).unwrap();
        for _ in 0..3 {
            frames.feed(Bytes::from_static(b"xyz"), &mut out).unwrap();
            assert_eq!(out.drain(..).flatten().collect::<Vec<u8>>(), b"xyz");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_pieces_end(
            texts in proptest::collection::vec("[a-z]{0,9}", 0..6), size in 1usize..9,
        ) {
            let mut bytes = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                bytes.extend([1 + u8::from(index % 2 == 0), 0, 0, 0, 0, 0, 0]);
                bytes.push(u8::try_from(text.len()).unwrap());
                bytes.extend(text.bytes());
            }
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces).unwrap(), texts.concat().into_bytes());
        }
    }
}
