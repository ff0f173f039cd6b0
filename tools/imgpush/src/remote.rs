//! What the registry has of the image, as this machine's memory guesses and the registry confirms.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use slipway_engine::Reference;
use slipway_registry::{Credentials, Error, Fresh, Manifest, Options, Repository};
use slipway_shell::Ui;

use crate::assemble::{self, Typed};
use crate::cache::{Cache, Layer};
use crate::direct::There;
use crate::image::{self, Local};
use crate::{Plan, options::Compression};

/// Questions to the registry at once.
const AT_ONCE: usize = 6;

/// The repository that is pushed to.
pub(crate) struct Remote {
    pub(crate) repository: Repository,
    reference: Reference,
    cache: Cache,
}

impl Remote {
    pub(crate) fn new(plan: &Plan, fresh: Option<Fresh>, ui: &Ui) -> Result<Self, Error> {
        let host = plan.repository.registry();
        let credentials = plan.auth.as_ref().map(|auth| Credentials {
            username: auth.username.clone(),
            password: auth.password.clone(),
        });
        let options = Options { plain_http: plan.plain_http, credentials, fresh };
        let reference = plan.repository.clone();
        let repository = Repository::new(host, &path(&reference), options)?;
        Ok(Self { repository, reference, cache: Cache::open(host, ui) })
    }

    fn name(&self) -> String {
        path(&self.reference)
    }

    /// Whether the manifest of this digest, which the registry has, is one of this image.
    pub(crate) async fn is(&mut self, digest: &str, image: &Local) -> Result<bool, Error> {
        if self.knows(digest, image) {
            return Ok(true);
        }
        if self.cache.is_of_other(&self.name(), digest, &image.id) {
            return Ok(false);
        }
        let manifest = self.repository.manifest(digest).await?;
        Ok(manifest.is_some_and(|manifest| self.learn(&manifest, image)))
    }

    /// Whether this manifest is one of the image, memory or not.
    pub(crate) fn names(&mut self, manifest: &Manifest, image: &Local) -> bool {
        self.knows(&manifest.digest, image) || self.learn(manifest, image)
    }

    fn knows(&self, digest: &str, image: &Local) -> bool {
        image.id == digest
            || image.digests(&self.reference).any(|one| one == digest)
            || self.cache.manifest(&self.name(), &image.id) == Some(digest)
    }

    /// Takes in what a manifest tells of the image's layers; answers whether it is of this image.
    pub(crate) fn learn(&mut self, manifest: &Manifest, image: &Local) -> bool {
        let Some((config, layers)) = assemble::named(&manifest.body) else {
            return manifest.digest == image.id;
        };
        let is = config == image.id || manifest.digest == image.id;
        if is && layers.len() == image.layers.len() {
            let name = self.name();
            for (id, layer) in image.layers.iter().zip(layers) {
                self.cache.learn_layer(&name, id, layer);
            }
            self.cache.learn_image(&name, &image.id, &manifest.digest);
        }
        is
    }

    /// Takes in what was sent.
    pub(crate) fn learn_sent<'a>(
        &mut self,
        image: &Local,
        digest: &str,
        layers: impl Iterator<Item = (&'a String, &'a Layer)>,
    ) {
        let name = self.name();
        for (id, layer) in layers {
            self.cache.learn_layer(&name, id, layer.clone());
        }
        self.cache.learn_image(&name, &image.id, digest);
    }

    /// Keeps what was learned for the next push.
    pub(crate) fn remember(&self) {
        self.cache.save();
    }

    /// A manifest of this image that the registry has, whatever names it.
    pub(crate) async fn manifest_of(&mut self, image: &Local) -> Result<Option<Typed>, Error> {
        let mut digests: Vec<String> = Vec::new();
        digests.extend(self.cache.manifest(&self.name(), &image.id).map(str::to_owned));
        digests.extend(image.digests(&self.reference).map(str::to_owned));
        digests.dedup();
        for digest in digests {
            if let Some(found) = self.repository.manifest(&digest).await?
                && self.learn(&found, image)
            {
                return Ok(Some(found.into()));
            }
        }
        Ok(None)
    }

    /// Whether this machine remembers the layer in the repository. The registry is not asked.
    pub(crate) fn remembers(&self, layer: &str) -> bool {
        self.cache.layer(&self.name(), layer).is_some()
    }

    /// The layers of the image that the repository has, or could have by mounting.
    pub(crate) async fn there(&self, image: &Local) -> Result<There, Error> {
        let ids: HashSet<&String> = image.layers.iter().collect();
        let found = stream::iter(ids)
            .map(|id| async move { Ok((id.clone(), self.layer(id).await?)) })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<Result<_, Error>>>()
            .await;
        let mut there = There { trust_sizes: true, ..There::default() };
        for layer in found {
            if let (id, Some(layer)) = layer? {
                there.layers.insert(id, layer);
            }
        }
        Ok(there)
    }

    async fn layer(&self, id: &str) -> Result<Option<Layer>, Error> {
        let name = self.name();
        if let Some(layer) = self.cache.layer(&name, id)
            && self.repository.blob_size(&layer.digest).await?.is_some()
        {
            return Ok(Some(layer.clone()));
        }
        // The one that is asked first is as good as any: blobs are shared in most registries.
        for (other, layer) in self.cache.elsewhere(&name, id).into_iter().take(2) {
            if self.repository.mount(&layer.digest, other).await? {
                return Ok(Some(layer.clone()));
            }
        }
        Ok(None)
    }

    /// When the image under this manifest is from, as far as its configuration tells.
    pub(crate) async fn created(
        &self,
        manifest: &Manifest,
    ) -> Result<Option<jiff::Timestamp>, Error> {
        let mut body = manifest.body.clone();
        if let Some(child) = assemble::first_child(&body) {
            match self.repository.manifest(&child).await? {
                Some(manifest) => body = manifest.body,
                None => return Ok(None),
            }
        }
        let Some((config, _)) = assemble::named(&body) else { return Ok(None) };
        let Some(config) = self.repository.blob(&config).await? else { return Ok(None) };
        let (label, created) = assemble::dates(&config);
        Ok(image::created(label.as_ref(), created.as_deref()))
    }

    /// Whether any of these layers is compressed by zstd.
    pub(crate) fn compression<'a>(layers: impl Iterator<Item = &'a Layer>) -> Compression {
        let mut layers = layers;
        if layers.any(|layer| layer.compression == Compression::Zstd) {
            Compression::Zstd
        } else {
            Compression::Gzip
        }
    }
}

/// The repository's name in the registry's own terms: Docker Hub's have a first part.
fn path(reference: &Reference) -> String {
    let full = reference.repository();
    full.strip_prefix(&format!("{}/", reference.registry())).unwrap_or(&full).to_owned()
}
