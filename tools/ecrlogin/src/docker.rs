//! Docker's own configuration: the logins in its file, and the helpers that it asks.

mod config;
mod error;
mod file;
mod helper;

pub(crate) use config::{Config, HelperChange, host_of};
pub use error::DockerError;
pub(crate) use file::{directory, edit, read};
pub(crate) use helper::{HELPER, is_ours};

use helper::{erase, store};

use slipway_release::Secret;

/// A login as Docker keeps it.
pub(crate) struct Credentials<'a> {
    pub(crate) host: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: &'a Secret,
}

/// Where a login went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Into the file itself.
    File,
    /// To this helper, which the file names.
    Helper(String),
    /// Nowhere: Docker asks ecrlogin itself for this registry.
    Ours,
}

/// Does what `docker login` does: the helper that is responsible gets the login, else the file.
pub(crate) async fn login(
    directory: &std::path::Path,
    login: &Credentials<'_>,
) -> Result<Kept, DockerError> {
    let helper = read(directory)?.helper(login.host);
    let kept = match helper {
        Some(helper) if is_ours(&helper) => return Ok(Kept::Ours),
        Some(helper) => {
            store(&helper, login).await?;
            Kept::Helper(helper)
        }
        None => Kept::File,
    };
    edit(directory, |config| match &kept {
        Kept::File => config.set_login(login.host, Some((login.username, login.password))),
        // An entry without a password says that a helper has it; docker's own file has it, too.
        Kept::Helper(_) | Kept::Ours => config.set_login(login.host, None),
    })
    .await?;
    Ok(kept)
}

/// Does what `docker logout` does, and answers whether there was a login.
pub(crate) async fn logout(directory: &std::path::Path, host: &str) -> Result<bool, DockerError> {
    let config = read(directory)?;
    let known = config.has_login(host);
    if let Some(helper) = config.helper(host).filter(|helper| !is_ours(helper)) {
        // A helper that the registry was never given to has nothing to forget.
        if known {
            erase(&helper, host).await?;
        }
    }
    if known {
        edit(directory, |config| config.remove_login(host)).await?;
    }
    Ok(known)
}
