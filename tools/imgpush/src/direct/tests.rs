//! Exports of all layouts, from an engine that answers by script to a registry in memory.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;
use slipway_registry::{Options, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::{assemble, store};

/// Blobs and manifests by their digests.
type Stored = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A registry on loopback that takes all and wants no login. Uploads are told apart by their number.
fn registry() -> (Repository, Stored) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stored = Stored::default();
    let (uploads, shared) = (Stored::default(), Arc::clone(&stored));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (uploads, stored) = (Arc::clone(&uploads), Arc::clone(&shared));
            std::thread::spawn(move || serve(stream, &uploads, &stored));
        }
    });
    let host = format!("127.0.0.1:{port}");
    (Repository::new(&host, "web", Options::default()).unwrap(), stored)
}

fn serve(mut stream: std::net::TcpStream, uploads: &Stored, stored: &Stored) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        let mut words = head.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (mut uploads, mut stored) = (uploads.lock().unwrap(), stored.lock().unwrap());
        let answer = match method {
            "POST" => {
                let next = format!("/u/{}", uploads.len());
                uploads.insert(next.clone(), Vec::new());
                format!("202 X\r\nLocation: {next}\r\n")
            }
            "PATCH" => {
                uploads.get_mut(path)?.extend_from_slice(&body);
                "202 X\r\n".to_owned()
            }
            "PUT" => {
                let mut blob = std::mem::take(uploads.get_mut(path)?);
                blob.extend_from_slice(&body);
                let named = query.strip_prefix("digest=")?.replace("%3A", ":");
                assert_eq!(digest(&blob), named);
                stored.insert(named, blob);
                "201 X\r\n".to_owned()
            }
            _ if stored.contains_key(path.rsplit('/').next()?) => "200 X\r\n".to_owned(),
            _ => "404 X\r\n".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// An engine whose every export is these bytes.
async fn engine(export: Vec<u8>) -> Engine {
    let export = Arc::new(export);
    let open = move || {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let export = Arc::clone(&export);
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            let ping =
                b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n".to_vec();
            let answer = if head.starts_with(b"GET /_ping") {
                ping
            } else {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", export.len());
                [head.as_bytes(), &export].concat()
            };
            // An export that is refused is not read to its end.
            let _ = theirs.write_all(&answer).await;
        });
        async move { Ok::<_, std::io::Error>(ours) }
    };
    Engine::connect_over("test", open).await.unwrap()
}

fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A layer: an archive with one file of so many bytes.
fn layer(size: usize) -> Vec<u8> {
    let data = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
    archive(&[("file".to_owned(), data)])
}

fn hex(data: &[u8]) -> String {
    digest(data).trim_start_matches("sha256:").to_owned()
}

fn gunzipped(member: &[u8], size: usize) -> Vec<u8> {
    let mut data = vec![0; size];
    libdeflater::Decompressor::new().gzip_decompress(member, &mut data).unwrap();
    data
}

async fn sent(export: Vec<u8>, layers: &[String], there: &There) -> (Result<Sent, Error>, Stored) {
    let (repository, stored) = registry();
    let engine = engine(export).await;

    let what =
        What { image: "sha256:i", layers, repository: &repository, compression: Compression::Gzip };
    let mut sent = Sent::default();
    let result = send(&engine, what, there, &mut sent, |_| {}).await;
    (result.map(|()| sent), stored)
}

#[tokio::test]
async fn layers_of_every_layout_are_compressed_and_known_by_their_ids() {
    let (small, large) = (layer(10), layer(1_500_000));
    let ids = [digest(&small), digest(&large)];
    let document = |path: &str, value| (path.to_owned(), value);
    let config = json!({"rootfs": {"diff_ids": ids}}).to_string().into_bytes();
    for names in [
        ["1/layer.tar".to_owned(), "2/layer.tar".to_owned()],
        [format!("{}.tar", hex(&small)), format!("{}.tar", hex(&large))],
        [format!("blobs/sha256/{}", hex(&small)), format!("blobs/sha256/{}", hex(&large))],
    ] {
        let [one, two] = names;
        let list = json!([{"Config": "c.json", "Layers": [one, two]}]).to_string().into_bytes();
        let export = archive(&[
            (one, small.clone()),
            (two, large.clone()),
            document("c.json", config.clone()),
            document("manifest.json", list),
        ]);
        let (sent, stored) = sent(export, &ids, &There::default()).await;
        let sent = sent.unwrap();
        let stored = stored.lock().unwrap();
        for (id, plain) in ids.iter().zip([&small, &large]) {
            let layer = &sent.layers[id];
            assert_eq!(layer.tar_size, Some(plain.len() as u64));
            let blob = &stored[&layer.digest];
            assert_eq!(blob.len() as u64, layer.size);
            // One member; that several read as one is tested with real engines.
            if plain.len() < crate::compress::BLOCK {
                assert_eq!(&gunzipped(blob, plain.len()), plain);
            }
        }
        let config = assemble::config(&sent.documents).unwrap();
        assert!(assemble::build(config, &sent.layers).is_ok());
    }
}

#[tokio::test]
async fn what_is_there_is_left_out() {
    let (known, new) = (layer(10), layer(3000));
    let ids = [digest(&known), digest(&new)];
    let entry = Layer::new("sha256:b".into(), 7, Compression::Gzip, Some(known.len() as u64));
    let there = There { layers: [(ids[0].clone(), entry)].into(), trust_sizes: true };
    let export = |layer: &[u8]| {
        archive(&[("1/layer.tar".into(), known.clone()), ("2/layer.tar".into(), layer.to_vec())])
    };
    let (result, _) = sent(export(&new), &ids, &there).await;
    let result = result.unwrap();
    assert_eq!(result.layers.keys().collect::<Vec<_>>(), [&ids[1]]);
    assert!(!result.missed);
    // One of the same size that is not there is noticed.
    let mut twin = known.clone();
    twin[520] ^= 1;
    let ids = [ids[0].clone(), digest(&twin)];
    let (result, _) = sent(export(&twin), &ids, &there).await;
    assert!(result.unwrap().missed);
}

#[tokio::test]
async fn compressed_blobs_of_containerds_store_go_as_they_are() {
    let mut gzip = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut blob = vec![0; 5000];
    let size = gzip.gzip_compress(&layer(3000), &mut blob).unwrap();
    blob.truncate(size);
    let config = br#"{"architecture":"amd64"}"#.to_vec();
    let named = |data: &[u8]| json!({"mediaType": "m", "digest": digest(data), "size": data.len()});
    let manifest =
        json!({"config": named(&config), "layers": [named(&blob)]}).to_string().into_bytes();
    let index = json!({"manifests": [named(&manifest)]}).to_string().into_bytes();
    let path = |data: &[u8]| format!("blobs/sha256/{}", hex(data));
    let export = archive(&[
        (path(&blob), blob.clone()),
        (path(&config), config.clone()),
        (path(&manifest), manifest.clone()),
        ("index.json".into(), index),
    ]);
    let (sent, stored) = sent(export, &[], &There::default()).await;
    let sent = sent.unwrap();
    assert_eq!(stored.lock().unwrap()[&digest(&blob)], blob);
    let there = assemble::Blobs { same: &sent.blobs, compressed: &sent.layers };
    let root = assemble::as_it_is(&sent.documents, None, &there).unwrap().root;
    assert_eq!(root.digest, digest(&manifest));
}

#[tokio::test]
async fn what_is_not_the_image_is_refused() {
    let data = layer(100);
    let whole = archive(&[("1/layer.tar".into(), data.clone())]);
    let (result, _) = sent(whole.clone(), &["sha256:other".into()], &There::default()).await;
    assert!(matches!(result, Err(Error::Export(_))));
    let cut = whole[..1024].to_vec();
    let (result, stored) = sent(cut, &[digest(&data)], &There::default()).await;
    assert!(matches!(result, Err(Error::Export("it was cut off"))));
    assert!(stored.lock().unwrap().is_empty(), "an upload without its end is not ended");
    let lie = archive(&[(format!("{}.tar", "0".repeat(64)), data.clone())]);
    let named = format!("sha256:{}", "0".repeat(64));
    let (result, _) = sent(lie, &[named], &There::default()).await;
    assert!(matches!(result, Err(Error::Export(_))));
}

#[tokio::test]
async fn a_store_that_holds_something_else_is_not_believed() {
    let config = "{}";
    let (_root, store) = store::tests::kept(config);
    let (repository, stored) = registry();
    let layers = [format!("sha256:{}", store::tests::CHAIN)];
    let what = What {
        image: &digest(config.as_bytes()),
        layers: &layers,
        repository: &repository,
        compression: Compression::Gzip,
    };
    let mut sent = Sent::default();
    let error = read(&store, what, &There::default(), &mut sent, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable(_)), "{error}");
    assert!(sent.layers.is_empty() && stored.lock().unwrap().is_empty());
}
