//! The connection to a Docker engine, and what more than one tool asks of it.
