//! One probe of a service by HTTP, TLS, TCP or a Unix socket, and the judgement of its answer.
//!
//! A probe is one try: [`Prober`] resolves the name anew, opens a connection of its own, sends one
//! request, follows no redirect unless it is told to, keeps the head of the body, and ends at its
//! deadline whatever the other side does. How connections are opened is a [`Dial`], so that they
//! can go through something. [`over`] asks through any stream. What an answer is worth is decided
//! by [`Expectation`], which does no I/O. Trying again is the caller's.

mod connect;
mod error;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod judge;
mod login;
mod prober;
mod proxy;
mod redirect;
mod request;
mod status;
mod target;
mod tls;
mod unverified;
mod version;

pub use connect::{Deadline, Dial, Direct, Io, Opening, Place, Resolve, Stream};
pub use error::{Phase, ProbeError, TlsDefect};
pub use exchange::{Answer, over, secured};
pub use json::{JsonCondition, Pointer, cut, pattern};
pub use judge::{Defect, Expectation, HeaderIs, Part, Verdict};
pub use login::Login;
pub use prober::{Opened, Prober, Version};
pub use proxy::Proxies;
pub use request::{Request, RequestError};
pub use status::StatusSet;
pub use target::{Address, Scheme, Target, Url};
pub use tls::Tls;
pub use unverified::unverified;
pub use version::{VersionProof, VersionSource};

/// Some text was not of the form that it should have: the message says what form that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(pub(crate) String);
