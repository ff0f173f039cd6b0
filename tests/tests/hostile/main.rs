//! What somebody made to harm the machine that the tools run on.

mod cache;
