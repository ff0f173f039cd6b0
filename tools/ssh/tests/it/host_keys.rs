//! Which servers are trusted.

use std::process::Command;

use slipway_ssh::{ConnectOptions, Connection, Error, HostKeyPolicy};

use crate::sshd::{Sshd, keygen};

async fn with_policy(sshd: &Sshd, host_keys: HostKeyPolicy) -> Result<Connection, Error> {
    let options = ConnectOptions { host_keys, ..sshd.options() };
    Connection::open(&sshd.target(), &options).await
}

async fn with_lines(sshd: &Sshd, lines: &str) -> Result<Connection, Error> {
    // The options write a file of their own; this one comes after it.
    let options = sshd.options();
    let known = sshd.known_hosts(lines);
    let options = ConnectOptions {
        host_keys: HostKeyPolicy::KnownHosts(vec![known, sshd.path("no such file")]),
        ..options
    };
    Connection::open(&sshd.target(), &options).await
}

fn fingerprint(sshd: &Sshd, kind: &str) -> String {
    let public = sshd.path(&format!("host_{kind}.pub"));
    let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn the_key_type_that_is_known_is_asked_for() {
    let sshd = Sshd::start("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let connection =
            with_lines(&sshd, &format!("HOST {}\n", sshd.host_key(kind))).await.unwrap();
        assert_eq!(connection.server_fingerprint(), fingerprint(&sshd, kind));
    }
}

#[tokio::test]
async fn hashed_names_are_found() {
    let sshd = Sshd::start("");
    let known = sshd.known_hosts(&format!("HOST {}\n", sshd.host_key("ed25519")));
    let hashed = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&known).output().unwrap();
    assert!(hashed.status.success());
    let lines = std::fs::read_to_string(&known).unwrap();
    assert!(lines.starts_with("|1|"), "{lines}");
    with_lines(&sshd, &lines).await.unwrap();
}

#[tokio::test]
async fn an_unknown_host_is_refused_before_the_user_is_named() {
    let sshd = Sshd::start("");
    let error = with_lines(&sshd, &format!("other.example.com {}\n", sshd.host_key("ed25519")))
        .await
        .unwrap_err();
    let Error::HostKeyUnknown { host, fingerprint: shown, algorithm } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*host, format!("[127.0.0.1]:{}", sshd.port()));
    assert_eq!(*shown, fingerprint(&sshd, "ed25519"));
    assert_eq!(algorithm, "ssh-ed25519");
    assert!(!sshd.log().contains("userauth-request"), "{}", sshd.log());
}

#[tokio::test]
async fn another_key_than_the_known_one_is_refused_with_its_place() {
    let sshd = Sshd::start("");
    keygen(&sshd.path("host_other"), &["-t", "ed25519", "-N", ""]);
    let error = with_lines(&sshd, &format!("# first\nHOST {}\n", sshd.host_key("other")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::HostKeyMismatch { known, .. } if known.ends_with("known_hosts:2")),
        "{error:?}"
    );
    assert!(!sshd.log().contains("userauth-request"), "{}", sshd.log());
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let sshd = Sshd::start("");
    let key = sshd.host_key("ed25519");
    let error = with_lines(&sshd, &format!("HOST {key}\n@revoked * {key}\n")).await.unwrap_err();
    assert!(matches!(error, Error::HostKeyRevoked { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pinned_fingerprint_may_be_of_any_of_the_hosts_keys() {
    let sshd = Sshd::start("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let pinned = HostKeyPolicy::Fingerprints(vec![fingerprint(&sshd, kind)]);
        let connection = with_policy(&sshd, pinned).await.unwrap();
        assert_eq!(connection.server_fingerprint(), fingerprint(&sshd, kind));
    }
    keygen(&sshd.path("host_other"), &["-t", "ed25519", "-N", ""]);
    let error = with_policy(&sshd, HostKeyPolicy::Fingerprints(vec![fingerprint(&sshd, "other")]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::HostKeyMismatch { fingerprint: shown, .. } if *shown == fingerprint(&sshd, "ed25519")),
        "{error:?}"
    );
    let error =
        with_policy(&sshd, HostKeyPolicy::Fingerprints(vec!["MD5:00".into()])).await.unwrap_err();
    assert!(matches!(error, Error::BadFingerprint { .. }), "{error:?}");
}
