//! A chain of certificates: what is in its first, and who stands behind it.

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The certificates in a PEM text.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn of_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err("there is no certificate".into()),
        all => all.map_err(|error| error.to_string()),
    }
}

/// Whether a chain leads from a certificate for a name to one of these roots, and holds now.
///
/// # Errors
/// Why it does not.
pub fn verify(chain: &[CertificateDer<'_>], roots: &RootCertStore, name: &str, now: SystemTime) -> Result<(), String> {
    let [first, rest @ ..] = chain else { return Err("there is no certificate".into()) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let server = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?);
    let verified = verifier.verify_server_cert(first, rest, &server, &[], now);
    verified.map(drop).map_err(|error| error.to_string())
}

/// The roots in a PEM text.
///
/// # Errors
/// If there is none, or one is no root.
pub fn roots_of_pem(text: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    of_pem(text)?.into_iter().try_for_each(|root| roots.add(root)).map_err(|error| error.to_string())?;
    Ok(roots)
}

/// The roots that this host trusts.
///
/// # Errors
/// If it has none.
pub fn roots_of_host() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(format!("this host's trusted authorities cannot be read: {error}")),
        (true, None) => Err("this host trusts no authority (Debian package ca-certificates)".into()),
    }
}
