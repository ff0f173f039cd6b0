//! Parsers of what engines and registries send, for the fuzzer of the project.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use bytes::Bytes;

use crate::assemble::{self, Blobs, Documents};
use crate::tar::{Event, Tar};
use crate::{attach, export, tar_split};

/// A name and what takes arbitrary bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] =
    &[("tar", tar), ("tar_split", tar_split), ("manifests", manifests), ("attachment", attachment)];

/// No more comes out of an archive than went in, however it is cut.
fn tar(data: &[u8]) {
    let read = |piece: usize| {
        let (mut tar, mut out, mut entries) = (Tar::new(), 0, Vec::new());
        for piece in data.chunks(piece) {
            let mut input = Bytes::copy_from_slice(piece);
            loop {
                match tar.next(&mut input) {
                    Ok(Some(Event::Entry { path, size, file })) => {
                        let _ = export::entry(&path, size);
                        entries.push((path, size, file));
                    }
                    Ok(Some(Event::Data(data))) => out += data.len(),
                    Ok(Some(Event::End)) => {}
                    Ok(None) => break,
                    Err(_) => return (out, entries, false),
                }
            }
        }
        (out, entries, true)
    };
    let (whole, cut) = (read(data.len().max(1)), read(7));
    assert!(whole.0 <= data.len());
    assert_eq!(whole, cut);
}

/// Pieces of a layer: nothing outside of its directory is read, and no more than the list says.
fn tar_split(data: &[u8]) {
    let Ok(root) = File::open("/var/empty").or_else(|_| File::open("/proc/self/fdinfo")) else {
        return;
    };
    let (root, mut out) = (OwnedFd::from(root), 0);
    let _ = tar_split::assemble(data, &root, |block| {
        out += block.len();
        out < 1 << 24
    });
    assert!(out <= data.len().max(1 << 24));
}

/// Manifests, indexes and configurations, as documents of an export that holds them under the names
/// that they may have.
fn manifests(data: &[u8]) {
    let _ = (assemble::named(data), assemble::first_child(data), assemble::diff_ids(data));
    let _ = (assemble::dates(data), export::blob(data, data.len() as u64));
    let (mut documents, mut rest) = (Documents::new(), data);
    for name in ["index.json", "manifest.json", "config.json"] {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (body, more) = rest.split_at(end);
        rest = more.get(1..).unwrap_or_default();
        let body = Bytes::copy_from_slice(body);
        let hex = slipway_registry::digest(&body);
        let hex = hex.trim_start_matches("sha256:");
        documents.insert(format!("blobs/sha256/{hex}"), body.clone());
        documents.insert(name.to_owned(), body);
    }
    if let Ok(config) = assemble::config(&documents) {
        let _ = assemble::build(config, &BTreeMap::new());
    }
    let (same, compressed) = (BTreeMap::new(), BTreeMap::new());
    let there = Blobs { same: &same, compressed: &compressed };
    let _ = assemble::as_it_is(&documents, None, &there);
    let _ = assemble::as_it_is(&documents, Some(("linux", "amd64")), &there);
}

fn attachment(data: &[u8]) {
    let _ = attach::kind_of(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(data in prop::collection::vec(any::<u8>(), 0..1200), text in "[ -~\n]{0,80}") {
            for (_, target) in TARGETS {
                target(&data);
                target(text.as_bytes());
            }
        }
    }
}
