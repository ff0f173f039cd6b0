//! Logins for the registries that a build takes from: the document's first, then docker's own.

use slipway_release::Secret;

use crate::docker_config::DockerConfig;
use crate::error::Error;
use crate::secrets::Login;

/// Where logins are looked for.
#[derive(Default)]
pub(crate) struct Logins {
    document: Vec<Login>,
    config: DockerConfig,
}

impl Logins {
    pub(crate) fn new(document: Vec<Login>, config: DockerConfig) -> Self {
        Self { document, config }
    }

    /// The passwords that the document has.
    pub(crate) fn passwords(&self) -> impl Iterator<Item = &Secret> {
        self.document.iter().map(|login| &login.password)
    }

    /// The login for a registry's host, if there is one.
    pub(crate) async fn get(&self, host: &str) -> Result<Option<Login>, Error> {
        match self.document.iter().find(|login| login.host == host) {
            Some(login) => Ok(Some(login.clone())),
            None => self.config.login(host).await,
        }
    }

    /// All that are known.
    pub(crate) async fn all(&self) -> Result<Vec<Login>, Error> {
        let mut logins = self.config.logins().await?;
        for login in &self.document {
            logins.retain(|known| known.host != login.host);
            logins.push(login.clone());
        }
        Ok(logins)
    }
}
