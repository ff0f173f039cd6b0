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

#[cfg(test)]
mod tests {
    use super::*;

    fn login(host: &str, password: &str) -> Login {
        let (username, password) = ("AWS".to_owned(), Secret::new(password));
        Login { host: host.to_owned(), username, password }
    }

    #[tokio::test]
    async fn each_registry_of_the_document_has_its_own_login() {
        let document = vec![login("a.example", "1"), login("b.example", "2")];
        let logins = Logins::new(document, DockerConfig::default());
        let password = async |host| Some(logins.get(host).await.unwrap()?.password);
        assert_eq!(password("a.example").await, Some(Secret::new("1")));
        assert_eq!(password("b.example").await, Some(Secret::new("2")));
        assert_eq!(password("c.example").await, None);
        assert_eq!(logins.all().await.unwrap().len(), 2);
        assert_eq!(logins.passwords().count(), 2);
    }
}
