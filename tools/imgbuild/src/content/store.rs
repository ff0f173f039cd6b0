//! A directory of blobs by their digests, laid out as in OCI's image layout: what docker's own client
//! keeps a local cache in, so that either can use the other's.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slipway_untrusted::file::open_regular;
use slipway_untrusted::limit::CACHE_FILE;

use crate::digest::Hasher;

const INDEX: &str = "index.json";
/// The annotation by which an entry of the index has a name.
const NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A directory of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The size of a blob, in bytes.
    pub(crate) fn size(&self, digest: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.blob(digest)?)?.len())
    }

    /// A blob, from this place in it on.
    pub(crate) fn read(
        &self,
        digest: &str,
        offset: u64,
        size: Option<u64>,
    ) -> io::Result<impl Read + use<>> {
        let mut file = open_regular(&self.blob(digest)?)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(size.unwrap_or(u64::MAX)))
    }

    /// Begins a blob that is there only once it is whole.
    pub(crate) fn begin(&self) -> io::Result<Ingest> {
        let directory = self.root.join("ingest");
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{:032x}", rand::random::<u128>()));
        let file = File::create_new(&path)?;
        Ok(Ingest { store: self.clone(), path, file, hasher: Hasher::default(), written: 0 })
    }

    /// The digest of what has this name.
    pub(crate) fn named(&self, name: &str) -> io::Result<Option<String>> {
        let Some(entries) =
            self.index()?.get_mut("manifests").and_then(Value::as_array_mut).map(std::mem::take)
        else {
            return Ok(None);
        };
        let found = entries.iter().find(|entry| entry["annotations"][NAME] == name);
        Ok(found.and_then(|entry| entry["digest"].as_str()).map(str::to_owned))
    }

    /// Gives a blob this name, which another may have had.
    pub(crate) fn name(&self, name: &str, mut descriptor: Value) -> io::Result<()> {
        let mut index = self.index()?;
        descriptor["annotations"][NAME] = json!(name);
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let others = entries.into_iter().filter(|entry| entry["annotations"][NAME] != name);
        index["manifests"] = others.chain([descriptor]).collect();
        // Whoever reads it meanwhile reads the old one or the new one.
        let whole = self.root.join(format!(".{INDEX}.{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&self.root)?;
        fs::write(&whole, index.to_string())?;
        fs::rename(&whole, self.root.join(INDEX))
    }

    fn index(&self) -> io::Result<Value> {
        let text = open_regular(&self.root.join(INDEX)).and_then(|file| CACHE_FILE.read(file));
        match text {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}))
            }
            Err(error) => Err(error),
        }
    }

    /// A digest comes from the engine and becomes a path.
    fn blob(&self, digest: &str) -> io::Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let hex =
            hex.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no SHA-256 digest"))?;
        Ok(self.root.join("blobs").join("sha256").join(hex))
    }
}

/// A blob that is being written. Dropped before it is whole, it is gone.
pub(crate) struct Ingest {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    pub(crate) written: u64,
}

impl Ingest {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Puts the blob where it belongs and answers its digest, which must be the expected one if one
    /// is.
    pub(crate) fn commit(mut self, expected: &str) -> io::Result<String> {
        let digest = format!("sha256:{}", std::mem::take(&mut self.hasher).hex());
        if !expected.is_empty() && digest != expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the blob is {digest}, not {expected}"),
            ));
        }
        let blob = self.store.blob(&digest)?;
        fs::create_dir_all(blob.parent().unwrap_or(Path::new(".")))?;
        fs::rename(&self.path, blob)?;
        Ok(digest)
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // It is not there any more when all went well.
        let _gone = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("cache"));
        (dir, store)
    }

    #[test]
    fn a_blob_is_there_when_it_is_whole() {
        let (_dir, store) = store();
        let mut ingest = store.begin().unwrap();
        ingest.write(b"hel").unwrap();
        ingest.write(b"lo").unwrap();
        let digest = ingest.commit("").unwrap();
        assert_eq!(store.size(&digest).unwrap(), 5);
        let mut text = String::new();
        store.read(&digest, 1, Some(3)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "ell");

        let mut broken = store.begin().unwrap();
        broken.write(b"other").unwrap();
        assert!(broken.commit(&digest).is_err());
        drop(store.begin().unwrap());
        assert_eq!(fs::read_dir(store.root.join("ingest")).unwrap().count(), 0);
        for bad in ["", "sha256:", "sha256:../../../etc/passwd", "sha512:00"] {
            assert_eq!(store.size(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn names_move() {
        let (_dir, store) = store();
        assert_eq!(store.named("latest").unwrap(), None);
        store.name("latest", json!({"digest": "sha256:1", "size": 1})).unwrap();
        store.name("other", json!({"digest": "sha256:2", "annotations": {"a": "b"}})).unwrap();
        store.name("latest", json!({"digest": "sha256:3"})).unwrap();
        assert_eq!(store.named("latest").unwrap().as_deref(), Some("sha256:3"));
        assert_eq!(store.named("other").unwrap().as_deref(), Some("sha256:2"));
        assert_eq!(store.index().unwrap()["manifests"].as_array().unwrap().len(), 2);
    }
}
