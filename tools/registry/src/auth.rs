//! Logging in: Basic, or a token of the service that the registry names (distribution
//! specification, "Token Authentication").

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Uri};
use serde::Deserialize;
use slipway_untrusted::limit::REGISTRY_TOKEN;

use crate::answer::Answer;
use crate::challenge::{self, Challenge};
use crate::elsewhere::same_site;
use crate::origin::{Origin, Scheme, shown};
use crate::transport::{Call, Transport, query};
use crate::{Detour, Error, Fault};

/// A user name and a password or token. The `Debug` form never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, `AWS` for Amazon ECR.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Gets fresh credentials for the registry when the ones at hand ran out, if it can.
pub type Fresh =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Credentials>> + Send>> + Send + Sync>;

/// What is known of logging in to one repository.
pub(crate) struct Login {
    state: Mutex<State>,
    fresh: Option<Fresh>,
    scope: String,
}

struct State {
    credentials: Option<Credentials>,
    authorization: Option<HeaderValue>,
    refreshed: bool,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Login {
    /// Basic credentials go with the first request already: they are for this registry.
    pub(crate) fn new(
        credentials: Option<Credentials>,
        repository: &str,
        fresh: Option<Fresh>,
    ) -> Self {
        let authorization = credentials.as_ref().and_then(basic);
        let state = State { credentials, authorization, refreshed: false };
        let scope = format!("repository:{repository}:pull,push");
        Self { state: Mutex::new(state), fresh, scope }
    }

    /// The header for the next request.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.lock().authorization.clone()
    }

    /// Does what an answer of 401, or of an expired token, asks for; answers whether there is
    /// anything new to try. `used` is what the refused request had.
    pub(crate) async fn answer(
        &self,
        refused: &Answer,
        used: Option<&HeaderValue>,
        origin: &Origin,
        transport: &Transport,
    ) -> Result<bool, Error> {
        if self.lock().authorization.as_ref() != used {
            // Another request has logged in meanwhile.
            return Ok(true);
        }
        let challenge = challenge::parse(
            refused
                .headers
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok()),
        );
        if let Some(Challenge::Bearer { realm, service, scope }) = challenge {
            let scope = scope.unwrap_or_else(|| self.scope.clone());
            let token = match self
                .token(&realm, service.as_deref(), &scope, origin, transport)
                .await
            {
                Err(error) if error.fault() == Some(Fault::Unauthorized) && self.renew().await => {
                    self.token(&realm, service.as_deref(), &scope, origin, transport).await?
                }
                other => other?,
            };
            let header = sensitive(&format!("Bearer {token}"));
            let changed = header.as_ref() != used;
            self.lock().authorization = header;
            return Ok(changed);
        }
        if !self.renew().await {
            return Ok(false);
        }
        let mut state = self.lock();
        state.authorization = state.credentials.as_ref().and_then(basic);
        Ok(true)
    }

    /// Takes fresh credentials, once.
    async fn renew(&self) -> bool {
        let Some(fresh) = &self.fresh else { return false };
        if std::mem::replace(&mut self.lock().refreshed, true) {
            return false;
        }
        match fresh().await {
            Some(credentials) => {
                self.lock().credentials = Some(credentials);
                true
            }
            None => false,
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        registry: &Origin,
        transport: &Transport,
    ) -> Result<String, Error> {
        let protocol = |what: &str| Error::Protocol { what: what.into() };
        let uri: Uri = realm.parse().map_err(|_| protocol("the token service is no URL"))?;
        let origin = Origin::of(&uri).ok_or_else(|| protocol("the token service is no URL"))?;
        let authorization = self.lock().credentials.as_ref().and_then(basic);
        check(registry, &origin, realm, authorization.is_some())?;
        let service = service.map(|service| ("service", service));
        // Several scopes in one challenge are parted by spaces and asked for one by one.
        let scopes = scope.split(' ').map(|scope| ("scope", scope));
        let query = query(service.into_iter().chain(scopes));
        let path = uri.path();
        let parted = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
        let path = format!("{path}?{parted}{query}");
        let call = Call::new(Method::GET, path);
        let answer = transport.send(&origin, &call, authorization.as_ref()).await?;
        let answer = answer.good(&origin.to_string(), "to give a token")?;
        let none = || protocol("the token service's answer is no token");
        let token: Token = serde_json::from_slice(&answer.body).map_err(|_| none())?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(none)?;
        REGISTRY_TOKEN
            .admit(token.len() as u64)
            .map_err(|source| Error::TooLarge { registry: origin.to_string().into(), source })?;
        Ok(token)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a token may be asked for there: with TLS where the registry has TLS, and the password only
/// at the registry's own site.
fn check(
    registry: &Origin,
    service: &Origin,
    realm: &str,
    with_password: bool,
) -> Result<(), Error> {
    let elsewhere = |detour, why| Error::Elsewhere {
        registry: registry.to_string().into(),
        what: "logins".into(),
        to: shown(realm).into(),
        detour,
        why,
    };
    if service.scheme == Scheme::Http && registry.scheme == Scheme::Https {
        return Err(elsewhere(Detour::Plain, ", without TLS"));
    }
    if with_password && !same_site(&registry.host, &service.host) {
        return Err(elsewhere(Detour::Login, ", which is no host of its domain"));
    }
    Ok(())
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    sensitive(&format!("Basic {}", STANDARD.encode(pair)))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_form_shows_the_password() {
        let credentials = Credentials { username: "AWS".into(), password: "hunter2".into() };
        let header = basic(&credentials).unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
