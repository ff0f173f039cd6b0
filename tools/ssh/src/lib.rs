//! One SSH connection a host, carrying many concurrent byte streams to the host's Unix sockets, TCP ports and commands.
//!
//! [`Connection::open`] connects, checks the host's key *before* it says who it is, and authenticates. After that
//! [`Connection::unix`], [`Connection::tcp`] and [`Connection::exec`] each hand out a plain [`tokio::net::UnixStream`]:
//! one end of a socket pair whose other end a thread of its own joins to an SSH channel. Nothing of SSH reaches the
//! caller, and whatever takes an async stream (hyper, bollard) works over it.
//!
//! Host keys are checked strictly, always; there is no way to turn that off.

mod auth;
mod bridge;
mod connect;
mod connection;
mod error;
mod exec;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod known_hosts;
mod login;
mod opening;
mod options;
mod pem;
mod pump;
mod target;

pub use connection::Connection;
pub use error::Error;
pub use known_hosts::is_known;
pub use login::Login;
pub use options::{ConnectOptions, Credential, HostKeyPolicy, default_credentials};
pub use slipway_release::Secret;
pub use target::Target;
