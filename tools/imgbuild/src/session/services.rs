//! The small services: health, secrets, credentials.

use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse, health_server,
};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{
    GetSecretRequest, GetSecretResponse, secrets_server,
};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse, auth_server,
};
use futures_util::Stream;
use futures_util::stream;
use tonic::{Request, Response, Status, async_trait};

use super::Slot;
use crate::logins::Logins;
use crate::secrets::Secrets;

/// Says that the session is alive; the engine asks every few seconds.
pub(crate) struct Health;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

#[async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse { statuses: [(String::new(), serving())].into() }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(stream::iter([Ok(serving())]))))
    }
}

/// Hands out the build's secrets by id.
pub(crate) struct SecretStore {
    secrets: Secrets,
}

impl SecretStore {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }
}

#[async_trait]
impl secrets_server::Secrets for SecretStore {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.secrets.get(&id) {
            Some(data) => Ok(Response::new(GetSecretResponse { data: data.to_vec() })),
            None => Err(Status::not_found(format!("secret {id} not found"))),
        }
    }
}

/// Answers for the registries that there are logins for.
pub(crate) struct Auth {
    logins: Arc<Logins>,
    failure: Slot,
}

impl Auth {
    pub(crate) fn new(logins: Arc<Logins>, failure: Slot) -> Self {
        Self { logins, failure }
    }
}

#[async_trait]
impl auth_server::Auth for Auth {
    /// An empty answer means: ask anonymously.
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let login = self.logins.get(&request.into_inner().host).await.map_err(|error| {
            let status = Status::unavailable(error.to_string());
            self.failure.put(error);
            status
        })?;
        Ok(Response::new(login.map_or_else(CredentialsResponse::default, |login| {
            CredentialsResponse {
                username: login.username,
                secret: login.password.reveal().to_owned(),
            }
        })))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the engine fetches its tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("there is no token authority"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("there is no token authority"))
    }
}
