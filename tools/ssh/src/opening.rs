//! Opening one channel: where to, one step of it, and what a refusal means.

use std::fmt;
use std::os::unix::net::UnixStream;

use ssh2::{Channel, ExtendedData, Session};
use tokio::sync::oneshot;

use crate::Error;
use crate::auth::code;
use crate::bridge::would_block;

/// Where a stream leads.
pub(crate) enum Destination {
    Unix(String),
    Tcp(String, u16),
    Exec(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => f.write_str(path),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            // The command itself may be long, or not for everybody's eyes.
            Self::Exec(_) => f.write_str("a command"),
        }
    }
}

/// What the handle asks of the thread.
pub(crate) enum Command {
    Open { to: Destination, reply: oneshot::Sender<Result<UnixStream, Error>> },
    Close,
}

/// A channel that is being opened. libssh2 can open one at a time.
pub(crate) enum Opening {
    Ping,
    Stream {
        to: Destination,
        /// A command's channel, opened and not yet started.
        session: Option<Channel>,
        reply: oneshot::Sender<Result<UnixStream, Error>>,
    },
}

/// How far a channel has come.
pub(crate) enum Opened {
    Ready(Channel),
    /// libssh2 would block; a command's channel may be open already.
    Halfway(Option<Channel>),
}

/// Takes one step towards an open channel; `opened` is what the step before left.
///
/// # Errors
/// libssh2's, other than "would block".
pub(crate) fn open(
    session: &Session,
    to: &Destination,
    opened: Option<Channel>,
) -> Result<Opened, ssh2::Error> {
    let channel = match (to, opened) {
        (_, Some(channel)) => Some(channel),
        (Destination::Unix(path), None) => {
            would_block(session.channel_direct_streamlocal(path, None))?
        }
        (Destination::Tcp(host, port), None) => {
            would_block(session.channel_direct_tcpip(host, *port, None))?
        }
        (Destination::Exec(_), None) => would_block(session.channel_session())?,
    };
    let Some(mut channel) = channel else {
        return Ok(Opened::Halfway(None));
    };
    let Destination::Exec(command) = to else {
        return Ok(Opened::Ready(channel));
    };
    // Unread standard error would fill the window and stop the command.
    let ready = would_block(channel.handle_extended_data(ExtendedData::Ignore))?.is_some()
        && would_block(channel.exec(command))?.is_some();
    Ok(if ready { Opened::Ready(channel) } else { Opened::Halfway(Some(channel)) })
}

/// Whether libssh2 gave up waiting for the server's answer (LIBSSH2_ERROR_TIMEOUT, after a minute).
pub(crate) fn timed_out(error: &ssh2::Error) -> bool {
    code(error) == -9
}

/// What a channel that was not opened means. libssh2 tells the server's reason (RFC 4254, section 5.1) only in its text.
pub(crate) fn refusal(host: &str, to: &Destination, error: &ssh2::Error) -> Error {
    let (host, message) = (host.to_owned(), error.message());
    let reason = match message.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some(reason) => reason.to_owned(),
        None => message.to_owned(),
    };
    match to {
        Destination::Exec(_) => Error::SessionRefused { host, reason },
        _ if timed_out(error) => Error::ConnectRefused {
            host,
            to: to.to_string(),
            reason: "it does not answer".to_owned(),
        },
        _ if reason == "connect failed" => {
            Error::ConnectRefused { host, to: to.to_string(), reason }
        }
        _ => Error::ForwardingRefused { host, to: to.to_string(), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh2::ErrorCode;

    fn refused(to: &Destination, code: i32, message: &'static str) -> Error {
        refusal("h", to, &ssh2::Error::new(ErrorCode::Session(code), message))
    }

    #[test]
    fn a_refusal_is_told_by_the_servers_reason() {
        let socket = Destination::Unix("/s".into());
        let failed = refused(&socket, -21, "Channel open failure (connect failed)");
        assert_eq!(failed.to_string(), "h cannot connect to /s: connect failed");
        let forbidden = refused(&socket, -21, "Channel open failure (administratively prohibited)");
        assert_eq!(
            forbidden.to_string(),
            "h refuses to forward to /s: administratively prohibited"
        );
        let silent = refused(&Destination::Tcp("10.0.0.1".into(), 80), -9, "Unexpected error");
        assert_eq!(silent.to_string(), "h cannot connect to 10.0.0.1:80: it does not answer");
        let full = refused(
            &Destination::Exec("secret".into()),
            -21,
            "Channel open failure (connect failed)",
        );
        assert_eq!(full.to_string(), "h refuses to run a command: connect failed");
    }
}
