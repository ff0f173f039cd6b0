//! What somebody made to harm the machine that meets it.

mod host;
mod registry;
mod repository;
mod sections;
mod traps;
