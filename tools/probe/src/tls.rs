//! TLS towards a service.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{ProbeError, Stream, TlsDefect};

/// A certificate with its chain, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What a client of TLS trusts, and what it shows.
#[derive(Default)]
pub struct Tls {
    /// The authorities that are trusted, in place of the system's.
    authorities: Option<Vec<CertificateDer<'static>>>,
    /// The certificate that is shown to servers which ask for one, with its chain and its key.
    identity: Option<Identity>,
    /// Made when TLS is first needed: reading the system's authorities takes milliseconds.
    base: OnceLock<Result<ClientConfig, String>>,
}

/// A connection with TLS.
pub(crate) struct Secured {
    pub(crate) stream: Stream,
    /// What the server chose of the protocols that were offered.
    pub(crate) protocol: Option<Vec<u8>>,
    /// When its certificate ends.
    pub(crate) not_after: Option<SystemTime>,
    /// Whether the server asked for a client certificate, and whether it was shown one.
    pub(crate) asked: Option<bool>,
}

/// Notes whether a server asks for a certificate.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ResolvesClientCert>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        // rustls does not ask at all otherwise.
        true
    }
}

/// Shows no certificate.
#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl Tls {
    /// A client that trusts these authorities in place of the system's, and shows this certificate
    /// with its chain and its key.
    #[must_use]
    pub fn new(
        authorities: Option<Vec<CertificateDer<'static>>>,
        identity: Option<Identity>,
    ) -> Self {
        Self { authorities, identity, base: OnceLock::new() }
    }

    /// Makes what can be made beforehand, so that a defect is told before anything is asked.
    ///
    /// # Errors
    /// When authorities or certificate cannot be used, in a few words.
    pub fn check(&self) -> Result<(), String> {
        self.base().as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn base(&self) -> &Result<ClientConfig, String> {
        self.base.get_or_init(|| {
            let authorities = self.authorities.clone().unwrap_or_else(slipway_trust::system);
            let builder = slipway_trust::client(authorities)?;
            let mut config = match &self.identity {
                Some((chain, key)) => builder
                    .with_client_auth_cert(chain.clone(), key.clone_key())
                    .map_err(|error| match error {
                        rustls::Error::InconsistentKeys(_) => {
                            "the private key is that of another certificate".to_owned()
                        }
                        other => other.to_string(),
                    })?,
                None => builder.with_no_client_auth(),
            };
            // A session that is taken up again shows the certificate of the first one: neither its
            // end nor its issuer would be judged anew.
            config.resumption = Resumption::disabled();
            Ok(config)
        })
    }

    /// Does the handshake; the certificate has to be valid for `host`. `offer` are the protocols
    /// to choose from (RFC 7301); `identified` is whether the client certificate may be shown.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: Stream,
        offer: &[&[u8]],
        identified: bool,
    ) -> Result<Secured, ProbeError> {
        let other =
            |reason: &str| ProbeError::Tls { defect: TlsDefect::Other, reason: reason.to_owned() };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| other("the host is not a name that a certificate can have"))?;
        let mut config = self.base().as_ref().map_err(|reason| other(reason))?.clone();
        config.alpn_protocols = offer.iter().map(|protocol| protocol.to_vec()).collect();
        let inner: Arc<dyn ResolvesClientCert> = if identified {
            Arc::clone(&config.client_auth_cert_resolver)
        } else {
            Arc::new(Nothing)
        };
        let shows = inner.has_certs();
        let noting = Arc::new(Noting { inner, asked: AtomicBool::new(false) });
        config.client_auth_cert_resolver = Arc::clone(&noting) as Arc<dyn ResolvesClientCert>;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| ProbeError::from_handshake(&error))?;
        let asked = noting.asked.load(Ordering::Relaxed).then_some(shows);
        let session = stream.get_ref().1;
        let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
        let not_after = session.peer_certificates().and_then(|chain| not_after(chain.first()?));
        Ok(Secured { stream: Box::new(stream), protocol, not_after, asked })
    }
}

/// When a certificate ends. It has passed the handshake, so it can be read.
fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2040, 2, 29);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let end = not_after(certificate.der()).unwrap();
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 2_214_086_400);
    }

    #[test]
    fn authorities_that_cannot_be_used_are_told_beforehand() {
        let tls = Tls::new(Some(vec![CertificateDer::from(vec![1, 2, 3])]), None);
        assert_eq!(tls.check().unwrap_err(), "no root certificates are found");
    }
}
