//! One HTTP or TCP probe of a service, and the judgement of its answer.
//!
//! A probe is one try: it resolves the name anew, opens a connection of its own, sends one
//! HTTP/1.1 request, follows no redirect, keeps the head of the body, and ends at its deadline
//! whatever the other side does. [`over`] does the same through any stream, such as one that goes
//! through SSH. What an answer is worth is decided by [`Expectation`], which does no I/O. Trying
//! again is the caller's.

mod connect;
mod error;
mod exchange;
mod json;
mod judge;
mod request;
mod status;
mod target;
mod tls;
mod version;

pub use connect::tcp;
pub use error::{Phase, ProbeError};
pub use exchange::{Answer, http, over, secured};
pub use json::{JsonEquals, Pointer};
pub use judge::{Expectation, HeaderIs, Verdict};
pub use request::{Request, RequestError};
pub use status::StatusSet;
pub use target::{Address, Target, Url};
pub use version::{VersionProof, VersionSource};

/// Some text was not of the form that it should have: the message says what form that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(pub(crate) String);
