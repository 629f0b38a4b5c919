//! The certificate that a TLS server shows for a name. Nobody has to have signed it: who did is what is asked.

use super::{Seen, connect};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What is in the certificate, and what came with it.
pub(super) fn certificate(to: SocketAddr, name: &str, limit: Duration) -> Seen {
    handshake(to, name, limit).and_then(|chain| read(&chain)).unwrap_or_else(Seen::No)
}

fn handshake(to: SocketAddr, name: &str, limit: Duration) -> Result<Vec<CertificateDer<'static>>, String> {
    let said = |error: &dyn std::fmt::Display| format!("no TLS with {to} for {name}: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| said(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).map_err(|error| said(&error))?;
    let mut tls = ClientConnection::new(Arc::new(config), server).map_err(|error| said(&error))?;
    let mut stream = connect(to, limit)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(|error| said(&error))?;
    }
    let chain = tls.peer_certificates().unwrap_or_default();
    match chain.is_empty() {
        true => Err(said(&"it showed no certificate")),
        false => Ok(chain.iter().map(|der| der.clone().into_owned()).collect()),
    }
}

/// A certificate and what came with it, in DER.
pub(super) fn read(chain: &[CertificateDer<'_>]) -> Result<Seen, String> {
    let der = chain.first().ok_or("there is no certificate")?;
    let said = |error: x509_cert::der::Error| format!("its certificate cannot be read: {error}");
    let read = Certificate::from_der(der).map_err(said)?;
    let inner = read.tbs_certificate();
    let mut names = Vec::new();
    for found in inner.filter_extensions::<SubjectAltName>() {
        let (_, SubjectAltName(all)) = found.map_err(said)?;
        names.extend(all.iter().filter_map(|one| match one {
            GeneralName::DnsName(name) => Some(name.to_string().to_ascii_lowercase()),
            GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| address.to_string()),
            _ => None,
        }));
    }
    let validity = inner.validity();
    Ok(Seen::Certificate {
        issuer: inner.issuer().to_string(),
        names,
        not_after: validity.not_after.to_unix_duration().as_secs(),
        not_before: validity.not_before.to_unix_duration().as_secs(),
        chain: chain.iter().map(|der| STANDARD.encode(der)).collect(),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
