//! HTTP servers whose every answer is the test's: a registry that keeps what it is sent, an engine
//! with one image, and whatever else a test makes of them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;
use slipway_registry::digest;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
pub(crate) enum Reply {
    /// All of it, and the connection goes on.
    Whole(Vec<u8>),
    /// This, and then the second part again and again until the client has gone.
    Endless(Vec<u8>, Vec<u8>),
    /// This, and then nothing: the connection stays open until the client has gone.
    Silence(Vec<u8>),
}

/// An answer with a length.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Reply::Whole([head.as_bytes(), b"\r\n", body].concat())
}

/// A server that ends with the test's process, and what it was asked.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// On this address of the loopback network.
    pub(crate) fn at(
        address: &str,
        reply: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let host = format!("{address}:{}", listener.local_addr().unwrap().port());
        let server = Self { host: host.clone(), seen: Arc::default() };
        let (seen, reply) = (Arc::clone(&server.seen), Arc::new(reply));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, reply, host) = (Arc::clone(&seen), Arc::clone(&reply), host.clone());
                std::thread::spawn(move || {
                    let writer: TcpStream = client.try_clone().ok()?;
                    serve(client, writer, |request| {
                        seen.lock().unwrap().push(request.clone());
                        reply(request, &host)
                    })
                });
            }
        });
        server
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers requests until the client has gone.
fn serve(
    reader: impl Read,
    mut writer: impl Write,
    reply: impl Fn(&Request) -> Reply,
) -> Option<()> {
    let mut reader = BufReader::new(reader);
    loop {
        let request = request(&mut reader)?;
        match reply(&request) {
            Reply::Whole(bytes) => writer.write_all(&bytes).ok()?,
            Reply::Endless(bytes, more) => {
                writer.write_all(&bytes).ok()?;
                loop {
                    writer.write_all(&more).ok()?;
                }
            }
            Reply::Silence(bytes) => {
                writer.write_all(&bytes).ok()?;
                return reader.read(&mut [0]).ok().map(drop);
            }
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split(' ');
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

/// A registry that does what it should.
#[derive(Default)]
pub(crate) struct Good {
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    manifests: Mutex<HashMap<String, Vec<u8>>>,
    upload: Mutex<Vec<u8>>,
}

impl Good {
    pub(crate) fn reply(&self, request: &Request, host: &str) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        let body = &request.body;
        let upload = format!("http://{host}/v2/web/blobs/uploads/1");
        match (request.method.as_str(), path) {
            ("HEAD" | "GET", path) if path.contains("/manifests/") => {
                match self.manifests.lock().unwrap().get(last) {
                    Some(found) => {
                        let headers = [
                            ("Docker-Content-Digest", digest(found)),
                            (
                                "Content-Type",
                                "application/vnd.docker.distribution.manifest.v2+json".into(),
                            ),
                        ];
                        let headers =
                            headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                        answer(200, &headers, if request.method == "HEAD" { &[] } else { found })
                    }
                    None => answer(404, &[], b""),
                }
            }
            ("PUT", path) if path.contains("/manifests/") => {
                let mut manifests = self.manifests.lock().unwrap();
                manifests.insert(last.to_owned(), body.clone());
                manifests.insert(digest(body), body.clone());
                answer(201, &[("OCI-Subject", "yes")], b"")
            }
            ("POST", _) => {
                self.upload.lock().unwrap().clear();
                answer(202, &[("Location", &upload)], b"")
            }
            ("PATCH", _) => {
                self.upload.lock().unwrap().extend_from_slice(body);
                answer(202, &[("Location", &upload)], b"")
            }
            ("PUT", _) => {
                let digest = query.rsplit("digest=").next().unwrap_or_default().replace("%3A", ":");
                let mut blob = std::mem::take(&mut *self.upload.lock().unwrap());
                blob.extend_from_slice(body);
                self.blobs.lock().unwrap().insert(digest, blob);
                answer(201, &[], b"")
            }
            ("HEAD" | "GET", path) if path.contains("/blobs/") => {
                match self.blobs.lock().unwrap().get(last) {
                    Some(_) if request.method == "HEAD" => answer(200, &[], b""),
                    Some(found) => answer(200, &[], found),
                    None => answer(404, &[], b""),
                }
            }
            _ => answer(404, &[], b""),
        }
    }
}

/// An engine with one small image.
pub(crate) struct Engine {
    directory: tempfile::TempDir,
    pub(crate) image: String,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let layer = vec![0; 1024];
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}});
        let config = config.to_string();
        let image = digest(config.as_bytes());
        let (hex, layer_hex) = (image[7..].to_owned(), digest(&layer)[7..].to_owned());
        let manifest = json!([{"Config": format!("{hex}.json"), "RepoTags": null,
            "Layers": [format!("{layer_hex}.tar")]}]);
        let mut export = Vec::new();
        for (name, body) in [
            (format!("{layer_hex}.tar"), layer.clone()),
            (format!("{hex}.json"), config.into_bytes()),
            ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ] {
            export.extend_from_slice(&header(&name, body.len()));
            export.extend_from_slice(&body);
            export.resize(export.len().next_multiple_of(512), 0);
        }
        export.extend_from_slice(&[0; 1024]);
        let inspected = json!({"Id": image, "Size": 1024, "Os": "linux", "Architecture": "amd64",
            "RootFS": {"Type": "layers", "Layers": [digest(&layer)]}});
        let inspected = inspected.to_string();

        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let (inspected, export) = (Arc::new(inspected), Arc::new(export));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (inspected, export) = (Arc::clone(&inspected), Arc::clone(&export));
                std::thread::spawn(move || {
                    let writer = client.try_clone().ok()?;
                    serve(client, writer, |request| match request.path.as_str() {
                        "/_ping" => answer(200, &[("Api-Version", "1.41")], b"OK"),
                        "/v1.41/info" => answer(200, &[], br#"{"Driver":"vfs"}"#),
                        path if path.ends_with("/json") => answer(200, &[], inspected.as_bytes()),
                        path if path.ends_with("/get") => answer(200, &[], &export),
                        _ => answer(404, &[], br#"{"message":"no such thing"}"#),
                    })
                });
            }
        });
        Self { directory, image }
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    pub(crate) fn place(&self) -> &Path {
        self.directory.path()
    }
}

/// The header of a regular file in a tar archive.
fn header(name: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header
}
