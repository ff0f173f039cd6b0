//! A client of container registries: the OCI distribution API, as far as a push needs it.
//!
//! [`Repository`] asks for manifests and blobs, mounts, and uploads; each call logs in as the
//! registry asks for (Basic or Bearer), waits where it is told to (429, `Retry-After`), and tries
//! again what may pass by itself. What a registry refuses for good comes back at once, as a
//! [`Fault`] of its own.
//!
//! Nothing here holds more than one part of a blob, and nothing has a deadline beyond that of a
//! single answer: a caller bounds a call with `tokio::time::timeout`.

mod answer;
mod auth;
mod challenge;
mod digest;
mod elsewhere;
mod error;
mod fault;
#[doc(hidden)]
pub mod fuzz;
mod origin;
mod proxy;
mod referrers;
mod repository;
mod retry;
mod stream;
mod transport;
mod trust;
mod upload;

pub use auth::{Credentials, Fresh};
pub use digest::{Digester, digest};
pub use error::{Detour, Error};
pub use fault::Fault;
pub use origin::Scheme;
pub use referrers::Descriptor;
pub use repository::{Manifest, MediaType, Options, Repository};
pub use upload::Upload;
