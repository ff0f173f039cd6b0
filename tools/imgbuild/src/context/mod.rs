//! The directory to build: walking it, and telling whether it changed.

mod directory;
mod fingerprint;
mod follow;
pub(crate) mod name;
mod walk;

pub(crate) use fingerprint::fingerprint;
pub(crate) use follow::follow;
pub(crate) use walk::{Entry, Filter, Kind, walk};
