//! TLS towards a service.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::ProbeError;

/// Does the handshake; the certificate has to be valid for `host`.
pub(crate) async fn connect<S>(host: &str, stream: S) -> Result<TlsStream<S>, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let tls = |reason: &str| ProbeError::Tls { reason: reason.to_owned() };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| tls("the host is not a name that a certificate can have"))?;
    let config = config().as_ref().map_err(|reason| tls(reason))?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await.map_err(ProbeError::from_handshake)
}

/// The configuration with the system's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
/// Loading them takes milliseconds, so it is done once, and not before TLS is needed.
fn config() -> &'static Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let cause = found.errors.first().map(|error| format!(": {error}"));
            return Err(format!("no root certificates are found{}", cause.unwrap_or_default()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    })
}
