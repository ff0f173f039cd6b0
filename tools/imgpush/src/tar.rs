//! Reading a tar archive as its bytes come, without holding any entry. Pure.
//!
//! The format is that of POSIX.1-2001 (pax), with the long names and large sizes of GNU tar.

use bytes::{Bytes, BytesMut};
use slipway_untrusted::limit::TAR_HEADER;

const BLOCK: usize = 512;

/// Why bytes are no archive.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive is broken: {0}")]
pub(crate) struct TarError(pub(crate) &'static str);

/// What comes next in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An entry begins. Only a regular file has a size.
    Entry {
        /// Its path as it is written there.
        path: String,
        /// How many bytes of data follow.
        size: u64,
        /// Whether it is a regular file.
        file: bool,
    },
    /// Some of the entry's data.
    Data(Bytes),
    /// The entry is complete.
    End,
}

enum State {
    Header,
    /// An extended header of this type, with its size.
    Extended(u8, usize),
    /// So many bytes of an entry's data to come.
    Data(u64),
    /// So many bytes up to the next block.
    Padding(usize),
    Finished,
}

/// An archive in the reading.
pub(crate) struct Tar {
    state: State,
    held: BytesMut,
    padding: usize,
    /// What extended headers say of the next entry.
    path: Option<String>,
    size: Option<u64>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        let (held, state) = (BytesMut::new(), State::Header);
        Self { state, held, padding: 0, path: None, size: None }
    }

    /// Whether the end of the archive has been read.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Takes from `input` what the next event needs; none when more input is needed.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, TarError> {
        loop {
            match self.state {
                State::Finished => {
                    input.clear();
                    return Ok(None);
                }
                State::Header => {
                    let Some(header) = self.fill(input, BLOCK) else { return Ok(None) };
                    if let Some(event) = self.header(&header)? {
                        return Ok(Some(event));
                    }
                }
                State::Extended(kind, size) => {
                    let Some(data) = self.fill(input, size) else { return Ok(None) };
                    self.extended(kind, &data)?;
                    self.state = State::Padding(self.padding);
                }
                State::Data(0) => {
                    self.state = State::Padding(self.padding);
                    return Ok(Some(Event::End));
                }
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.state = State::Data(left - take as u64);
                    return Ok(Some(Event::Data(input.split_to(take))));
                }
                State::Padding(0) => self.state = State::Header,
                State::Padding(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = left.min(input.len());
                    let _ = input.split_to(take);
                    self.state = State::Padding(left - take);
                }
            }
        }
    }

    /// So many bytes, once they are there.
    fn fill(&mut self, input: &mut Bytes, size: usize) -> Option<Bytes> {
        let take = (size - self.held.len()).min(input.len());
        self.held.extend_from_slice(&input.split_to(take));
        (self.held.len() == size).then(|| self.held.split().freeze())
    }

    fn header(&mut self, header: &[u8]) -> Result<Option<Event>, TarError> {
        if header.iter().all(|byte| *byte == 0) {
            self.state = State::Finished;
            return Ok(None);
        }
        check(header)?;
        let kind = header[156];
        let size = number(&header[124..136])?;
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            // They hold names and numbers.
            let fits = usize::try_from(size).ok().filter(|_| TAR_HEADER.admit(size).is_ok());
            let size = fits.ok_or(TarError("an extended header is too long"))?;
            self.padding = padding(size as u64);
            self.state = State::Extended(kind, size);
            return Ok(None);
        }
        let path = self.path.take().unwrap_or_else(|| path(header));
        let size = self.size.take().unwrap_or(size);
        let file = matches!(kind, b'0' | 0);
        // Links and directories have no data, whatever they say.
        let size = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        self.padding = padding(size);
        self.state = State::Data(size);
        Ok(Some(Event::Entry { path, size, file }))
    }

    fn extended(&mut self, kind: u8, data: &[u8]) -> Result<(), TarError> {
        match kind {
            b'L' => {
                let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
                self.path = Some(String::from_utf8_lossy(&data[..end]).into_owned());
            }
            b'x' => {
                for (key, value) in records(data)? {
                    match key {
                        b"path" => self.path = Some(String::from_utf8_lossy(value).into_owned()),
                        b"size" => {
                            let size = std::str::from_utf8(value).ok();
                            let size = size.and_then(|size| size.parse().ok());
                            self.size = Some(size.ok_or(TarError("a size is no number"))?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn padding(size: u64) -> usize {
    // The remainder is below 512.
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The sum over the header's bytes, its own field taken as spaces.
fn check(header: &[u8]) -> Result<(), TarError> {
    let bytes = header.iter().enumerate();
    let sum: u64 = bytes
        .map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
        .sum();
    if number(&header[148..156])? == sum {
        Ok(())
    } else {
        Err(TarError("a header's sum is wrong"))
    }
}

/// Octal digits, or GNU tar's binary form for large numbers.
fn number(field: &[u8]) -> Result<u64, TarError> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let fits = high
            .split_first()
            .is_some_and(|(mark, more)| *mark == 0x80 && more.iter().all(|byte| *byte == 0));
        if !fits {
            return Err(TarError("a number is too large"));
        }
        return Ok(low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).map_err(|_| TarError("a number is no number"))?;
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| TarError("a number is no number"))
}

/// Name and prefix of a header.
fn path(header: &[u8]) -> String {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        return format!("{prefix}/{name}");
    }
    name
}

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The records `LENGTH KEY=VALUE\n` of a pax header.
fn records(data: &[u8]) -> Result<Vec<Record<'_>>, TarError> {
    const BROKEN: TarError = TarError("an extended header is no list of records");
    let mut found = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|text| text.parse().ok());
        let length: usize = length.ok_or(BROKEN)?;
        if length <= space + 1 || length > rest.len() {
            return Err(BROKEN);
        }
        let record = rest[space + 1..length].strip_suffix(b"\n").ok_or(BROKEN)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
        found.push((&record[..equals], &record[equals + 1..]));
        rest = &rest[length..];
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
