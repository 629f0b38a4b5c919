//! An authority for certificates on the VM's network, in the place of the real one: where it answers, and what the network does
//! for it. What it is made of stands above this crate; it is started by the holder as [`NAME`], and the ACME server beside it
//! as [`ACME`].

use super::plan::{Mode, NetPlan, is_dns_name};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The hidden subcommand that the zone and its API are served by.
pub const NAME: &str = "@authority";
/// The ACME server (Debian package `pebble`).
pub const ACME: &str = "pebble";
/// The port of the API of the zone's provider.
pub const API_PORT: u16 = 443;
/// The port of the ACME server.
pub const ACME_PORT: u16 = 14000;
/// Where the ACME server says what signs its certificates; only in the network's own namespace.
pub const MANAGEMENT_PORT: u16 = 15000;
/// The port that the zone is served on for whoever asks it itself.
pub const DNS_PORT: u16 = 53;
/// The port that the network's resolver, which has the other one, asks for the zone.
pub const RESOLVER_PORT: u16 = 5353;

/// Where it answers, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Its address.
    pub address: Ipv4Addr,
    /// The zone that challenges are answered in. All of it is served here: nothing in it is looked up outside.
    pub zone: String,
    /// The names that real authorities and providers have, and that lead here instead.
    pub names: Vec<String>,
}

impl Authority {
    /// Why it cannot be in this network.
    pub(super) fn check(&self, plan: &NetPlan) -> Result<(), String> {
        let address = self.address;
        let taken = [plan.gateway, plan.controller, plan.vm.ip];
        if plan.mode != Mode::Namespace {
            return Err("an authority for certificates needs namespaces of its own (--net namespace)".into());
        }
        if !plan.subnet.is_host(address) || taken.contains(&address) {
            return Err(format!("the authority {address} needs an address of its own in {}", plan.subnet));
        }
        if (plan.dhcp.first..=plan.dhcp.last).contains(&address) {
            return Err(format!("the DHCP range holds the authority {address}"));
        }
        match self.names.iter().chain([&self.zone]).find(|name| !is_dns_name(name)) {
            Some(name) => Err(format!("{name:?} is not a DNS name")),
            None => Ok(()),
        }
    }

    /// Lines for the resolver: the zone is asked of the authority, and so is the place of each stub's challenge, which the stub
    /// would hide.
    pub(super) fn resolver_lines(&self, plan: &NetPlan) -> String {
        let below = format!(".{}", self.zone);
        let stubs = plan.stubs.keys().filter(|name| name.ends_with(&below));
        let zones = [self.zone.clone()].into_iter().chain(stubs.map(|name| format!("_acme-challenge.{name}")));
        let address = self.address;
        let own = self.names.iter().map(|name| format!("address=/{name}/{address}\nlocal=/{name}/\n"));
        own.chain(zones.map(|zone| format!("server=/{zone}/{address}#{RESOLVER_PORT}\n"))).collect()
    }

    /// The rule that lets through what is asked of it.
    pub(super) fn rule(&self) -> String {
        let address = self.address;
        format!(
            "    ip daddr {address} tcp dport {{ {API_PORT}, {ACME_PORT} }} accept\n    \
             ip daddr {address} meta l4proto {{ tcp, udp }} th dport {DNS_PORT} accept\n"
        )
    }
}

/// The authority's directory.
#[derive(Clone, Debug)]
pub struct AuthorityDir {
    path: Utf8PathBuf,
}

impl AuthorityDir {
    /// The directory at a path.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory itself.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What it is made by ([`Authority`]).
    pub fn plan(&self) -> Utf8PathBuf {
        self.path.join("plan.json")
    }

    /// The root that its own servers' certificate is signed by, in PEM.
    pub fn root(&self) -> Utf8PathBuf {
        self.path.join("root.pem")
    }

    /// The certificate of its servers with what signed it, and its key, in PEM.
    pub fn server(&self) -> [Utf8PathBuf; 2] {
        ["server.pem", "server.key"].map(|file| self.path.join(file))
    }

    /// The ACME server's configuration. Written when the rest of the authority answers.
    pub fn acme_config(&self) -> Utf8PathBuf {
        self.path.join("pebble.json")
    }

    /// The root of the certificates that it issues, in PEM. Written when all of it answers.
    pub fn issuers(&self) -> Utf8PathBuf {
        self.path.join("issuers.pem")
    }

    /// Where the owner of this directory is given the token that the API asks for.
    pub fn token(&self) -> Utf8PathBuf {
        self.path.join("token.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::sample;
    use super::*;

    fn with_authority() -> NetPlan {
        let mut plan = sample();
        plan.stubs.insert("www.zone.example".into(), plan.vm.ip);
        plan.authority = Some(Authority {
            address: "10.213.77.3".parse().unwrap(),
            zone: "zone.example".into(),
            names: vec!["acme.example".into()],
        });
        plan
    }

    #[test]
    fn the_resolver_asks_the_authority_for_its_zone_and_for_a_stubs_challenge() {
        let plan = with_authority();
        plan.check().unwrap();
        let text = super::super::dnsmasq::config(&plan, Utf8Path::new("/d"));
        let about: Vec<_> = text.lines().filter(|line| line.contains("10.213.77.3") || line.contains("acme")).collect();
        assert_eq!(
            about,
            [
                "address=/acme.example/10.213.77.3",
                "local=/acme.example/",
                "server=/zone.example/10.213.77.3#5353",
                "server=/_acme-challenge.www.zone.example/10.213.77.3#5353",
            ]
        );
    }

    #[test]
    fn a_guest_that_is_cut_off_does_not_reach_the_authority_either() {
        let plan = with_authority();
        let rule = "ip daddr 10.213.77.3 tcp dport { 443, 14000 } accept";
        assert!(super::super::nft::guest(&plan).contains(rule) && super::super::nft::controller(&plan).contains(rule));
        assert!(super::super::nft::swap(&plan, false).contains(rule));
        assert!(!super::super::nft::swap(&plan, true).contains("10.213.77.3"));
    }

    #[test]
    fn an_authority_has_an_address_of_its_own_and_namespaces() {
        for (mode, address, zone) in [
            (Mode::Host, "10.213.77.3", "zone.example"),
            (Mode::Namespace, "10.213.77.1", "zone.example"),
            (Mode::Namespace, "10.213.77.20", "zone.example"),
            (Mode::Namespace, "192.0.2.3", "zone.example"),
            (Mode::Namespace, "10.213.77.3", "a/b\nserver=192.0.2.1"),
        ] {
            let mut plan = with_authority();
            plan.mode = mode;
            let authority = plan.authority.as_mut().unwrap();
            (authority.address, authority.zone) = (address.parse().unwrap(), zone.into());
            assert!(plan.check().is_err(), "{mode:?} {address} {zone:?}");
        }
    }
}
