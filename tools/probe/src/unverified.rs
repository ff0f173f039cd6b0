//! TLS with whoever answers: for a service whose address was told by the engine that runs it, so that
//! a certificate, which is for the name that people use, has nothing to prove.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::connect::{Deadline, Io};
use crate::exchange::by_http1;
use crate::{Answer, Phase, ProbeError, Request, TlsDefect};

/// Takes any certificate; that the server has its key is still proved.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Asks through a stream that is already open, by TLS and HTTP/1.1, whatever certificate the other
/// side shows. Nothing secret may be sent this way. The timeout runs from here.
///
/// # Errors
/// When no whole answer comes within the request's timeout.
pub async fn unverified<S: Io + 'static>(
    ip: IpAddr,
    stream: S,
    request: &Request,
) -> Result<Answer, ProbeError> {
    let deadline = Deadline::new(request.timeout);
    let provider = Arc::new(ring::default_provider());
    let verifier = Anyone(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Tls { defect: TlsDefect::Other, reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let handshake = connector.connect(ServerName::from(ip), stream);
    let secured = deadline.within(Phase::Handshake, handshake).await?;
    let secured = secured.map_err(|error| ProbeError::from_handshake(&error))?;
    by_http1(Box::new(secured), request.build(), &deadline).await
}
