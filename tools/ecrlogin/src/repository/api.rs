//! The calls to the ECR API about a repository.

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{BuildError, ProvideErrorMetadata as _};
use aws_sdk_ecr::types::{
    EncryptionConfiguration, ImageScanningConfiguration, ImageTagMutability, Repository, Tag,
};
use serde_json::Value;
use slipway_release::Failure;

use super::compare::{
    ENCRYPTION, Found, IMMUTABLE, LIFECYCLE_POLICY, SCAN_ON_PUSH, TAG, TAG_MUTABILITY, differences,
};
use super::{Care, RepositoryError, Wish};
use crate::Error;
use crate::answer::classify;

/// A repository that is being taken care of.
struct Call<'a> {
    client: &'a Client,
    region: &'a str,
    account: Option<String>,
    name: &'a str,
}

/// Makes sure that the repository exists, and tells or changes in what it differs from the wish.
pub(crate) async fn ensure(
    client: &Client,
    region: &str,
    name: &str,
    account: Option<String>,
    wish: &Wish,
) -> Result<Care, Error> {
    let call = Call { client, region, account, name };
    let there = match call.describe().await? {
        Some(there) => there,
        None if call.create(wish).await? => {
            return Ok(Care { created: true, differences: Vec::new() });
        }
        // Somebody else was quicker, so it need not be as it was asked for.
        None => call
            .describe()
            .await?
            .ok_or_else(|| RepositoryError::Vanished { name: name.to_owned() })?,
    };
    let arn = there.repository_arn().unwrap_or_default().to_owned();
    let found = call.found(&there, &arn, wish).await?;
    let mut differences = differences(wish, &found);
    if wish.reconcile {
        for difference in &mut differences {
            difference.reconciled = call.reconcile(&difference.setting, &arn, wish).await?;
        }
    }
    Ok(Care { created: false, differences })
}

impl Call<'_> {
    async fn describe(&self) -> Result<Option<Repository>, Error> {
        let request = self.client.describe_repositories().repository_names(self.name);
        match request.set_registry_id(self.account.clone()).send().await {
            Ok(answer) => Ok(answer.repositories.unwrap_or_default().into_iter().next()),
            Err(error) if error.code() == Some("RepositoryNotFoundException") => Ok(None),
            Err(error) => Err(classify("DescribeRepositories", self.region, &error)),
        }
    }

    /// Creates it as it is to be, and answers whether it was not there yet.
    async fn create(&self, wish: &Wish) -> Result<bool, Error> {
        let mut request = self
            .client
            .create_repository()
            .repository_name(self.name)
            .set_registry_id(self.account.clone())
            .set_tags(Some(tags(wish)?).filter(|tags| !tags.is_empty()));
        if wish.immutable_tags {
            request = request.image_tag_mutability(ImageTagMutability::Immutable);
        }
        if wish.scan_on_push {
            request = request.image_scanning_configuration(scanning());
        }
        if let Some(encryption) = &wish.encryption {
            let configuration = EncryptionConfiguration::builder()
                .encryption_type(encryption.kind.into())
                .set_kms_key(encryption.key.clone());
            request = request.encryption_configuration(built(configuration.build())?);
        }
        match request.send().await {
            Ok(_) => {}
            Err(error) if error.code() == Some("RepositoryAlreadyExistsException") => {
                return Ok(false);
            }
            Err(error) => return Err(classify("CreateRepository", self.region, &error)),
        }
        if let Some(policy) = &wish.lifecycle_policy {
            self.put_policy(policy).await.map_err(|error| self.half_made(error))?;
        }
        Ok(true)
    }

    fn half_made(&self, error: Error) -> Error {
        let reason = error.to_string();
        let Failure { code, retryable, .. } = Failure::from(error);
        let name = self.name.to_owned();
        RepositoryError::HalfMade { name, reason, code, retryable }.into()
    }

    /// Asks for what the description does not have, as far as it is to be compared: each call needs
    /// a permission of its own.
    async fn found(&self, there: &Repository, arn: &str, wish: &Wish) -> Result<Found, Error> {
        let encryption = there.encryption_configuration();
        Ok(Found {
            tag_mutability: there
                .image_tag_mutability()
                .map(|mutability| mutability.as_str().to_owned())
                .unwrap_or_default(),
            scan_on_push: there
                .image_scanning_configuration()
                .is_some_and(ImageScanningConfiguration::scan_on_push),
            lifecycle_policy: match &wish.lifecycle_policy {
                Some(_) => self.policy().await?,
                None => None,
            },
            encryption: encryption
                .map_or("AES256", |encryption| encryption.encryption_type().as_str())
                .to_owned(),
            key: encryption.and_then(|encryption| encryption.kms_key().map(str::to_owned)),
            tags: if wish.tags.is_empty() {
                std::collections::BTreeMap::new()
            } else {
                self.tags(arn).await?
            },
        })
    }

    async fn policy(&self) -> Result<Option<Value>, Error> {
        let request = self.client.get_lifecycle_policy().repository_name(self.name);
        match request.set_registry_id(self.account.clone()).send().await {
            Ok(answer) => Ok(answer.lifecycle_policy_text().map(|text| {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
            })),
            Err(error) if error.code() == Some("LifecyclePolicyNotFoundException") => Ok(None),
            Err(error) => Err(classify("GetLifecyclePolicy", self.region, &error)),
        }
    }

    async fn tags(&self, arn: &str) -> Result<std::collections::BTreeMap<String, String>, Error> {
        let answer = self.client.list_tags_for_resource().resource_arn(arn).send().await;
        let answer =
            answer.map_err(|error| classify("ListTagsForResource", self.region, &error))?;
        let tags = answer.tags.unwrap_or_default().into_iter();
        Ok(tags.map(|tag| (tag.key, tag.value)).collect())
    }

    /// Changes one setting, and answers whether it can be changed at all.
    async fn reconcile(&self, setting: &str, arn: &str, wish: &Wish) -> Result<bool, Error> {
        match setting {
            ENCRYPTION => return Ok(false),
            TAG_MUTABILITY => {
                let request = self.client.put_image_tag_mutability().repository_name(self.name);
                let request = request.image_tag_mutability(IMMUTABLE.into());
                let sent = request.set_registry_id(self.account.clone()).send().await;
                sent.map_err(|error| classify("PutImageTagMutability", self.region, &error))?;
            }
            SCAN_ON_PUSH => {
                let request =
                    self.client.put_image_scanning_configuration().repository_name(self.name);
                let request = request.image_scanning_configuration(scanning());
                let sent = request.set_registry_id(self.account.clone()).send().await;
                sent.map_err(|error| {
                    classify("PutImageScanningConfiguration", self.region, &error)
                })?;
            }
            LIFECYCLE_POLICY => {
                if let Some(policy) = &wish.lifecycle_policy {
                    self.put_policy(policy).await?;
                }
            }
            tag => {
                let key = tag.strip_prefix(TAG).unwrap_or(tag);
                let tags = tags(wish)?.into_iter().filter(|tag| tag.key() == key).collect();
                let request = self.client.tag_resource().resource_arn(arn).set_tags(Some(tags));
                let sent = request.send().await;
                sent.map_err(|error| classify("TagResource", self.region, &error))?;
            }
        }
        Ok(true)
    }

    async fn put_policy(&self, policy: &Value) -> Result<(), Error> {
        let request = self.client.put_lifecycle_policy().repository_name(self.name);
        let request = request.lifecycle_policy_text(policy.to_string());
        let sent = request.set_registry_id(self.account.clone()).send().await;
        sent.map_err(|error| classify("PutLifecyclePolicy", self.region, &error))?;
        Ok(())
    }
}

fn scanning() -> ImageScanningConfiguration {
    ImageScanningConfiguration::builder().scan_on_push(true).build()
}

fn tags(wish: &Wish) -> Result<Vec<Tag>, RepositoryError> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    wish.tags.iter().map(|pair| built(tag(pair))).collect()
}

fn built<T>(result: Result<T, BuildError>) -> Result<T, RepositoryError> {
    result.map_err(RepositoryError::Incomplete)
}
