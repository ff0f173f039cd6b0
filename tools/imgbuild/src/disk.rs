//! How much room there is where the engine keeps its images.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use slipway_engine::{Endpoint, Info};
use slipway_shell::{Ui, size};

use crate::error::Error;

/// Says how much is free, and refuses to begin with less than `floor` bytes. Where the engine's
/// disk cannot be seen from here, that is said.
pub(crate) fn check(info: &Info, floor: u64, ui: &Ui) -> Result<(), Error> {
    let root = &info.docker_root_dir;
    let Some(free) = seen_from_here(info).and_then(|path| free(&path)) else {
        ui.say("the engine's disk cannot be seen from here: how much of it is free is not known");
        return Ok(());
    };
    if free < floor {
        return Err(Error::DiskLow { free: size(free), wanted: size(floor), root: root.clone() });
    }
    ui.say(&format!("{} free where the engine keeps its images ({root})", size(free)));
    Ok(())
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
