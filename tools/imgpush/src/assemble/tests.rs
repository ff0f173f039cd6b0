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
        let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("l-{architecture}"), "size": 1});
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

/// As if these blobs had been sent as they are, and these layers compressed.
fn sent(same: &[&str], compressed: &[&str]) -> (BTreeMap<String, u64>, BTreeMap<String, Layer>) {
    let same = same.iter().map(|digest| ((*digest).to_owned(), 1)).collect();
    let layer = |id: &&str| {
        let digest = format!("gzip of {id}");
        ((*id).to_owned(), Layer::new(digest, 7, Compression::Gzip, None))
    };
    (same, compressed.iter().map(layer).collect())
}

fn taken(
    wanted: Option<(&str, &str)>,
    same: &[&str],
    compressed: &[&str],
) -> Result<Assembled, Error> {
    let (same, compressed) = sent(same, compressed);
    as_it_is(&layout(), wanted, &Blobs { same: &same, compressed: &compressed })
}

#[test]
fn of_an_index_one_platform_or_all_are_taken() {
    let one = taken(Some(("linux", "arm64")), &["l-arm64"], &[]).unwrap();
    assert_eq!(one.root.media_type, MediaType::OCI_MANIFEST);
    assert_eq!((one.blobs.len(), one.manifests.len()), (1, 0));
    let all = taken(None, &["l-arm64", "l-amd64"], &[]).unwrap();
    assert_eq!(all.root.media_type, MediaType::OCI_INDEX);
    assert_eq!((all.blobs.len(), all.manifests.len()), (2, 2));
    assert!(layout().values().any(|body| *body == all.root.body), "it is as it was");
}

#[test]
fn a_layer_that_was_compressed_on_its_way_is_named_as_it_is_there() {
    let one = taken(Some(("linux", "arm64")), &[], &["l-arm64"]).unwrap();
    let manifest: Value = serde_json::from_slice(&one.root.body).unwrap();
    let layer = json!({"mediaType": MediaType::OCI_GZIP, "digest": "gzip of l-arm64", "size": 7});
    assert_eq!(manifest["layers"], json!([layer]));
    assert_eq!(one.root.digest, digest(&one.root.body));

    let all = taken(None, &["l-amd64"], &["l-arm64"]).unwrap();
    let index: Value = serde_json::from_slice(&all.root.body).unwrap();
    for (child, manifest) in index["manifests"].as_array().unwrap().iter().zip(&all.manifests) {
        assert_eq!(child["digest"], manifest.digest);
        assert_eq!(child["size"], manifest.body.len());
    }
    assert_eq!(all.manifests[1], one.root);
}

#[test]
fn a_platform_that_is_not_there_is_told() {
    let error = taken(None, &["l-amd64"], &[]).unwrap_err();
    assert!(matches!(error, Error::Export(PLATFORMS)), "{error}");
    assert!(taken(Some(("linux", "s390x")), &["l-amd64", "l-arm64"], &[]).is_err());
    let (same, compressed) = sent(&[], &[]);
    let nothing = Blobs { same: &same, compressed: &compressed };
    assert!(as_it_is(&Documents::new(), None, &nothing).is_err());
}

#[test]
fn a_manifest_in_the_form_of_a_list_is_no_panic() {
    let body = Bytes::from_static(br#"["m", null, [], null]"#);
    let digest = digest(&body);
    let index = json!({"manifests": [{"mediaType": "m", "size": 1, "digest": digest}]});
    let mut documents = Documents::new();
    documents.insert("index.json".to_owned(), index.to_string().into());
    documents.insert(format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")), body);
    let (same, compressed) = (BTreeMap::new(), BTreeMap::new());
    let _ = as_it_is(&documents, None, &Blobs { same: &same, compressed: &compressed });
}
