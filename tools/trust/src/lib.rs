//! Which certificate authorities are trusted, and the client's side of TLS made of that: the same
//! for all that speaks TLS here.

mod verify;

use std::path::Path;
use std::sync::Arc;

use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

pub use verify::is_authority;

/// Where systems keep all authorities in one file; a directory of many files takes milliseconds.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Reading them takes
/// milliseconds.
#[must_use]
pub fn system() -> Vec<CertificateDer<'static>> {
    let told = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !told("SSL_CERT_FILE")
        && !told("SSL_CERT_DIR")
        && let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.is_file())
    {
        return rustls_native_certs::load_certs_from_paths(Some(bundle), None).certs;
    }
    rustls_native_certs::load_native_certs().certs
}

/// The certificates in a PEM text; one without any is an error.
///
/// # Errors
/// When it cannot be read, in a few words.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| reason(&error))?;
    if certificates.is_empty() {
        return Err("it holds no certificate in PEM form".to_owned());
    }
    Ok(certificates)
}

/// What is wrong with a PEM file, in a few words.
#[must_use]
pub fn reason(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
        Error::NoItemsFound => "it holds nothing of that in PEM form".to_owned(),
        other => other.to_string(),
    }
}

/// A client's side of TLS 1.2 and 1.3 that trusts these authorities, and a server that shows one of
/// their certificates; whether it shows a certificate
/// of its own is yet to be said.
///
/// # Errors
/// When none of them can be used.
pub fn client(
    authorities: Vec<CertificateDer<'static>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore::empty();
    // A system may hold one that is too old to be read, beside a hundred others.
    let (usable, _) = roots.add_parsable_certificates(authorities.iter().cloned());
    if usable == 0 {
        return Err("no root certificates are found".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let inner = inner.build().map_err(|error| error.to_string())?;
    let verifier = verify::Verifier { inner, trusted: authorities };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_be_used_is_told_why() {
        assert_eq!(certificates(b"hello").unwrap_err(), "it holds no certificate in PEM form");
        let broken = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let found = certificates(broken).unwrap();
        assert_eq!(client(found).err().unwrap(), "no root certificates are found");
    }
}
