//! The repositories of a registry.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::ProvideErrorMetadata;

use crate::Error;
use crate::answer::classify;

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
