//! What somebody made to harm the machine that meets it: registries, documents.

mod registry;
mod sections;
