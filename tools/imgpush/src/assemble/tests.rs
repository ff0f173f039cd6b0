//! Manifests of both kinds of export.

use serde_json::{Value, json};

use super::*;

fn layer(compression: Compression) -> Layer {
    Layer::new(format!("sha256:{compression:?}"), 7, compression, None)
}

fn small(value: &Value) -> Small {
    let body = Bytes::from(value.to_string());
    Small { digest: digest(&body), body }
}

fn built(compressions: &[Compression]) -> Value {
    let ids: Vec<String> = (0..compressions.len()).map(|n| format!("d{n}")).collect();
    let config = small(&json!({"rootfs": {"type": "layers", "diff_ids": ids}}));
    let layers = ids.into_iter().zip(compressions.iter().map(|one| layer(*one))).collect();
    let assembled = build(config, &layers).unwrap();
    assert_eq!(assembled.root.digest, digest(&assembled.root.body));
    serde_json::from_slice(&assembled.root.body).unwrap()
}

#[test]
fn gzip_is_dockers_and_zstd_is_ocis() {
    let gzip = built(&[Compression::Gzip, Compression::Gzip]);
    assert_eq!(gzip["mediaType"], MediaType::DOCKER_MANIFEST);
    assert_eq!(gzip["config"]["mediaType"], MediaType::DOCKER_CONFIG);
    assert_eq!(gzip["layers"][1]["mediaType"], MediaType::DOCKER_GZIP);
    assert_eq!(gzip["layers"].as_array().unwrap().len(), 2);
    let mixed = built(&[Compression::Gzip, Compression::Zstd]);
    assert_eq!(mixed["mediaType"], MediaType::OCI_MANIFEST);
    assert_eq!(mixed["layers"][0]["mediaType"], MediaType::OCI_GZIP);
    assert_eq!(mixed["layers"][1]["mediaType"], MediaType::OCI_ZSTD);
}

#[test]
fn a_manifest_is_read_back() {
    let manifest = built(&[Compression::Gzip, Compression::Zstd]).to_string();
    let (_, layers) = named(manifest.as_bytes()).unwrap();
    let zstd = &layers[1];
    assert_eq!((zstd.digest.as_str(), zstd.size), ("sha256:Zstd", 7));
    assert_eq!(zstd.compression, Compression::Zstd);
    assert!(named(br#"{"manifests":[]}"#).is_none());
    assert!(named(b"x").is_none());
}

#[test]
fn a_layer_that_is_nowhere_is_an_error() {
    let config = small(&json!({"rootfs": {"diff_ids": ["d"]}}));
    assert!(build(config, &BTreeMap::new()).is_err());
}

/// An OCI layout with an index of two platforms; the layers are `l-amd64` and `l-arm64`.
fn layout() -> Documents {
    let mut documents = Documents::new();
    let put = |documents: &mut Documents, value: &Value| {
        let small = small(value);
        let hex = small.digest.trim_start_matches("sha256:").to_owned();
        documents.insert(format!("blobs/sha256/{hex}"), small.body.clone());
        json!({"mediaType": "m", "digest": small.digest, "size": small.body.len()})
    };
    let mut children = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = put(&mut documents, &json!({"architecture": architecture}));
        let layer = json!({"mediaType": MediaType::OCI_GZIP, "digest": format!("l-{architecture}"), "size": 1});
        let manifest =
            json!({"mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": [layer]});
        let mut child = put(&mut documents, &manifest);
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        children.push(child);
    }
    let root =
        put(&mut documents, &json!({"mediaType": MediaType::OCI_INDEX, "manifests": children}));
    documents.insert("index.json".into(), json!({"manifests": [root]}).to_string().into());
    documents
}

#[test]
fn of_an_index_one_platform_or_all_are_taken() {
    let one = as_it_is(&layout(), Some(("linux", "arm64")), |digest| digest == "l-arm64").unwrap();
    assert_eq!(one.root.media_type, MediaType::OCI_MANIFEST);
    assert_eq!((one.blobs.len(), one.manifests.len()), (1, 0));
    let all = as_it_is(&layout(), None, |_| true).unwrap();
    assert_eq!(all.root.media_type, MediaType::OCI_INDEX);
    assert_eq!((all.blobs.len(), all.manifests.len()), (2, 2));
}

#[test]
fn a_platform_that_is_not_there_is_told() {
    let error = as_it_is(&layout(), None, |digest| digest == "l-amd64").unwrap_err();
    assert!(matches!(error, Error::Export(PLATFORMS)), "{error}");
    assert!(as_it_is(&layout(), Some(("linux", "s390x")), |_| true).is_err());
    assert!(as_it_is(&Documents::new(), None, |_| true).is_err());
}
