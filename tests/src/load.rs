//! A load of HTTP requests that notices every request that fails.
//!
//! Four classes, as an application's users are: connections for one request, persistent ones that
//! read, persistent ones that write, and long answers. Requests are sent by schedule (an open loop),
//! their latency counts from when they were due, and nothing is ever tried twice.

pub mod drive;
pub mod http;
pub mod tally;

use std::net::SocketAddr;
use std::time::Duration;

/// What kind of user a request stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// GET over a connection of its own.
    New,
    /// GET over a persistent connection.
    Get,
    /// POST over a persistent connection.
    Post,
    /// A long answer, over a connection of its own.
    Slow,
}

impl Class {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 4] = [Self::New, Self::Get, Self::Post, Self::Slow];

    /// Its name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new_connection",
            Self::Get => "keep_alive_get",
            Self::Post => "keep_alive_post",
            Self::Slow => "slow",
        }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nobody listened.
    Refused,
    /// The connection was reset before the answer was complete.
    Reset,
    /// The connection was closed before the answer was complete.
    Eof,
    /// No complete answer in time.
    Timeout,
    /// An answer with another status than 200.
    Status,
    /// An answer to something else than what was asked.
    Body,
    /// No answer in HTTP/1.1 with a length.
    Malformed,
    /// Any other error of the network.
    Network,
}

impl Kind {
    /// Its name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Body => "body",
            Self::Malformed => "malformed",
            Self::Network => "network",
        }
    }
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In which way.
    pub kind: Kind,
    /// What was seen, for people.
    pub detail: String,
}

impl Failure {
    /// Of this kind, seen in this.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// A stream of requests over persistent connections.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Requests a second, over all connections.
    pub rate: u32,
    /// How many connections take turns.
    pub connections: u32,
}

/// What to send where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// Requests a second that each get a connection of their own.
    pub new_rate: u32,
    /// The reading ones.
    pub get: Stream,
    /// The writing ones.
    pub post: Stream,
    /// How many long answers are always being received.
    pub slow: u32,
    /// The path of the short requests.
    pub path: String,
    /// The path of the long ones.
    pub slow_path: String,
    /// Whether the answer to a POST has to be its body.
    pub echo: bool,
    /// After which time without a complete answer a request has failed.
    pub timeout: Duration,
}
