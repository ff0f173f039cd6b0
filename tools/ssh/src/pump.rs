//! The thread that moves a connection's bytes.
//!
//! libssh2 wants one thread a session: its calls share one socket, so that a read for one channel takes the packets of all
//! others off the wire. Here everything is done by one loop around poll(2), and nothing else touches the session.
//!
//! Two of libssh2's traits shape the loop:
//! - A packet that went out in part must be sent again from the same address before any other, and some packets live on
//!   the stack. So libssh2 is called only while the socket has room for whatever it may send at once.
//! - Nothing reads the wire but a call for a channel, and the server speaks unasked (ClientAliveInterval, new host keys). So
//!   with no channel to read from, a channel of a type that no server has is asked for: the refusal is the sign of life.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use ssh2::{BlockDirections, Channel, Session};
use tokio::sync::oneshot;

use crate::Error;
use crate::auth::code;
use crate::bridge::{Bridge, Step, would_block};
use crate::opening::{self, Command, Opened, Opening};

/// A channel type that exists nowhere (RFC 4250, section 4.6.1: names with a domain are private).
const PING: &str = "ping@slipway.invalid";
/// The first sleep after something moved; each one after it is twice as long. What arrives just while libssh2 reads for
/// one channel is taken off the wire for all, and poll(2) knows nothing of it, so a look without a cause comes soon.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// How often the streams are gone around before looking for commands and events.
const PASSES: usize = 16;
/// libssh2's codes for what goes wrong with one channel and leaves the session alone (LIBSSH2_ERROR_TIMEOUT,
/// …_CHANNEL_OUTOFORDER to …_CHANNEL_EOF_SENT, …_INVAL, …_BAD_USE).
const CHANNEL_ONLY: [i32; 11] = [-9, -20, -21, -22, -23, -24, -25, -26, -27, -34, -39];

pub(crate) struct Pump {
    session: Session,
    tcp: TcpStream,
    host: String,
    keepalive: Duration,
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
    bridges: Vec<Bridge>,
    waiting: VecDeque<Opening>,
    opening: Option<Opening>,
    /// The socket has bytes that libssh2 has not been given a chance to read.
    readable: bool,
    /// When something last came from the server.
    heard: Instant,
    /// When a sign of life was asked for, if the server has been silent since.
    asked: Option<Instant>,
    /// Since when the socket has had no room, if it has none.
    full_since: Option<Instant>,
    /// How long to sleep at most when nothing happens.
    pause: Duration,
}

/// Why the loop ends.
enum End {
    Asked,
    Lost(String),
}

impl From<ssh2::Error> for End {
    fn from(error: ssh2::Error) -> Self {
        // libssh2's own texts name its functions here ("transport read").
        let reason = match code(&error) {
            -7 => "sending failed",
            -13 => "the server closed it",
            -43 => "receiving failed",
            _ => error.message(),
        };
        Self::Lost(reason.to_owned())
    }
}

impl From<Errno> for End {
    fn from(error: Errno) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Pump {
    pub(crate) fn new(
        session: Session,
        tcp: TcpStream,
        host: String,
        keepalive: Duration,
        inbox: Receiver<Command>,
        wake: Arc<OwnedFd>,
    ) -> Self {
        session.set_blocking(false);
        Self {
            session,
            tcp,
            host,
            keepalive,
            inbox,
            wake,
            bridges: Vec::new(),
            waiting: VecDeque::new(),
            opening: None,
            // The server may have said something right after authentication.
            readable: true,
            heard: Instant::now(),
            asked: None,
            full_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Runs until the last handle is gone or the connection is. Streams that are open end with it.
    pub(crate) fn run(mut self, lost: &OnceLock<String>) {
        self.acknowledge_at_once();
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        match end {
            End::Lost(reason) => {
                // Set before any stream ends, so that who sees the end of one can ask why.
                let _ = lost.set(reason);
            }
            End::Asked => {
                let _ = self.session.disconnect(None, "done", None);
            }
        }
        // libssh2 would wait for answers when it frees channels; on a socket that is shut there are none to wait for.
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    fn turn(&mut self) -> Result<(), End> {
        self.take_commands()?;
        let mut step = Step::Moved;
        // A stream in full flow would go on for ever, and there are others to look after.
        for pass in 0..PASSES {
            step = self.pass()?;
            if step == Step::Idle {
                self.pause = if pass == 0 { self.pause.saturating_mul(2) } else { FIRST_PAUSE };
                break;
            }
        }
        self.check_life()?;
        self.wait(match step {
            Step::Moved => Duration::ZERO,
            Step::Idle => self.pause.min(self.keepalive / 2),
        })
    }

    fn take_commands(&mut self) -> Result<(), End> {
        for command in self.inbox.try_iter() {
            match command {
                Command::Open { to, reply } => {
                    self.waiting.push_back(Opening::Stream { to, session: None, reply })
                }
                Command::Close => return Err(End::Asked),
            }
        }
        Ok(())
    }

    /// Moves what can be moved, once around.
    fn pass(&mut self) -> Result<Step, End> {
        let mut moved = self.open_next()? == Step::Moved;
        for index in 0..self.bridges.len() {
            moved |= self.bridges[index].step_local() == Step::Moved;
            if !self.can_send()? {
                continue;
            }
            let reads = self.bridges[index].reads_wire();
            match self.bridges[index].step_remote(&self.session) {
                Ok(step) => moved |= step == Step::Moved,
                // Dropping it tells both sides.
                Err(error) if CHANNEL_ONLY.contains(&code(&error)) => self.bridges[index].give_up(),
                Err(error) => return Err(error.into()),
            }
            moved |= reads && self.drained() == Step::Moved;
        }
        self.bridges.retain(|bridge| !bridge.is_done());
        moved |= self.drain()? == Step::Moved;
        Ok(if moved { Step::Moved } else { Step::Idle })
    }

    /// Whether the socket has room for anything that one call of libssh2 sends (a packet is 35 kB at most).
    ///
    /// Linux reports a TCP socket writable while at least a third of its send buffer is free, and that buffer has
    /// hundreds of kilobytes (see `connect::tune`).
    fn can_send(&mut self) -> Result<bool, End> {
        let mut fds = [PollFd::new(&self.tcp, PollFlags::OUT)];
        let room = match poll(&mut fds, Some(&timespec(Duration::ZERO))) {
            Ok(_) => !fds[0].revents().is_empty(),
            Err(Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        match room {
            true => self.full_since = None,
            false => {
                self.full_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(room)
    }

    /// libssh2 has read what the socket had, and not only for the channel that it was called for: those that had their
    /// turn before need another.
    fn drained(&mut self) -> Step {
        if !self.readable {
            return Step::Idle;
        }
        self.readable = false;
        self.heard = Instant::now();
        self.asked = None;
        Step::Moved
    }

    /// Lets libssh2 read if nothing in this pass did.
    fn drain(&mut self) -> Result<Step, End> {
        if !self.readable || !self.can_send()? {
            return Ok(Step::Idle);
        }
        if let Some(bridge) = self.bridges.iter_mut().find(|bridge| bridge.can_drain()) {
            bridge.drain(&self.session)?;
        } else if self.opening.is_none() {
            self.waiting.push_front(Opening::Ping);
            return self.open_next();
        }
        // With a channel being opened `open_next` has read.
        Ok(self.drained())
    }

    fn open_next(&mut self) -> Result<Step, End> {
        if !self.can_send()? {
            return Ok(Step::Idle);
        }
        let mut moved = Step::Idle;
        while let Some(opening) = self.opening.take().or_else(|| self.waiting.pop_front()) {
            match self.advance(opening)? {
                // The same one has to be repeated before any other.
                Some(unfinished) => {
                    self.opening = Some(unfinished);
                    return Ok(if moved == Step::Moved { moved } else { self.drained() });
                }
                None => moved = Step::Moved,
            }
        }
        Ok(moved)
    }

    fn advance(&mut self, opening: Opening) -> Result<Option<Opening>, End> {
        let (to, opened, reply) = match opening {
            Opening::Ping => return self.ping(),
            Opening::Stream { to, session, reply } => (to, session, reply),
        };
        match opening::open(&self.session, &to, opened) {
            Ok(Opened::Ready(channel)) => self.hand_out(channel, reply),
            Ok(Opened::Halfway(session)) => {
                return Ok(Some(Opening::Stream { to, session, reply }));
            }
            Err(error) if CHANNEL_ONLY.contains(&code(&error)) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(Err(opening::refusal(&self.host, &to, &error)));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    fn ping(&mut self) -> Result<Option<Opening>, End> {
        match would_block(self.session.channel_open(PING, 1 << 15, 1 << 15, None)) {
            Ok(None) => return Ok(Some(Opening::Ping)),
            // No answer within libssh2's own limit is no sign of life.
            Err(error) if opening::timed_out(&error) => return Ok(None),
            // A server that knows this type: the channel is closed by being dropped.
            Ok(Some(_)) => {}
            Err(error) if CHANNEL_ONLY.contains(&code(&error)) => {}
            Err(error) => return Err(error.into()),
        }
        self.readable = false;
        self.heard = Instant::now();
        self.asked = None;
        Ok(None)
    }

    fn hand_out(&mut self, channel: Channel, reply: oneshot::Sender<Result<UnixStream, Error>>) {
        let pair = UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            Ok((ours, theirs))
        });
        let answer = pair.map(|(ours, theirs)| {
            self.bridges.push(Bridge::new(channel, ours));
            theirs
        });
        // If nobody waits for it any more their end is dropped here, and the bridge sees that and closes the channel.
        let _ = reply.send(answer.map_err(crate::connect::local("make a socket pair")));
    }

    /// Asks for a sign of life after a silence, and gives up after a longer one.
    fn check_life(&mut self) -> Result<(), End> {
        if let Some(since) = self.full_since {
            // A slow line takes its time; a peer that reads nothing at all has stopped.
            if since.elapsed() > self.keepalive * 12 {
                return Err(End::Lost(format!(
                    "the server has taken nothing for {:?}",
                    since.elapsed()
                )));
            }
            return Ok(());
        }
        match self.asked {
            Some(asked) if !self.readable && asked.elapsed() >= self.keepalive * 2 => {
                Err(End::Lost(format!(
                    "the server has been silent for {} s",
                    self.heard.elapsed().as_secs()
                )))
            }
            None if self.heard.elapsed() >= self.keepalive => {
                self.asked = Some(Instant::now());
                match self.opening {
                    None => {
                        self.waiting.push_front(Opening::Ping);
                        self.open_next()?;
                    }
                    // The server owes an answer already, but it may be waiting for somebody else (a TCP connect).
                    Some(_) => {
                        self.session.set_keepalive(true, 2);
                        self.session.keepalive_send()?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// sshd leaves Nagle's algorithm on for forwarded streams, and so answers 40 ms late unless each of its packets is
    /// acknowledged at once.
    fn acknowledge_at_once(&self) {
        // The kernel forgets this setting after a while; one that does not have it is only slower.
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.tcp, true);
    }

    /// Sleeps until there is something to do, at most this long.
    fn wait(&mut self, limit: Duration) -> Result<(), End> {
        let blocked = self.full_since.is_some();
        let unsent = matches!(
            self.session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        );
        let mut wanted = PollFlags::empty();
        // While libssh2 may not be called there is no use in hearing that it could read.
        wanted.set(PollFlags::IN, !blocked);
        wanted.set(PollFlags::OUT, blocked || unsent);
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN), PollFd::new(&self.tcp, wanted)];
        let mut watched = Vec::with_capacity(self.bridges.len());
        for (index, bridge) in self.bridges.iter().enumerate() {
            if let Some((local, flags)) = bridge.interest() {
                fds.push(PollFd::new(local, flags));
                watched.push(index);
            }
        }
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if !events[0].is_empty() {
            let mut count = [0u8; 8];
            // Another wake-up may have been taken together with the one before.
            let _ = rustix::io::read(&*self.wake, &mut count);
        }
        if !(events[1] & !PollFlags::OUT).is_empty() {
            self.readable = true;
            self.acknowledge_at_once();
        }
        for (index, flags) in watched.into_iter().zip(&events[2..]) {
            if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
                self.bridges[index].hung_up();
            }
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
