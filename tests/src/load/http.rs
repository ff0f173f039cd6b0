//! One HTTP/1.1 connection that never repeats anything.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, Kind};

/// An answer with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The header `X-Version`, by which a test server tells which release it is.
    pub version: Option<String>,
    /// Whether the server closes the connection after it.
    pub last: bool,
    /// What it says.
    pub body: Vec<u8>,
}

/// In what state a connection is found between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It can be used.
    Open,
    /// The server has closed it.
    Closed,
    /// The server has reset it.
    Reset,
    /// The server has sent what nobody asked for.
    Unasked,
}

/// A connection, with what has been read of the next answer.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When that fails, in whatever way.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream =
            TcpStream::connect(address).await.map_err(|error| failed("connect", &error))?;
        stream.set_nodelay(true).map_err(|error| failed("connect", &error))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Looks at a connection that waits for its next request. It asks the kernel itself: the
    /// runtime may not have been told yet of what arrived.
    #[must_use]
    pub fn idle(&self) -> Idle {
        let mut byte = [0; 1];
        match recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Idle::Closed,
            Ok(_) => Idle::Unasked,
            Err(Errno::AGAIN) => Idle::Open,
            Err(_) => Idle::Reset,
        }
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// When it is not a complete answer with status 200.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.stream.write_all(request).await.map_err(|error| failed("send", &error))?;
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.read("no answer").await?;
        };
        let head = Head::parse(&head)?;
        while self.buffer.len() < head.length {
            self.read("an answer cut off").await?;
        }
        let body = self.buffer.drain(..head.length).collect();
        if head.status != 200 {
            return Err(Failure::new(Kind::Status, format!("status {}", head.status)));
        }
        if !self.buffer.is_empty() {
            return Err(Failure::new(Kind::Malformed, "more than one answer"));
        }
        Ok(Answer { version: head.version, last: head.last, body })
    }

    async fn read(&mut self, otherwise: &str) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::new(Kind::Eof, format!("closed: {otherwise}"))),
            Ok(_) => Ok(()),
            Err(error) => Err(failed("receive", &error)),
        }
    }
}

fn failed(what: &str, error: &Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused => Kind::Refused,
        // A write after the server's reset has been seen says "broken pipe".
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Kind::Reset,
        ErrorKind::TimedOut => Kind::Timeout,
        _ => Kind::Network,
    };
    Failure::new(kind, format!("{what}: {error}"))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    length: usize,
    last: bool,
    version: Option<String>,
}

impl Head {
    fn parse(text: &[u8]) -> Result<Self, Failure> {
        let malformed = |what: &str| Failure::new(Kind::Malformed, what);
        let text = std::str::from_utf8(text).map_err(|_| malformed("a head that is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .ok_or_else(|| malformed("no HTTP/1.1"))?;
        let (mut length, mut last, mut version) = (None, false, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok(),
                "connection" => last = value.eq_ignore_ascii_case("close"),
                "x-version" => version = Some(value.to_owned()),
                _ => {}
            }
        }
        // Without a length an answer that was cut off would look complete.
        let length = length.ok_or_else(|| malformed("no Content-Length"))?;
        Ok(Self { status, length, last, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_status_length_and_end() {
        let text =
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: Close\r\nX-Version: two\r\n\r\n";
        let head = Head::parse(text).unwrap();
        assert_eq!((head.status, head.length, head.last), (200, 3, true));
        assert_eq!(head.version.as_deref(), Some("two"));
    }

    #[test]
    fn an_answer_whose_end_cannot_be_told_is_malformed() {
        for text in
            ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "?\r\n\r\n"]
        {
            assert_eq!(Head::parse(text.as_bytes()).err().unwrap().kind, Kind::Malformed, "{text}");
        }
    }

    #[test]
    fn errors_of_the_network_have_their_kinds() {
        for (error, kind) in [
            (ErrorKind::ConnectionRefused, Kind::Refused),
            (ErrorKind::ConnectionReset, Kind::Reset),
            (ErrorKind::BrokenPipe, Kind::Reset),
            (ErrorKind::TimedOut, Kind::Timeout),
            (ErrorKind::HostUnreachable, Kind::Network),
        ] {
            assert_eq!(failed("send", &error.into()).kind, kind);
        }
    }
}
