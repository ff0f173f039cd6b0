//! Trees that somebody made to harm the machine which builds them.

mod repository;
mod traps;
