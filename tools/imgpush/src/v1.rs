//! Which layer a directory of an old export is of. Pure.
//!
//! Docker up to 24 names the directory of a layer by an id of its first image format, and tells the
//! layer's own id nowhere before its data. But that id is the digest of the directory's own document
//! together with the chain of the layers up to this one (`image/v1`, `CreateID`): so each layer is
//! tried, and the right one proves itself. A layer that nothing fits is of no known origin, and is
//! sent.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use slipway_registry::digest;
use slipway_untrusted::limit::TAR_HEADER;

/// The position of the layer whose directory this is, by the directory's document.
pub(crate) fn layer(directory: &str, document: &[u8], layers: &[String]) -> Option<usize> {
    // It is hashed twice a layer; one that is longer is no command with its environment.
    TAR_HEADER.admit(document.len() as u64).ok()?;
    let mut document: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(document).ok()?;
    document.remove("id");
    if let Some(parent) = document.remove("parent") {
        let parent: String = serde_json::from_str(parent.get()).ok()?;
        document.insert("parent".to_owned(), text(&format!("sha256:{parent}"))?);
    }
    // The engine adds the system's name to the document after it has made the id.
    let mut without = document.clone();
    without.remove("os");
    let wanted = format!("sha256:{directory}");
    chains(layers).iter().position(|chain| {
        [&document, &without]
            .into_iter()
            .any(|one| id(one.clone(), chain).as_ref() == Some(&wanted))
    })
}

fn id(mut document: BTreeMap<String, Box<RawValue>>, chain: &str) -> Option<String> {
    document.insert("layer_id".to_owned(), text(chain)?);
    Some(digest(&serde_json::to_vec(&document).ok()?))
}

fn text(text: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(text).ok()
}

/// The id of each layer together with those below (OCI image specification, "Layer ChainID").
pub(crate) fn chains(layers: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::with_capacity(layers.len());
    for layer in layers {
        let chain = match chains.last() {
            Some(below) => digest(format!("{below} {layer}").as_bytes()),
            None => layer.clone(),
        };
        chains.push(chain);
    }
    chains
}
