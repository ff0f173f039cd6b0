//! What comes from outside, and the three rules for it: every read has a limit ([`Limit`]), a file
//! is opened where it was looked for and nowhere else ([`file`], [`private`]), and a text is shown cleaned
//! ([`Untrusted`], [`clean`]).
//!
//! Outside is everything that this program did not make: a repository, the release document, an
//! engine, a registry, a host, a service that is asked for its health, a program that is run.
//! docs/security.md lists the limits for people.

pub mod file;
pub mod limit;
mod network;
pub mod private;
mod text;

pub use limit::{Gather, Limit, TooLarge};
pub use network::of_the_link;
pub use private::{PrivateDirectory, PrivateError};
pub use text::{LINE, Untrusted, clean, clean_line, obeyed};
