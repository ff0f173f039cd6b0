//! The build's session: BuildKit asks back for files, secrets and credentials.
//!
//! The engine turns the connection of `POST /session` into HTTP/2 and becomes
//! the client on it; this side serves gRPC there for as long as the build
//! goes on. Dropping [`Session::serve`] closes the connection, and with it
//! everything that was being sent.

mod filesync;
mod packets;
mod services;
mod ssh;
mod stat;
#[cfg(test)]
mod tests;
mod upload;
mod wanted;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use bollard_buildkit_proto::moby::upload::v1::upload_server::UploadServer;
use http::{HeaderName, Method};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use slipway_engine::{Engine, Request, Stream};
use slipway_untrusted::{Limit, limit};
use tonic::codegen::Service;

pub(crate) use filesync::{AllTold, Source, VirtualFile};
pub(crate) use packets::{Packet, Stat};
pub(crate) use stat::{is_directory, stat};
pub(crate) use wanted::Wanted;

use crate::content::{self, Content};
use crate::error::Error;
use crate::logins::Logins;
use crate::secrets::Secrets;
use crate::ssh::Agents;
use filesync::FileSync;
use services::{Auth, Health, SecretStore};
use ssh::SshForward;
use upload::Upload;
pub(crate) use upload::address as archive_address;

/// How much the engine may send before it is read: its requests for files
/// come in bursts of thousands, and a window that fills up made it give up.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// The rules of an ignore file and the sources of a COPY come as metadata, one header each.
/// hyper's own limit is 16 KiB; that of docker's clients is 16 MiB.
const METADATA: Limit = limit::BUILD_METADATA;

/// What the session offers to the engine, beside the health check.
const METHODS: [&str; 6] = [
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.upload.v1.Upload/Pull",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
];

/// What a session serves.
pub(crate) struct Offer {
    /// Names this directory to the engine, which keeps what it was sent last.
    pub(crate) shared_key: String,
    /// The context, the Dockerfile with its ignore file, and named contexts.
    pub(crate) directories: BTreeMap<String, Source>,
    /// The context, if it is an archive.
    pub(crate) archive: Option<PathBuf>,
    /// Caches in directories.
    pub(crate) content: Content,
    pub(crate) secrets: Secrets,
    pub(crate) agents: Agents,
    pub(crate) logins: Arc<Logins>,
}

/// Holds the first failure on this side; the engine only learns its text.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Error>>>);

impl Slot {
    /// Only the first failure is the cause: later ones are not kept.
    fn put(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The failure, if there was one.
    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An open session.
pub(crate) struct Session {
    id: String,
    stream: Box<dyn Stream>,
    services: Services,
    all_told: AllTold,
    failure: Slot,
}

#[derive(Clone)]
struct Services {
    health: HealthServer<Health>,
    files: FileSync,
    upload: UploadServer<Upload>,
    content: Content,
    ssh: SshServer<SshForward>,
    secrets: SecretsServer<SecretStore>,
    auth: AuthServer<Auth>,
}

impl Session {
    /// Opens a session of a new, unguessable id.
    pub(crate) async fn open(engine: &Engine, offer: Offer) -> Result<Self, Error> {
        let id = format!("{:032x}", rand::random::<u128>());
        let header = |request: Request, name: &'static str, value: &str| {
            request.header(HeaderName::from_static(name), value)
        };
        let mut request = Request::new(Method::POST, "/session");
        request = header(request, "connection", "Upgrade")?;
        request = header(request, "upgrade", "h2c")?;
        request = header(request, "x-docker-expose-session-uuid", &id)?;
        request = header(request, "x-docker-expose-session-name", "imgbuild")?;
        request = header(request, "x-docker-expose-session-sharedkey", &offer.shared_key)?;
        for method in METHODS.iter().chain(&content::METHODS) {
            request = header(request, "x-docker-expose-session-grpc-method", method)?;
        }
        let stream = Box::new(engine.upgrade(request).await?);
        Ok(Self::over(id, stream, offer))
    }

    fn over(id: String, stream: Box<dyn Stream>, offer: Offer) -> Self {
        let failure = Slot::default();
        let files = FileSync::new(offer.directories, failure.clone());
        let all_told = files.all_told();
        let upload = Upload::new(offer.archive, failure.clone());
        let services = Services {
            health: HealthServer::new(Health),
            files,
            upload: UploadServer::new(upload),
            content: offer.content,
            ssh: SshServer::new(SshForward::new(offer.agents)),
            secrets: SecretsServer::new(SecretStore::new(offer.secrets)),
            auth: AuthServer::new(Auth::new(offer.logins, failure.clone())),
        };
        Self { id, stream, services, all_told, failure }
    }

    /// The id by which a build names its session.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where it will stand what the engine was told of directories.
    pub(crate) fn all_told(&self) -> AllTold {
        self.all_told.clone()
    }

    /// Where a failure on this side will stand.
    pub(crate) fn failure(&self) -> Slot {
        self.failure.clone()
    }

    /// Serves until the engine closes the session.
    pub(crate) async fn serve(self) {
        let services = self.services;
        let service =
            hyper::service::service_fn(move |request| dispatch(services.clone(), request));
        // How the engine leaves says nothing: the build's own answer does.
        let _left = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(METADATA.bytes).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(self.stream), service)
            .await;
    }
}

type Answer = http::Response<tonic::body::Body>;

async fn dispatch(
    mut services: Services,
    request: http::Request<Incoming>,
) -> Result<Answer, Infallible> {
    let service =
        request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    match service {
        "grpc.health.v1.Health" => services.health.call(request).await,
        "moby.filesync.v1.FileSync" => Ok(services.files.call(request).await),
        "moby.sshforward.v1.SSH" => services.ssh.call(request).await,
        content::SERVICE => Ok(services.content.call(request).await),
        "moby.upload.v1.Upload" => services.upload.call(request).await,
        "moby.buildkit.secrets.v1.Secrets" => services.secrets.call(request).await,
        "moby.filesync.v1.Auth" => services.auth.call(request).await,
        _ => Ok(tonic::Status::unimplemented("not offered by this session").into_http()),
    }
}
