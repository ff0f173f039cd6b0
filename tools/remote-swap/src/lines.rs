//! Lines out of chunks that end anywhere. Pure.

/// A line is cut when it gets longer than this, in bytes.
pub(crate) const LONGEST: usize = 16 * 1024;

/// What has come of a line that has not ended.
#[derive(Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Takes a chunk, and tells each line that ends in it.
    pub(crate) fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(String)) {
        for byte in chunk {
            if *byte == b'\n' || self.0.len() >= LONGEST {
                self.end(each);
            }
            if *byte != b'\n' {
                self.0.push(*byte);
            }
        }
    }

    /// Tells what has come of the last line.
    pub(crate) fn end(&mut self, each: &mut dyn FnMut(String)) {
        let line = String::from_utf8_lossy(&self.0).trim_end_matches('\r').to_owned();
        self.0.clear();
        if !line.is_empty() {
            each(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_does_not_matter_where_chunks_end(text in "[ab\u{e9}\n]{0,40}", size in 1_usize..9) {
            let mut seen = Vec::new();
            let (mut lines, mut each) = (Lines::default(), |line| seen.push(line));
            for chunk in text.as_bytes().chunks(size) {
                lines.push(chunk, &mut each);
            }
            lines.end(&mut each);
            prop_assert_eq!(seen, text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
