//! Names of files as text.
//!
//! A name is any bytes without `/` and NUL; the rules of an ignore file and the paths that BuildKit
//! asks for are text. A byte that is not UTF-8 stands in that text as a character of its own, from
//! the end of Unicode's last private plane, so that a rule with that byte matches it and no other. A
//! name that has such a character itself is told apart by standing there byte by byte.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The byte 0x80 stands as U+10FF80, and 0xff as U+10FFFF.
const PLANE: u32 = 0x10_ff00;

/// The name as text.
pub(crate) fn text(name: &OsStr) -> Cow<'_, str> {
    text_of(name.as_bytes())
}

/// Bytes, which may be a name, as text.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| byte_of(c).is_some()) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                Some(_) => {
                    let mut own = [0; 4];
                    let own = c.encode_utf8(&mut own).bytes();
                    text.extend(own.filter_map(stand_in));
                }
                None => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().filter_map(|byte| stand_in(*byte)));
    }
    Cow::Owned(text)
}

/// The name that has this text.
pub(crate) fn name(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(PLANE + u32::from(byte))
}

fn byte_of(c: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(c).checked_sub(PLANE)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_eq!(text_of("plain ü".as_bytes()), "plain ü");
        assert_eq!(text_of(b"caf\xe9").chars().count(), 4);
        assert_ne!(text_of(b"caf\xe9"), text_of(b"caf\xe8"));
        assert_ne!(text_of(b"\xff"), "\u{fffd}");
        let own = "a\u{10ffe9}";
        assert_ne!(text_of(own.as_bytes()), text_of(b"a\xe9"));
        assert_eq!(name(&text_of(own.as_bytes())), own);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = text_of(&bytes).into_owned();
            prop_assert_eq!(name(&text).into_vec(), bytes);
        }
    }
}
