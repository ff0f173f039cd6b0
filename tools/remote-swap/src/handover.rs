//! The critical section of a switch as one unit that the host itself brings to its end.
//!
//! Between the stop of one container and the start of the next nothing serves, so nothing there may
//! depend on this process or on its connection. A small fixed script does both on the host, with the
//! docker client of the host, in a session of its own: it goes on whatever becomes of the SSH
//! connection, of the server's process behind it, or of this tool. Each order may be given again:
//! what is done already is found done.

use std::time::Duration;

use slipway_ssh::{Connection, Error as SshError};
use slipway_untrusted::limit::HOST_LINE;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::error::HostError;
use crate::host::{Handed, Result};
use crate::link::plain_path;

/// How long the host may take to say that it can be handed something.
const READY: Duration = Duration::from_secs(10);

/// Waits for the word to go and watches the script, whose end it tells. It alone hangs on the
/// connection. Before the word nothing is done, so whatever cannot run this, a shell that is
/// restricted or a host without a docker client, is found out without harm.
const LAUNCHER: &str = concat!(
    r#"command -v setsid >/dev/null 2>&1 || exit 1; "#,
    r#"docker -H "unix://$1" version >/dev/null 2>&1 || exit 1; "#,
    r#"echo ready; read -r go || exit 1; "#,
    // No job control, so no process group of its own: setsid need not fork, and is waited for.
    r#"setsid sh -c "$0" slipway-switch "$@" </dev/null >/dev/null 2>&1; echo "ended $?""#,
);

/// What both scripts begin with. An engine that does not answer is waited for: it is being
/// restarted, and brings back by itself what was proved last.
macro_rules! common {
    ($rest:expr) => {
        concat!(
            r#"s=$1; t=$2; n=0; d() { docker -H "unix://$s" "$@"; }; "#,
            r#"answers() { until d version; do n=$((n+1)); test $n -lt 300 || exit 5; sleep 1; done; }; "#,
            r#"runs() { test "$(d container inspect -f "{{.State.Running}}" "$1")" = true; }; "#,
            $rest
        )
    };
}

/// Stops the old one and starts the new one; the old one again if the new one cannot be started.
/// One that runs after all, since it cannot be stopped or was brought back, is left alone.
const EXCHANGE: &str = common!(concat!(
    r#"old=$3; new=$4; "#,
    r#"d stop -t "$t" "$old" || { answers; if runs "$old"; then exit 3; fi; }; "#,
    r#"d start "$new" && exit 0; answers; if runs "$old"; then exit 3; fi; "#,
    r#"d start "$new" && exit 0; answers; d start "$old" && exit 4; exit 5"#,
));

/// Takes the new one away and starts the old one again. Away it has to be before: a script that
/// still is about to start it finds nothing then, and leaves the port alone.
const RESTORE: &str = common!(concat!(
    r#"old=$3; new=$4; rm=$5; "#,
    r#"d stop -t "$t" "$new"; d rm "$rm" "$new"; d start "$old" && exit 0; "#,
    r#"answers; d rm "$rm" "$new"; d start "$old" && exit 0; exit 5"#,
));

/// What is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order<'a> {
    /// `old` stops within so many seconds, and `new` takes its place.
    Exchange { old: &'a str, seconds: i32, new: &'a str },
    /// `new` goes, with its nameless volumes if `volumes` is set, and `old` takes its place again.
    Restore { new: &'a str, seconds: i32, volumes: bool, old: &'a str },
}

impl Order<'_> {
    pub(crate) fn doing(&self) -> &'static str {
        match self {
            Self::Exchange { .. } => "exchanging the containers",
            Self::Restore { .. } => "putting the old container back",
        }
    }

    pub(crate) fn seconds(&self) -> i32 {
        match self {
            Self::Exchange { seconds, .. } | Self::Restore { seconds, .. } => *seconds,
        }
    }

    /// The command line; none if something in it would not mean itself to every shell. The login
    /// shell, of whatever kind, sees two texts in single quotes, without what any shell would find
    /// a meaning for in there (`'`, `!`, `\`, a line's end), and plain words.
    fn command(&self, socket: &str) -> Option<String> {
        let (script, old, new, more) = match *self {
            Self::Exchange { old, new, .. } => (EXCHANGE, old, new, ""),
            Self::Restore { old, new, volumes: true, .. } => (RESTORE, old, new, " -fv"),
            Self::Restore { old, new, volumes: false, .. } => (RESTORE, old, new, " -f"),
        };
        let hex = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seconds = self.seconds();
        (plain_path(socket) && hex(old) && hex(new) && seconds >= 0)
            .then(|| format!("sh -c '{LAUNCHER}' '{script}' {socket} {seconds} {old} {new}{more}"))
    }
}

/// What the last line of the launcher means.
pub(crate) fn end(line: &str) -> Option<Handed> {
    match line.trim().strip_prefix("ended ")? {
        "0" => Some(Handed::Done),
        "3" => Some(Handed::Kept),
        "4" => Some(Handed::Undone),
        _ => Some(Handed::Failed),
    }
}

/// What a host makes of an order.
pub(crate) enum Answer {
    /// It has taken it, and this is how it ended.
    Ended(Handed),
    /// It takes none, for this reason, and nothing was done.
    Refused(String),
}

/// Hands an order to the host and waits for its end, `limit` at most; calls `begun` when it cannot
/// be taken back any more. Dropped before that, it has done nothing.
pub(crate) async fn hand_over(
    connection: &Connection,
    socket: &str,
    order: &Order<'_>,
    limit: Duration,
    begun: &mut dyn FnMut(),
) -> Result<Answer> {
    let Some(command) = order.command(socket) else {
        return Ok(Answer::Refused(format!("{socket} cannot be named in a command")));
    };
    let stream = match timeout(READY, connection.exec(&command)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error @ SshError::ConnectionLost { .. })) => return Err(error.into()),
        Ok(Err(error)) => return Ok(Answer::Refused(explained(&error))),
        Err(_) => {
            let late = format!("no command was begun within {} s", READY.as_secs());
            return Ok(Answer::Refused(late));
        }
    };
    let mut stream = BufReader::new(stream);
    match timeout(READY, line(&mut stream)).await {
        Ok(Some(ready)) if ready.trim() == "ready" => {}
        _ => {
            let refused = Answer::Refused("this user can run no docker client there".to_owned());
            return connection.failure().map_or(Ok(refused), |lost| Err(lost.into()));
        }
    }
    begun();
    // A connection that is gone is found out by the answer that does not come.
    let _ = stream.get_mut().write_all(b"go\n").await;
    match timeout(limit, line(&mut stream)).await {
        Ok(Some(last)) if let Some(end) = end(&last) => Ok(Answer::Ended(end)),
        Ok(_) => Err(connection.failure().map_or_else(
            || HostError::Lost { reason: "the host ended the session of a command".to_owned() },
            HostError::Ssh,
        )),
        Err(_) => Err(HostError::Deadline { doing: order.doing(), limit }),
    }
}

/// Why no command was run, and what to do about it.
pub(crate) fn explained(error: &SshError) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// The next line; none at the end, or if it is longer than any that is meant for us.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    stream.take(HOST_LINE.bytes).read_until(b'\n', &mut line).await.ok()?;
    line.ends_with(b"\n").then(|| String::from_utf8_lossy(&line).into_owned())
}

/// The lines that would be read of these bytes.
pub(crate) async fn fuzz(mut data: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = line(&mut data).await {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests;
