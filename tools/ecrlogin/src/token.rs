//! The token of a registry: whose it is, and what AWS answers.

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use slipway_release::{OtherRegistry, Registry, Secret};
use slipway_untrusted::limit::ECR_TOKEN;

use crate::answer::classify;
use crate::login::Login;
use crate::{EcrHost, Error, host};

/// The user name of every token. Source: Amazon ECR User Guide, "Private registry authentication".
const USERNAME: &str = "AWS";

/// How long a token is valid. Source: Amazon ECR User Guide, "Private registry authentication".
const VALIDITY: SignedDuration = SignedDuration::from_hours(12);

/// The registry that a token is asked for, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The host name as it was given, which may be another than that of AWS's answer.
    pub(crate) host: Option<String>,
    /// Twelve digits; without them the caller's own.
    pub(crate) account: Option<String>,
    /// Without it, that of the environment, the profile or the instance.
    pub(crate) region: Option<String>,
    /// Whether it is the registry that everybody may pull from.
    pub(crate) public: bool,
    /// Whether the API is asked at the endpoint with validated cryptography, too.
    pub(crate) fips: bool,
    /// Whether the API is asked at the endpoint with IPv6 addresses, too.
    pub(crate) dual_stack: bool,
}

/// What GetAuthorizationToken answers.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What image references begin with: the host that was given, else that of the answer.
    pub(crate) host: String,
    pub(crate) region: String,
    /// The account of the host name, if it has one.
    pub(crate) account: Option<String>,
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) expires_at: Timestamp,
    /// Where the AWS credentials are from, for people.
    pub(crate) source: String,
}

/// Asks for a token of the registry.
pub(crate) async fn fetch(target: &Target, login: &Login) -> Result<Token, Error> {
    let answer =
        if target.public { public(target, login).await? } else { private(target, login).await? };
    let bad = |reason| Error::BadToken { reason };
    let (username, password) = read(answer.token.as_deref().ok_or(bad("no token"))?)?;
    let host = match &target.host {
        Some(host) => host.clone(),
        None => named(&answer, target)?,
    };
    let told = answer.expires_at.and_then(|at| Timestamp::from_second(at.secs()).ok());
    Ok(Token {
        account: host.parse::<EcrHost>().ok().map(|host| host.account),
        host,
        username,
        password,
        expires_at: told.unwrap_or_else(|| Timestamp::now() + VALIDITY),
        source: login.source(&answer.region).await?,
        region: answer.region,
    })
}

/// What the APIs of private and public registries answer alike.
struct Answer {
    region: String,
    endpoint: Option<String>,
    token: Option<String>,
    expires_at: Option<aws_smithy_types::DateTime>,
}

async fn private(target: &Target, login: &Login) -> Result<Answer, Error> {
    let (client, region) = login.client(target).await?;
    login.doing(format!("asking Amazon ECR in {region} for a token"));
    let request = client.get_authorization_token();
    // The parameter is deprecated since a token opens every registry that the principal may use;
    // it still decides which registry's host the answer names.
    #[expect(deprecated, reason = "it is the only way to be told the host of another account")]
    let request =
        request.set_registry_ids(target.account.as_ref().map(|account| vec![account.clone()]));
    let sent = request.send().await;
    let answer = login
        .explained(sent.map_err(|error| classify("GetAuthorizationToken", &region, &error)))?;
    let data = answer.authorization_data.unwrap_or_default().into_iter().next();
    let data = data.ok_or(Error::BadToken { reason: "no authorization data" })?;
    Ok(Answer {
        region,
        endpoint: data.proxy_endpoint,
        token: data.authorization_token,
        expires_at: data.expires_at,
    })
}

async fn public(target: &Target, login: &Login) -> Result<Answer, Error> {
    let client = login.public_client(target).await?;
    let region = host::PUBLIC_REGION.to_owned();
    login.doing("asking Amazon ECR Public for a token".to_owned());
    let sent = client.get_authorization_token().send().await;
    let answer = login.explained(
        sent.map_err(|error| classify("ecr-public:GetAuthorizationToken", &region, &error)),
    )?;
    let data = answer.authorization_data;
    let data = data.ok_or(Error::BadToken { reason: "no authorization data" })?;
    Ok(Answer {
        region,
        endpoint: target.host.clone(),
        token: data.authorization_token,
        expires_at: data.expires_at,
    })
}

/// The registry that the answer names.
fn named(answer: &Answer, target: &Target) -> Result<String, Error> {
    let endpoint = answer.endpoint.as_deref();
    let endpoint = endpoint.ok_or(Error::BadToken { reason: "no endpoint" })?;
    let host = host::answered(endpoint, target.account.as_deref(), &answer.region);
    host.map(|host| host.to_string()).ok_or_else(|| Error::OtherRegistry {
        named: endpoint.into(),
        region: answer.region.clone(),
        account: target.account.clone(),
    })
}

/// User name and password, in the form of the API.
pub(crate) fn read(token: &str) -> Result<(String, Secret), Error> {
    let bad = |reason| Error::BadToken { reason };
    ECR_TOKEN.admit(token.len() as u64).map_err(|_| bad("it is too long"))?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(token)
        .map_err(|_| bad("it is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| bad("it is not text"))?;
    let (username, password) = decoded.split_once(':').ok_or(bad("it has no user name"))?;
    if username != USERNAME {
        return Err(bad("its user name is not AWS"));
    }
    // It ends up in lines: of a pipe, of a shell, of a configuration.
    if password.is_empty() || !password.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("its password is not one line of letters, digits and signs"));
    }
    Ok((username.to_owned(), Secret::new(password)))
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
            expires_at: Some(self.expires_at.to_string()),
            ..Registry::default()
        }
    }

    /// An entry beside the image's registry.
    pub(crate) fn other(&self) -> OtherRegistry {
        OtherRegistry {
            host: self.host.clone(),
            region: Some(self.region.clone()),
            account: self.account.clone(),
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            expires_at: Some(self.expires_at.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_user_and_password() {
        let (user, password) = read("QVdTOmE6Yg==").unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("AWS", "a:b"));
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for other in ["AWS:", "root:p", ":p", "AWS", "AWS:a\nb", "AWS:a b", "AWS:\u{e4}"] {
            assert!(read(&encode(other)).is_err(), "{other}");
        }
        for other in ["%", "QVdT", "/w=="] {
            assert!(read(other).is_err(), "{other}");
        }
        let password = |length| encode(&format!("AWS:{}", "p".repeat(length)));
        assert!(read(&password(20_000)).is_ok());
        assert!(read(&password(30_000)).is_err());
    }
}
