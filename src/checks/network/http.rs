//! One GET to a server on the VM, by whatever name.

use super::{MOST, Seen};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Leads every name to one place: the VM.
#[derive(Debug)]
struct Only(SocketAddr);

impl Resolver for Only {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

/// The answer to a GET; what went wrong on the way is the server's answer, too.
pub(super) fn get(to: SocketAddr, tls: bool, host: Option<&str>, path: &str, limit: Duration) -> Seen {
    let scheme = if tls { "https" } else { "http" };
    let host = host.map_or_else(|| to.ip().to_string(), str::to_owned);
    let address = format!("{scheme}://{host}:{}{path}", to.port());
    let config = ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent("boma-qemu")
        .timeout_global(Some(limit))
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::new(), Only(to));
    // A server that is asked at its usual port is not told the port: many do not know themselves by it.
    let usual = to.port() == if tls { 443 } else { 80 };
    let mut call = agent.get(&address);
    if usual {
        call = call.header("Host", &host);
    }
    let no = |error: String| Seen::No(format!("no answer to GET {address}: {error}"));
    let mut response = match call.call() {
        Ok(response) => response,
        Err(error) => return no(error.to_string()),
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    match response.body_mut().as_reader().take(MOST).read_to_end(&mut body) {
        Ok(_) => Seen::Answer { status, body: String::from_utf8_lossy(&body).into_owned() },
        Err(error) => no(format!("its body broke off: {error}")),
    }
}
