//! What this machine remembers of registries: which blob holds a layer, which manifest an image.
//!
//! A blob's digest is that of the compressed layer, so it cannot be told from the layer itself.
//! Everything here is a hint: each entry that is used is asked of the registry first, so that a file
//! that is lost, old or wrong costs time only. One file a registry, replaced whole; two processes
//! that write at once keep what both have learned.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use slipway_shell::{cache_directory, create_private, replace_private};
use slipway_untrusted::limit::CACHE_FILE;

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
    path: Option<PathBuf>,
    known: Known,
    learned: Known,
}

impl Cache {
    /// Reads what is known of a registry; nothing, if there is no such file.
    pub(crate) fn open(registry: &str) -> Self {
        Self::at(cache_directory("push").map(|directory| directory.join(file_name(registry))))
    }

    fn at(path: Option<PathBuf>) -> Self {
        let known = path.as_deref().and_then(read).unwrap_or_default();
        Self { path, known, learned: Known::default() }
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
        if let Some(path) = &self.path
            && !nothing
        {
            let _ = write(path, &self.learned);
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn file_name(registry: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    let name: String =
        registry.chars().map(|letter| if safe(letter) { letter } else { '_' }).collect();
    format!("{name}.json")
}

fn read(path: &Path) -> Option<Known> {
    let known = CACHE_FILE.read(File::open(path).ok()?).ok()?;
    let known: Known = serde_json::from_slice(&known).ok()?;
    (known.version == VERSION).then_some(known)
}

fn write(path: &Path, learned: &Known) -> std::io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    create_private(directory)?;
    let mut lock = OpenOptions::new();
    lock.write(true).create(true).truncate(true).mode(0o600);
    let lock = lock.open(path.with_extension("lock"))?;
    // Whoever else is at it is done at once; one that hangs must not hold up a push.
    if lock.try_lock().is_err() {
        std::thread::sleep(Duration::from_millis(20));
        lock.try_lock()?;
    }
    let mut known = read(path).unwrap_or_default();
    merge(&mut known, learned);
    replace_private(path, &serde_json::to_vec(&known)?)
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
    use std::fs;

    fn layer(digest: &str) -> Layer {
        Layer::new(digest.to_owned(), 7, Compression::Gzip, None)
    }

    #[test]
    fn two_that_write_at_once_keep_what_both_learned() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/r.json");
        let (mut one, mut other) = (Cache::at(Some(path.clone())), Cache::at(Some(path.clone())));
        one.learn_layer("web", "d1", layer("b1"));
        other.learn_layer("shop", "d1", layer("b2"));
        other.learn_image("shop", "i", "m");
        one.save();
        other.save();
        let read = Cache::at(Some(path.clone()));
        assert_eq!(read.layer("web", "d1").unwrap().digest, "b1");
        assert_eq!(read.layer("web", "d2"), None);
        assert_eq!(read.manifest("shop", "i"), Some("m"));
        assert_eq!(read.elsewhere("web", "d1")[0].0, "shop");
        let mode = fs::metadata(&path).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
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
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        for text in ["", "{", "[]", r#"{"version":9}"#, r#"{"version":1,"layers":{"a":{"b":{}}}}"#]
        {
            fs::write(&path, text).unwrap();
            let mut cache = Cache::at(Some(path.clone()));
            assert_eq!(cache.layer("a", "b"), None, "{text}");
            cache.learn_layer("a", "b", layer("c"));
            cache.save();
            assert!(Cache::at(Some(path.clone())).layer("a", "b").is_some(), "{text}");
        }
        let mut nowhere = Cache::at(None);
        nowhere.learn_image("a", "b", "c");
        nowhere.save();
        assert_eq!(nowhere.manifest("a", "b"), Some("c"), "known for this run at least");
    }

    #[test]
    fn a_registrys_name_is_a_files() {
        assert_eq!(file_name("r.example:5000"), "r.example_5000.json");
        assert_eq!(file_name("../x"), ".._x.json");
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
