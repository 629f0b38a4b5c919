//! What the host itself is connected to: forbidden ground for the guest.

use super::NetError;
use super::address::Cidr;
use host::cmd::Cmd;
use serde::Deserialize;

/// A network or an address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNetwork {
    /// The network.
    pub to: Cidr,
    /// The interface that it is reached through, or that has the address.
    pub device: String,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// Shorter prefixes are ways to the whole internet cut in pieces (a VPN's 0.0.0.0/1), not networks.
const SHORTEST: u8 = 8;

/// Every network and address of the host, in the network namespace of this process.
pub fn gather() -> Result<Vec<HostNetwork>, NetError> {
    let out = Cmd::new("ip").args(["-json", "-4", "route", "show", "table", "all"]).run().map_err(NetError::Command)?;
    parse(&out.stdout).map_err(|source| NetError::Format { path: "the output of `ip -json route`".into(), source })
}

/// Read `ip -json -4 route show table all` (ip-route(8)): connected networks, routes through VPNs in
/// any table, and the addresses themselves (type `local`).
fn parse(json: &str) -> serde_json::Result<Vec<HostNetwork>> {
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let routes: Vec<Route> = serde_json::from_str(json)?;
    let mut networks: Vec<_> = routes
        .into_iter()
        .filter(|route| !matches!(route.kind.as_str(), "broadcast" | "multicast"))
        .filter_map(|Route { dst, dev, .. }| Some(HostNetwork { to: dst.parse().ok()?, device: dev }))
        .filter(|network| network.to.bits() >= SHORTEST)
        .collect();
    networks.sort_by_key(|network| network.to);
    networks.dedup_by_key(|network| network.to);
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_vpn_routes_count_but_ways_to_everywhere_do_not() {
        let json = r#"[
            {"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
            {"dst":"0.0.0.0/1","dev":"wg0","flags":[]},
            {"dst":"198.51.100.7","dev":"wg0","table":"52","flags":[]},
            {"dst":"192.0.2.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"192.0.2.2","flags":[]},
            {"type":"local","dst":"192.0.2.2","dev":"eth0","table":"local","flags":[]},
            {"type":"broadcast","dst":"192.0.2.255","dev":"eth0","table":"local","flags":[]}]"#;
        let found: Vec<_> = parse(json).unwrap().iter().map(|n| n.to.to_string()).collect();
        assert_eq!(found, ["192.0.2.0/24", "192.0.2.2", "198.51.100.7"]);
        assert_eq!(parse("").unwrap(), []);
    }
}
