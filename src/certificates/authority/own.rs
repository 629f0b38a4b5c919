//! The certificate of the authority's own servers, signed by a root of its own that a guest is made to trust. Both are made anew
//! with each network, so that no machine that is left over trusts the next one.

use host::dirs::write_private;
use host::failure::Failure;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vm::network::authority::{Authority, AuthorityDir};

/// What the root is called.
pub(super) const ROOT: &str = "boma-qemu rehearsal root";

/// The root, and the servers' certificate with its key.
pub(super) struct Own {
    root: rcgen::Certificate,
    server: rcgen::Certificate,
    key: KeyPair,
}

/// Make them.
pub(super) fn make(plan: &Authority) -> Result<Own, rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, ROOT);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let signed = root.self_signed(&root_key)?;
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(plan.names.clone())?;
    for address in [plan.address, Ipv4Addr::LOCALHOST] {
        server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
    }
    server.distinguished_name.push(DnType::CommonName, "boma-qemu rehearsal");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = server.signed_by(&key, &Issuer::new(root, &root_key))?;
    Ok(Own { root: signed, server, key })
}

impl Own {
    /// The root, in PEM.
    pub(super) fn root(&self) -> String {
        self.root.pem()
    }

    /// What a server shows.
    pub(super) fn config(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.server.der().clone()], key)
    }

    /// Put it where the ACME server finds it, and the root where the guest gets it from.
    pub(super) fn write(&self, dir: &AuthorityDir) -> Result<(), Failure> {
        let [certificate, key] = dir.server();
        write_private(&dir.root(), self.root.pem())?;
        write_private(&certificate, self.server.pem())?;
        Ok(write_private(&key, self.key.serialize_pem())?)
    }
}
