//! Layers as archives, put together from their files and from what else was in the archive.
//!
//! An engine unpacks a layer and keeps beside it whatever of its archive is in no file: headers,
//! padding, the end. That is a list of JSON lines, one a piece in their order, each with bytes of its
//! own or with the path of a file (`vbatts/tar-split`, `tar/storage/entry.go`; the engine's exports
//! and pushes are made of the same).

use std::fs::File;
use std::io::{self, BufRead, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::Deserialize;
use slipway_untrusted::limit::LAYER_PIECE;

use crate::compress::BLOCK;

const FILE: u8 = 1;
const BYTES: u8 = 2;

#[derive(Deserialize)]
struct Piece {
    #[serde(rename = "type")]
    kind: u8,
    /// A file's path in the archive.
    #[serde(default)]
    name: String,
    /// The same of a path that is not UTF-8, in base64.
    #[serde(default)]
    name_raw: String,
    /// A file's size.
    #[serde(default)]
    size: u64,
    /// Bytes in base64; a file's checksum.
    #[serde(default)]
    payload: Option<String>,
}

/// The archive, as it is put together.
struct Archive<T> {
    block: BytesMut,
    filled: usize,
    take: T,
}

/// Puts the archive of a layer together: `list` are its pieces, and `files` is the directory that it
/// is unpacked in. Ends early once `take` answers that it wants no more.
///
/// # Errors
/// What cannot be read, or is not of that form. That it is the right archive is for its digest to
/// tell.
pub(crate) fn assemble(
    list: impl BufRead,
    files: &OwnedFd,
    take: impl FnMut(Bytes) -> bool,
) -> io::Result<()> {
    let mut archive = Archive { block: BytesMut::new(), filled: 0, take };
    let mut list = list;
    loop {
        let line = LAYER_PIECE.line(&mut list)?;
        if line.is_empty() {
            archive.flush();
            return Ok(());
        }
        let piece: Piece = serde_json::from_slice(&line)?;
        let goes_on = match piece.kind {
            BYTES => archive.bytes(&decoded(piece.payload.as_deref().unwrap_or_default())?),
            // The list also names what has no content: directories, links, empty files.
            FILE if piece.size == 0 => true,
            FILE => archive.file(files, &piece)?,
            _ => return Err(invalid("a piece of an unknown kind")),
        };
        if !goes_on {
            return Ok(());
        }
    }
}

fn decoded(base64: &str) -> io::Result<Vec<u8>> {
    STANDARD.decode(base64).map_err(io::Error::other)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Opens a file of a layer; links lead nowhere outside of it.
fn open(files: &OwnedFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(files.as_fd(), path, flags, Mode::empty(), inside)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(invalid("not a regular file")) }
}

impl<T: FnMut(Bytes) -> bool> Archive<T> {
    /// Whether more is wanted.
    fn bytes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            bytes = later;
            if !self.fill(now.len()) {
                return false;
            }
        }
        true
    }

    fn file(&mut self, files: &OwnedFd, piece: &Piece) -> io::Result<bool> {
        let raw = decoded(&piece.name_raw)?;
        let name = if raw.is_empty() { piece.name.as_bytes() } else { &raw };
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        let about =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = open(files, path).map_err(about)?;
        let mut left = piece.size;
        while left > 0 {
            let room = self.room();
            let now = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut room[..now]).map_err(about)?;
            left -= now as u64;
            if !self.fill(now) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is free of the present block; never nothing.
    fn room(&mut self) -> &mut [u8] {
        if self.block.is_empty() {
            self.block = BytesMut::zeroed(BLOCK);
        }
        &mut self.block[self.filled..]
    }

    /// So much was put into the room.
    fn fill(&mut self, size: usize) -> bool {
        self.filled += size;
        self.filled < self.block.len() || self.flush()
    }

    fn flush(&mut self) -> bool {
        let mut block = std::mem::take(&mut self.block);
        block.truncate(std::mem::take(&mut self.filled));
        block.is_empty() || (self.take)(block.freeze())
    }
}

#[cfg(test)]
mod tests;
