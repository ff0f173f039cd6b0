//! The encoding of SSH's messages (RFC 4251, section 5).

/// Takes values from the front of some bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A `string`, which is any bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// An `mpint` that is not negative, without leading zeros.
    pub(crate) fn number(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..)
    }
}

/// Appends a `string`.
pub(crate) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing here is near 4 GiB.
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(bytes);
}

/// Appends an `mpint` that is not negative.
pub(crate) fn put_number(to: &mut Vec<u8>, bytes: &[u8]) {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let mut number = Vec::with_capacity(bytes.len() + 1);
    // The highest bit would be the sign.
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        number.push(0);
    }
    number.extend(bytes);
    put_string(to, &number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(text in proptest::collection::vec(any::<u8>(), 0..40), number in any::<u64>()) {
            let mut bytes = Vec::new();
            put_string(&mut bytes, &text);
            put_number(&mut bytes, &number.to_be_bytes());
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.string(), Some(&text[..]));
            let read = reader.number().unwrap().iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            prop_assert_eq!(read, number);
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn cut_off_bytes_are_no_fault(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while reader.string().is_some() {}
        }
    }
}
