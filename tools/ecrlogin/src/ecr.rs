//! The ECR API: repositories, and what its errors mean.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};

use crate::Error;
use crate::chain::cause;

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
pub(crate) fn classify<E>(action: &'static str, region: &str, error: &SdkError<E>) -> Error
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
