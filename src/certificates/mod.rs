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

/// The host that Let's Encrypt's ACME server has.
pub const PRODUCTION: &str = "acme-v02.api.letsencrypt.org";
/// The host that its test authority has.
pub const STAGING: &str = "acme-staging-v02.api.letsencrypt.org";
/// The hosts that Gandi's LiveDNS API has and had.
pub const API: [&str; 2] = ["api.gandi.net", "dns.api.gandi.net"];

/// The names that lead to the authority of a rehearsal in the place of the real ones.
pub fn names() -> Vec<String> {
    [PRODUCTION, STAGING].into_iter().chain(API).map(str::to_owned).collect()
}
