//! What the tests of imgpush share: a front of the registry, a proxy to it, images, pushes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use slipway_tests::lab::{Run, run};
use slipway_tests::process::{as_root, with_input};
use slipway_tests::{binary, from_run_sh, project, tool};

/// The front of the lab's registry; ends with the test.
pub(crate) struct Front {
    child: Child,
    pub(crate) host: String,
}

impl Front {
    pub(crate) fn with(rule: &str) -> Self {
        let address = from_run_sh("LAB_HOST_ADDR");
        let mut child = Command::new("python3")
            .arg(project().join("tests/lab/registry-front.py"))
            .args([&address, &from_run_sh("LAB_REGISTRY"), &from_run_sh("LAB_REGISTRY_ADDR")])
            .args([&from_run_sh("LAB_CA"), rule])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, host: format!("{address}:{}", port.trim()) }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy on loopback through which the lab's registry is reached by its name; it wants a login.
pub(crate) struct Proxy {
    url: String,
}

/// `user:p@ss`, as a proxy's client sends it.
const LOGIN: &str = "Proxy-Authorization: Basic dXNlcjpwQHNz";

impl Proxy {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = format!("{}:443", from_run_sh("LAB_REGISTRY_ADDR"));
        let wanted = format!("CONNECT {}:443 ", from_run_sh("LAB_REGISTRY"));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (registry, wanted) = (registry.clone(), wanted.clone());
                std::thread::spawn(move || tunnel(client, &registry, &wanted));
            }
        });
        Self { url: format!("http://user:p%40ss@127.0.0.1:{port}") }
    }
}

/// Any failure ends the connection, which the other side then tells.
fn tunnel(mut client: TcpStream, registry: &str, wanted: &str) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    if !head.starts_with(wanted) || !head.contains(LOGIN) {
        return client.write_all(b"HTTP/1.1 407 No\r\n\r\n").ok();
    }
    let mut server = TcpStream::connect(registry).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both).ok()
}

/// The directory of the lab's engine, seen from here.
pub(crate) fn engine_directory() -> String {
    format!("{}/ci/root/var/lib/docker", from_run_sh("LAB_DIR"))
}

/// Pushes that reach the registry themselves, with a memory of their own.
pub(crate) struct Site {
    proxy: Proxy,
    memory: tempfile::TempDir,
    place: Option<String>,
}

impl Site {
    /// With an engine whose directory is not to be seen.
    pub(crate) fn new() -> Self {
        Self { proxy: Proxy::new(), memory: tempfile::tempdir().unwrap(), place: None }
    }

    /// As root on the engine's own machine, where its directory is at the place that it names.
    pub(crate) fn beside() -> Self {
        Self { place: Some(engine_directory()), ..Self::new() }
    }

    /// As root where another engine's directory is at that place.
    pub(crate) fn beside_another() -> Self {
        Self { place: Some(engine_directory().replace("/ci/", "/app/")), ..Self::new() }
    }

    /// Where imgpush remembers what it knows of the lab's registry.
    pub(crate) fn memory(&self) -> std::path::PathBuf {
        let name = format!("{}.json", from_run_sh("LAB_REGISTRY"));
        self.memory.path().join("slipway/push").join(name)
    }

    /// imgpush with the way to the registry in its environment.
    pub(crate) fn tool(&self) -> Command {
        let [proxy, authority] = self.environment();
        let memory = self.memory.path().to_str().unwrap().to_owned();
        let engine = ("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
        let environment = [engine, proxy, authority, ("XDG_CACHE_HOME", memory)];
        if let Some(directory) = &self.place {
            let place = "mount -t tmpfs none /var/lib && mkdir /var/lib/docker \
                && mount --bind \"$0\" /var/lib/docker && exec \"$@\"";
            let imgpush = binary("imgpush");
            let imgpush = ["sh", "-c", place, directory, imgpush.to_str().unwrap()];
            let apart = ["unshare", "--mount", "--propagation", "private"];
            return as_root(&[&apart[..], &imgpush[..]].concat(), &environment);
        }
        let mut command = tool("imgpush");
        command.envs(environment);
        command
    }

    pub(crate) fn push(&self, id: &str, repository: &str, args: &[&str]) -> Run {
        let document = document(id, repository, &from_run_sh("LAB_REGISTRY"), &token());
        Run::of(&with_input(self.tool().args(args), &document.to_string()))
    }

    /// imgpush where imgbuild found the image in the registry and built nothing.
    pub(crate) fn push_found(&self, found: &str, repository: &str, args: &[&str]) -> Run {
        let mut document = document("", repository, &from_run_sh("LAB_REGISTRY"), &token());
        document["image"].as_object_mut().unwrap().remove("id");
        document["image"]["pushed_reference"] = found.into();
        Run::of(&with_input(self.tool().args(args), &document.to_string()))
    }

    /// A program that speaks to the registry by itself, such as skopeo.
    pub(crate) fn other(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment());
        command
    }

    /// The way to the registry.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("HTTPS_PROXY", self.proxy.url.clone()), ("SSL_CERT_FILE", from_run_sh("LAB_CA"))]
    }
}

pub(crate) fn token() -> String {
    format!("{}-auth-token", &from_run_sh("LAB_REGISTRY")[..12])
}

/// A registry keeps what an earlier run on the same lab pushed, so that a name is a run's own.
pub(crate) fn named(repository: &str) -> String {
    format!("{repository}-{}", std::process::id())
}

pub(crate) fn document(id: &str, repository: &str, host: &str, password: &str) -> Value {
    json!({
        "schema": "slipway.release/v1",
        "image": {"name": named(repository), "tag": "1", "id": id},
        "registry": {"host": host, "username": "AWS", "password": password},
    })
}

/// Builds from this directory, whose Dockerfile is there, and answers the image's id.
pub(crate) fn built(directory: &Path, args: &[&str]) -> String {
    let built = run(tool("imgbuild")
        .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
        .arg(directory)
        .arg("--no-input")
        .args(args));
    let built: Value = serde_json::from_str(&built).unwrap();
    built["image"]["id"].as_str().unwrap().to_owned()
}

/// Builds a small image with this text in it, like no other before, and answers its id.
pub(crate) fn image(text: &str) -> String {
    image_with(text, &[])
}

pub(crate) fn image_with(text: &str, args: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{text} {}", directory.path().display());
    std::fs::write(directory.path().join("text"), text).unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY text /\n").unwrap();
    built(directory.path(), args)
}

/// Builds an image of one layer a file, each with so many bytes that compress to about half.
pub(crate) fn layered(base: &str, layers: &[(&str, usize)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut dockerfile = format!("FROM {base}\n");
    for (name, size) in layers {
        std::fs::write(directory.path().join(name), noise(name, *size)).unwrap();
        dockerfile.push_str(&format!("COPY {name} /\n"));
    }
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    built(directory.path(), &[])
}

/// Hexadecimal digits that follow from the name and this run.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(u64::from(std::process::id()), |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut noise = Vec::with_capacity(size + 16);
    while noise.len() < size {
        noise.extend_from_slice(format!("{:016x}", next()).as_bytes());
    }
    noise.truncate(size);
    noise
}

pub(crate) fn push(id: &str, repository: &str, host: &str, args: &[&str]) -> Run {
    let input = document(id, repository, host, &token());
    let mut command = tool("imgpush");
    command.env("DOCKER_HOST", from_run_sh("DOCKER_HOST")).args(["--timeout", "3m"]).args(args);
    Run::of(&with_input(&mut command, &input.to_string()))
}
