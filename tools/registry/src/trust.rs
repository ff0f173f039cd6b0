//! Which certificate authorities a registry's certificate may be signed by: the system's, or those
//! of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and for this one host those that a Docker engine would
//! take too, in `certs.d` (Docker documentation, "Verify repository client with certificates").

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use slipway_untrusted::file;
use slipway_untrusted::limit::CERTIFICATES;

/// The client's side of TLS towards this registry, `host[:port]`.
pub(crate) fn config(registry: &str) -> Result<Arc<ClientConfig>, String> {
    let mut authorities = slipway_trust::system();
    authorities.append(&mut of_host(&certs_d(), registry)?);
    let mut config = slipway_trust::client(authorities)?.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The engine's directories: that of the system, and that of an engine without root.
fn certs_d() -> Vec<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config =
        config.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let own = config.map(|config| config.join("docker/certs.d"));
    [Some(PathBuf::from("/etc/docker/certs.d")), own].into_iter().flatten().collect()
}

/// The authorities in `DIRECTORY/REGISTRY/*.crt`. One that cannot be read is told, since without it
/// the handshake would fail for a reason that is hard to find.
fn of_host(
    directories: &[PathBuf],
    registry: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    // What a registry names may be no host; a directory of its own it has not.
    if registry.starts_with('.') || registry.contains('/') {
        return Ok(found);
    }
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory.join(registry)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "crt") {
                let cannot = |error: String| {
                    format!("the certificates in {} cannot be read: {error}", path.display())
                };
                let pem = file::read(&path, &CERTIFICATES);
                let pem = pem.map_err(|error| cannot(error.to_string()))?;
                let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                found.append(&mut read.map_err(|error| cannot(error.to_string()))?);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_authorities() {
        let directory = std::env::temp_dir().join(format!("slipway-certs-{}", std::process::id()));
        let host = directory.join("r.example:5000");
        std::fs::create_dir_all(&host).unwrap();
        std::fs::write(host.join("ca.cert"), "a client's certificate").unwrap();
        let of = || of_host(std::slice::from_ref(&directory), "r.example:5000");
        assert_eq!(of().unwrap().len(), 0);
        std::fs::write(
            host.join("ca.crt"),
            "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        assert_eq!(of().unwrap().len(), 1);
        std::fs::write(host.join("b.crt"), "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
        assert!(of().unwrap_err().contains("b.crt"));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
