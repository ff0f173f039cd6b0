//! Images: inspect, tag, pull, push, and what a registry says of a name.

use bollard::models::ImageInspect;
use http::Method;
use serde::Deserialize;
use slipway_release::{Reference, is_image};
use slipway_untrusted::clean_line;

use crate::auth::Auth;
use crate::engine::Engine;
use crate::error::Error;
use crate::messages::Message;
use crate::transport::{REGISTRY_AUTH, Request};

/// What happens to a layer during a pull or a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It waits for its turn.
    Waiting,
    /// Its bytes are on the way.
    Transferring,
    /// Its bytes are there and are being checked or unpacked.
    Unpacking,
    /// It has been transferred.
    Done,
    /// The other side had it already.
    Exists,
    /// The engine will try it again.
    Retrying,
}

impl LayerState {
    /// Reads the status texts of Docker's pulls and pushes; `None` for a
    /// status that is not about a layer's state.
    pub fn from_status(status: &str) -> Option<Self> {
        Some(match status {
            "Preparing" | "Waiting" | "Pulling fs layer" => Self::Waiting,
            "Pushing" | "Downloading" => Self::Transferring,
            "Verifying Checksum" | "Download complete" | "Extracting" => Self::Unpacking,
            "Pushed" | "Pull complete" => Self::Done,
            "Layer already exists" | "Already exists" => Self::Exists,
            _ if status.starts_with("Mounted from") => Self::Exists,
            _ if status.starts_with("Retrying") => Self::Retrying,
            _ => return None,
        })
    }
}

/// One step of a layer's transfer.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The layer's short id.
    pub layer: &'a str,
    /// Its state.
    pub state: LayerState,
    /// Bytes done so far; for a push of Docker 20.10 before compression.
    pub current: Option<u64>,
    /// Bytes to do, when that is known.
    pub total: Option<u64>,
}

/// What the engine reported at the end of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest in the registry.
    pub digest: String,
    /// The manifest's size in bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct PushAux {
    #[serde(rename = "Digest")]
    digest: String,
    #[serde(rename = "Size", default)]
    size: u64,
}

#[derive(Deserialize)]
struct Distribution {
    #[serde(rename = "Descriptor")]
    descriptor: Descriptor,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl Engine {
    /// What the engine knows of an image, by id, tag or digest.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the engine has no such image.
    pub async fn inspect_image(&self, image: &str) -> Result<ImageInspect, Error> {
        self.one(Request::new(Method::GET, format!("/images/{}/json", known(image)?))).await
    }

    /// Gives the image `image` (an id) the name and tag of `name`; a missing
    /// tag means `latest`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the engine has no such image.
    pub async fn tag(&self, image: &str, name: &Reference) -> Result<(), Error> {
        let request = Request::new(Method::POST, format!("/images/{}/tag", known(image)?))
            .query([("repo", name.name().as_str()), ("tag", name.tag().unwrap_or("latest"))]);
        self.send(request).await.map(drop)
    }

    /// Pulls `image`, by its digest when it has one, for `platform`
    /// (`linux/amd64`) or the engine's own.
    ///
    /// # Errors
    /// [`Error::Registry`] for what the registry refuses, [`Error::DiskFull`].
    pub async fn pull(
        &self,
        image: &Reference,
        platform: Option<&str>,
        auth: Option<&Auth>,
        mut each: impl FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        let name = image.name();
        // The engine reads a digest from the tag's place, as its own client sends it.
        let version = image.digest().or(image.tag()).unwrap_or("latest");
        let mut query = vec![("fromImage", name.as_str()), ("tag", version)];
        if let Some(platform) = platform {
            query.push(("platform", platform));
        }
        let request = Request::new(Method::POST, "/images/create")
            .query(query)
            .header(REGISTRY_AUTH.clone(), &Auth::header(auth, image.registry()))?;
        self.messages(request).await?.drain(|message| report(message, &mut each)).await
    }

    /// Pushes the tag of `name`, which the engine must have. None if the engine does not tell what it
    /// pushed: Podman up to 4.3 does not.
    ///
    /// # Errors
    /// [`Error::Registry`] for what the registry refuses, [`Error::NotFound`]
    /// when the engine has no such tag.
    pub async fn push(
        &self,
        name: &Reference,
        auth: Option<&Auth>,
        mut each: impl FnMut(Progress<'_>),
    ) -> Result<Option<Pushed>, Error> {
        let request = Request::new(Method::POST, format!("/images/{}/push", name.name()))
            .query([("tag", name.tag().unwrap_or("latest"))])
            .header(REGISTRY_AUTH.clone(), &Auth::header(auth, name.registry()))?;
        let mut pushed = None;
        self.messages(request)
            .await?
            .drain(|message| {
                if let Some(aux) = &message.aux
                    && let Ok(aux) = serde_json::from_str::<PushAux>(aux.get())
                {
                    pushed = Some(Pushed { digest: aux.digest, size: aux.size });
                }
                report(message, &mut each);
            })
            .await?;
        Ok(pushed)
    }

    /// The digest of the manifest that the registry has for `image`, asked by
    /// the engine with `auth`.
    ///
    /// # Errors
    /// [`Error::Registry`]; a name or tag that the registry does not have is
    /// [`RegistryFault::ManifestUnknown`](crate::RegistryFault) or
    /// [`Error::NotFound`], as the registry words it.
    pub async fn distribution_digest(
        &self,
        image: &Reference,
        auth: Option<&Auth>,
    ) -> Result<String, Error> {
        let request = Request::new(Method::GET, format!("/distribution/{image}/json"))
            .header(REGISTRY_AUTH.clone(), &Auth::header(auth, image.registry()))?;
        let found: Distribution = self.json(request).await?;
        Ok(found.descriptor.digest)
    }
}

/// The text, if an engine may be asked for an image by it: any other one could lead to another path of
/// its API.
pub(crate) fn known(image: &str) -> Result<&str, Error> {
    if is_image(image) {
        return Ok(image);
    }
    let message = format!("`{}` is neither an image's name nor an id", clean_line(image));
    Err(Error::NotFound { message })
}

fn report(message: &Message, each: &mut impl FnMut(Progress<'_>)) {
    let (Some(layer), Some(status)) = (message.id.as_deref(), message.status.as_deref()) else {
        return;
    };
    let Some(state) = LayerState::from_status(status) else {
        return;
    };
    let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    let detail = message.progress.unwrap_or_default();
    let total = bytes(detail.total).filter(|total| *total > 0);
    each(Progress { layer, state, current: bytes(detail.current), total });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_layers() {
        let of = LayerState::from_status;
        assert_eq!(of("Pushed"), Some(LayerState::Done));
        assert_eq!(of("Mounted from library/python"), Some(LayerState::Exists));
        assert_eq!(of("Layer already exists"), Some(LayerState::Exists));
        assert_eq!(of("Retrying in 4 seconds"), Some(LayerState::Retrying));
        assert_eq!(of("The push refers to repository [x]"), None);
        assert_eq!(of("1: digest: sha256:00 size: 528"), None);
    }

    #[test]
    fn nothing_but_an_image_is_asked_for() {
        assert!(known("web:1").is_ok() && known("3fde06d11d08").is_ok());
        let error = known("../containers/json?x=\u{1b}[1m").unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }) && !error.to_string().contains('\u{1b}'));
    }

    #[test]
    fn a_message_without_a_layer_is_no_progress() {
        let read = |json: &str| serde_json::from_str::<Message>(json).unwrap();
        let mut seen = Vec::new();
        let mut each = |p: Progress<'_>| seen.push((p.layer.to_owned(), p.current, p.total));
        report(&read(r#"{"status":"Pushed"}"#), &mut each);
        report(
            &read(r#"{"status":"Pushing","id":"ab","progressDetail":{"current":5,"total":-1}}"#),
            &mut each,
        );
        assert_eq!(seen, [("ab".to_owned(), Some(5), None)]);
    }
}
