//! Tokens that are kept for later: in files of their own, which only their owner can read.
//!
//! A token is used for the first half of its life. One file holds one token, is replaced whole and
//! can go at any time; of many processes that need a new one at the same time one asks for it.

mod entry;
mod files;
mod key;

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_release::Secret;
use slipway_shell::{Ui, cache_directory};

use crate::login::Login;
use crate::token::{self, Target, Token};
use crate::{Error, Options};
use entry::Entry;

/// How long a process waits for another one that asks for the same token.
const WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// A token that cannot be renewed is used for longer, but not when a pull may outlive it.
const LAST: SignedDuration = SignedDuration::from_mins(5);

/// The tokens that are kept on this machine for this user.
pub(crate) struct Cache<'a> {
    directory: Option<PathBuf>,
    ui: &'a Ui,
}

impl<'a> Cache<'a> {
    /// That of the user; without a place for it nothing is kept.
    pub(crate) fn open(ui: &'a Ui) -> Self {
        Self { directory: cache_directory("ecrlogin"), ui }
    }

    /// A token of the registry that is valid for `at_least` this long: one that is kept, else a new
    /// one.
    pub(crate) async fn token(
        &self,
        target: &Target,
        login: &Login,
        options: &Options,
        at_least: Duration,
    ) -> Result<Token, Error> {
        let Some(directory) = &self.directory else {
            self.ui.warn("tokens are not kept: neither XDG_CACHE_HOME nor HOME is set");
            return token::fetch(target, login).await;
        };
        let key = key::of(target, options);
        let path = directory.join(format!("{key}.json"));
        let at_least = SignedDuration::try_from(at_least).unwrap_or(SignedDuration::MAX);
        let fresh = |entry: &Entry| entry.is_fresh(Timestamp::now(), at_least);
        if let Some(entry) = self.read(&path).filter(fresh) {
            return Ok(entry.into_token());
        }
        let _lock = match files::lock(directory, &key, WAIT, PAUSE).await {
            Ok(lock) => lock,
            Err(error) => {
                self.ui.warn(&format!("tokens are not kept: {}: {error}", directory.display()));
                return token::fetch(target, login).await;
            }
        };
        // Whoever had the lock may have asked for it already.
        let kept = files::read(&path).ok().flatten();
        if let Some(entry) = kept.clone().filter(fresh) {
            return Ok(entry.into_token());
        }
        match token::fetch(target, login).await {
            Ok(token) => {
                self.keep(&path, Entry::new(&token, Timestamp::now()));
                Ok(token)
            }
            Err(error) => self.instead(kept, at_least, error),
        }
    }

    /// Where no new token can be had for now, the old one is as good as a new one while it lasts.
    fn instead(
        &self,
        kept: Option<Entry>,
        at_least: SignedDuration,
        error: Error,
    ) -> Result<Token, Error> {
        let lasts = |entry: &Entry| entry.is_valid(Timestamp::now(), at_least.max(LAST));
        match kept.filter(lasts) {
            Some(entry) if error.is_retryable() => {
                let until = &entry.expires_at;
                self.ui.warn(&format!("{error}; the token that is kept is used, until {until}"));
                Ok(entry.into_token())
            }
            _ => Err(error),
        }
    }

    /// A login that Docker was given for the registry, if it is still valid.
    pub(crate) fn given(&self, host: &str) -> Option<Entry> {
        let path = self.directory.as_ref()?.join(format!("{}.json", key::of_login(host)));
        self.read(&path).filter(|entry| entry.is_valid(Timestamp::now(), SignedDuration::ZERO))
    }

    /// Keeps a login that Docker was given for the registry.
    pub(crate) fn give(&self, host: &str, username: &str, password: &Secret) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Err(Error::NoCache) };
        let path = directory.join(format!("{}.json", key::of_login(host)));
        let entry = Entry::given(host, username, password, Timestamp::now());
        files::write(&path, &entry)
            .map_err(|source| Error::Cache { path: path.display().to_string(), source })
    }

    /// Removes all that is kept of the registry.
    pub(crate) fn forget(&self, host: &str) -> Result<(), Error> {
        for (path, entry) in self.directory.as_deref().map(files::all).unwrap_or_default() {
            if entry.is_some_and(|entry| entry.host == host) {
                let removed = std::fs::remove_file(&path);
                if let Err(source) = removed
                    && source.kind() != std::io::ErrorKind::NotFound
                {
                    return Err(Error::Cache { path: path.display().to_string(), source });
                }
            }
        }
        Ok(())
    }

    /// The registries of which something valid is kept, each with the user name.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        let all = self.directory.as_deref().map(files::all).unwrap_or_default().into_iter();
        let now = Timestamp::now();
        all.filter_map(|(_, entry)| entry)
            .filter(|entry| entry.is_valid(now, SignedDuration::ZERO))
            .map(|entry| (entry.host, entry.username))
            .collect()
    }

    /// What a file holds; one that cannot be used is ignored with a word.
    fn read(&self, path: &std::path::Path) -> Option<Entry> {
        files::read(path).unwrap_or_else(|reason| {
            let path = path.display();
            self.ui.warn(&format!("the token in {path} is not used, as {reason}"));
            None
        })
    }

    /// That a token cannot be kept is no failure of the login.
    fn keep(&self, path: &std::path::Path, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        if let Err(error) = files::write(path, &entry) {
            self.ui.warn(&format!("the token is not kept: {}: {error}", path.display()));
        }
    }
}
