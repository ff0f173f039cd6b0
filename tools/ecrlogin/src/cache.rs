//! Tokens that are kept for later: in files of their own, which only their owner can read.
//!
//! A token is used for the first half of its life. One file holds one token, is replaced whole and
//! can go at any time; of many processes that need a new one at the same time one asks for it.

mod entry;
mod files;
mod key;

use std::fmt::Display;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_release::Secret;
use slipway_shell::{NoCache, Ui, cache};
use slipway_untrusted::PrivateDirectory;

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
    directory: Result<PrivateDirectory, NoCache>,
    ui: &'a Ui,
}

impl<'a> Cache<'a> {
    /// That of the user; without a place for it nothing is kept.
    pub(crate) fn open(ui: &'a Ui) -> Self {
        Self { directory: cache("ecrlogin"), ui }
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
        let directory = match &self.directory {
            Ok(directory) => directory,
            Err(error) => {
                self.ui.warn(&format!("tokens are not kept: {error}"));
                return token::fetch(target, login).await;
            }
        };
        let key = key::of(target, options);
        let file = file(&key);
        let at_least = SignedDuration::try_from(at_least).unwrap_or(SignedDuration::MAX);
        let fresh = |entry: &Entry| entry.is_fresh(Timestamp::now(), at_least);
        let is_meant = |entry: &Entry| entry.is_of(target);
        if let Some(entry) = self.read(directory, &file, is_meant).filter(fresh) {
            return Ok(entry.into_token());
        }
        let _lock = match files::lock(directory, &key, WAIT, PAUSE).await {
            Ok(lock) => lock,
            Err(error) => {
                self.ui.warn(&format!("tokens are not kept: {error}"));
                return token::fetch(target, login).await;
            }
        };
        // Whoever had the lock may have asked for it already.
        let kept = files::read(directory, &file).ok().flatten().filter(is_meant);
        if let Some(entry) = kept.clone().filter(fresh) {
            return Ok(entry.into_token());
        }
        match token::fetch(target, login).await {
            Ok(token) => {
                self.keep(directory, &file, Entry::new(&token, Timestamp::now()));
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
        let directory = self.directory.as_ref().ok()?;
        let entry = self.read(directory, &file(&key::of_login(host)), |entry| entry.host == host);
        entry.filter(|entry| entry.is_valid(Timestamp::now(), SignedDuration::ZERO))
    }

    /// Keeps a login that Docker was given for the registry.
    pub(crate) fn give(&self, host: &str, username: &str, password: &Secret) -> Result<(), Error> {
        let failed = |reason: &dyn Display| Error::NotKept { reason: reason.to_string() };
        let directory = self.directory.as_ref().map_err(|error| failed(error))?;
        let entry = Entry::given(host, username, password, Timestamp::now());
        files::write(directory, &file(&key::of_login(host)), &entry).map_err(|error| failed(&error))
    }

    /// Removes all that is kept of the registry.
    pub(crate) fn forget(&self, host: &str) -> Result<(), Error> {
        // A directory that is not used holds nothing of this user's.
        let Ok(directory) = &self.directory else { return Ok(()) };
        for (file, entry) in files::all(directory) {
            if entry.is_some_and(|entry| entry.host == host) {
                let removed = directory.remove(&file);
                removed.map_err(|error| Error::NotForgotten { reason: error.to_string() })?;
            }
        }
        Ok(())
    }

    /// The registries of which something valid is kept, each with the user name.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        let all = self.directory.as_ref().map(files::all).unwrap_or_default();
        let now = Timestamp::now();
        all.into_iter()
            .filter_map(|(_, entry)| entry)
            .filter(|entry| entry.is_valid(now, SignedDuration::ZERO))
            .map(|entry| (entry.host, entry.username))
            .collect()
    }

    /// What a file holds, if it is what is meant; one that cannot be used is ignored with a word.
    fn read(
        &self,
        directory: &PrivateDirectory,
        file: &str,
        is_meant: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        let entry = files::read(directory, file).unwrap_or_else(|reason| {
            self.ui.warn(&format!("a kept token is not used: {reason}"));
            None
        })?;
        if !is_meant(&entry) {
            let path = directory.path(file);
            self.ui.warn(&format!(
                "a kept token is not used: {} is of another registry",
                path.display()
            ));
            return None;
        }
        Some(entry)
    }

    /// That a token cannot be kept is no failure of the login.
    fn keep(&self, directory: &PrivateDirectory, file: &str, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        if let Err(error) = files::write(directory, file, &entry) {
            self.ui.warn(&format!("the token is not kept: {error}"));
        }
    }
}

/// Reads an entry from a file's content, as it is done for one that is there.
pub(crate) fn read_entry(text: &[u8]) -> Option<Entry> {
    files::parse(text).filter(Entry::is_known_version)
}

/// The file of a key.
fn file(key: &str) -> String {
    format!("{key}.json")
}
