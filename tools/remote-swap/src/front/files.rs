//! The front's two files as an archive. Pure.

use std::io::Read;

use super::{DIRECTORY, Files, USER};

/// The file that says all but which slot serves. Its first line holds the token.
const CONFIG: (&str, u32) = ("haproxy.cfg", 0o640);

/// The file that says which slot serves.
const MAP: (&str, u32) = ("live.map", 0o644);

/// Both files, root's: the front can read them and nothing else.
pub(super) fn archive(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for ((name, mode), text) in [(CONFIG, &files.config), (MAP, &files.map)] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(u64::from(USER));
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes())?;
    }
    builder.into_inner()
}

/// Reads both files out of an archive of their directory; none if they are not there.
pub(crate) fn read_archive(bytes: &[u8]) -> Option<Files> {
    let directory = DIRECTORY.trim_start_matches('/');
    let (mut config, mut map) = (None, None);
    for entry in tar::Archive::new(bytes).entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path().ok()?.into_owned();
        let name = path.strip_prefix(directory).unwrap_or(&path).to_str()?;
        let place = match name {
            name if name == CONFIG.0 => &mut config,
            name if name == MAP.0 => &mut map,
            _ => continue,
        };
        if !entry.header().entry_type().is_file() {
            return None;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).ok()?;
        *place = Some(text);
    }
    Some(Files { config: config?, map: map? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = Files { config: "global\n".into(), map: "live blue\n".into() };
        let packed = archive(&files).unwrap();
        assert!(read_archive(&packed) == Some(files));
        assert!(read_archive(b"not an archive").is_none());
    }

    #[test]
    fn only_files_in_their_place_count() {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind) in [
            ("slipway/haproxy.cfg", tar::EntryType::Regular),
            ("slipway/other/live.map", tar::EntryType::Regular),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(1);
            builder.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        assert!(read_archive(&builder.into_inner().unwrap()).is_none());
    }
}
