//! What somebody made to harm the machine that deploys.

mod host;
