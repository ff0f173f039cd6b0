//! The release document: the one JSON object that the tools pass along a pipe.
//!
//! This crate is the contract. It holds the document, the sections that the tools add to it, the
//! error that travels in it, the exit codes and the JSON Schema of all that; it does no I/O and
//! knows nothing of Docker, AWS or SSH. Keys are `snake_case`, times RFC 3339 in UTC, sizes bytes
//! and durations milliseconds, both as integers with the unit in the name.
//!
//! `docs/contract.md` says the same for people.

/// The five tools, in the order of the pipe.
pub const TOOLS: [&str; 5] = ["imgbuild", "ecrlogin", "imgpush", "remote-swap", "healthwait"];

mod check;
mod code;
mod document;
mod expected;
mod failure;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod lock;
mod plan;
mod reference;
mod schema;
mod secret;
mod sections;
mod status;

pub use code::{Code, exit, speaks_of_the_release};
pub use document::{Document, DocumentError, SCHEMA, Section, Written};
pub use expected::expected;
pub use failure::Failure;
pub use lock::{HostLock, Lock};
pub use plan::{HostPlan, Plan, PlanStep};
pub use reference::{
    ParseReferenceError, Reference, is_digest, is_host, is_image, is_repository, is_tag,
};
pub use schema::{SettingsSchema, schema};
pub use secret::Secret;
pub use sections::{
    Attempt, Deploy, DeployKind, ErrorSection, Health, HealthCommand, HealthFailure, HealthTarget,
    HostOutcome, Image, OtherRegistry, Outcome, Push, Referrer, Registry, RepositoryDifference,
};
pub use status::{
    FrontStatus, HistoryEntry, HostStatus, LiveStatus, PreviousRelease, SlotStatus, Status,
};
