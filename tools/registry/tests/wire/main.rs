//! What goes over the wire, seen from a registry that answers by script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod login;
mod script;
mod uploads;
