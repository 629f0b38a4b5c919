//! What the kernel lets this user do with networks, and whether the VM's subnet is free.

use super::{Finding, Site, child};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use vm::network::host_facts::{HostNetwork, gather};
use vm::network::{NetDir, tap};

/// Where taps come from.
const TUN: &str = "/dev/net/tun";

/// The child's answer where it has no network of its own to try it in.
const NOWHERE: u8 = 0x80;

/// Whether a tap can be made: in a network of its own, which goes with the attempt. Where none can be had, whether the
/// device opens is all that can be told; user-namespaces says why.
pub(super) fn tun(_: &Site) -> Finding {
    match child::answer(make_tap) {
        Ok(Some(0)) => Finding::ok(format!("made a tap with {TUN}")),
        Ok(Some(code)) if code != NOWHERE => judge_tap(Errno::from_raw(code.into())),
        _ => match std::fs::OpenOptions::new().read(true).write(true).open(TUN) {
            Ok(_) => Finding::ok(format!("{TUN} opens")),
            Err(error) => judge_tap(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
        },
    }
}

/// As the network's holder does it: with the power over a network of its own, and none over the host's.
fn make_tap() -> u8 {
    if unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).is_err() {
        return NOWHERE;
    }
    let made = nix::fcntl::open(TUN, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|device| tap::stand_for(&device, "boma-doctor"));
    made.map_or_else(child::told, |()| 0)
}

fn judge_tap(errno: Errno) -> Finding {
    let fix = match errno {
        Errno::EACCES => "chmod 0666 /dev/net/tun, the usual mode: a tap still takes CAP_NET_ADMIN",
        Errno::EPERM => "let the container that this runs in use the device (docker, podman: --device /dev/net/tun)",
        _ => {
            "modprobe tun; in a container, hand the device in (docker, podman: --device /dev/net/tun; LXC: lxc.mount.entry)"
        }
    };
    Finding::fail(format!("{TUN}: {}", errno.desc()), fix)
}

/// Whether this process may change the host's network.
pub(super) fn net_admin(_: &Site) -> Finding {
    match rustix::thread::capabilities(None) {
        Ok(sets) if sets.effective.contains(rustix::thread::CapabilitySet::NET_ADMIN) => {
            Finding::ok("CAP_NET_ADMIN is effective")
        }
        Ok(_) => Finding::fail("no CAP_NET_ADMIN", "run as root (sudo), or use --net namespace"),
        Err(errno) => Finding::fail(format!("cannot read capabilities: {errno}"), "use --net namespace"),
    }
}

/// Whether the VM's subnet is nobody else's.
pub(super) fn subnet(site: &Site) -> Finding {
    match gather() {
        Ok(networks) => {
            let own = NetDir::of(&site.input.dirs, &site.input.net.name).presence().is_there();
            judge_subnet(site, &networks, own)
        }
        Err(error) => {
            Finding::fail(format!("cannot list this host's networks: {error}"), site.os.install("ip", "iproute2"))
        }
    }
}

fn judge_subnet(site: &Site, networks: &[HostNetwork], own_is_up: bool) -> Finding {
    let (subnet, bridge) = (site.input.net.subnet, site.input.net.bridge.as_str());
    match networks.iter().find(|network| network.to.overlaps(&subnet)) {
        None => Finding::ok(format!("{subnet} overlaps none of this host's networks")),
        Some(network) if network.device == bridge && own_is_up => {
            Finding::ok(format!("{subnet} is our own: the network {} is up", site.input.net.name))
        }
        Some(network) if network.device == bridge => {
            Finding::fail(format!("{subnet} is on {bridge}, left by a run that died"), "boma-qemu prune")
        }
        Some(HostNetwork { to, device }) => Finding::fail(
            format!("{subnet} overlaps {to} on {device}"),
            format!(
                "choose another subnet in {}/net/, or use --net namespace, where it cannot clash",
                site.input.dirs.root
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::tests::site;
    use super::*;

    fn network(to: &str, device: &str) -> HostNetwork {
        HostNetwork { to: to.parse().unwrap(), device: device.into() }
    }

    #[test]
    fn a_wider_network_and_a_single_address_both_clash() {
        let site = site();
        for to in ["10.0.0.0/8", "10.213.77.0/24", "10.213.77.200"] {
            let finding = judge_subnet(&site, &[network("192.0.2.0/24", "eth0"), network(to, "wg0")], false);
            assert_eq!(finding.result, Outcome::Fail);
            assert!(finding.probed.contains(to) && finding.probed.contains("wg0"), "{}", finding.probed);
        }
        assert_eq!(judge_subnet(&site, &[network("10.213.78.0/24", "wg0")], false).result, Outcome::Ok);
    }

    #[test]
    fn our_own_bridge_is_no_clash_while_it_is_up_and_a_leftover_once_it_is_not() {
        let bridge = [network("10.213.77.0/24", "boma-it")];
        assert_eq!(judge_subnet(&site(), &bridge, true).result, Outcome::Ok);
        assert_eq!(judge_subnet(&site(), &bridge, false).fix.unwrap(), "boma-qemu prune");
    }
}
