//! Where a tool keeps what it could learn again.

use std::path::PathBuf;

use slipway_untrusted::{PrivateDirectory, PrivateError};

/// Why a tool has no such place.
#[derive(Debug, thiserror::Error)]
pub enum NoCache {
    /// The environment names none.
    #[error("neither XDG_CACHE_HOME nor HOME is set")]
    Nowhere,
    /// It cannot be used, or must not.
    #[error(transparent)]
    Unusable(#[from] PrivateError),
}

impl NoCache {
    /// Whether people should hear of it: others could have changed what is kept there. That there is
    /// no place, or no room, costs time only.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self, Self::Unusable(error) if error.is_unsafe())
    }
}

/// `$XDG_CACHE_HOME/slipway/NAME`, or below `~/.cache` (XDG Base Directory Specification, which takes
/// absolute paths only). It is created if it is missing.
///
/// # Errors
/// Where there is no such directory that only this user can write, as in the home of another user.
pub fn cache(name: &str) -> Result<PrivateDirectory, NoCache> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(PrivateDirectory::open(&base.ok_or(NoCache::Nowhere)?, &["slipway", name])?)
}
