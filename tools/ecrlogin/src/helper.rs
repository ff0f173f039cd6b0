//! The other face of the tool: a credential helper of Docker.
//!
//! Called as `docker-credential-ecrlogin` it speaks the protocol of docker-credential-helpers: an
//! action as the only argument, the registry or a login on stdin, the answer or what went wrong on
//! stdout. Called as `docker-credential-ecrlogin-NAME` it does so with the profile NAME.
//!
//! Docker's client drops what a helper says went wrong in some places and goes on without a login,
//! so that the registry's refusal is all that people see. What is said on stderr reaches them.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_release::{Code, Failure, Secret};
use slipway_shell::{Reply, Span, Tool as _, Ui};
use slipway_untrusted::clean_line;
use slipway_untrusted::limit::HELPER_REQUEST;
use tokio::sync::oneshot;

use crate::cache::Cache;
use crate::docker::{HELPER, host_of};
use crate::host::{server, target};
use crate::login::Login;
use crate::role::Role;
use crate::token::{self, Target, Token};
use crate::{EcrLogin, Error, Options};

/// What Docker takes for "there is no login", and goes on without one.
const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_URL: &str = "no credentials server URL";
const NO_USERNAME: &str = "no credentials username";

/// A login in the protocol.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    secret: Secret,
}

/// As which helper the program was called, by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CalledAs {
    /// The profile that the name has in it.
    profile: Option<String>,
}

/// Whether this name is the helper's.
pub(crate) fn called_as(program: Option<&OsString>) -> Option<CalledAs> {
    let name = Path::new(program?).file_name()?.to_str()?;
    match name.strip_prefix("docker-credential-")?.strip_prefix(HELPER)? {
        "" => Some(CalledAs { profile: None }),
        rest => Some(CalledAs { profile: Some(rest.strip_prefix('-')?.to_owned()) }),
    }
}

/// Answers one call.
pub(crate) async fn serve(
    called: CalledAs,
    args: &[OsString],
    mut options: Options,
    ui: &Ui,
) -> Result<Reply, Failure> {
    options.profile = called.profile.or(options.profile);
    let action = match args {
        [action] => action.to_str().unwrap_or_default(),
        _ => "",
    };
    let input = async || input(options.timeout).await;
    match action {
        "get" => get(&input().await?, &options, ui).await,
        "store" => store(&input().await?, &Cache::open(ui)),
        "erase" => erase(&input().await?, &Cache::open(ui)),
        "list" => {
            let all = Cache::open(ui).list().into_iter();
            let all = all.map(|(host, user)| (format!("https://{host}"), Value::from(user)));
            Ok(done(format!("{}\n", Value::Object(all.collect()))))
        }
        "version" | "--version" | "-v" => {
            let version = EcrLogin::VERSION;
            Ok(done(format!("docker-credential-{HELPER} (slipway) {version}\n")))
        }
        "help" | "--help" | "-h" => Ok(done(usage())),
        "" => Ok(refused(usage().trim_end())),
        other => Ok(refused(&format!(
            "docker-credential-{HELPER}: unknown action: {}",
            clean_line(other)
        ))),
    }
}

fn usage() -> String {
    format!("Usage: docker-credential-{HELPER} <store|get|erase|list|version>\n")
}

fn done(text: String) -> Reply {
    Reply { text, success: true }
}

/// What Docker recognises, or what only a program could have done wrong: nothing for people.
fn refused(text: &str) -> Reply {
    Reply { text: format!("{text}\n"), success: false }
}

/// What is on stdin, which whoever calls closes at once.
async fn input(limit: Span) -> Result<String, Failure> {
    let (send, receive) = oneshot::channel();
    // A thread of its own, which nobody waits for: a read of stdin cannot be broken off.
    std::thread::spawn(move || send.send(HELPER_REQUEST.read(std::io::stdin())));
    let read = tokio::time::timeout(limit.0, receive).await.map_err(|_| {
        let message = format!("stdin was not closed within {limit} (ECRLOGIN_TIMEOUT)");
        Failure::new(Code::DeadlineExceeded, message)
    })?;
    let bad = |error: &dyn std::fmt::Display| {
        Failure::new(Code::BadInput, format!("stdin cannot be read: {error}"))
    };
    let bytes = read.map_err(|error| bad(&error))?.map_err(|error| bad(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| bad(&"it is not text"))?;
    Ok(text.trim().to_owned())
}

async fn get(url: &str, options: &Options, ui: &Ui) -> Result<Reply, Failure> {
    if url.is_empty() {
        return Ok(refused(NO_URL));
    }
    // Without TLS, or at another port, it is not Amazon's registry: it gets no token.
    let host = server(url).unwrap_or_default();
    let Some(target) = target(host) else { return Ok(refused(NOT_FOUND)) };
    let cache = Cache::open(ui);
    let (username, secret) = match cache.given(host) {
        Some(given) => (given.username, given.password),
        None => match ask(&target, options, &cache, ui).await {
            Ok(Token { username, password, .. }) => (username, password),
            // Everybody may pull from there; only more of it with a login. A build would fail here.
            Err(error) if target.public => {
                if !error.is_no_credentials() {
                    ui.warn(&format!("no login for {host}, which is used without one: {error}"));
                }
                return Ok(refused(NOT_FOUND));
            }
            Err(error) => return Err(about(host, error)),
        },
    };
    let answer = Credentials { server_url: url.to_owned(), username, secret };
    let text = serde_json::to_string(&answer);
    let text = text.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(done(text + "\n"))
}

/// Asks for a token, or takes one that is kept.
async fn ask(
    target: &Target,
    options: &Options,
    cache: &Cache<'_>,
    ui: &Ui,
) -> Result<Token, Error> {
    Role::check_none(options)?;
    let login = Login::new(options);
    let limit = options.timeout;
    let token = async {
        if options.cache == Some(false) {
            return token::fetch(target, &login).await;
        }
        cache.token(target, &login, options, Duration::ZERO).await
    };
    let token = tokio::time::timeout(limit.0, token).await;
    login.warnings().for_each(|text| ui.warn(&text));
    token.unwrap_or_else(|_| Err(Error::Deadline { limit, doing: login.last_doing() }))
}

/// Docker may ask for several registries in one command: the failure tells for which one.
fn about(host: &str, error: Error) -> Failure {
    let failure = Failure::from(error);
    Failure { message: format!("no login for {host}: {}", failure.message), ..failure }
}

/// `docker login` has tried the login by now.
fn store(text: &str, cache: &Cache<'_>) -> Result<Reply, Failure> {
    let Ok(given) = serde_json::from_str::<Credentials>(text) else {
        // The parser's own words could quote the password.
        return Ok(refused("the login on stdin is not the JSON that docker writes"));
    };
    if given.server_url.is_empty() {
        return Ok(refused(NO_URL));
    }
    if given.username.is_empty() {
        return Ok(refused(NO_USERNAME));
    }
    let host = server(&given.server_url).unwrap_or_default();
    if target(host).is_none() {
        let host = clean_line(&given.server_url);
        let message = format!("docker-credential-{HELPER} keeps no login for {host}");
        return Err(Failure::new(Code::Usage, message).hint(
            "it is no registry of Amazon ECR: name the helper in credHelpers for those, and not in credsStore",
        ));
    }
    cache.give(host, &given.username, &given.secret)?;
    Ok(done(String::new()))
}

fn erase(url: &str, cache: &Cache<'_>) -> Result<Reply, Failure> {
    if url.is_empty() {
        return Ok(refused(NO_URL));
    }
    // Docker has all forms of a name erased, that with http, too.
    let host = host_of(url);
    cache.forget(host.strip_suffix(":443").unwrap_or(host))?;
    Ok(done(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_it_is_and_for_whom() {
        let called = |name: &str| called_as(Some(&OsString::from(name)));
        let with = |profile: Option<&str>| Some(CalledAs { profile: profile.map(str::to_owned) });
        assert_eq!(called("ecrlogin"), None);
        assert_eq!(called("/usr/bin/docker-credential-ecrlogin"), with(None));
        assert_eq!(called("docker-credential-ecrlogin-prod-eu"), with(Some("prod-eu")));
        assert_eq!(called("docker-credential-ecrlogins"), None);
        assert_eq!(called_as(None), None);
    }
}
