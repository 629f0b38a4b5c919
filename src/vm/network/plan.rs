//! What a network is to be: data, resolved before anything is made.

use super::NetError;
use super::address::Cidr;
use super::authority::Authority;
use camino::Utf8Path;
use clap::ValueEnum;
use host::names::{IfName, Mac, VmName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where the network is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In user and network namespaces of our own.
    #[default]
    #[value(help = "In namespaces of our own; needs no privilege")]
    Namespace,
    /// In the network that the program was started in.
    #[value(help = "On the host itself; needs CAP_NET_ADMIN")]
    Host,
}

/// What the guest may reach outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// The internet, less what is forbidden.
    #[default]
    #[value(help = "The internet through NAT, never a private network")]
    Nat,
    /// Nothing.
    None,
}

/// An exception: something that may be reached although the rules would forbid it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// What it is called in messages.
    pub name: String,
    /// Its address or network.
    pub to: Cidr,
    /// Only this TCP and UDP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Why it must be reached.
    pub why: String,
}

/// First and last address that DHCP may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
}

/// The way out of the namespaces (namespace mode): pasta's interface and the addresses on it. No other
/// machine ever sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The interface.
    pub interface: IfName,
    /// Its network.
    pub subnet: Cidr,
    /// Our address on it.
    pub address: Ipv4Addr,
    /// The address that stands for the outside.
    pub gateway: Ipv4Addr,
    /// The address that stands for the host's own resolver.
    pub dns: Ipv4Addr,
}

/// A file of `net/`: what is the same for every VM. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetFile {
    /// The network's name; its folder and its nft tables are called so.
    pub name: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// The network behind it.
    pub subnet: Cidr,
    /// The bridge's own address: the guest's router, DHCP and DNS server.
    pub gateway: Ipv4Addr,
    /// The address of the controller side (ansible-playbook and its ssh).
    pub controller: Ipv4Addr,
    /// The VM's address.
    pub vm: Ipv4Addr,
    /// Where an authority for certificates answers in the place of the real one, if a run has one.
    #[serde(default)]
    pub authority: Option<Ipv4Addr>,
    /// What DHCP may give; the VM's address is in it.
    pub dhcp: Range,
    /// The way out in namespace mode.
    pub uplink: Uplink,
    /// What the guest may reach, unless the command line says otherwise.
    pub egress: Egress,
    /// Names with a fixed answer, for guest and controller.
    #[serde(default)]
    pub stubs: BTreeMap<String, Ipv4Addr>,
    /// Exceptions for the guest.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// What the controller may reach besides the VM.
    #[serde(default)]
    pub controller_allow: Vec<Allow>,
}

/// The VM's end of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmEnd {
    /// Its name, in leases and DNS.
    pub name: VmName,
    /// Its tap.
    pub tap: IfName,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// A whole network for one VM, everything resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetPlan {
    /// Where it is made.
    pub mode: Mode,
    /// What the guest may reach.
    pub egress: Egress,
    /// The network's name.
    pub name: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// The network behind it.
    pub subnet: Cidr,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// The controller's address.
    pub controller: Ipv4Addr,
    /// What DHCP may give.
    pub dhcp: Range,
    /// The VM.
    pub vm: VmEnd,
    /// The way out in namespace mode.
    pub uplink: Uplink,
    /// Names with a fixed answer.
    pub stubs: BTreeMap<String, Ipv4Addr>,
    /// Names that must never be reached, with the addresses that they have now. Nothing overrides it.
    pub never: BTreeMap<String, Vec<IpAddr>>,
    /// Exceptions for the guest.
    pub allow: Vec<Allow>,
    /// What the controller may reach besides the VM.
    pub controller_allow: Vec<Allow>,
    /// An authority for certificates, in the place of the real one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// Networks and addresses of the host: forbidden to the guest. Filled when the network starts.
    #[serde(default)]
    pub host_networks: Vec<Cidr>,
    /// What the guest calls itself to the DHCP server (as in the server's own file), where it has a lease before there is a
    /// network: it goes on from a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_to: Option<String>,
}

impl NetFile {
    /// Read a file of `net/`.
    pub fn read(path: &Utf8Path) -> Result<Self, NetError> {
        let text = std::fs::read(path).map_err(|source| NetError::File { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| NetError::Format { path: path.to_owned(), source })
    }

    /// The network for one VM. Stubs, never list and exceptions are to be added by the caller before
    /// [`NetPlan::check`].
    pub fn plan(self, mode: Mode, name: VmName, tap: IfName, mac: Mac) -> NetPlan {
        NetPlan {
            mode,
            egress: self.egress,
            name: self.name,
            bridge: self.bridge,
            subnet: self.subnet,
            gateway: self.gateway,
            controller: self.controller,
            dhcp: self.dhcp,
            vm: VmEnd { name, tap, mac, ip: self.vm },
            uplink: self.uplink,
            stubs: self.stubs,
            never: BTreeMap::new(),
            allow: self.allow,
            controller_allow: self.controller_allow,
            authority: None,
            host_networks: Vec::new(),
            leased_to: None,
        }
    }
}

impl NetPlan {
    /// Refuse a plan that contradicts itself.
    pub fn check(&self) -> Result<(), NetError> {
        let refuse = |why: String| Err(NetError::Plan(why));
        let ends = [
            ("gateway", self.gateway),
            ("controller", self.controller),
            ("VM", self.vm.ip),
            ("first DHCP address", self.dhcp.first),
            ("last DHCP address", self.dhcp.last),
        ];
        for (what, address) in ends {
            if !self.subnet.is_host(address) {
                return refuse(format!("the {what} {address} cannot be a machine in {}", self.subnet));
            }
        }
        if self.gateway == self.controller || self.gateway == self.vm.ip || self.controller == self.vm.ip {
            return refuse("gateway, controller and VM need an address each".into());
        }
        if !(self.dhcp.first..=self.dhcp.last).contains(&self.vm.ip) {
            return refuse(format!("the VM's address {} is not in the DHCP range", self.vm.ip));
        }
        if (self.dhcp.first..=self.dhcp.last).contains(&self.controller)
            || (self.dhcp.first..=self.dhcp.last).contains(&self.gateway)
        {
            return refuse("the DHCP range holds the gateway or the controller".into());
        }
        if self.uplink.subnet.overlaps(&self.subnet) {
            return refuse(format!("the uplink {} overlaps {}", self.uplink.subnet, self.subnet));
        }
        if let Some(authority) = &self.authority {
            authority.check(self).or_else(refuse)?;
        }
        for name in self.stubs.keys() {
            if !is_dns_name(name) {
                return refuse(format!("{name:?} is not a DNS name"));
            }
        }
        for exception in self.allow.iter().chain(&self.controller_allow) {
            if let Some((name, address)) = self.never_v4().find(|(_, address)| exception.to.holds(*address)) {
                return refuse(format!(
                    "the exception {} allows {name} ({address}), which is never to be reached",
                    exception.name
                ));
            }
        }
        Ok(())
    }

    /// The never list's IPv4 addresses; IPv6 does not leave the bridge at all.
    pub fn never_v4(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.never.iter().flat_map(|(name, addresses)| {
            addresses.iter().filter_map(|address| match address.to_canonical() {
                IpAddr::V4(v4) => Some((name.as_str(), v4)),
                IpAddr::V6(_) => None,
            })
        })
    }

    /// The never list's names that can be asked of DNS. An inventory also calls hosts by addresses and by mere labels.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        let names = self.never.keys().map(String::as_str);
        names.filter(|name| is_dns_name(name) && name.parse::<IpAddr>().is_err())
    }

    /// The controller's port on the bridge.
    pub fn controller_port(&self) -> String {
        let kept: String = self.bridge.as_str().chars().take(13).collect();
        format!("{kept}-c")
    }

    /// Whether anything at all may leave: then there is a way out.
    pub fn has_way_out(&self) -> bool {
        self.egress == Egress::Nat || !self.controller_allow.is_empty()
    }
}

/// Letters, digits, `-`, `_` and dots: what may stand in a line of dnsmasq's configuration.
pub(super) fn is_dns_name(name: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    name.len() <= 253 && name.split('.').all(part)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> NetPlan {
        let file: NetFile = serde_json::from_str(include_str!("../../../net/boma-it.json")).unwrap();
        let mut plan = file.plan(
            Mode::Namespace,
            "boma-it-askari-1".parse().unwrap(),
            "boma-tap0".parse().unwrap(),
            "52:54:00:12:34:56".parse().unwrap(),
        );
        plan.stubs.insert("boma.example".into(), plan.vm.ip);
        plan.never.insert("askari".into(), vec!["198.51.100.136".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        plan.host_networks = vec!["192.0.2.0/24".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        plan
    }

    #[test]
    fn the_network_in_the_project_holds() {
        sample().check().unwrap();
    }

    #[test]
    fn an_exception_never_opens_the_never_list() {
        let mut plan = sample();
        plan.allow.push(Allow {
            name: "mirror".into(),
            to: "198.51.100.0/24".parse().unwrap(),
            port: Some(80),
            why: "packages".into(),
        });
        let error = plan.check().unwrap_err().to_string();
        assert!(error.contains("mirror") && error.contains("198.51.100.136"), "{error}");
    }

    #[test]
    fn addresses_outside_the_subnet_are_refused() {
        let mut plan = sample();
        plan.vm.ip = Ipv4Addr::new(10, 0, 0, 9);
        assert!(plan.check().is_err());
    }

    #[test]
    fn a_stub_cannot_smuggle_a_second_line_into_the_configuration() {
        let mut plan = sample();
        plan.stubs.insert("a\nserver=1.1.1.1".into(), plan.vm.ip);
        assert!(plan.check().is_err());
    }

    #[test]
    fn an_unknown_key_in_a_network_file_is_refused_with_its_place() {
        let text = include_str!("../../../net/boma-it.json").replace("\"egress\"", "\"egres\"");
        let error = serde_json::from_str::<NetFile>(&text).unwrap_err().to_string();
        assert!(error.contains("egres") && error.contains("line"), "{error}");
    }
}
