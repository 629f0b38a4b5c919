//! dnsmasq's configuration: one lease for one VM, names with fixed answers, one upstream.

use super::plan::{Egress, Mode, NetPlan};
use camino::Utf8Path;
use host::presence::ignore;
use std::fmt::Write;
use std::time::SystemTime;

/// How long a lease is good, in hours.
pub const LEASE_H: u64 = 12;

/// The configuration file. `dir` is the network's folder, where leases and pid file go.
pub fn config(plan: &NetPlan, dir: &Utf8Path) -> String {
    let NetPlan { bridge, gateway, dhcp, subnet, vm, .. } = plan;
    let mut text = format!(
        "# Only the bridge: other resolvers and DHCP servers of the host keep their addresses.\n\
         interface={bridge}\nexcept-interface=lo\nbind-interfaces\nlisten-address={gateway}\n\
         pid-file={dir}/dnsmasq.pid\nlog-facility=-\nlog-dhcp\nlog-queries\n\
         # One machine is known, and it always gets the same address; asking around first would cost 3 s.\n\
         dhcp-range={first},{last},{mask},{LEASE_H}h\ndhcp-host={mac},{ip},{name}\ndhcp-ignore=tag:!known\n\
         dhcp-leasefile={dir}/leases\ndhcp-authoritative\nno-ping\n\
         # Nothing of the host's own name service leaks in; IPv6 does not leave the bridge.\n\
         no-hosts\nfilter-AAAA\nhost-record={name},{ip}\n\
         # A host of the real inventory may be called as a top-level domain is: names without a dot are asked of nobody.\n\
         domain-needed\n",
        first = dhcp.first,
        last = dhcp.last,
        mask = subnet.mask(),
        mac = vm.mac,
        ip = vm.ip,
        name = vm.name,
    );
    for (name, address) in &plan.stubs {
        // Without `local` other record types would be asked for upstream, and an NXDOMAIN from there
        // would deny the whole name.
        ignore(writeln!(text, "address=/{name}/{address}\nlocal=/{name}/"), "writing into a String cannot fail");
    }
    if let Some(authority) = &plan.authority {
        text.push_str(&authority.resolver_lines(plan));
    }
    ignore(writeln!(text, "servers-file={dir}/refused.conf"), "writing into a String cannot fail");
    text.push_str(&match (plan.egress, plan.mode) {
        (Egress::None, _) => "no-resolv\n".to_owned(),
        (Egress::Nat, Mode::Namespace) => format!("no-resolv\nserver={}\n", plan.uplink.dns),
        (Egress::Nat, Mode::Host) => "resolv-file=/etc/resolv.conf\n".to_owned(),
    });
    text
}

/// The file of names that are refused, with all that is below them: what stands there is the same real host's. It is read
/// anew while the network is up. `server` without an address is what `local` is in the configuration.
pub fn refused(plan: &NetPlan) -> String {
    let names = plan.refused().filter(|name| name.contains('.') && !plan.stubs.contains_key(*name));
    names.fold(String::new(), |mut text, name| {
        ignore(writeln!(text, "server=/{name}/"), "writing into a String cannot fail");
        text
    })
}

/// The file of leases, where the guest has one already: as good as one that was given now. The guest, whose clock stood
/// still, renews it long before.
pub fn lease(plan: &NetPlan, client: &str) -> String {
    let until = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() + LEASE_H * 3600;
    let vm = &plan.vm;
    format!("{until} {} {} {} {client}\n", vm.mac, vm.ip, vm.name)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::sample;
    use super::*;

    #[test]
    fn the_configuration_of_a_network_in_namespaces() {
        let text = config(&sample(), Utf8Path::new("/state/net/boma-it"));
        insta::with_settings!({ snapshot_path => "../../../tests/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("dnsmasq-namespace", text);
        });
    }

    #[test]
    fn a_hosts_name_refuses_no_top_level_domain_and_no_line_of_another_kind() {
        let mut plan = sample();
        for name in ["dev", "web.example.net", "192.0.2.7", "2001:db8::7", "a b.c\nserver=192.0.2.1"] {
            plan.never.insert(name.into(), Vec::new());
        }
        let text = config(&plan, Utf8Path::new("/d"));
        let local: Vec<_> = text.lines().filter(|line| line.starts_with("local=")).collect();
        assert_eq!(local, ["local=/boma.example/"]);
        assert_eq!(refused(&plan), "server=/web.example.net/\n");
        assert!(text.lines().any(|line| line == "domain-needed"));
    }

    #[test]
    fn a_lease_from_before_is_read_as_every_lease_is() {
        let plan = sample();
        let found = super::super::lease::parse(&lease(&plan, "01:52:54:00:12:34:56"), 0);
        assert_eq!((&found[0].mac, found[0].ip), (&plan.vm.mac, plan.vm.ip));
        assert_eq!(found[0].client, "01:52:54:00:12:34:56");
    }

    #[test]
    fn a_stub_wins_over_the_never_list_and_without_egress_nobody_is_asked() {
        let mut plan = sample();
        plan.egress = Egress::None;
        plan.stubs.insert("askari.example".into(), plan.vm.ip);
        plan.never.insert("askari.example".into(), Vec::new());
        let text = config(&plan, Utf8Path::new("/d"));
        assert!(text.contains("address=/askari.example/10.213.77.10"));
        assert_eq!(text.matches("local=/askari.example/").count(), 1);
        assert_eq!(refused(&plan), "");
        assert!(text.contains("no-resolv\n") && !text.contains("server="));
    }
}
