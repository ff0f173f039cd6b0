//! The services that are waited for, and the ways to them.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use slipway_tests::lab::{Run, app_engine, run};
use slipway_tests::process::without_input;
use slipway_tests::{from_run_sh, tool};

/// A container on the application server.
pub(crate) struct Container(String);

impl Container {
    /// Runs one with these arguments of `docker run`.
    pub(crate) fn run(args: &[&str]) -> Self {
        Self(app_engine(&[&["run", "-d"], args].concat()).trim().to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0[..12]
    }

    pub(crate) fn exec(&self, args: &[&str]) {
        let _ = app_engine(&[&["exec", &self.0], args].concat());
    }

    /// Where the world reaches a port of it.
    pub(crate) fn published(&self, port: u16) -> String {
        let told = app_engine(&["port", &self.0, &port.to_string()]);
        let number = told.lines().next().unwrap().rsplit_once(':').unwrap().1;
        format!("{}:{number}", from_run_sh("LAB_APP_ADDR"))
    }

    /// Its address in the server's own network.
    pub(crate) fn address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        app_engine(&["inspect", "-f", format, &self.0]).trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.0]);
    }
}

/// An authority, a server that it vouches for, and a client.
pub(crate) struct Pki(tempfile::TempDir);

impl Pki {
    pub(crate) fn new(server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("ca.pem", &authority.pem());
        for (file, name) in [("server.pem", server), ("client.pem", "client.example")] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).unwrap();
            write(file, &format!("{}{}", certificate.pem(), key.serialize_pem()));
        }
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn authority(&self) -> String {
        self.file("ca.pem")
    }

    /// The client's certificate and its key.
    pub(crate) fn client(&self) -> String {
        self.file("client.pem")
    }
}

/// HAProxy that answers what it was asked: on 8443 by TLS, on 9443 to clients with a certificate, on
/// 8080 by HTTP/2 alone.
pub(crate) fn haproxy(pki: &Pki) -> Container {
    const CONFIG: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 5s
frontend tls
    bind :8443 ssl crt /tmp/server.pem alpn h2,http/1.1
    http-request return status 200 content-type text/plain lf-string '%[req.ver] %[method] %[req.hdr(host)] %[path]'
frontend known
    bind :9443 ssl crt /tmp/server.pem ca-file /tmp/ca.pem verify required alpn h2,http/1.1
    http-request return status 200 content-type text/plain lf-string '%[ssl_c_s_dn(cn)]'
frontend clear
    bind :8080 proto h2
    http-request return status 200 content-type text/plain lf-string '%[req.ver] %[method] %[req.hdr(host)] %[path]'
";
    let config = pki.file("haproxy.cfg");
    std::fs::write(&config, CONFIG).unwrap();
    let ports = ["-p", "8443", "-p", "9443", "-p", "8080"];
    let command = ["--user", "0", "haproxy:3.2", "haproxy", "-db", "-f", "/tmp/haproxy.cfg"];
    let created = app_engine(&[&["create"], &ports[..], &command].concat());
    let container = Container(created.trim().to_owned());
    for file in ["haproxy.cfg", "server.pem", "ca.pem"] {
        let _ = app_engine(&["cp", &pki.file(file), &format!("{}:/tmp/{file}", container.0)]);
    }
    let _ = app_engine(&["start", &container.0]);
    container
}

/// A port that answers to no attempt at a connection: its queue is full.
pub(crate) struct Silent {
    address: SocketAddr,
    _kept: (OwnedFd, Vec<TcpStream>),
}

impl Silent {
    /// At this address of ours.
    pub(crate) fn new(ip: &str) -> Self {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        listen(&listener, 0).unwrap();
        let address: SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
        let limit = Duration::from_millis(300);
        let fill = || TcpStream::connect_timeout(&address, limit).ok();
        let kept = std::iter::from_fn(fill).take(16).collect();
        Self { address, _kept: (listener, kept) }
    }

    pub(crate) fn target(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

/// healthwait without a document.
pub(crate) fn wait(args: &[&str]) -> Run {
    Run::of(&without_input(tool("healthwait").args(args)))
}

/// Something between here and the server's sshd that counts connections and can break them.
pub(crate) struct Relay {
    port: u16,
    ends: Arc<Mutex<Vec<[TcpStream; 2]>>>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), ends: Arc::default() };
        let ends = Arc::clone(&relay.ends);
        let server = from_run_sh("LAB_APP_ADDR");
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect((server.as_str(), 22)).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                ends.lock().unwrap().push([near, far]);
            }
        });
        relay
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.ends.lock().unwrap().len()
    }

    /// Breaks all that there are; new ones are let through.
    pub(crate) fn cut(&self) {
        for end in self.ends.lock().unwrap().iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// The arguments with which healthwait goes through this.
    pub(crate) fn via(&self) -> Vec<String> {
        let listed = run(Command::new("ssh-keygen").args(["-lf", &from_run_sh("LAB_KNOWN_HOSTS")]));
        let pin = listed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
        vec![
            format!("--via=ssh://deployer@127.0.0.1:{}", self.port),
            format!("--identity={}", from_run_sh("LAB_SSH_KEY")),
            format!("--host-key={pin}"),
        ]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}
