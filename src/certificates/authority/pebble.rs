//! The ACME server beside the authority: its configuration, and its root.

use super::{cannot, own};
use crate::certificates::agent;
use host::deadline::Deadline;
use host::failure::Failure;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use vm::network::authority::{ACME_PORT, AuthorityDir, MANAGEMENT_PORT};

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(8);
/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(50);

/// Pebble's configuration. The ports of the challenges that it does not serve have to be there all the same.
pub(super) fn config(dir: &AuthorityDir, address: Ipv4Addr) -> String {
    let [certificate, key] = dir.server();
    let config = json!({"pebble": {
        "listenAddress": format!("{address}:{ACME_PORT}"),
        "managementListenAddress": format!("{}:{MANAGEMENT_PORT}", Ipv4Addr::LOCALHOST),
        "certificate": certificate,
        "privateKey": key,
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    format!("{config:#}\n")
}

/// What asks it for the root of its certificates, until it answers.
pub(super) fn root_getter(own: &own::Own) -> impl FnOnce() -> Result<String, Failure> + Send + use<> {
    let root = own.root();
    move || {
        let agent = agent(Some(&root), LIMIT).map_err(|error| cannot("read its own root", &error))?;
        let address = format!("https://{}:{MANAGEMENT_PORT}/roots/0", Ipv4Addr::LOCALHOST);
        let deadline = Deadline::after(LIMIT);
        loop {
            match agent.get(&address).call().and_then(|mut answer| answer.body_mut().read_to_string()) {
                Ok(root) => return Ok(root),
                Err(error) if deadline.passed() => return Err(cannot("ask the ACME server for its root", &error)),
                Err(_) => std::thread::sleep(PERIOD),
            }
        }
    }
}
