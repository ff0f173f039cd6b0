//! Taking care of the repository: that it exists, and that it is as it was asked for.
//!
//! Only what an option names is compared; the rest of a repository is none of this tool's business.
//! What differs is told, and changed only on request: a policy that somebody set by hand may be
//! there for a reason, and a wrong one deletes images.

mod api;
mod compare;
mod error;
mod wish;

pub(crate) use api::ensure;
pub use error::RepositoryError;
pub(crate) use wish::{Encryption, Wish, check_name};

use serde_json::Value;
use slipway_release::RepositoryDifference;
use slipway_untrusted::clean_line;

/// What became of the repository.
#[derive(Debug, Default)]
pub(crate) struct Care {
    /// Whether it was missing.
    pub(crate) created: bool,
    /// In what it differs, or differed, from what was asked for.
    pub(crate) differences: Vec<RepositoryDifference>,
}

impl Care {
    /// What to tell people: each line with whether it is a warning.
    pub(crate) fn lines(&self, name: &str) -> Vec<(bool, String)> {
        let state = if self.created { "was missing and is created" } else { "exists" };
        let mut lines = vec![(false, format!("repository {name} {state}"))];
        lines.extend(self.differences.iter().map(|difference| {
            let RepositoryDifference { setting, wanted, found, reconciled } = difference;
            let found = shown(setting, found.as_ref(), "another");
            let wanted = shown(setting, Some(wanted), "the given one");
            if *reconciled {
                return (
                    false,
                    format!("repository {name}: {setting} changed from {found} to {wanted}"),
                );
            }
            let next = if setting == compare::ENCRYPTION {
                "that is decided when a repository is created"
            } else {
                "--reconcile changes it"
            };
            (true, format!("repository {name}: {setting} is {found}, not {wanted}; {next}"))
        }));
        lines
    }
}

/// A value for people. A policy is too long for a line.
fn shown(setting: &str, value: Option<&Value>, policy: &str) -> String {
    match value {
        None => "none".to_owned(),
        Some(_) if setting == compare::LIFECYCLE_POLICY => policy.to_owned(),
        Some(Value::Bool(true)) => "on".to_owned(),
        Some(Value::Bool(false)) => "off".to_owned(),
        Some(Value::String(text)) => clean_line(text).into_owned(),
        Some(other) => clean_line(&other.to_string()).into_owned(),
    }
}
