//! How AWS is asked: with which credentials, at which endpoint, through which network.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecr::config::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use tokio::sync::OnceCell;

use crate::chain::{self, Found};
use crate::clock::Clock;
use crate::http::{self, InClear};
use crate::role::{self, Role};
use crate::token::Target;
use crate::{Error, Options};

/// How AWS is asked. Credentials are looked for once, however many registries are asked.
pub(crate) struct Login {
    pub(crate) profile: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) role: Option<Role>,
    /// Goes through the proxies of the environment.
    pub(crate) http: SharedHttpClient,
    /// For what is on this machine or one hop away, where no proxy leads.
    pub(crate) direct: SharedHttpClient,
    pub(crate) clock: Clock,
    in_clear: InClear,
    found: OnceCell<Found>,
    region: OnceCell<String>,
    doing: Mutex<String>,
}

impl Login {
    pub(crate) fn new(options: &Options) -> Self {
        let in_clear = InClear::default();
        Self {
            profile: options.profile.clone(),
            endpoint_url: options.endpoint_url.clone(),
            role: Role::of(options),
            http: http::by_proxy(in_clear.clone()),
            direct: http::direct(),
            clock: Clock::default(),
            in_clear,
            found: OnceCell::new(),
            region: OnceCell::new(),
            doing: Mutex::default(),
        }
    }

    /// A client of the ECR API for this registry, and the region that it asks.
    pub(crate) async fn client(
        &self,
        target: &Target,
    ) -> Result<(aws_sdk_ecr::Client, String), Error> {
        let region = match &target.region {
            Some(region) => region.clone(),
            None => {
                self.doing("looking for the region".to_owned());
                self.region.get_or_try_init(|| chain::region(self)).await?.clone()
            }
        };
        let config = self.config(&region).await?;
        let elsewhere = self.elsewhere(&config, "AWS_ENDPOINT_URL_ECR");
        let mut builder =
            aws_sdk_ecr::config::Builder::from(&config).interceptor(self.clock.clone());
        if let Some(url) = &self.endpoint_url {
            builder = builder.endpoint_url(url);
        }
        if !elsewhere && target.fips {
            builder = builder.use_fips(true);
        }
        if !elsewhere && target.dual_stack {
            builder = builder.use_dual_stack(true);
        }
        Ok((aws_sdk_ecr::Client::from_conf(builder.build()), region))
    }

    /// A client of the API of the public registry.
    pub(crate) async fn public_client(
        &self,
        target: &Target,
    ) -> Result<aws_sdk_ecrpublic::Client, Error> {
        let config = self.config(crate::host::PUBLIC_REGION).await?;
        let elsewhere = self.elsewhere(&config, "AWS_ENDPOINT_URL_ECR_PUBLIC");
        let mut builder =
            aws_sdk_ecrpublic::config::Builder::from(&config).interceptor(self.clock.clone());
        if let Some(url) = &self.endpoint_url {
            builder = builder.endpoint_url(url);
        }
        if !elsewhere && target.dual_stack {
            builder = builder.use_dual_stack(true);
        }
        Ok(aws_sdk_ecrpublic::Client::from_conf(builder.build()))
    }

    /// Whether another endpoint than Amazon's is given: that has no variants.
    fn elsewhere(&self, config: &SdkConfig, variable: &str) -> bool {
        self.endpoint_url.is_some()
            || config.endpoint_url().is_some()
            || std::env::var_os(variable).is_some()
    }

    /// The AWS credentials, looked for the first time; the region is for services that hand them
    /// out.
    pub(crate) async fn credentials(&self, region: &str) -> Result<&Found, Error> {
        let find = async || {
            if let Some(role) = &self.role {
                role.check()?;
            }
            let found = chain::credentials(self, region).await?;
            match &self.role {
                None => Ok(found),
                Some(role) => {
                    self.doing(format!("assuming {}", role.arn));
                    role::assume(role, &self.base(region, &found).await, &found, region).await
                }
            }
        };
        self.found.get_or_try_init(find).await
    }

    /// What people should know of how AWS was asked.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.in_clear.warning().into_iter().chain(self.clock.warning())
    }

    /// Where the AWS credentials are from, for people.
    pub(crate) async fn source(&self, region: &str) -> Result<String, Error> {
        self.credentials(region).await.map(|found| found.source.clone())
    }

    /// Tells in an error of AWS whose credentials it is about.
    pub(crate) fn explained<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match self.found.get() {
            Some(found) => error.with_credentials_of(&found.source),
            None => error,
        })
    }

    /// Keeps what is being done, for the error at the deadline.
    pub(crate) fn doing(&self, what: String) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What was being done last.
    pub(crate) fn last_doing(&self) -> String {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn config(&self, region: &str) -> Result<SdkConfig, Error> {
        let found = self.credentials(region).await?;
        Ok(self.base(region, found).await)
    }

    async fn base(&self, region: &str, found: &Found) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(Region::new(region.to_owned()))
            .credentials_provider(found.credentials.clone())
            // A second and third try within the deadline; the token's quota is 20 a second.
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(200)));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await
    }
}
