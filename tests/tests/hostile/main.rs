//! What somebody made to harm the machine that meets it.

mod cache;
mod files;
mod health;
mod host;
mod registry;
mod repository;
mod sections;
mod traps;
