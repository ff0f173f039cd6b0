//! A real sshd of the test's own: one process a connection, as inetd would start it, so that the port is the test's from
//! the start and each connection's processes are known.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use slipway_ssh::{ConnectOptions, Connection, Credential, Error, HostKeyPolicy, Target};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) struct Sshd {
    directory: TempDir,
    address: SocketAddr,
    children: Arc<Mutex<Vec<Child>>>,
}

impl Sshd {
    /// A server with host keys of three types that lets the client key `id` in; `config` comes first and so wins.
    pub(crate) fn start(config: &str) -> Self {
        for program in [SSHD, "/usr/bin/ssh-keygen", "/usr/bin/ssh-agent"] {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: apt-get install openssh-server openssh-client"
            );
        }
        if rustix::process::geteuid().is_root() {
            // sshd's privilege separation wants it; the service would have made it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut text = format!("{config}\n");
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("rsa", "2048")] {
            keygen(&at(&format!("host_{kind}")), &["-t", kind, "-b", bits, "-N", ""]);
            text += &format!("HostKey {}\n", at(&format!("host_{kind}")).display());
        }
        keygen(&at("id"), &["-t", "ed25519", "-N", ""]);
        fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        text += &format!("AuthorizedKeysFile {}\n", at("authorized_keys").display());
        text += "StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n";
        text += "KbdInteractiveAuthentication no\nLogLevel DEBUG1\nPrintMotd no\n";
        fs::write(at("config"), text).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let children = Arc::new(Mutex::new(Vec::new()));
        let server = Self { directory, address, children };
        let (children, config, log) =
            (Arc::clone(&server.children), server.path("config"), server.path("log"));
        thread::spawn(move || accept(&listener, &children, &config, &log));
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn target(&self) -> Target {
        let mut target: Target = "127.0.0.1".parse().unwrap();
        target.user = user();
        target.port = self.port();
        target
    }

    /// Lets the key in as well.
    pub(crate) fn authorize(&self, key: &str) {
        let mut all = fs::read_to_string(self.path("authorized_keys")).unwrap();
        all += &fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        fs::write(self.path("authorized_keys"), all).unwrap();
    }

    /// A new client key `name` made by `ssh-keygen` with these arguments.
    pub(crate) fn keygen(&self, name: &str, arguments: &[&str]) -> PathBuf {
        keygen(&self.path(name), arguments);
        self.path(name)
    }

    /// `type key` of a host key.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        let line = fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// A known_hosts file with these lines; `HOST` stands for this server's name in it.
    pub(crate) fn known_hosts(&self, lines: &str) -> PathBuf {
        let path = self.path("known_hosts");
        fs::write(&path, lines.replace("HOST", &format!("[127.0.0.1]:{}", self.port()))).unwrap();
        path
    }

    pub(crate) fn key_file(&self, name: &str) -> Credential {
        Credential::KeyFile { path: self.path(name), passphrase: None }
    }

    /// What connects, unless a test changes it.
    pub(crate) fn options(&self) -> ConnectOptions {
        let known = self.known_hosts(&format!("HOST {}\n", self.host_key("ed25519")));
        ConnectOptions {
            host_keys: HostKeyPolicy::KnownHosts(vec![known]),
            credentials: vec![self.key_file("id")],
            timeout: Duration::from_secs(60),
            // Longer than any test waits: an event that goes unnoticed must not be saved by the next sign of life.
            keepalive: Duration::from_secs(600),
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        match Connection::open(&self.target(), &self.options()).await {
            Ok(connection) => connection,
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    pub(crate) async fn connect_with(
        &self,
        credentials: Vec<Credential>,
    ) -> Result<Connection, Error> {
        let options = ConnectOptions { credentials, ..self.options() };
        Connection::open(&self.target(), &options).await
    }

    /// Sends a signal to every process of every connection.
    pub(crate) fn signal(&self, signal: Signal) {
        for child in self.children.lock().unwrap().iter() {
            signal_group(child, signal);
        }
    }

    /// How many connections are still served.
    pub(crate) fn serving(&self) -> usize {
        let mut children = self.children.lock().unwrap();
        children
            .iter_mut()
            .filter_map(|child| child.try_wait().unwrap().is_none().then_some(()))
            .count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The accepting thread ends with the connection that finds the list closed.
        let mut children = std::mem::take(&mut *self.children.lock().unwrap());
        for child in &mut children {
            signal_group(child, Signal::KILL);
            let _ = child.wait();
        }
        fs::write(self.path("stop"), "").unwrap();
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, children: &Mutex<Vec<Child>>, config: &Path, log: &Path) {
    while let Ok((socket, _)) = listener.accept() {
        if config.with_file_name("stop").exists() || !config.exists() {
            return;
        }
        let socket = OwnedFd::from(socket);
        let mut command = Command::new(SSHD);
        command.arg("-i").arg("-f").arg(config).arg("-E").arg(log).process_group(0);
        command.stdin(socket.try_clone().unwrap()).stdout(socket).stderr(Stdio::null());
        let mut children = children.lock().unwrap();
        children.push(command.spawn().unwrap());
    }
}

fn signal_group(child: &Child, signal: Signal) {
    // The group may be gone; that is as well.
    let _ = kill_process_group(Pid::from_child(child), signal);
}

pub(crate) fn keygen(path: &Path, arguments: &[&str]) {
    let output =
        Command::new("ssh-keygen").arg("-q").args(arguments).arg("-f").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits for something that has no event of its own.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), poll).await.is_ok(),
        "never happened: {what}"
    );
}

/// Fails a test that would hang.
pub(crate) async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it hangs")
}
