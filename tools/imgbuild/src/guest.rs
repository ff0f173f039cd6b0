//! What a build owes to the machine that it is a guest on: to look for room first, and to leave no
//! more than it may.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use slipway_engine::{Endpoint, Engine, Info};
use slipway_shell::{Ui, size};

use crate::error::Error;
use crate::flags;
use crate::options::Options;

/// Its limits.
#[derive(Debug)]
pub(crate) struct Guest {
    /// What has to be free, in bytes.
    floor: u64,
    /// What the builder's cache may hold, in bytes.
    keep: Option<u64>,
}

impl Guest {
    pub(crate) fn read(options: &Options) -> Result<Self, Error> {
        let keep = options.keep_cache.as_ref();
        Ok(Self {
            floor: flags::size("--min-free", &options.min_free)?,
            keep: keep.map(|text| flags::size("--keep-cache", text)).transpose()?,
        })
    }

    /// Says how much is free where the engine keeps its images, and refuses to begin with too
    /// little. Where the engine's disk cannot be seen from here, that is said.
    pub(crate) fn look_for_room(&self, info: &Info, ui: &Ui) -> Result<(), Error> {
        let root = &info.docker_root_dir;
        let Some(free) = seen_from_here(info).and_then(|path| free(&path)) else {
            ui.say(
                "the engine's disk cannot be seen from here: how much of it is free is not known",
            );
            return Ok(());
        };
        if free < self.floor {
            return Err(Error::DiskLow {
                free: size(free),
                wanted: size(self.floor),
                root: root.clone(),
            });
        }
        ui.say(&format!("{} free where the engine keeps its images ({root})", size(free)));
        Ok(())
    }

    /// Takes the least recently used of the builder's cache away until no more is left than may be,
    /// and says what went. A build does not fail for it.
    pub(crate) async fn clear_away(&self, engine: &Engine, ui: &Ui) {
        let Some(keep) = self.keep else { return };
        let kept = size(keep);
        match engine.prune_builder(keep).await {
            Ok(pruned) => ui.say(&format!(
                "the builder's cache: {} taken away to keep {kept}",
                size(pruned.space_reclaimed)
            )),
            Err(error) => {
                ui.warn(&format!("the builder's cache could not be cut to {kept}: {error}"));
            }
        }
    }
}

/// The engine's directory as a path of this process: through the process behind the socket, which
/// may have a root of its own, where this user may look there; else as it is, on the same machine.
fn seen_from_here(info: &Info) -> Option<PathBuf> {
    let Ok(Endpoint::Unix(socket)) = Endpoint::from_env() else { return None };
    let root = Path::new(&info.docker_root_dir);
    let inside = root.strip_prefix("/").ok()?;
    let peer = UnixStream::connect(socket).ok();
    let peer = peer.and_then(|stream| rustix::net::sockopt::socket_peercred(&stream).ok());
    if let Some(peer) = peer {
        let process = peer.pid.as_raw_nonzero();
        let path = Path::new("/proc").join(process.to_string()).join("root").join(inside);
        if path.is_dir() {
            return Some(path);
        }
    }
    let here = rustix::system::uname();
    (here.nodename().to_bytes() == info.name.as_bytes() && root.is_dir()).then(|| root.to_owned())
}

fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}
