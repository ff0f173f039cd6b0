use std::io::Read as _;

use super::*;
use proptest::prelude::*;
use slipway_registry::digest;

const IMAGE: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000c0";

/// An archive of these entries.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut pieces = Vec::new();
    for (path, body) in entries {
        let size = body.len() as u64;
        pieces.extend([header(path, size).unwrap(), body.clone().into(), padding(size)]);
    }
    pieces.push(Bytes::from_static(&[0; 1024]));
    pieces.concat()
}

fn repacked(archive: &[u8], step: usize, missing: Missing<'_>) -> (Result<Vec<u8>, Error>, u32) {
    let (mut repack, mut tar, mut out) = (Repack::new(IMAGE, missing), Tar::new(), Vec::new());
    for piece in archive.chunks(step) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(event) = tar.next(&mut piece).unwrap() {
            out.extend(repack.take(event).unwrap());
        }
    }
    let end = repack.end();
    (end.map(|end| [out, end].concat().concat()), repack.layers)
}

fn entries(archive: &[u8]) -> HashMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        (path, body)
    });
    entries.collect()
}

fn blob(id: &str) -> String {
    format!("blobs/sha256/{}", id.trim_start_matches("sha256:"))
}

/// An export of the later layout.
fn oci(layers: &[Vec<u8>]) -> (Vec<String>, Vec<u8>) {
    let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let blobs: std::collections::BTreeMap<String, Vec<u8>> =
        ids.iter().zip(layers).map(|(id, layer)| (blob(id), layer.clone())).collect();
    let mut all: Vec<(String, Vec<u8>)> = blobs.into_iter().collect();
    let paths: Vec<String> = ids.iter().map(|id| blob(id)).collect();
    let manifest = serde_json::json!([{"Config": blob(IMAGE), "Layers": paths}]);
    all.push((blob(IMAGE), b"{}".to_vec()));
    all.push(("index.json".to_owned(), b"{}".to_vec()));
    all.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    (ids, archive(&all))
}

/// An export of the older layout, whose directories are named as Docker names them.
fn old(layers: &[Vec<u8>]) -> (Vec<String>, Vec<u8>) {
    let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let (mut all, mut paths) = (Vec::new(), Vec::new());
    let (mut chain, mut parent) = (String::new(), String::new());
    for (id, layer) in ids.iter().zip(layers) {
        chain =
            if chain.is_empty() { id.clone() } else { digest(format!("{chain} {id}").as_bytes()) };
        let (outer, inner) = if parent.is_empty() {
            (String::new(), String::new())
        } else {
            (format!(r#","parent":"sha256:{parent}""#), format!(r#""parent":"{parent}","#))
        };
        let named = format!(
            r#"{{"container_config":{{"Cmd":["\u003c"]}},"created":"1970-01-01T00:00:00Z","layer_id":"{chain}"{outer}}}"#
        );
        let directory = digest(named.as_bytes()).trim_start_matches("sha256:").to_owned();
        let document = format!(
            r#"{{"id":"{directory}",{inner}"created":"1970-01-01T00:00:00Z","container_config":{{"Cmd":["\u003c"]}},"os":"linux"}}"#
        );
        all.push((format!("{directory}/json"), document.into_bytes()));
        all.push((format!("{directory}/layer.tar"), layer.clone()));
        paths.push(format!("{directory}/layer.tar"));
        parent = directory;
    }
    let config = format!("{}.json", IMAGE.trim_start_matches("sha256:"));
    let manifest = serde_json::json!([{"Config": config, "Layers": paths}]);
    all.push((config, b"{}".to_vec()));
    all.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    (ids, archive(&all))
}

fn check(layers: &[Vec<u8>], have: usize, step: usize, old_layout: bool) {
    let (ids, export) = if old_layout { old(layers) } else { oci(layers) };
    let (archive, sent) = repacked(&export, step, Missing { layers: &ids, have });
    let there = entries(&archive.unwrap());
    let index: serde_json::Value = serde_json::from_slice(&there["manifest.json"]).unwrap();
    assert_eq!(there[index[0]["Config"].as_str().unwrap()], b"{}");
    for (at, layer) in layers.iter().enumerate() {
        let path = index[0]["Layers"][at].as_str().unwrap();
        assert_eq!(there.get(path), (at >= have).then_some(layer), "{at} of {have}");
    }
    let needless = there.len() - 2 - usize::try_from(sent).unwrap();
    assert_eq!(needless, 0);
    if have == layers.len() {
        assert_eq!(sent, 0);
    }
}

#[test]
fn one_layer_that_stands_twice_is_sent_if_it_is_missing_once() {
    let layers = [b"a".to_vec(), b"b".to_vec(), b"a".to_vec()];
    for have in 0..=3 {
        check(&layers, have, 100, false);
        check(&layers, have, 100, true);
    }
}

#[test]
fn an_export_without_a_missing_layer_is_none() {
    let (ids, export) = oci(&[b"a".to_vec()]);
    let more = [ids[0].clone(), digest(b"b")];
    let (archive, _) = repacked(&export, 512, Missing { layers: &more, have: 1 });
    assert!(matches!(archive, Err(Error::Export(_))));
}

#[test]
fn a_directory_that_nothing_fits_is_no_known_layer() {
    let layers = [digest(b"a")];
    assert_eq!(v1::layer("00", br#"{"created":"x"}"#, &layers), None);
    assert_eq!(v1::layer("00", b"[]", &layers), None);
}

proptest! {
    #[test]
    fn what_is_missing_arrives_and_nothing_else(
        layers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1500), 1..6),
        have in 0usize..7,
        step in 1usize..3000,
        old_layout: bool,
    ) {
        check(&layers, have.min(layers.len()), step, old_layout);
    }
}
