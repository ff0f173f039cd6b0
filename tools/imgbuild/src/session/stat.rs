//! What a file is, in the terms of the transfer.

use std::os::unix::ffi::OsStringExt as _;

use super::packets::Stat;
use crate::context::{Entry, Kind};

// The bits of Go's `fs.FileMode` beside the permissions.
const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_NAMED_PIPE: u32 = 1 << 25;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHAR_DEVICE: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// The entry in the terms of the transfer. Owner and group are root's, as
/// docker has it, so that an image does not depend on who builds it.
pub(crate) fn stat(entry: Entry) -> Stat {
    let mut mode = entry.mode & 0o777;
    for (bit, go) in [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)] {
        if entry.mode & bit != 0 {
            mode |= go;
        }
    }
    let mut stat = Stat {
        path: entry.path.into_os_string().into_vec(),
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        mod_time: entry.modified_ns,
        ..Stat::default()
    };
    mode |= match entry.kind {
        Kind::File => 0,
        Kind::Directory => GO_DIR,
        Kind::Fifo => GO_NAMED_PIPE,
        Kind::Link(target) => {
            stat.linkname = target.into_vec();
            GO_SYMLINK
        }
        Kind::Device { block, number } => {
            stat.devmajor = rustix::fs::major(number).into();
            stat.devminor = rustix::fs::minor(number).into();
            if block { GO_DEVICE } else { GO_DEVICE | GO_CHAR_DEVICE }
        }
    };
    stat.mode = mode;
    stat
}

/// Whether it tells of a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    stat.mode & GO_DIR != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        let entry = |kind, mode| Entry { path: "x".into(), kind, mode, size: 1, modified_ns: 5 };
        assert_eq!(stat(entry(Kind::Directory, 0o1755)).mode, GO_DIR | GO_STICKY | 0o755);
        assert_eq!(stat(entry(Kind::File, 0o6711)).mode, GO_SETUID | GO_SETGID | 0o711);
        let link = stat(entry(Kind::Link("y".into()), 0o777));
        assert_eq!((link.mode, link.linkname.as_slice()), (GO_SYMLINK | 0o777, &b"y"[..]));
        let device =
            stat(entry(Kind::Device { block: false, number: rustix::fs::makedev(1, 3) }, 0o666));
        assert_eq!((device.devmajor, device.devminor), (1, 3));
    }
}
