//! Waiting for a service behind TLS.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Running, Server, answer};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

/// An authority with its certificate in a file, and a server that it vouches for under `name`.
fn secured(dir: &Path, name: &str) -> (String, Server) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Two authorities of one name would be told apart by their signatures only.
    params.distinguished_name.push(DnType::CommonName, dir.to_string_lossy().into_owned());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let roots = dir.join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    (roots.to_str().unwrap().to_owned(), serve(&certificate, &key))
}

/// A server with this certificate.
fn serve(certificate: &Certificate, key: &KeyPair) -> Server {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let ok = |_| answer(200, &json!({"status": "ok"}));
    Server::with(ok, move |stream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    })
}

/// A certificate as `openssl req -x509` makes it, in a file, and a server that shows it.
fn self_signed(dir: &Path, name: &str, not_after: i32) -> (String, Server) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = dir.join("certificate.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    (file.to_str().unwrap().to_owned(), serve(&certificate, &key))
}

fn ask(server: &Server, roots: &str) -> Running {
    let url = format!("https://{}/", server.address);
    Running::start_with(&[&url], &[("SSL_CERT_FILE", roots)])
}

#[test]
fn a_certificate_of_a_trusted_authority_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let (roots, server) = secured(dir.path(), "127.0.0.1");
    let ended = ask(&server, &roots).end().expect(0);
    // rcgen's own, unless it is told another.
    let expires = ended.target(0)["certificate_expires_at"].as_str().unwrap();
    assert!(expires.starts_with("4096-01-01T00:00:00Z"), "{expires}");
}

#[test]
fn a_certificate_has_to_last_for_as_long_as_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (roots, server) = secured(dir.path(), "127.0.0.1");
    let env = [("SSL_CERT_FILE", roots.as_str())];
    for target in [format!("https://{}/", server.address), format!("tls://{}", server.address)] {
        Running::start_with(&[&target, "--expect-certificate=14d"], &env).end().expect(0);
        let ended = Running::start_with(&[&target, "--expect-certificate=9999y"], &env)
            .stop_at("the certificate is valid for ");
        assert_eq!(ended.target(0)["healthy"], false);
    }
}

#[test]
fn a_certificate_for_another_name_is_given_up_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (roots, server) = secured(dir.path(), "elsewhere.example");
    let url = format!("https://{}/", server.address);
    let env = [("SSL_CERT_FILE", roots.as_str())];
    let ended = Running::start_with(&[&url, "--fail-fast", "--timeout=1h"], &env).end().expect(1);
    assert_eq!(ended.document["error"]["code"], "given_up");
    assert_eq!(ended.states(0), ["TLS: the certificate is for another name"]);
}

#[test]
fn any_other_certificate_is_told_to_be_bad() {
    let dir = tempfile::tempdir().unwrap();
    let (roots, server) = secured(dir.path(), "elsewhere.example");
    ask(&server, &roots).stop_at("TLS: the certificate is for another name");

    let other = tempfile::tempdir().unwrap();
    let (roots, _) = secured(other.path(), "127.0.0.1");
    ask(&server, &roots).stop_at("TLS: the certificate's issuer is not trusted");
    assert_eq!(server.requests(), Vec::<String>::new(), "nothing is asked without trust");
}

#[test]
fn a_self_signed_certificate_is_good_if_it_is_trusted_itself() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (file, server) = self_signed(dirs[0].path(), "127.0.0.1", 4096);
    let target = format!("tls://{}", server.address);
    Running::start_with(&[&target, "--ca-file", &file], &[]).end().expect(0);

    let (other, elsewhere) = self_signed(dirs[1].path(), "elsewhere.example", 4096);
    Running::start_with(&[&target, "--ca-file", &other], &[])
        .stop_at("TLS: the certificate is an authority's own");
    let target = format!("tls://{}", elsewhere.address);
    Running::start_with(&[&target, "--ca-file", &other], &[])
        .stop_at("TLS: the certificate is for another name");
    let (file, expired) = self_signed(dirs[2].path(), "127.0.0.1", 2001);
    let target = format!("tls://{}", expired.address);
    Running::start_with(&[&target, "--ca-file", &file], &[])
        .stop_at("TLS: the certificate has expired");
}

#[test]
fn who_is_not_trusted_is_told_what_to_do() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (own, server) = self_signed(dirs[0].path(), "127.0.0.1", 4096);
    let (authority, issued) = secured(dirs[1].path(), "127.0.0.1");
    for (server, trusted) in [(&server, &authority), (&issued, &own)] {
        let target = format!("tls://{}", server.address);
        let args = [target.as_str(), "--ca-file", trusted, "--timeout=300ms"];
        let ended = Running::start_with(&args, &[]).end().expect(124);
        let hint = ended.document["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("--ca-file"), "{hint}");
    }
}

#[test]
fn a_server_without_tls_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (roots, _) = secured(dir.path(), "127.0.0.1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    let env = [("SSL_CERT_FILE", roots.as_str())];
    Running::start_with(&[&url], &env).stop_at("TLS: the server does not speak TLS");
}
