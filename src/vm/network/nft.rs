//! The packet filters, as text for `nft -f`. One text per table is one atomic change.
//!
//! Two tables stand where the bridge is: `bridge` checks, port by port, that nobody speaks with
//! another's address; `inet` says what the guest may reach. A third stands in the controller's own
//! network namespace. None of them touches traffic that is not the bridge's.

use super::address::Cidr;
use super::authority::Authority;
use super::plan::{Allow, Egress, Mode, NetPlan};
use host::presence::ignore;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Destinations that are forbidden everywhere: "this" network, private (RFC 1918), carrier-grade NAT
/// (RFC 6598, also what mesh VPNs use), loopback, link-local (RFC 3927), multicast and reserved.
/// Documentation ranges are not among them: test networks are built from them.
const FORBIDDEN: [Cidr; 9] = [
    Cidr::new(Ipv4Addr::new(0, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(100, 64, 0, 0), 10),
    Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8),
    Cidr::new(Ipv4Addr::new(169, 254, 0, 0), 16),
    Cidr::new(Ipv4Addr::new(172, 16, 0, 0), 12),
    Cidr::new(Ipv4Addr::new(192, 168, 0, 0), 16),
    Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 4),
    Cidr::new(Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The controller's table, in its own network namespace.
pub const CONTROLLER_TABLE: &str = "boma-controller";

/// The `bridge` table: who may say what on which port. IPv6 dies here.
pub fn ports(plan: &NetPlan) -> String {
    let NetPlan { name, vm, controller, .. } = plan;
    let port = plan.controller_port();
    format!(
        r#"create table bridge {name}
table bridge {name} {{
  chain ports {{
    type filter hook prerouting priority -300; policy accept;
    iifname "{tap}" jump vm
    iifname "{port}" jump controller
  }}
  chain vm {{
    ether saddr != {mac} counter drop
    ether type arp arp saddr ether {mac} arp saddr ip {{ 0.0.0.0, {ip} }} accept
    ether type ip ip saddr {ip} accept
    ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    counter drop
  }}
  chain controller {{
    ether type arp arp saddr ip {controller} accept
    ether type ip ip saddr {controller} accept
    counter drop
  }}
}}
"#,
        tap = vm.tap,
        mac = vm.mac,
        ip = vm.ip,
    )
}

/// The `inet` table: what the guest and the controller may reach through the bridge.
pub fn guest(plan: &NetPlan) -> String {
    let NetPlan { name, bridge, subnet, .. } = plan;
    let never = set("never", plan.never_v4().map(|(_, address)| address.into()));
    let forbidden = set("forbidden", FORBIDDEN.into_iter().chain(plan.host_networks.iter().copied()));
    format!(
        r#"create table inet {name}
table inet {name} {{
{never}{forbidden}  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{bridge}" jump to_host
  }}
{to_host}  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" oifname "{bridge}" accept
    iifname "{bridge}" jump outwards
    oifname "{bridge}" jump inwards
  }}
{outwards}  chain from_controller {{
{controller_allow}    counter drop
  }}
  chain inwards {{
    ct state established,related accept
    counter drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} ip daddr != {subnet} masquerade
  }}
{output}}}
"#,
        to_host = to_host(plan, false),
        outwards = outwards(plan, plan.egress),
        controller_allow = accepts(&plan.controller_allow),
        output = output(plan),
    )
}

/// The change that cuts the guest off, or puts the plan's own filters back, while it runs. It is one
/// transaction, and the sets stay as they are: what was added to them since the start is still forbidden.
pub fn swap(plan: &NetPlan, cut: bool) -> String {
    let name = &plan.name;
    let egress = if cut { Egress::None } else { plan.egress };
    format!(
        "flush chain inet {name} to_host\nflush chain inet {name} outwards\ntable inet {name} {{\n{}{}}}\n",
        to_host(plan, cut),
        outwards(plan, egress),
    )
}

/// What the guest and the controller may ask of the host itself. A guest that is cut off asks for names in
/// vain: the resolver would go out for it.
fn to_host(plan: &NetPlan, cut: bool) -> String {
    let NetPlan { gateway, controller, .. } = plan;
    let vm = plan.vm.ip;
    let no_names = match cut {
        true => format!(
            "    ip saddr {vm} meta l4proto {{ tcp, udp }} th dport 53 counter reject with icmpx type admin-prohibited\n"
        ),
        false => String::new(),
    };
    // It stands for what is outside.
    let authority = plan.authority.as_ref().filter(|_| !cut).map(Authority::rule).unwrap_or_default();
    format!(
        r#"  chain to_host {{
    meta nfproto ipv6 counter drop
{no_names}    ct state established,related accept
    udp sport 68 udp dport 67 accept
    ip saddr {{ {vm}, {controller} }} ip daddr {gateway} udp dport 53 accept
    ip saddr {{ {vm}, {controller} }} ip daddr {gateway} tcp dport 53 accept
    ip saddr {{ {vm}, {controller} }} ip daddr {gateway} icmp type echo-request accept
{authority}    counter drop
  }}
"#
    )
}

/// What leaves. No connection is remembered here, so a change ends those that stand, too.
fn outwards(plan: &NetPlan, egress: Egress) -> String {
    let NetPlan { controller, .. } = plan;
    let vm = plan.vm.ip;
    let only_uplink = match plan.mode {
        Mode::Namespace => format!("    oifname != \"{}\" counter drop\n", plan.uplink.interface),
        Mode::Host => String::new(),
    };
    let rest = match egress {
        Egress::Nat => format!(
            "{allow}    ip daddr @forbidden counter reject with icmpx type admin-prohibited\n    counter accept\n",
            allow = accepts(&plan.allow),
        ),
        Egress::None => "    counter reject with icmpx type admin-prohibited\n".into(),
    };
    format!(
        r#"  chain outwards {{
    meta nfproto ipv6 counter drop
{only_uplink}    ip daddr @never counter reject with icmpx type admin-prohibited
    ip saddr {controller} jump from_controller
    ip saddr != {vm} counter drop
{rest}  }}
"#
    )
}

/// In namespaces of our own nothing but the resolver speaks to the outside for itself.
fn output(plan: &NetPlan) -> String {
    if plan.mode == Mode::Host {
        return String::new();
    }
    let bridge = &plan.bridge;
    let mut text = format!(
        "  chain output {{\n    type filter hook output priority filter; policy drop;\n    \
         oifname {{ \"lo\", \"{bridge}\" }} accept\n"
    );
    if plan.egress == Egress::Nat {
        let (uplink, dns) = (&plan.uplink.interface, plan.uplink.dns);
        for protocol in ["udp", "tcp"] {
            ignore(
                writeln!(text, "    oifname \"{uplink}\" ip daddr {dns} {protocol} dport 53 accept"),
                "writing into a String cannot fail",
            );
        }
    }
    text + "    counter drop\n  }\n"
}

/// The controller's own table: it speaks to the VM, to the resolver and to what is named, and nobody
/// speaks to it first.
pub fn controller(plan: &NetPlan) -> String {
    let NetPlan { gateway, vm, .. } = plan;
    format!(
        r#"create table inet {CONTROLLER_TABLE}
table inet {CONTROLLER_TABLE} {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    meta nfproto ipv4 ct state established,related accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
  }}
  chain output {{
    type filter hook output priority filter; policy drop;
    oifname "lo" accept
    ip daddr {vm} accept
    ip daddr {gateway} udp dport 53 accept
    ip daddr {gateway} tcp dport 53 accept
{authority}{allow}    counter reject with icmpx type admin-prohibited
  }}
}}
"#,
        vm = vm.ip,
        authority = plan.authority.as_ref().map(Authority::rule).unwrap_or_default(),
        allow = accepts(&plan.controller_allow),
    )
}

fn accepts(exceptions: &[Allow]) -> String {
    exceptions.iter().fold(String::new(), |mut text, Allow { to, port, .. }| {
        let port = port.map(|port| format!(" meta l4proto {{ tcp, udp }} th dport {port}")).unwrap_or_default();
        ignore(writeln!(text, "    ip daddr {to}{port} counter accept"), "writing into a String cannot fail");
        text
    })
}

fn set(name: &str, elements: impl Iterator<Item = Cidr>) -> String {
    let mut elements: Vec<_> = elements.collect();
    elements.sort();
    elements.dedup();
    let elements: Vec<_> = elements.iter().map(Cidr::to_string).collect();
    let elements = match elements.join(", ") {
        // nft has no word for an empty list.
        none if none.is_empty() => String::new(),
        some => format!("    elements = {{ {some} }}\n"),
    };
    format!("  set {name} {{\n    type ipv4_addr; flags interval; auto-merge;\n{elements}  }}\n")
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::sample;
    use super::*;

    fn snapshot(name: &str, text: &str) {
        insta::with_settings!({ snapshot_path => "../../../tests/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn the_filters_of_a_network_in_namespaces() {
        let mut plan = sample();
        plan.controller_allow.push(Allow {
            name: "vault".into(),
            to: "203.0.113.5".parse().unwrap(),
            port: Some(8200),
            why: "secrets".into(),
        });
        snapshot("nft-namespace", &(ports(&plan) + &guest(&plan) + &controller(&plan)));
    }

    #[test]
    fn the_filters_of_a_network_on_the_host() {
        let mut plan = sample();
        plan.mode = Mode::Host;
        plan.allow.push(Allow {
            name: "mirror".into(),
            to: "10.1.2.3".parse().unwrap(),
            port: Some(80),
            why: "packages".into(),
        });
        snapshot("nft-host", &guest(&plan));
    }

    #[test]
    fn without_egress_no_exception_stays_open() {
        let mut plan = sample();
        plan.egress = Egress::None;
        plan.allow.push(Allow { name: "mirror".into(), to: "10.1.2.3".parse().unwrap(), port: None, why: "x".into() });
        plan.never.clear();
        let text = guest(&plan);
        assert!(!text.contains("10.1.2.3") && !text.contains("dport 53 accept\n    oifname"), "{text}");
        assert!(!text.contains("elements = {  }"), "nft refuses an empty list");
    }

    #[test]
    fn a_guest_that_is_cut_off_reaches_nothing_and_what_is_put_back_is_the_plans_own() {
        let mut plan = sample();
        plan.allow.push(Allow { name: "m".into(), to: "10.1.2.3".parse().unwrap(), port: None, why: "x".into() });
        let back = swap(&plan, false);
        let (_, chains) = back.split_once("{\n").unwrap();
        for chain in chains.trim_end_matches("}\n").split_inclusive("\n  }\n") {
            assert!(guest(&plan).contains(chain), "{chain} is not what the network was started with");
        }
        let cut = swap(&plan, true);
        assert!(!cut.contains("10.1.2.3") && !cut.contains("counter accept"), "{cut}");
        let place = |needle: &str| cut.find(needle).unwrap_or_else(|| panic!("no {needle} in {cut}"));
        assert!(place("th dport 53 counter reject") < place("established,related accept"), "{cut}");
        assert!(place("@never") < place("jump from_controller"), "{cut}");
    }

    #[test]
    fn the_never_list_is_judged_before_every_exception() {
        let mut plan = sample();
        plan.allow.push(Allow { name: "m".into(), to: "10.1.2.3".parse().unwrap(), port: None, why: "x".into() });
        let text = guest(&plan);
        let place = |needle: &str| text.find(needle).unwrap();
        assert!(place("@never counter") < place("jump from_controller"));
        assert!(place("@never counter") < place("ip daddr 10.1.2.3"));
        assert!(place("ip daddr 10.1.2.3") < place("@forbidden counter"));
    }
}
