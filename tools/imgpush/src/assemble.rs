//! From what was sent to the manifests that name it. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_registry::{MediaType, digest};

use crate::Error;
use crate::cache::Layer;
use crate::image::CREATED;
use crate::options::Compression;

/// What an export says whose image has more platforms than the engine.
pub(crate) const PLATFORMS: &str = "it does not hold all platforms that it names";

/// The documents of an export by their paths.
pub(crate) type Documents = HashMap<String, Bytes>;

/// A blob that is held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Small {
    pub(crate) digest: String,
    pub(crate) body: Bytes,
}

/// A manifest, and what of its blobs is not sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) blobs: Vec<Small>,
    /// Manifests that the last one names, by their digests.
    pub(crate) manifests: Vec<Typed>,
    /// What tags name.
    pub(crate) root: Typed,
}

/// A manifest and its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) body: Bytes,
}

impl From<slipway_registry::Manifest> for Typed {
    fn from(manifest: slipway_registry::Manifest) -> Self {
        let slipway_registry::Manifest { digest, media_type, body } = manifest;
        Self { digest, media_type, body }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    size: u64,
    digest: String,
    #[serde(default, skip_serializing)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// What a manifest or an index says, as far as it is followed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// The ids of the layers that a configuration lists.
pub(crate) fn diff_ids(config: &[u8]) -> Option<Vec<String>> {
    Some(serde_json::from_slice::<Config>(config).ok()?.rootfs.diff_ids)
}

/// The configuration and the layers that a manifest names; none if it is an index, or no manifest.
pub(crate) fn named(manifest: &[u8]) -> Option<(String, Vec<Layer>)> {
    let raw: Raw = serde_json::from_slice(manifest).ok()?;
    let layers = raw.layers.into_iter().map(|layer| {
        let zstd = layer.media_type.ends_with("zstd");
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        Layer::new(layer.digest, layer.size, compression, None)
    });
    Some((raw.config?.digest, layers.collect()))
}

/// The first of an index's manifests that is an image's; none if it is no index.
pub(crate) fn first_child(index: &[u8]) -> Option<String> {
    let raw: Raw = serde_json::from_slice(index).ok()?;
    let real = |child: &Descriptor| {
        child.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    };
    raw.manifests?.into_iter().find(real).map(|child| child.digest)
}

/// When an image is from, as its configuration says: by its label, and by itself.
pub(crate) fn dates(config: &[u8]) -> (Option<String>, Option<String>) {
    #[derive(Default, Deserialize)]
    struct Dated {
        created: Option<String>,
        config: Option<Labelled>,
    }
    #[derive(Default, Deserialize)]
    struct Labelled {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let dated: Dated = serde_json::from_slice(config).unwrap_or_default();
    let labels = dated.config.and_then(|config| config.labels);
    (labels.and_then(|mut labels| labels.remove(CREATED)), dated.created)
}

/// The configuration of the exported image.
pub(crate) fn config(documents: &Documents) -> Result<Small, Error> {
    let list = documents.get("manifest.json").ok_or(Error::Export("it has no manifest.json"))?;
    let list: Vec<Listed> = serde_json::from_slice(list)
        .map_err(|_| Error::Export("its manifest.json is of no known form"))?;
    let listed = list.first().ok_or(Error::Export("its manifest.json names no image"))?;
    let body = documents.get(&listed.config).ok_or(Error::Export("it has no configuration"))?;
    Ok(Small { digest: digest(body), body: body.clone() })
}

/// The manifest of a configuration whose layers are at the registry.
///
/// It is one of Docker's where all layers are gzip, as the engine itself would push it, since every
/// reader takes that; only OCI's has a name for zstd.
pub(crate) fn build(config: Small, layers: &BTreeMap<String, Layer>) -> Result<Assembled, Error> {
    let ids = diff_ids(&config.body).ok_or(Error::Export("its configuration lists no layers"))?;
    let layers = ids.iter().map(|id| layers.get(id)).collect::<Option<Vec<_>>>();
    let layers = layers.ok_or(Error::Export("it lacks a layer that its configuration lists"))?;
    let oci = layers.iter().any(|layer| layer.compression == Compression::Zstd);
    let layer_type = |compression| match (oci, compression) {
        (false, _) => MediaType::DOCKER_GZIP,
        (true, Compression::Gzip) => MediaType::OCI_GZIP,
        (true, Compression::Zstd) => MediaType::OCI_ZSTD,
    };
    let (manifest_type, config_type) = if oci {
        (MediaType::OCI_MANIFEST, MediaType::OCI_CONFIG)
    } else {
        (MediaType::DOCKER_MANIFEST, MediaType::DOCKER_CONFIG)
    };
    let descriptor = |media_type: &str, size: u64, digest: &str| Descriptor {
        media_type: media_type.to_owned(),
        size,
        digest: digest.to_owned(),
        platform: None,
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: manifest_type,
        config: descriptor(config_type, config.body.len() as u64, &config.digest),
        layers: layers
            .iter()
            .map(|layer| descriptor(layer_type(layer.compression), layer.size, &layer.digest))
            .collect(),
    };
    let body = serde_json::to_vec(&manifest).map_err(|_| Error::Export("it has no manifest"))?;
    let root = typed(manifest_type.to_owned(), body.into());
    Ok(Assembled { blobs: vec![config], manifests: Vec::new(), root })
}

fn typed(media_type: String, body: Bytes) -> Typed {
    Typed { digest: digest(&body), media_type, body }
}

/// The manifests of an export that holds them and their blobs as they were pulled or built:
/// containerd's store. `wanted` is the one platform that is meant, or none for all of them.
///
/// Layers that it has unpacked, as those of images that were loaded, were compressed on their way:
/// manifests that name them are written anew.
pub(crate) fn as_it_is(
    documents: &Documents,
    wanted: Option<(&str, &str)>,
    there: &Blobs<'_>,
) -> Result<Assembled, Error> {
    let index = documents.get("index.json").ok_or(Error::Export("it has no index.json"))?;
    let index: Raw = parse(index)?;
    let first = index.manifests.as_ref().and_then(|manifests| manifests.first());
    let first = first.ok_or(Error::Export("its index.json names no image"))?;
    let root = document(documents, first)?;
    let raw: Raw = parse(&root.body)?;
    let Some(children) = &raw.manifests else {
        let blobs = blobs(documents, &raw, there)?;
        return Ok(Assembled { blobs, manifests: Vec::new(), root: there.anew(root)? });
    };
    let mut assembled = Assembled { blobs: Vec::new(), manifests: Vec::new(), root };
    for child in children {
        let fits = |(os, architecture)| {
            let platform = child.platform.as_ref();
            platform.is_some_and(|is| is.os == os && is.architecture == architecture)
        };
        if wanted.is_some_and(|wanted| !fits(wanted)) {
            continue;
        }
        let manifest = document(documents, child).map_err(|_| missing())?;
        let raw: Raw = parse(&manifest.body)?;
        let mut blobs = blobs(documents, &raw, there)?;
        let manifest = there.anew(manifest)?;
        if wanted.is_some() {
            return Ok(Assembled { blobs, manifests: Vec::new(), root: manifest });
        }
        assembled.root = renamed(assembled.root, &child.digest, &manifest)?;
        assembled.blobs.append(&mut blobs);
        assembled.manifests.push(manifest);
    }
    if wanted.is_some() {
        return Err(Error::Export("it does not hold the image of its own platform"));
    }
    Ok(assembled)
}

/// What is at the registry of an export that holds blobs.
pub(crate) struct Blobs<'a> {
    /// Blobs that are there as they are in the export.
    pub(crate) same: &'a BTreeMap<String, u64>,
    /// Layers that are unpacked in the export and compressed there, by their ids.
    pub(crate) compressed: &'a BTreeMap<String, Layer>,
}

impl Blobs<'_> {
    /// The layer in whose place another blob is there.
    fn replaced(&self, digest: &str) -> Option<&Layer> {
        self.compressed.get(digest).filter(|_| !self.same.contains_key(digest))
    }

    /// The manifest with the names of what is there.
    fn anew(&self, manifest: Typed) -> Result<Typed, Error> {
        let mut value = value(&manifest.body)?;
        let mut changed = false;
        let layers = value.get_mut("layers").and_then(Value::as_array_mut);
        for layer in layers.into_iter().flatten() {
            let digest = layer["digest"].as_str().unwrap_or_default();
            let Some(there) = self.replaced(digest) else { continue };
            let docker = layer["mediaType"].as_str().is_some_and(|is| is.contains(".docker."));
            let media_type = match (docker, there.compression) {
                (true, Compression::Gzip) => MediaType::DOCKER_GZIP,
                (false, Compression::Gzip) => MediaType::OCI_GZIP,
                (_, Compression::Zstd) => MediaType::OCI_ZSTD,
            };
            layer["mediaType"] = media_type.into();
            layer["digest"] = there.digest.clone().into();
            layer["size"] = there.size.into();
            changed = true;
        }
        Ok(if changed { typed(manifest.media_type, value.to_string().into()) } else { manifest })
    }
}

/// The index with this manifest in the place of the one of that digest.
fn renamed(index: Typed, digest: &str, manifest: &Typed) -> Result<Typed, Error> {
    if manifest.digest == digest {
        return Ok(index);
    }
    let mut value = value(&index.body)?;
    let children = value.get_mut("manifests").and_then(Value::as_array_mut);
    for child in children.into_iter().flatten() {
        if child["digest"] == digest {
            child["digest"] = manifest.digest.clone().into();
            child["size"] = manifest.body.len().into();
        }
    }
    Ok(typed(index.media_type, value.to_string().into()))
}

fn value(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Export("a manifest is of no known form"))
}

fn missing() -> Error {
    Error::Export(PLATFORMS)
}

fn parse(body: &[u8]) -> Result<Raw, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Export("a manifest is of no known form"))
}

fn document(documents: &Documents, of: &Descriptor) -> Result<Typed, Error> {
    let hex = of.digest.trim_start_matches("sha256:");
    let body = documents.get(&format!("blobs/sha256/{hex}"));
    let body = body.ok_or(Error::Export("it lacks a manifest that it names"))?;
    let media_type = parse(body)?.media_type.unwrap_or_else(|| of.media_type.clone());
    Ok(typed(media_type, body.clone()))
}

/// The small blobs of a manifest; an error if a large one is neither sent nor there.
fn blobs(documents: &Documents, manifest: &Raw, there: &Blobs<'_>) -> Result<Vec<Small>, Error> {
    let mut small = Vec::new();
    for blob in manifest.config.iter().chain(&manifest.layers) {
        let hex = blob.digest.trim_start_matches("sha256:");
        match documents.get(&format!("blobs/sha256/{hex}")) {
            Some(body) => small.push(Small { digest: blob.digest.clone(), body: body.clone() }),
            None if there.same.contains_key(&blob.digest) => {}
            None if there.replaced(&blob.digest).is_some() => {}
            None => return Err(missing()),
        }
    }
    Ok(small)
}

#[cfg(test)]
mod tests;
