//! The way past what a login shell prints before it runs a command.
//!
//! sshd runs a command by the user's login shell, and that reads the user's start file before. One
//! that prints (a greeting, a version of a tool) puts that in front of the command's output. So a
//! command is sent with a word in front of it that the shell prints, a new one each time, and what
//! comes before the word is passed over.

use std::io;

use rustix::net::RecvFlags;
use slipway_untrusted::Untrusted;
use slipway_untrusted::limit::SHELL_GREETING;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How much is looked at together.
const PIECE: usize = 4096;

/// A command and the line that tells where its output begins.
pub(crate) struct Marked {
    pub(crate) command: String,
    line: Vec<u8>,
}

/// Why the line did not come.
pub(crate) struct Silence {
    pub(crate) reason: &'static str,
    /// The end of what came instead.
    pub(crate) printed: Untrusted,
}

impl Marked {
    /// `echo`, a plain word and a semicolon are the same to every shell.
    pub(crate) fn new(command: &str) -> Self {
        let word = format!("slipway-{:032x}", rand::random::<u128>());
        Self { command: format!("echo {word}; {command}"), line: format!("{word}\n").into_bytes() }
    }

    /// Reads a stream up to the end of the line, and nothing of what is behind it.
    pub(crate) async fn skip(&self, stream: &UnixStream) -> Result<(), Silence> {
        let mut seen: Vec<u8> = Vec::new();
        let silence = |reason, seen: &[u8]| Silence { reason, printed: last_line(seen) };
        loop {
            let piece = match peek(stream).await {
                Ok(piece) if piece.is_empty() => {
                    return Err(silence("the session ended before that", &seen));
                }
                Ok(piece) => piece,
                Err(_) => return Err(silence("the session broke off", &seen)),
            };
            let before = seen.len();
            seen.extend_from_slice(&piece);
            // The line may have begun in an earlier piece.
            let from = before.saturating_sub(self.line.len());
            let found = seen[from..].windows(self.line.len()).position(|part| part == self.line);
            let end = found.map(|at| from + at + self.line.len());
            let taken = end.map_or(piece.len(), |end| end - before);
            if take(stream, taken).is_err() {
                return Err(silence("the session broke off", &seen));
            }
            if end.is_some() {
                return Ok(());
            }
            if SHELL_GREETING.admit(seen.len() as u64).is_err() {
                return Err(silence("the login shell prints without end", &seen));
            }
        }
    }
}

/// What has come and is still there.
async fn peek(stream: &UnixStream) -> io::Result<Vec<u8>> {
    loop {
        stream.readable().await?;
        let mut piece = [0; PIECE];
        let seen = stream.try_io(Interest::READABLE, || {
            let (count, _) = rustix::net::recv(stream, &mut piece[..], RecvFlags::PEEK)?;
            Ok(count)
        });
        match seen {
            Ok(count) => return Ok(piece[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes so many bytes, which are there.
fn take(stream: &UnixStream, count: usize) -> io::Result<()> {
    let mut piece = [0; PIECE];
    let mut left = count;
    while left > 0 {
        left -= match stream.try_read(&mut piece[..left.min(PIECE)])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => taken,
        };
    }
    Ok(())
}

/// The last line that says something.
fn last_line(text: &[u8]) -> Untrusted {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    Untrusted::from_bytes(lines.rfind(|line| !line.is_empty()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn skipped(before: &[u8], pieces: usize, behind: &[u8]) -> Result<Vec<u8>, Silence> {
        let marked = Marked::new("true");
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut text = before.to_vec();
        text.extend_from_slice(&marked.line);
        text.extend_from_slice(behind);
        let write = async move {
            for piece in text.chunks(pieces) {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            marked.skip(&ours).await?;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        };
        tokio::join!(read, write).0
    }

    #[tokio::test]
    async fn the_output_begins_behind_the_line() {
        for before in [&b""[..], b"hello\n", b"no end of line ", &[b'x'; 10_000]] {
            for pieces in [1, 7, 100_000] {
                for behind in [&b""[..], b"out", &[b'y'; 20_000]] {
                    let rest = skipped(before, pieces, behind).await;
                    assert!(rest.is_ok_and(|rest| rest == behind), "{pieces}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_command_that_is_shown_is_not_taken_for_its_output() {
        let marked = Marked::new("true");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(format!("running {}\n", marked.command).as_bytes()).await.unwrap();
        drop(theirs);
        let silence = marked.skip(&ours).await.unwrap_err();
        assert!(silence.printed.raw().starts_with("running echo"), "{}", silence.printed);
    }

    #[tokio::test]
    async fn what_prints_without_end_is_given_up() {
        let marked = Marked::new("true");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let write = async move { while theirs.write_all(&[b'x'; 1000]).await.is_ok() {} };
        let read = async move { marked.skip(&ours).await };
        let (read, ()) = tokio::join!(read, write);
        assert_eq!(read.unwrap_err().reason, "the login shell prints without end");
    }
}
