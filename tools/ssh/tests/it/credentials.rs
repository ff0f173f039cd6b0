//! Who is let in, and what is said to who is not.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use slipway_ssh::{ConnectOptions, Connection, Credential, Error, HostKeyPolicy, Secret};

use crate::sshd::{Sshd, bounded, until};

/// OpenSSH's agent, holding keys of the test's choice.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    async fn start(sshd: &Sshd, keys: &[&str]) -> Self {
        let socket = sshd.path("agent.sock");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { child, socket };
        until("the agent listens", || agent.socket.exists()).await;
        for key in keys {
            let added = Command::new("ssh-add")
                .arg("-q")
                .arg(sshd.path(key))
                .env("SSH_AUTH_SOCK", &agent.socket)
                .output()
                .unwrap();
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        agent
    }

    fn credential(&self) -> Credential {
        Credential::Agent { socket: self.socket.clone() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn key(path: PathBuf, passphrase: Option<&str>) -> Credential {
    Credential::KeyFile { path, passphrase: passphrase.map(secret) }
}

fn refused(result: Result<Connection, Error>) -> Error {
    result.expect_err("it was let in")
}

#[tokio::test]
async fn keys_of_every_kind_and_format_open_the_door() {
    let sshd = Sshd::start("");
    for (name, arguments) in [
        ("rsa", &["-t", "rsa", "-N", ""][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "384", "-N", ""]),
        ("rsa_pem", &["-t", "rsa", "-m", "PEM", "-N", ""]),
        ("ecdsa_pem", &["-t", "ecdsa", "-m", "PEM", "-N", ""]),
        ("rsa_pkcs8", &["-t", "rsa", "-m", "PKCS8", "-N", ""]),
        ("rsa_pem_locked", &["-t", "rsa", "-m", "PEM", "-N", "open sesame"]),
        ("ecdsa_locked", &["-t", "ecdsa", "-N", "open sesame"]),
    ] {
        let path = sshd.keygen(name, arguments);
        sshd.authorize(name);
        let passphrase = name.ends_with("locked").then_some("open sesame");
        if let Err(error) = sshd.connect_with(vec![key(path, passphrase)]).await {
            panic!("{name}: {error}");
        }
    }
}

#[tokio::test]
async fn a_key_from_a_secret_store_may_have_lost_its_lines() {
    let sshd = Sshd::start("");
    for (name, arguments) in [
        ("memory", &["-t", "ed25519", "-N", ""][..]),
        ("memory_pem", &["-t", "rsa", "-m", "PEM", "-N", ""]),
        ("memory_pkcs8", &["-t", "ecdsa", "-m", "PKCS8", "-N", ""]),
        ("memory_locked", &["-t", "ed25519", "-N", "open sesame"]),
        ("memory_pem_locked", &["-t", "rsa", "-m", "PEM", "-N", "open sesame"]),
        ("memory_pkcs8_locked", &["-t", "rsa", "-m", "PKCS8", "-N", "open sesame"]),
    ] {
        let pem = fs::read_to_string(sshd.keygen(name, arguments)).unwrap();
        sshd.authorize(name);
        for text in [
            pem.trim().to_owned(),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', " "),
            pem.replace('\n', "\\n"),
            format!("\"{}\"", pem.trim().replace('\n', "\\n")),
            pem.lines().map(|line| format!("    {line}\n")).collect(),
        ] {
            let credential = Credential::KeyMemory {
                pem: Secret::new(text),
                label: "DEPLOY_KEY".into(),
                passphrase: name.ends_with("locked").then(|| secret("open sesame")),
            };
            if let Err(error) = sshd.connect_with(vec![credential]).await {
                panic!("{name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_without_end_is_no_key_and_no_list_of_hosts() {
    let sshd = Sshd::start("");
    let endless = PathBuf::from("/dev/zero");
    let error = refused(sshd.connect_with(vec![key(endless.clone(), None)]).await);
    assert!(error.to_string().ends_with("the private key is larger than 64 KiB"), "{error}");
    let host_keys = HostKeyPolicy::KnownHosts(vec![endless]);
    let options = ConnectOptions { host_keys, ..sshd.options() };
    let error = refused(Connection::open(&sshd.target(), &options).await);
    assert!(matches!(error, Error::KnownHostsTooLarge { .. }), "{error:?}");
    let failure = error.failure(error.to_string());
    assert_eq!(failure.code.as_str(), "file_too_large");
}

/// An agent that answers each question with these bytes again and again.
fn false_agent(path: &Path, answer: Vec<u8>) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            while stream.write_all(&answer).is_ok() {}
        }
    });
}

#[tokio::test]
async fn an_agent_that_lies_is_no_harm() {
    let sshd = Sshd::start("");
    // The type of an answer, its number of keys, and lengths that lead anywhere.
    for (name, answer) in [
        ("long", b"\xff\xff\xff\xff\x0c".to_vec()),
        ("many", b"\0\0\0\x09\x0c\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("short", b"\0\0\0\x05\x0c\0\0\0\x01".to_vec()),
        ("empty", b"\0\0\0\0".to_vec()),
    ] {
        let socket = sshd.path(&format!("{name}.sock"));
        false_agent(&socket, answer);
        let agent = Credential::Agent { socket };
        let error = refused(bounded(sshd.connect_with(vec![agent.clone()])).await);
        assert!(
            matches!(error, Error::AgentUnavailable { .. } | Error::AuthenticationFailed { .. }),
            "{name}: {error:?}"
        );
        bounded(sshd.connect_with(vec![agent, sshd.key_file("id")])).await.unwrap();
    }
}

#[tokio::test]
async fn a_strangers_key_is_refused_and_everything_tried_is_named() {
    let sshd = Sshd::start("");
    let path = sshd.keygen("stranger", &["-t", "ed25519", "-N", ""]);
    let error = refused(sshd.connect_with(vec![key(path.clone(), None)]).await);
    let Error::AuthenticationFailed { tried, server_methods, user, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*tried, [format!("key {} (refused)", path.display())]);
    assert_eq!((server_methods.as_str(), user), ("publickey", &sshd.target().user));
    // The next one in the list gets its chance, and a missing one does not end the search.
    let missing = key(sshd.path("missing"), None);
    sshd.connect_with(vec![missing, key(path, None), sshd.key_file("id")]).await.unwrap();
    let error = refused(sshd.connect_with(vec![]).await);
    assert!(error.to_string().contains("nothing to try"), "{error}");
}

#[tokio::test]
async fn an_encrypted_key_wants_its_passphrase() {
    let sshd = Sshd::start("");
    let path = sshd.keygen("locked", &["-t", "ed25519", "-N", "open sesame"]);
    sshd.authorize("locked");
    let error = refused(sshd.connect_with(vec![key(path.clone(), None)]).await);
    assert!(
        matches!(&error, Error::KeyEncrypted { key } if *key == path.display().to_string()),
        "{error:?}"
    );
    let hint = error.failure(error.to_string()).hint.unwrap();
    assert!(hint.contains("--identity-passphrase-env"), "{hint}");
    let error = refused(sshd.connect_with(vec![key(path.clone(), Some("abracadabra"))]).await);
    assert!(matches!(error, Error::PassphraseWrong { .. }), "{error:?}");
    sshd.connect_with(vec![key(path, Some("open sesame"))]).await.unwrap();
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_called_what_it_is() {
    let sshd = Sshd::start("");
    let path = sshd.path("id");
    let error = refused(sshd.connect_with(vec![key(sshd.path("missing"), None)]).await);
    assert!(matches!(error, Error::KeyUnreadable { .. }), "{error:?}");
    let public = sshd.path("public");
    fs::copy(sshd.path("id.pub"), &public).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    let error = refused(sshd.connect_with(vec![key(public, None)]).await);
    assert!(error.to_string().contains("public key"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = refused(sshd.connect_with(vec![key(path, None)]).await);
    assert!(matches!(error, Error::KeyPermissions { mode: 0o640, .. }), "{error:?}");
}

#[tokio::test]
async fn the_agents_keys_are_all_tried() {
    let sshd = Sshd::start("");
    for name in ["first", "second"] {
        sshd.keygen(name, &["-t", "ed25519", "-N", "", "-C", name]);
    }
    let agent = Agent::start(&sshd, &["first", "second", "id"]).await;
    sshd.connect_with(vec![agent.credential()]).await.unwrap();
    drop(agent);
    fs::remove_file(sshd.path("agent.sock")).ok();

    let agent = Agent::start(&sshd, &["first", "second"]).await;
    let error = refused(sshd.connect_with(vec![agent.credential()]).await);
    assert!(
        error.to_string().contains("agent key first (refused), agent key second (refused)"),
        "{error}"
    );
    sshd.connect_with(vec![agent.credential(), sshd.key_file("id")]).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    let sshd = Sshd::start("");
    let credential = Credential::Agent { socket: sshd.path("nobody.sock") };
    let error = refused(sshd.connect_with(vec![credential]).await);
    assert!(matches!(error, Error::AgentUnavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn too_many_keys_make_the_server_hang_up_and_that_is_said() {
    let sshd = Sshd::start("MaxAuthTries 2");
    let strangers: Vec<_> = (0..4)
        .map(|index| {
            key(sshd.keygen(&format!("stranger{index}"), &["-t", "ed25519", "-N", ""]), None)
        })
        .collect();
    let error = refused(sshd.connect_with(strangers).await);
    assert!(matches!(error, Error::AuthenticationFailed { .. }), "{error:?}");
    assert!(error.to_string().contains("too many"), "{error}");
}
