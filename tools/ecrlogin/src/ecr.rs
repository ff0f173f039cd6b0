//! The calls to the ECR API.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use base64::Engine as _;
use jiff::Timestamp;
use slipway_release::{Registry, Secret};

use crate::chain::cause;
use crate::{EcrHost, Error};

/// What GetAuthorizationToken answers.
pub(crate) struct Token {
    host: String,
    username: String,
    password: Secret,
    expires_at: Option<Timestamp>,
}

/// Asks for a token of the account's registry, or of the caller's own.
pub(crate) async fn token(
    client: &Client,
    region: &str,
    account: Option<&str>,
) -> Result<Token, Error> {
    let request = client.get_authorization_token();
    // The parameter is deprecated since a token opens every registry that the principal may use;
    // it still decides which registry's host the answer names.
    #[expect(deprecated, reason = "it is the only way to be told the host of another account")]
    let request = request.set_registry_ids(account.map(|account| vec![account.to_owned()]));
    let answer =
        request.send().await.map_err(|error| classify("GetAuthorizationToken", region, &error))?;
    let bad = |reason| Error::BadToken { reason };
    let data = answer.authorization_data().first().ok_or(bad("no authorization data"))?;
    let endpoint = data.proxy_endpoint().ok_or(bad("no endpoint"))?;
    let token = data.authorization_token().ok_or(bad("no token"))?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(token)
        .map_err(|_| bad("it is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| bad("it is not text"))?;
    let (username, password) = decoded.split_once(':').ok_or(bad("it has no user name"))?;
    Ok(Token {
        host: host_of(endpoint).to_owned(),
        username: username.to_owned(),
        password: Secret::new(password),
        expires_at: data.expires_at().and_then(|at| Timestamp::from_second(at.secs()).ok()),
    })
}

/// The host of an endpoint's URL: what image references begin with.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.split('/').next().unwrap_or(host)
}

impl Token {
    /// The section of the document.
    pub(crate) fn registry(&self, region: &str) -> Result<Registry, Error> {
        if self.host.is_empty() {
            return Err(Error::BadToken { reason: "its endpoint has no host" });
        }
        Ok(Registry {
            host: Some(self.host.clone()),
            region: Some(region.to_owned()),
            account: self.host.parse::<EcrHost>().ok().map(|host| host.account),
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            expires_at: self.expires_at.map(|at| at.to_string()),
            ..Registry::default()
        })
    }

    /// The expiry, if it is past.
    pub(crate) fn expired(&self) -> Option<Timestamp> {
        self.expires_at.filter(|at| *at < Timestamp::now())
    }
}

/// Makes sure that the repository exists, and answers whether it had to be created.
pub(crate) async fn ensure_repository(
    client: &Client,
    region: &str,
    name: &str,
    account: Option<String>,
) -> Result<bool, Error> {
    let described = client
        .describe_repositories()
        .repository_names(name)
        .set_registry_id(account.clone())
        .send()
        .await;
    match described {
        Ok(_) => return Ok(false),
        Err(error) if error.code() == Some("RepositoryNotFoundException") => {}
        Err(error) => return Err(classify("DescribeRepositories", region, &error)),
    }
    let created =
        client.create_repository().repository_name(name).set_registry_id(account).send().await;
    match created {
        Ok(_) => Ok(true),
        // Somebody else was quicker.
        Err(error) if error.code() == Some("RepositoryAlreadyExistsException") => Ok(false),
        Err(error) => Err(classify("CreateRepository", region, &error)),
    }
}

/// What an error of the SDK means. The codes are those of the "Common Errors" of the ECR API
/// Reference and of AWS Signature Version 4.
fn classify<E>(action: &'static str, region: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let region = region.to_owned();
    if !matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_)) {
        return Error::Unreachable { region, reason: cause(error) };
    }
    let code = error.code().unwrap_or("unknown").to_owned();
    let message = error.message().map_or_else(|| cause(error), str::to_owned);
    match code.as_str() {
        "AccessDeniedException" | "AccessDenied" => Error::Denied { action, region, message },
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => Error::Invalid { code, message },
        _ => {
            let transient = matches!(
                code.as_str(),
                "ThrottlingException"
                    | "ServerException"
                    | "ServiceUnavailable"
                    | "InternalFailure"
            );
            Error::Aws { action, region, code, message, transient }
        }
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
}
