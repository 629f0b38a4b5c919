//! Certificates as a host gets them: by DNS challenge from an ACME authority. [`authority`] is one on the VM's network, so that
//! the whole way is gone without the real zone and its token; [`issue`] gets a certificate for [`store`], where it is kept and used
//! again; [`judge`] says whether what a server shows is what its tier promises.
//!
//! Fuzzed as `authority`, `checks`.

pub mod authority;
pub mod chain;
pub mod issue;
pub mod judge;
pub mod store;
mod zone_api;

use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The host that Let's Encrypt's ACME server has.
pub const PRODUCTION: &str = "acme-v02.api.letsencrypt.org";
/// The host that its test authority has.
pub const STAGING: &str = "acme-staging-v02.api.letsencrypt.org";
/// The hosts that Gandi's LiveDNS API has and had.
pub const API: [&str; 2] = ["api.gandi.net", "dns.api.gandi.net"];

/// What speaks HTTPS with a server that is trusted by this root (PEM), or as this host trusts any. It goes by no proxy.
fn agent(root: Option<&str>, limit: Duration) -> Result<ureq::Agent, ureq::Error> {
    let roots = match root {
        None => RootCerts::PlatformVerifier,
        Some(pem) => RootCerts::Specific(Arc::new(vec![Certificate::from_pem(pem.as_bytes())?.to_owned()])),
    };
    let tls = TlsConfig::builder().root_certs(roots).build();
    Ok(ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(limit)).proxy(None).build().new_agent())
}

/// The names that lead to the authority of a rehearsal in the place of the real ones.
pub fn names() -> Vec<String> {
    [PRODUCTION, STAGING].into_iter().chain(API).map(str::to_owned).collect()
}
