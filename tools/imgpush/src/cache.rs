//! What this machine remembers of registries: which blob holds a layer, which manifest an image.
//!
//! A blob's digest is that of the compressed layer, so it cannot be told from the layer itself.
//! Everything here is a hint: each entry that is used is asked of the registry first, so that a file
//! that is lost, old or wrong costs time only. One file a registry, replaced whole; two processes
//! that write at once keep what both have learned.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use slipway_shell::{Ui, cache};
use slipway_untrusted::limit::CACHE_FILE;
use slipway_untrusted::{PrivateDirectory, PrivateError};

use crate::options::Compression;

/// A file of another version is taken for none.
const VERSION: u32 = 1;

/// No more entries of each kind are kept; the ones that were used last stay.
const ENTRIES_MAX: usize = 1000;

/// Where a layer is in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// The digest of the compressed layer.
    pub(crate) digest: String,
    /// Its size in bytes, compressed.
    pub(crate) size: u64,
    /// How it is compressed.
    pub(crate) compression: Compression,
    /// Its size as a tar archive, if it was seen as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tar_size: Option<u64>,
    #[serde(default)]
    used: u64,
}

impl Layer {
    pub(crate) fn new(
        digest: String,
        size: u64,
        compression: Compression,
        tar_size: Option<u64>,
    ) -> Self {
        Self { digest, size, compression, tar_size, used: now() }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Image {
    manifest: String,
    #[serde(default)]
    used: u64,
}

/// What was learned: by repository, and there by the layer's or the image's id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    version: u32,
    #[serde(default)]
    layers: BTreeMap<String, BTreeMap<String, Layer>>,
    #[serde(default)]
    images: BTreeMap<String, BTreeMap<String, Image>>,
}

/// The memory of one registry.
#[derive(Debug)]
pub(crate) struct Cache {
    file: Option<CacheFile>,
    known: Known,
    learned: Known,
}

/// The file of one registry.
#[derive(Debug)]
struct CacheFile {
    directory: PrivateDirectory,
    name: String,
}

impl Cache {
    /// Reads what is known of a registry; nothing, if there is no such file.
    pub(crate) fn open(registry: &str, ui: &Ui) -> Self {
        match cache("push") {
            Ok(directory) => Self::at(Some(CacheFile { directory, name: name(registry) })),
            Err(error) => {
                if error.is_unsafe() {
                    ui.warn(&format!("what is learned of the registry is not kept: {error}"));
                }
                Self::at(None)
            }
        }
    }

    fn at(file: Option<CacheFile>) -> Self {
        let known = file.as_ref().and_then(read).unwrap_or_default();
        Self { file, known, learned: Known::default() }
    }

    /// The blob that holds a layer in this repository.
    pub(crate) fn layer(&self, repository: &str, diff_id: &str) -> Option<&Layer> {
        self.learned
            .layers
            .get(repository)
            .and_then(|layers| layers.get(diff_id))
            .or_else(|| self.known.layers.get(repository)?.get(diff_id))
    }

    /// Blobs that hold a layer in other repositories of the registry.
    pub(crate) fn elsewhere(&self, repository: &str, diff_id: &str) -> Vec<(&str, &Layer)> {
        let others = self.known.layers.iter().filter(|(name, _)| *name != repository);
        others.filter_map(|(name, layers)| Some((name.as_str(), layers.get(diff_id)?))).collect()
    }

    /// The manifest of an image in this repository.
    pub(crate) fn manifest(&self, repository: &str, image: &str) -> Option<&str> {
        let learned = self.learned.images.get(repository).and_then(|images| images.get(image));
        let image = learned.or_else(|| self.known.images.get(repository)?.get(image))?;
        Some(&image.manifest)
    }

    /// Whether a manifest is known as one of another image: it names one for ever.
    pub(crate) fn is_of_other(&self, repository: &str, manifest: &str, image: &str) -> bool {
        let of = |known: &Known| {
            known.images.get(repository).is_some_and(|images| {
                images.iter().any(|(id, known)| id != image && known.manifest == manifest)
            })
        };
        of(&self.learned) || of(&self.known)
    }

    /// Remembers the blob of a layer.
    pub(crate) fn learn_layer(&mut self, repository: &str, diff_id: &str, mut layer: Layer) {
        layer.used = now();
        if layer.tar_size.is_none()
            && let Some(before) = self.layer(repository, diff_id)
        {
            layer.tar_size = before.tar_size;
        }
        let layers = self.learned.layers.entry(repository.to_owned()).or_default();
        layers.insert(diff_id.to_owned(), layer);
    }

    /// Remembers the manifest of an image.
    pub(crate) fn learn_image(&mut self, repository: &str, image: &str, manifest: &str) {
        let entry = Image { manifest: manifest.to_owned(), used: now() };
        let images = self.learned.images.entry(repository.to_owned()).or_default();
        images.insert(image.to_owned(), entry);
    }

    /// Writes what was learned beside what others have written meanwhile. That it cannot is no
    /// failure of the push.
    pub(crate) fn save(&self) {
        let nothing = self.learned.layers.is_empty() && self.learned.images.is_empty();
        if let Some(file) = &self.file
            && !nothing
        {
            let _ = write(file, &self.learned);
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// What a registry's files begin with.
fn name(registry: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    registry.chars().map(|letter| if safe(letter) { letter } else { '_' }).collect()
}

fn read(file: &CacheFile) -> Option<Known> {
    let text = file.directory.read(&format!("{}.json", file.name), &CACHE_FILE).ok()??;
    let known: Known = serde_json::from_slice(&text).ok()?;
    (known.version == VERSION).then_some(known)
}

fn write(file: &CacheFile, learned: &Known) -> Result<(), PrivateError> {
    let lock = file.directory.lock_file(&format!("{}.lock", file.name))?;
    // Whoever else is at it is done at once; one that hangs must not hold up a push.
    if lock.try_lock().is_err() {
        std::thread::sleep(Duration::from_millis(20));
        if lock.try_lock().is_err() {
            return Ok(());
        }
    }
    let mut known = read(file).unwrap_or_default();
    merge(&mut known, learned);
    let text = serde_json::to_vec(&known).unwrap_or_default();
    file.directory.replace(&format!("{}.json", file.name), &text)
}

/// Takes what was learned in, and drops what was used longest ago beyond the limits.
fn merge(known: &mut Known, learned: &Known) {
    known.version = VERSION;
    for (repository, layers) in &learned.layers {
        known.layers.entry(repository.clone()).or_default().extend(layers.clone());
    }
    for (repository, images) in &learned.images {
        known.images.entry(repository.clone()).or_default().extend(images.clone());
    }
    bound(&mut known.layers, |layer| layer.used);
    bound(&mut known.images, |image| image.used);
}

fn bound<T>(entries: &mut BTreeMap<String, BTreeMap<String, T>>, used: impl Fn(&T) -> u64) {
    let mut times: Vec<u64> = entries.values().flat_map(|of| of.values().map(&used)).collect();
    if times.len() > ENTRIES_MAX {
        times.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = times[ENTRIES_MAX - 1];
        // Of those that were used at the same moment as the last one that stays, some have to go.
        let mut room = ENTRIES_MAX - times.iter().filter(|time| **time > oldest).count();
        for of in entries.values_mut() {
            of.retain(|_, entry| {
                let last = used(entry) == oldest && room > 0;
                room -= usize::from(last);
                used(entry) > oldest || last
            });
        }
    }
    entries.retain(|_, of| !of.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn layer(digest: &str) -> Layer {
        Layer::new(digest.to_owned(), 7, Compression::Gzip, None)
    }

    fn at(base: &Path) -> Cache {
        let directory = PrivateDirectory::open(base, &["push"]).unwrap();
        Cache::at(Some(CacheFile { directory, name: "r".to_owned() }))
    }

    #[test]
    fn two_that_write_at_once_keep_what_both_learned() {
        let base = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (at(base.path()), at(base.path()));
        one.learn_layer("web", "d1", layer("b1"));
        other.learn_layer("shop", "d1", layer("b2"));
        other.learn_image("shop", "i", "m");
        one.save();
        other.save();
        let read = at(base.path());
        assert_eq!(read.layer("web", "d1").unwrap().digest, "b1");
        assert_eq!(read.layer("web", "d2"), None);
        assert_eq!(read.manifest("shop", "i"), Some("m"));
        assert_eq!(read.elsewhere("web", "d1")[0].0, "shop");
    }

    #[test]
    fn a_manifest_that_is_known_is_of_its_own_image_only() {
        let mut cache = Cache::at(None);
        cache.learn_image("shop/web", "sha256:a", "sha256:1");
        assert!(cache.is_of_other("shop/web", "sha256:1", "sha256:b"));
        assert!(!cache.is_of_other("shop/web", "sha256:1", "sha256:a"));
        assert!(!cache.is_of_other("shop/web", "sha256:2", "sha256:b"));
        assert!(!cache.is_of_other("shop/api", "sha256:1", "sha256:b"));
    }

    #[test]
    fn a_broken_file_is_none() {
        let base = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::open(base.path(), &["push"]).unwrap();
        for text in ["", "{", "[]", r#"{"version":9}"#, r#"{"version":1,"layers":{"a":{"b":{}}}}"#]
        {
            directory.replace("r.json", text.as_bytes()).unwrap();
            let mut cache = at(base.path());
            assert_eq!(cache.layer("a", "b"), None, "{text}");
            cache.learn_layer("a", "b", layer("c"));
            cache.save();
            assert!(at(base.path()).layer("a", "b").is_some(), "{text}");
        }
        let mut nowhere = Cache::at(None);
        nowhere.learn_image("a", "b", "c");
        nowhere.save();
        assert_eq!(nowhere.manifest("a", "b"), Some("c"), "known for this run at least");
    }

    #[test]
    fn a_registrys_name_is_a_files() {
        assert_eq!(name("r.example:5000"), "r.example_5000");
        assert_eq!(name("../x"), ".._x");
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_what_was_used_last_stays(times in proptest::collection::vec(0u64..50, 0..2500)) {
            let mut entries: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
            for (n, time) in times.iter().enumerate() {
                entries.entry(format!("r{}", n % 3)).or_default().insert(n.to_string(), *time);
            }
            bound(&mut entries, |time| *time);
            let left: Vec<u64> = entries.values().flat_map(|of| of.values().copied()).collect();
            prop_assert_eq!(left.len(), times.len().min(ENTRIES_MAX));
            let newest = times.iter().max();
            prop_assert_eq!(left.iter().max(), newest);
        }
    }
}
