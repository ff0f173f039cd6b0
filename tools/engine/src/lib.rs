//! The connection to a Docker engine, and what more than one tool asks of it.
//!
//! [`Engine`] wraps bollard's [`Docker`](bollard::Docker) over one transport
//! of its own, for three reasons: the same code must speak to a local socket,
//! to TCP and to a socket behind SSH; every request must name the API version
//! that was negotiated (bollard leaves it out of the path, so an engine newer
//! than the types would answer in its own newest version); and the
//! `X-Registry-Auth` header must use the URL-safe alphabet, without which some
//! passwords fail.
//!
//! How much an engine may answer is bounded here: whole answers, messages of a stream, archives,
//! heads. Lists, inspections and logs are read by types and decoders of this crate, since
//! bollard's make much of little; what is asked through it has to be short.
//!
//! Nothing here has a deadline: a caller bounds a call with
//! `tokio::time::timeout`, and dropping any future closes its connection,
//! which makes the engine stop what it did for it.

mod auth;
mod classify;
mod counted;
mod endpoint;
mod engine;
mod error;
mod facts;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod images;
mod lists;
mod logs;
mod messages;
mod store;
mod transport;
mod value;

pub use auth::Auth;
pub use bollard;
pub use classify::{Meaning, RegistryFault, classify};
pub use endpoint::Endpoint;
pub use engine::{ApiVersion, Engine};
pub use error::Error;
pub use facts::Info;
pub use images::{LayerState, Progress, Pushed};
pub use lists::{ListedContainer, ListedImage, ListedPort, ListedVolume};
pub use logs::Logs;
pub use messages::{Message, Messages};
pub use slipway_release::{ParseReferenceError, Reference};
pub use store::{HistoryEntry, Pruned};
pub use transport::{Request, Stream};
