//! What somebody made to harm the machine that meets it.

mod files;
mod host;
mod registry;
mod sections;
