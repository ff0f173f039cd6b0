use super::*;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) const CHAIN: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// A store of one image and one layer, as the overlay2 driver keeps them.
pub(crate) fn kept(config: &str) -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let id = digest(config.as_bytes()).replace("sha256:", "");
    write(&format!("image/overlay2/imagedb/content/sha256/{id}"), config.as_bytes());
    let pieces = format!(
        "{{\"type\":2,\"payload\":\"{}\"}}\n{{\"type\":1,\"name\":\"file\",\"size\":4}}\n",
        STANDARD.encode("head")
    );
    let mut list = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    list.write_all(pieces.as_bytes()).unwrap();
    let layer = format!("image/overlay2/layerdb/sha256/{CHAIN}");
    write(&format!("{layer}/tar-split.json.gz"), &list.finish().unwrap());
    write(&format!("{layer}/cache-id"), b"c1");
    write("overlay2/c1/diff/file", b"data");
    let store = Store::open(root.path().to_str().unwrap()).unwrap();
    (root, store)
}

async fn read(store: &Store, chain: &str) -> io::Result<Vec<u8>> {
    let mut blocks = store.layer(&format!("sha256:{chain}"))?;
    let mut whole = Vec::new();
    while let Some(block) = blocks.recv().await {
        whole.extend_from_slice(&block?);
    }
    Ok(whole)
}

#[tokio::test]
async fn an_image_is_read_as_it_is_kept() {
    let config = r#"{"rootfs":{}}"#;
    let (_root, store) = kept(config);
    assert_eq!(store.config(&digest(config.as_bytes())).unwrap(), config);
    assert_eq!(read(&store, CHAIN).await.unwrap(), b"headdata");
}

#[tokio::test]
async fn what_is_not_as_it_should_be_is_not_taken() {
    let (root, store) = kept("{}");
    let other = digest(b"other");
    let hex = other.trim_start_matches("sha256:");
    assert_eq!(store.config(&other).unwrap_err().kind(), io::ErrorKind::NotFound);
    let path = root.path().join("image/overlay2/imagedb/content/sha256").join(hex);
    fs::write(&path, "not this").unwrap();
    assert_eq!(store.config(&other).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(store.config("sha256:../../../repositories.json").is_err());
    assert!(read(&store, hex).await.is_err());
    // A cache id that leads elsewhere, a link, a file that is gone.
    let known = root.path().join("image/overlay2/layerdb/sha256").join(CHAIN);
    fs::write(known.join("cache-id"), "../../..").unwrap();
    assert!(read(&store, CHAIN).await.is_err());
    fs::write(known.join("cache-id"), "c2").unwrap();
    std::os::unix::fs::symlink("c1", root.path().join("overlay2/c2")).unwrap();
    assert!(read(&store, CHAIN).await.is_err());
    fs::write(known.join("cache-id"), "c1").unwrap();
    fs::remove_file(root.path().join("overlay2/c1/diff/file")).unwrap();
    assert!(read(&store, CHAIN).await.unwrap_err().to_string().contains("file"));
}

#[test]
fn a_directory_that_others_may_write_is_none() {
    let root = tempfile::tempdir().unwrap();
    let open = |path: &Path| Store::open(path.to_str().unwrap());
    assert!(open(root.path()).is_ok());
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(open(root.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}
