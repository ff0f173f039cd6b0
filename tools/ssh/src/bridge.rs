//! One stream: an SSH channel on one side, one end of a socket pair on the other, and a buffer each way.
//!
//! Each buffer is filled only when it is empty, so that a side that does not read holds up the other through libssh2's
//! window or the socket's buffer, and the memory of a stream is bounded.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use rustix::net::SendFlags;
use ssh2::{Channel, Session};

use crate::auth::code;

/// Bytes a buffer holds; four of the largest packets that libssh2 sends.
const BUFFER: usize = 128 * 1024;

/// Bytes on their way in one direction.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }

    fn refill(&mut self, count: usize) {
        (self.start, self.end) = (0, count);
    }

    fn clear(&mut self) {
        self.refill(0);
    }
}

/// What a step on the SSH side came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something moved; another step may move more.
    Moved,
    /// Nothing to do until something happens outside.
    Idle,
}

/// One stream. It never blocks.
pub(crate) struct Bridge {
    channel: Channel,
    /// Our end of the pair; gone once nobody holds the other end or there is nothing more to say to them.
    local: Option<UnixStream>,
    to_remote: Buffer,
    to_local: Buffer,
    /// The caller has shut its writing side down (or is gone), and everything it wrote was read from the pair.
    local_eof: bool,
    eof_sent: bool,
    /// The host's end of file has been read from the channel.
    remote_eof: bool,
    /// The host has closed the channel altogether.
    remote_closed: bool,
    local_shut: bool,
    /// Poll has said so of the pair, and would say it again at once.
    hung_up: bool,
    done: bool,
}

impl Bridge {
    pub(crate) fn new(channel: Channel, local: UnixStream) -> Self {
        Self {
            channel,
            local: Some(local),
            to_remote: Buffer::new(),
            to_local: Buffer::new(),
            local_eof: false,
            eof_sent: false,
            remote_eof: false,
            remote_closed: false,
            local_shut: false,
            hung_up: false,
            done: false,
        }
    }

    /// Whether the channel is closed on both sides, so that this may be dropped.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether [`Bridge::step_remote`] is going to take what has arrived off the wire.
    pub(crate) fn reads_wire(&self) -> bool {
        self.finished()
            || (self.to_local.is_empty() && !self.remote_eof)
            || (self.remote_eof && !self.remote_closed)
    }

    /// Whether a read from the channel can take packets off the wire, even if there is no room for this stream's own.
    pub(crate) fn can_drain(&self) -> bool {
        !self.done && !self.remote_eof
    }

    /// The socket to watch and what for; none once the caller is gone.
    pub(crate) fn interest(&self) -> Option<(&UnixStream, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.to_remote.is_empty() && !self.local_eof);
        flags.set(PollFlags::OUT, !self.to_local.is_empty());
        // A pair that hung up is always ready, so it is watched only where that leads to something.
        let watched = !self.hung_up || flags.contains(PollFlags::IN);
        self.local.as_ref().filter(|_| watched).map(|local| (local, flags))
    }

    /// Poll said that both directions of the pair are shut: the caller has dropped its end. What it had written is still
    /// to be read; what was on the way to it has no reader.
    pub(crate) fn hung_up(&mut self) {
        self.hung_up = true;
        self.to_local.clear();
    }

    /// Ends the stream on both sides after an error of its channel.
    pub(crate) fn give_up(&mut self) {
        self.local = None;
        self.done = true;
    }

    /// Moves bytes between the buffers and the pair.
    pub(crate) fn step_local(&mut self) -> Step {
        let wrote = self.write_local();
        let read = match self.to_remote.is_empty() && !self.local_eof {
            true => self.read_local(),
            false => Step::Idle,
        };
        if self.hung_up && self.local_eof {
            self.local = None;
        }
        match (wrote, read) {
            (Step::Idle, Step::Idle) => Step::Idle,
            _ => Step::Moved,
        }
    }

    fn read_local(&mut self) -> Step {
        let Some(local) = &mut self.local else {
            self.local_eof = true;
            return Step::Idle;
        };
        match local.read(&mut self.to_remote.bytes) {
            Ok(0) => self.local_eof = true,
            Ok(count) => self.to_remote.refill(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Idle,
            Err(_) => self.local_eof = true,
        }
        Step::Moved
    }

    fn write_local(&mut self) -> Step {
        let Some(local) = &self.local else {
            let had = !self.to_local.is_empty();
            self.to_local.clear();
            return if had { Step::Moved } else { Step::Idle };
        };
        if !self.to_local.is_empty() {
            // A caller's process may have SIGPIPE at its default, so the flag rather than plain write(2).
            return match rustix::net::send(local, self.to_local.pending(), SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.to_local.consume(count);
                    Step::Moved
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Step::Idle,
                Err(_) => {
                    self.to_local.clear();
                    Step::Moved
                }
            };
        }
        if self.remote_eof && !self.local_shut {
            // It fails only if the caller is gone, which is noticed elsewhere.
            let _ = local.shutdown(Shutdown::Write);
            self.local_shut = true;
            return Step::Moved;
        }
        Step::Idle
    }

    /// Moves bytes between the buffers and the channel, at most one packet out.
    ///
    /// # Errors
    /// libssh2's, other than "would block".
    pub(crate) fn step_remote(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        if self.finished() {
            self.local = None;
            return match would_block(self.channel.close())? {
                Some(()) => {
                    self.done = true;
                    Ok(Step::Moved)
                }
                None => Ok(Step::Idle),
            };
        }
        let mut step = self.write_remote(session)?;
        if self.to_local.is_empty() && !self.remote_eof && self.read_remote(session)? == Step::Moved
        {
            step = Step::Moved;
        }
        if self.remote_eof
            && !self.remote_closed
            && would_block(self.channel.wait_close())?.is_some()
        {
            self.remote_closed = true;
            step = Step::Moved;
        }
        Ok(step)
    }

    /// Whether nothing more can be carried either way.
    fn finished(&self) -> bool {
        let sent = self.eof_sent && self.to_remote.is_empty();
        let received = self.remote_eof && self.to_local.is_empty();
        (sent && (received || self.local.is_none()))
            || (self.remote_closed && self.to_local.is_empty())
    }

    fn write_remote(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        if !self.to_remote.is_empty() {
            return match would_block_io(
                session,
                self.channel.stream(0).write(self.to_remote.pending()),
            )? {
                Some(count) if count > 0 => {
                    self.to_remote.consume(count);
                    Ok(Step::Moved)
                }
                _ => Ok(Step::Idle),
            };
        }
        if self.local_eof && !self.eof_sent && send_eof(&mut self.channel)?.is_some() {
            self.eof_sent = true;
            return Ok(Step::Moved);
        }
        Ok(Step::Idle)
    }

    fn read_remote(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        let read = self.channel.stream(0).read(&mut self.to_local.bytes);
        match would_block_io(session, read)? {
            Some(0) if self.channel.eof() => self.remote_eof = true,
            None | Some(0) => return Ok(Step::Idle),
            Some(count) => self.to_local.refill(count),
        }
        Ok(Step::Moved)
    }

    /// Takes what has arrived off the wire without taking anything out of the channel: a read of no bytes.
    ///
    /// # Errors
    /// libssh2's, other than "would block".
    pub(crate) fn drain(&mut self, session: &Session) -> Result<(), ssh2::Error> {
        let read = self.channel.stream(0).read(&mut []);
        would_block_io(session, read).map(drop)
    }
}

/// libssh2 keeps the packet of an end of file on the stack and wants the same address when it has to be sent again, so
/// this is one function that is called from one place.
#[inline(never)]
fn send_eof(channel: &mut Channel) -> Result<Option<()>, ssh2::Error> {
    would_block(channel.send_eof())
}

/// `None` where libssh2 would block (LIBSSH2_ERROR_EAGAIN).
pub(crate) fn would_block<T>(result: Result<T, ssh2::Error>) -> Result<Option<T>, ssh2::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if code(&error) == -37 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same for a read or write, whose error has lost libssh2's number on its way.
fn would_block_io(
    session: &Session,
    result: io::Result<usize>,
) -> Result<Option<usize>, ssh2::Error> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(_) => {
            Err(ssh2::Error::last_session_error(session).unwrap_or_else(ssh2::Error::unknown))
        }
    }
}
