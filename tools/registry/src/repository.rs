//! One repository of one registry: manifests, blobs, mounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{Method, StatusCode};
use rand::RngExt as _;
use slipway_release::{is_digest, is_repository, is_tag};

use crate::answer::Answer;
use crate::auth::{Credentials, Fresh, Login};
use crate::error::Error;
use crate::origin::{Origin, Place};
use crate::proxy::Proxies;
use crate::transport::{Call, Transport, query};
use crate::upload::Upload;
use crate::{Fault, digest, retry};

/// Media types, of the OCI image specification and of Docker's image manifest v2, schema 2.
#[derive(Debug)]
pub struct MediaType;

impl MediaType {
    /// An image's manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A list of manifests, one a platform.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A list of manifests, one a platform.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// An image's configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An image's configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// A layer, compressed by gzip.
    pub const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A layer, compressed by gzip.
    pub const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Nothing, where an artifact has no configuration: `{}`.
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A layer, compressed by zstd.
    pub const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

const MANIFESTS: [&str; 4] = [
    MediaType::OCI_MANIFEST,
    MediaType::DOCKER_MANIFEST,
    MediaType::OCI_INDEX,
    MediaType::DOCKER_LIST,
];

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How a registry is reached.
#[derive(Clone, Default)]
pub struct Options {
    /// Speak plain HTTP to a host that is not this machine.
    pub plain_http: bool,
    /// What the registry is logged in to with.
    pub credentials: Option<Credentials>,
    /// Where fresh credentials come from when those ran out.
    pub fresh: Option<Fresh>,
}

/// A manifest as the registry has it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The digest of `body`.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The manifest to the letter.
    pub body: Bytes,
}

/// One repository. Clones share connections and login.
#[derive(Clone)]
pub struct Repository {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    name: String,
    login: Login,
    transport: Transport,
    /// Whether the registry has answered at all.
    answered: AtomicBool,
}

impl Repository {
    /// The repository `name` of the registry `host[:port]`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the host is no host name.
    pub fn new(host: &str, name: &str, options: Options) -> Result<Self, Error> {
        let origin = Origin::of_registry(host, options.plain_http)?;
        if !is_repository(name) {
            return Err(Error::Protocol { what: "the repository's name is none".into() });
        }
        let proxies = Proxies::read(|name| std::env::var(name).ok());
        let login = Login::new(options.credentials, name, options.fresh);
        let transport = Transport::new(origin.clone(), proxies);
        let answered = AtomicBool::new(false);
        let shared = Shared { origin, name: name.to_owned(), login, transport, answered };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How errors call the registry.
    #[must_use]
    pub fn registry(&self) -> String {
        self.shared.origin.to_string()
    }

    /// The digest of the manifest of a tag or digest; none when there is no such one.
    ///
    /// # Errors
    /// What the registry refuses, or that it cannot be reached.
    pub async fn manifest_digest(&self, reference: &str) -> Result<Option<String>, Error> {
        let call = self.manifest_call(Method::HEAD, reference)?;
        let answer = self.call(&call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.good(&self.registry(), &format!("to tell of {reference}"))?;
        match answer.header(CONTENT_DIGEST) {
            Some(digest) => Ok(Some(checked(digest)?.to_owned())),
            // The specification lets the header be left out.
            None => Ok(self.manifest(reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// The manifest of a tag or digest; none when there is no such one.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`], or a body that is not what its digest says.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Manifest>, Error> {
        let call = self.manifest_call(Method::GET, reference)?;
        let answer = self.call(&call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.good(&self.registry(), &format!("to give {reference}"))?;
        let found = digest(&answer.body);
        if reference.contains(':') && found != reference {
            let what = format!("{reference} has the digest {found}").into();
            return Err(Error::Protocol { what });
        }
        let media_type = answer.header(CONTENT_TYPE).unwrap_or(MediaType::DOCKER_MANIFEST);
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        Ok(Some(Manifest { digest: found, media_type, body: answer.body }))
    }

    fn manifest_call(&self, method: Method, reference: &str) -> Result<Call, Error> {
        Call::new(method, self.manifest_path(reference)?).header(ACCEPT, &MANIFESTS.join(", "))
    }

    fn manifest_path(&self, reference: &str) -> Result<String, Error> {
        if !is_tag(reference) {
            checked(reference)?;
        }
        Ok(format!("/v2/{}/manifests/{reference}", self.shared.name))
    }

    fn blob_path(&self, digest: &str) -> Result<String, Error> {
        Ok(format!("/v2/{}/blobs/{}", self.shared.name, checked(digest)?))
    }

    /// Puts a manifest under a tag or its digest.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`]; [`Fault::TagImmutable`].
    pub async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<(), Error> {
        self.put(reference, media_type, body).await.map(drop)
    }

    pub(crate) async fn put(
        &self,
        reference: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let path = format!("/v2/{}/manifests/{reference}", self.shared.name);
        let call = Call::new(Method::PUT, path).header(CONTENT_TYPE, media_type)?.body(body);
        let answer = self.call(&call).await?;
        answer.good(&self.registry(), &format!("the manifest of {reference}"))
    }

    /// The size of a blob in bytes; none when the repository does not have it.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`].
    pub async fn blob_size(&self, digest: &str) -> Result<Option<u64>, Error> {
        let answer = self.call(&Call::new(Method::HEAD, self.blob_path(digest)?)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            // Some registries send whoever asks to their storage; that they do is answer enough.
            status if status.is_redirection() => Ok(Some(0)),
            _ => {
                let answer = answer.good(&self.registry(), &format!("to tell of {digest}"))?;
                let size = answer.header(CONTENT_LENGTH).and_then(|size| size.parse().ok());
                Ok(Some(size.unwrap_or(0)))
            }
        }
    }

    /// A small blob, such as a configuration; none when the repository does not have it.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`], or a body that is not what its digest says.
    pub async fn blob(&self, of: &str) -> Result<Option<Bytes>, Error> {
        let mut answer = self.call(&Call::new(Method::GET, self.blob_path(of)?)).await?;
        if answer.status.is_redirection()
            && let Some(location) = answer.header(LOCATION)
        {
            // To the storage behind it, whose address holds its own permission.
            let place = Place::of(&self.shared.origin, location)?;
            let call = Call::new(Method::GET, place.path.clone());
            answer = self.shared.transport.send(&place.origin, &call, None).await?;
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(answer.refusal(&place.origin.to_string(), &format!("to give {of}")));
            }
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.good(&self.registry(), &format!("to give {of}"))?;
        if digest(&answer.body) != of {
            return Err(Error::Protocol { what: format!("{of} has another digest").into() });
        }
        Ok(Some(answer.body))
    }

    /// Lets the repository have a blob of another one of the same registry; answers whether it does
    /// now. A registry that does not know the blob, or does not mount, is no error.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`].
    pub async fn mount(&self, digest: &str, from: &str) -> Result<bool, Error> {
        let query = query([("mount", checked(digest)?), ("from", from)]);
        let path = format!("/v2/{}/blobs/uploads/?{query}", self.shared.name);
        let answer = self.call(&Call::new(Method::POST, path)).await?;
        if answer.status == StatusCode::ACCEPTED {
            // It has begun an upload in the place of a mount, which is not wanted.
            if let Some(location) = answer.header(LOCATION) {
                Upload::at(self, location)?.abandon().await;
            }
            return Ok(false);
        }
        Ok(answer.status == StatusCode::CREATED)
    }

    /// Puts a whole blob that is held in memory; from the start again where that may help.
    ///
    /// # Errors
    /// As [`Upload::send`].
    pub async fn put_blob(&self, digest: &str, body: Bytes) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let upload = self.begin().await?;
            let Err((error, asked)) = upload.put(digest, body.clone()).await else { return Ok(()) };
            if !error.transient() || tries >= retry::TRIES {
                return Err(error);
            }
            self.pause(tries, asked).await;
        }
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// As [`Self::manifest_digest`].
    pub async fn begin(&self) -> Result<Upload, Error> {
        let path = format!("/v2/{}/blobs/uploads/", self.shared.name);
        let answer = self.call(&Call::new(Method::POST, path)).await?;
        let answer = answer.good(&self.registry(), "an upload")?;
        let location = answer.header(LOCATION).ok_or_else(|| Error::Protocol {
            what: "an upload that was begun has no Location".into(),
        })?;
        Upload::at(self, location)
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.shared.origin
    }

    /// Makes a request of the registry's own origin, again where that may help.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (error, asked) = match self.once(call).await {
                Ok(answer) => {
                    let refusal = answer.refusal(&self.registry(), "a request");
                    let fine = answer.status.is_success() || answer.status.is_redirection();
                    if fine || !refusal.transient() || refusal.fault() == Some(Fault::UploadUnknown)
                    {
                        return Ok(answer);
                    }
                    let asked = answer.retry_after();
                    if tries >= retry::TRIES {
                        return Ok(answer);
                    }
                    (refusal, asked)
                }
                Err(error) => (error, None),
            };
            // One that has never answered is not waited for: the name or the network is wrong.
            let answered = self.shared.answered.load(Ordering::Relaxed);
            if !answered || !error.transient() || tries >= retry::TRIES {
                return Err(error);
            }
            self.pause(tries, asked).await;
        }
    }

    pub(crate) async fn pause(&self, tries: u32, asked: Option<std::time::Duration>) {
        let share = rand::rng().random();
        tokio::time::sleep(retry::wait(tries, asked, share)).await;
    }

    /// Makes a request once, logging in as far as it is asked for.
    pub(crate) async fn once(&self, call: &Call) -> Result<Answer, Error> {
        let shared = &*self.shared;
        let origin = &shared.origin;
        let mut logins = 0;
        loop {
            let authorization = shared.login.authorization();
            let answer = shared.transport.send(origin, call, authorization.as_ref()).await?;
            shared.answered.store(true, Ordering::Relaxed);
            if logins == 3 || !wants_login(&answer) {
                return Ok(answer);
            }
            logins += 1;
            let used = authorization.as_ref();
            if !shared.login.answer(&answer, used, origin, &shared.transport).await? {
                return Ok(answer);
            }
        }
    }
}

/// The digest, if it is one: it becomes part of a path, wherever it is from.
fn checked(digest: &str) -> Result<&str, Error> {
    if is_digest(digest) {
        return Ok(digest);
    }
    Err(Error::Protocol { what: "a digest is none".into() })
}

/// Amazon ECR answers an expired token with 403.
fn wants_login(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => answer.refusal("", "").fault() == Some(Fault::Unauthorized),
        _ => false,
    }
}
