//! The token of a registry: whose it is, how AWS is asked, and what comes of it.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use base64::Engine as _;
use jiff::Timestamp;
use slipway_release::{Registry, Secret};
use tokio::sync::OnceCell;

use crate::chain::{self, Found};
use crate::ecr::classify;
use crate::{EcrHost, Error, Options};

/// The registry that a token is asked for, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Twelve digits; without them the caller's own.
    pub(crate) account: Option<String>,
    /// Without it, that of the environment, the profile or the instance.
    pub(crate) region: Option<String>,
}

impl From<EcrHost> for Target {
    fn from(host: EcrHost) -> Self {
        Self { account: Some(host.account), region: Some(host.region) }
    }
}

/// How AWS is asked: with which credentials, and where. Credentials are looked for once, however
/// many registries are asked.
pub(crate) struct Login {
    pub(crate) profile: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) http: SharedHttpClient,
    found: OnceCell<Found>,
}

/// What GetAuthorizationToken answers.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What image references begin with: the host of the answer's endpoint.
    pub(crate) host: String,
    pub(crate) region: String,
    /// The account of the host name, if it is one of ECR.
    pub(crate) account: Option<String>,
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) expires_at: Option<Timestamp>,
    /// Where the AWS credentials are from, for people.
    pub(crate) source: &'static str,
}

/// Asks for a token of the registry.
pub(crate) async fn fetch(target: &Target, login: &Login) -> Result<Token, Error> {
    let (client, region) = login.client(target).await?;
    let request = client.get_authorization_token();
    // The parameter is deprecated since a token opens every registry that the principal may use;
    // it still decides which registry's host the answer names.
    #[expect(deprecated, reason = "it is the only way to be told the host of another account")]
    let request =
        request.set_registry_ids(target.account.as_ref().map(|account| vec![account.clone()]));
    let answer =
        request.send().await.map_err(|error| classify("GetAuthorizationToken", &region, &error))?;
    let bad = |reason| Error::BadToken { reason };
    let data = answer.authorization_data().first().ok_or(bad("no authorization data"))?;
    let endpoint = data.proxy_endpoint().ok_or(bad("no endpoint"))?;
    let (username, password) = read(data.authorization_token().ok_or(bad("no token"))?)?;
    let host = host_of(endpoint);
    if host.is_empty() {
        return Err(bad("its endpoint has no host"));
    }
    let source = login.credentials(&region).await?.source;
    Ok(Token {
        host: host.to_owned(),
        region,
        account: host.parse::<EcrHost>().ok().map(|host| host.account),
        username,
        password,
        expires_at: data.expires_at().and_then(|at| Timestamp::from_second(at.secs()).ok()),
        source,
    })
}

/// User name and password, in the form of the API.
fn read(token: &str) -> Result<(String, Secret), Error> {
    let bad = |reason| Error::BadToken { reason };
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(token)
        .map_err(|_| bad("it is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| bad("it is not text"))?;
    let (username, password) = decoded.split_once(':').ok_or(bad("it has no user name"))?;
    Ok((username.to_owned(), Secret::new(password)))
}

/// The host of an endpoint's URL: what image references begin with.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.split('/').next().unwrap_or(host)
}

impl Login {
    pub(crate) fn new(options: &Options) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        Self {
            profile: options.profile.clone(),
            endpoint_url: options.endpoint_url.clone(),
            http,
            found: OnceCell::new(),
        }
    }

    /// A client of the ECR API for this registry, and the region that it asks.
    pub(crate) async fn client(&self, target: &Target) -> Result<(Client, String), Error> {
        let region = match &target.region {
            Some(region) => region.clone(),
            None => chain::region(self).await?,
        };
        let config = self.config(&region).await?;
        Ok((Client::new(&config), region))
    }

    /// The AWS credentials, looked for the first time.
    pub(crate) async fn credentials(&self, region: &str) -> Result<&Found, Error> {
        self.found.get_or_try_init(|| chain::credentials(self, region)).await
    }

    async fn config(&self, region: &str) -> Result<SdkConfig, Error> {
        let found = self.credentials(region).await?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(Region::new(region.to_owned()))
            .credentials_provider(found.credentials.clone())
            // A second and third try within the deadline; the token's quota is 20 a second.
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(200)));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        Ok(loader.load().await)
    }
}

impl Token {
    /// The section of the document.
    pub(crate) fn registry(&self) -> Registry {
        Registry {
            host: Some(self.host.clone()),
            region: Some(self.region.clone()),
            account: self.account.clone(),
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            expires_at: self.expires_at.map(|at| at.to_string()),
            ..Registry::default()
        }
    }

    /// The expiry, if it is past.
    pub(crate) fn expired(&self) -> Option<Timestamp> {
        self.expires_at.filter(|at| *at < Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_references_begin_with() {
        assert_eq!(
            host_of("https://1.dkr.ecr.eu-west-1.amazonaws.com"),
            "1.dkr.ecr.eu-west-1.amazonaws.com"
        );
        assert_eq!(host_of("http://localhost:4510/path"), "localhost:4510");
        assert_eq!(host_of("registry.example:5000"), "registry.example:5000");
    }

    #[test]
    fn a_token_is_user_and_password() {
        let (user, password) = read("QVdTOmE6Yg==").unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("AWS", "a:b"));
        for other in ["%", "QVdT", "/w=="] {
            assert!(read(other).is_err(), "{other}");
        }
    }
}
