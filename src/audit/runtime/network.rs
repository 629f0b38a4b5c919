//! Network interfaces, as `ip` of iproute2 tells them.

use super::{Answer, Asked, quoted, units};
use crate::audit::outcome::Seen;
use crate::audit::probe::Ipv4;

/// What stands before the configuration of an interface that asks for no lease.
const UNASKED: &str = "-- asks for no lease --";

/// Whether systemd-networkd is done with the interface and its configuration has no DHCP for IPv4: then no lease will come,
/// and the files that say so are printed. Both are in networkd's own state file (`/run/systemd/netif/links`).
const ASKS: &str = r#"unasked() {
s=/run/systemd/netif/links/$(cat "/sys/class/net/$1/ifindex" 2>/dev/null)
grep -qsx ADMIN_STATE=configured "$s" || return 1
f=$(sed -n 's/^NETWORK_FILE[A-Z_]*=//p' "$s" | tr -d '"')
[ -n "$f" ] && ! grep -qsiE '^ *DHCP *= *(1|y|t|on|both|v4|ipv4)' $f && echo "$f"
}; "#;

/// The interface with its addresses, once it has one if it needs one. It has its last name when udev has settled, so one
/// that is not there then is not waited for; nor is a lease that nobody asks for.
pub(super) fn interface(name: &str, ipv4: Ipv4, asked: &Asked<'_>) -> String {
    let name = quoted(name);
    let wait = match ipv4 {
        Ipv4::NotNeeded => String::new(),
        Ipv4::Lease | Ipv4::Any => format!(
            "{ASKS}{}; while ip link show dev {name} >/dev/null 2>&1 && ! ip -o -4 addr show dev {name} | grep -q inet; do \
             unasked {name} >/dev/null && break; {}; done; ",
            units::wait_begins(asked),
            units::WAIT_GOES_ON
        ),
    };
    let tell = match ipv4 {
        Ipv4::NotNeeded => String::new(),
        Ipv4::Lease | Ipv4::Any => format!("; if f=$(unasked {name}); then echo '{UNASKED}'; echo $f; cat $f; fi"),
    };
    format!("udevadm settle -t 10 2>/dev/null; {wait}ip -o link show; ip -o -4 addr show dev {name}{tell}")
}

/// The interface is there, is up and has what it needs.
pub(super) fn judge_interface(name: &str, ipv4: Ipv4, asked: &Asked<'_>, answer: &Answer) -> Seen {
    // `2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 …`; a name may have `@if3` behind it.
    let link = |line: &str| -> Option<(String, bool)> {
        let (_, rest) = line.split_once(": ")?;
        let (own, rest) = rest.split_once(": <")?;
        let flags = rest.split_once('>')?.0;
        Some((own.split('@').next()?.to_owned(), flags.split(',').any(|flag| flag == "UP")))
    };
    let links: Vec<_> = answer.output.lines().filter_map(link).collect();
    if links.is_empty() {
        return Seen::unknown(format!("ip shows no interface: {}", super::last_line(&answer.output)));
    }
    let Some((_, is_up)) = links.iter().find(|(own, _)| own == name) else {
        let others: Vec<_> = links.iter().map(|(own, _)| own.as_str()).filter(|own| *own != "lo").collect();
        let others = if others.is_empty() { "none but lo".into() } else { others.join(", ") };
        return Seen::fails(others.clone(), format!("there is no interface {name}; there are {others}"));
    };
    // `2: lan    inet 10.0.2.15/24 metric 1024 brd 10.0.2.255 scope global dynamic lan\ valid_lft 86390sec …`
    let address = answer.output.lines().find_map(|line| {
        let (before, rest) = line.split_once(" inet ")?;
        (before.split_whitespace().last()? == name).then(|| (rest.split_whitespace().next().unwrap_or_default(), rest))
    });
    let after = match answer.output.split_once(UNASKED) {
        Some((_, files)) => {
            format!(": {} asks for none", files.lines().find(|line| !line.is_empty()).unwrap_or("nothing"))
        }
        None => format!(" after {} s", units::patience(asked)),
    };
    let cause = match (ipv4, address) {
        _ if !is_up => Some(format!("{name} is not up")),
        (Ipv4::NotNeeded, _) | (Ipv4::Any, Some(_)) => None,
        (Ipv4::Lease, Some((_, rest))) if rest.split_whitespace().any(|word| word == "dynamic") => None,
        (Ipv4::Lease, Some((address, _))) => {
            Some(format!("{name} has {address}, which is no lease: it does not run out"))
        }
        (Ipv4::Lease, None) => Some(format!("{name} has no IPv4 lease{after}")),
        (Ipv4::Any, None) => Some(format!("{name} has no IPv4 address{after}")),
    };
    Seen::judged(
        address.map_or_else(|| "no IPv4 address".to_owned(), |(address, _)| format!("{name} has {address}")),
        cause,
    )
}
