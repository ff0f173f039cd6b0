//! The handle that callers hold. The work is done on the connection's thread; see [`crate::pump`].

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use slipway_untrusted::Untrusted;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::connect::{self, Facts, Progress, local};
use crate::exec::Marked;
use crate::opening::{Command, Destination};
use crate::pump::Pump;
use crate::{ConnectOptions, Error, Target};

/// An SSH connection to one host. Clones share it; when the last of them is dropped the connection ends, and with it
/// every stream that still is open.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    host: String,
    fingerprint: String,
    limit: Duration,
    remote: Remote,
}

/// The way to the connection's thread.
#[derive(Debug)]
struct Remote {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    lost: Arc<OnceLock<String>>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A thread that has ended already is as well.
        let _ = self.commands.send(Command::Close);
        self.wake_up();
    }
}

impl Remote {
    fn wake_up(&self) {
        // It can only fail when the counter is full, and then the thread is about to wake up anyway.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// Makes the thread give up when whoever waits for the connection stops doing so.
struct AbandonOnDrop(Progress);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Connection {
    /// Connects to the target: every address of the name in turn, then the handshake, the check of the host's key and
    /// authentication, all within `options.timeout`.
    ///
    /// # Errors
    /// Any of [`Error`] but those about streams. The host's key is judged before the user's name leaves this machine.
    pub async fn open(target: &Target, options: &ConnectOptions) -> Result<Self, Error> {
        let wake = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|e| local("make an eventfd")(e.into()))?,
        );
        let (commands, inbox) = channel();
        let remote = Remote { commands, wake, lost: Arc::new(OnceLock::new()) };
        let progress = Progress::new();
        let guard = AbandonOnDrop(progress.clone());
        let (reply, answer) = oneshot::channel();
        let thread = Thread {
            target: target.clone(),
            options: options.clone(),
            inbox,
            wake: Arc::clone(&remote.wake),
            lost: Arc::clone(&remote.lost),
            progress: progress.clone(),
        };
        let name = format!("ssh {}", target.host);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || thread.run(reply))
            .map_err(local("start a thread"))?;
        let facts = match tokio::time::timeout(options.timeout, answer).await {
            Ok(Ok(facts)) => facts?,
            Ok(Err(_)) => {
                return Err(Error::Local {
                    what: "connect",
                    reason: "the connection's thread died".into(),
                });
            }
            Err(_) => {
                return Err(Error::Timeout {
                    host: target.host.clone(),
                    what: progress.stage().to_owned(),
                    limit: options.timeout,
                });
            }
        };
        drop(guard);
        Ok(Self(Arc::new(Handle {
            host: target.host.clone(),
            fingerprint: facts.fingerprint,
            limit: options.timeout,
            remote,
        })))
    }

    /// A stream to a Unix socket of the host (OpenSSH's `direct-streamlocal@openssh.com`).
    ///
    /// Shutting one direction down carries over to the other side, both ways. Channels are opened one after another: a
    /// destination that keeps the host waiting holds up those asked for after it.
    ///
    /// # Errors
    /// [`Error::ConnectRefused`], [`Error::ForwardingRefused`], [`Error::Timeout`], [`Error::ConnectionLost`].
    pub async fn unix(&self, path: &str) -> Result<UnixStream, Error> {
        self.start(Destination::Unix(path.to_owned())).await
    }

    /// A stream to a TCP port as seen from the host (`direct-tcpip`, RFC 4254, section 7.2), such as a container's.
    ///
    /// # Errors
    /// As for [`Connection::unix`].
    pub async fn tcp(&self, host: &str, port: u16) -> Result<UnixStream, Error> {
        self.start(Destination::Tcp(host.to_owned(), port)).await
    }

    /// Runs a command through the user's shell there and gives its standard input and output; what it writes to standard
    /// error is thrown away, and its exit code is not told: the stream ends when it does. What the shell prints before the
    /// command runs, as a start file may, is passed over.
    ///
    /// # Errors
    /// [`Error::SessionRefused`], [`Error::ShellFailed`], [`Error::Timeout`], [`Error::ConnectionLost`].
    pub async fn exec(&self, command: &str) -> Result<UnixStream, Error> {
        let marked = Marked::new(command);
        let stream = self.start(Destination::Exec(marked.command.clone())).await?;
        let failed = |reason, printed| {
            let failed = Error::ShellFailed { host: self.0.host.clone(), reason, printed };
            self.failure().unwrap_or(failed)
        };
        match tokio::time::timeout(self.0.limit, marked.skip(&stream)).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(silence)) => Err(failed(silence.reason, silence.printed)),
            Err(_) => Err(failed("nothing came of it in time", Untrusted::default())),
        }
    }

    /// The SHA-256 fingerprint of the key that the host proved to have: `SHA256:…`.
    #[must_use]
    pub fn server_fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// Why the connection is gone, once it is. A stream cannot tell: it ends as if the other side had closed it.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.0.remote.lost.get().map(|reason| Error::ConnectionLost {
            host: self.0.host.clone(),
            reason: reason.clone(),
        })
    }

    async fn start(&self, to: Destination) -> Result<UnixStream, Error> {
        let gone = || {
            self.failure().unwrap_or_else(|| Error::ConnectionLost {
                host: self.0.host.clone(),
                reason: "its thread ended".into(),
            })
        };
        let what = format!("opening {to}");
        let (reply, answer) = oneshot::channel();
        let remote = &self.0.remote;
        remote.commands.send(Command::Open { to, reply }).map_err(|_| gone())?;
        remote.wake_up();
        match tokio::time::timeout(self.0.limit, answer).await {
            Ok(Ok(stream)) => UnixStream::from_std(stream?).map_err(local("watch a socket")),
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(Error::Timeout { host: self.0.host.clone(), what, limit: self.0.limit }),
        }
    }
}

/// What the connection's thread starts with.
struct Thread {
    target: Target,
    options: ConnectOptions,
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
    lost: Arc<OnceLock<String>>,
    progress: Progress,
}

impl Thread {
    fn run(self, reply: oneshot::Sender<Result<Facts, Error>>) {
        let established = match connect::establish(&self.target, &self.options, &self.progress) {
            Ok(established) => established,
            Err(error) => {
                // Nobody may be waiting any more.
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.progress.finish();
        let connect::Established { session, tcp, facts } = established;
        let pump = Pump::new(
            session,
            tcp,
            self.target.host,
            self.options.keepalive,
            self.inbox,
            self.wake,
        );
        if reply.send(Ok(facts)).is_ok() {
            pump.run(&self.lost);
        }
    }
}
