//! The layers of an engine on this machine, read where the engine keeps them.
//!
//! An export costs the engine a copy of the whole image, made in one thread, before its first byte.
//! Whoever may read the engine's directory, which is root's, needs none. The classic image store keeps (`layer/filestore.go`,
//! `image/fs.go` and `daemon/graphdriver/overlay2` of moby)
//!
//! - the configuration of an image at `image/overlay2/imagedb/content/sha256/ID`,
//! - what is known of a layer at `image/overlay2/layerdb/sha256/CHAIN`, where CHAIN is the digest of
//!   the layer and all below it: `tar-split.json.gz`, and `cache-id`,
//! - its files at `overlay2/CACHE-ID/diff`.
//!
//! Nothing of this is promised, so nothing of it is believed: what was read has to have the digests
//! that the image names, and whatever fails leaves the push to an export.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use slipway_engine::Engine;
use slipway_registry::digest;
use slipway_untrusted::limit::{LAYER_PIECE, TAR_JSON};
use tokio::sync::mpsc;

use crate::{export, tar_split};

/// Blocks that are read ahead.
const AHEAD: usize = 2;

/// The engine's directory.
#[derive(Debug)]
pub(crate) struct Store {
    root: OwnedFd,
}

impl Store {
    /// The store of this engine that holds this image, if it is here and ours to read. Another
    /// engine's directory may be at the same place, as in a container with an engine of its own.
    pub(crate) async fn of(engine: &Engine, image: &str) -> Option<Self> {
        // Layers hold files that only root reads; and what is behind a port may be anywhere.
        if !rustix::process::geteuid().is_root() || !engine.endpoint().starts_with("unix://") {
            return None;
        }
        let info = engine.info().await.ok()?;
        if info.driver != "overlay2" || info.containerd_store() {
            return None;
        }
        Self::open(&info.docker_root_dir).ok().filter(|store| store.config(image).is_ok())
    }

    /// A directory that others could have made up is none.
    fn open(path: &str) -> io::Result<Self> {
        let root = openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
        let found = fstat(&root)?;
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & 0o022 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { root })
    }

    /// The configuration of an image.
    pub(crate) fn config(&self, id: &str) -> io::Result<Bytes> {
        let path = format!("image/overlay2/imagedb/content/sha256/{}", hex(id)?);
        let body = TAR_JSON.read(File::from(self.beneath(&path, FILE)?))?;
        if digest(&body) == id { Ok(body.into()) } else { Err(mistaken()) }
    }

    /// The archive of a layer, by its chain; it comes in blocks.
    pub(crate) fn layer(&self, chain: &str) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
        let known = format!("image/overlay2/layerdb/sha256/{}", hex(chain)?);
        let list = File::from(self.beneath(&format!("{known}/tar-split.json.gz"), FILE)?);
        let cache_id = File::from(self.beneath(&format!("{known}/cache-id"), FILE)?);
        let cache_id = LAYER_PIECE.read(cache_id)?;
        let cache_id = String::from_utf8(cache_id).map_err(io::Error::other)?;
        let files = self.beneath(&format!("overlay2/{}/diff", cache_id.trim()), DIRECTORY)?;
        let (sender, blocks) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let list = BufReader::new(GzDecoder::new(BufReader::new(list)));
            let take = |block| sender.blocking_send(Ok(block)).is_ok();
            if let Err(error) = tar_split::assemble(list, &files, take) {
                // Whoever reads no more need not know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(blocks)
    }

    /// Opens what is in the directory, and not behind a link.
    fn beneath(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let found = openat2(self.root.as_fd(), path, flags, Mode::empty(), inside)
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        let is = FileType::from_raw_mode(fstat(&found)?.st_mode);
        let wanted = if flags == DIRECTORY { FileType::Directory } else { FileType::RegularFile };
        if is == wanted { Ok(found) } else { Err(mistaken()) }
    }
}

const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

fn hex(digest: &str) -> io::Result<&str> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| export::is_hex(hex));
    hex.ok_or_else(mistaken)
}

fn mistaken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what is known of the engine's store")
}

#[cfg(test)]
pub(crate) mod tests;
