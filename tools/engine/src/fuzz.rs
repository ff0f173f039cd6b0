//! What a fuzzer may throw at the parsers of this crate.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::logs::Frames;
use crate::messages::{self, Lines};
use crate::{Endpoint, classify};

/// A target's name, which is that of its directory of seeds, and what takes the bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[FuzzTarget] =
    &[("engine_logs", logs), ("engine_messages", messages), ("docker_host", docker_host)];

/// The output is the same wherever the bytes are cut, and never more than they are.
fn logs(data: &[u8]) {
    let read = |size: usize| {
        let (mut frames, mut out) = (Frames::default(), VecDeque::new());
        for piece in data.chunks(size) {
            if frames.feed(Bytes::copy_from_slice(piece), &mut out).is_err() {
                return None;
            }
        }
        frames.end(&mut out);
        Some(out.into_iter().flatten().collect::<Vec<u8>>())
    };
    let whole = read(data.len().max(1));
    assert_eq!(whole, read(1));
    assert!(whole.is_none_or(|output| output.len() <= data.len()));
}

fn messages(data: &[u8]) {
    let mut lines = Lines::default();
    let fed = data.chunks(7).all(|piece| lines.feed(piece).is_ok());
    lines.end();
    let kept: usize = lines.ready.iter().map(|line| line.len()).sum();
    assert!(fed && kept <= data.len());
    for line in &lines.ready {
        if let Err(error) = messages::parse(line) {
            let shown = error.to_string();
            assert!(!shown.contains(['\u{1b}', '\n', '\0']), "{shown:?}");
            assert!(shown.chars().count() < 5000);
            let _ = (error.hint(), classify(&shown));
        }
    }
}

/// An address that was read is the same when it is read once more.
fn docker_host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Endpoint::parse(text) {
        Ok(endpoint) => assert!(Endpoint::parse(&endpoint.to_string()).ok() == Some(endpoint)),
        Err(error) => assert!(!error.hint().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|(_, target)| target(&data));
        }
    }
}
