//! User and network namespaces: made for real, in a child process that takes them with it.

use super::{Finding, Site, child};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::fs::OpenOptions;

/// Set in the child's exit code if the namespaces could be made but not used. The rest is the errno;
/// those that can come here are below it.
const USED: u8 = 0x80;

/// What the child found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Works,
    NotMade(Errno),
    NotUsable(Errno),
    Lost,
}

/// Make both namespaces and use the power that they should give.
pub(super) fn check(_: &Site) -> Finding {
    judge(attempt())
}

/// As the process that holds the namespaces of a network does it: unshare, then switch forwarding on. AppArmor, as Ubuntu sets it
/// up, allows the first and takes away the capabilities for the second.
fn attempt() -> Found {
    match child::answer(in_child) {
        Err(errno) => Found::NotMade(errno),
        Ok(Some(0)) => Found::Works,
        Ok(Some(code)) if code & USED != 0 => Found::NotUsable(Errno::from_raw((code & !USED).into())),
        Ok(Some(code)) => Found::NotMade(Errno::from_raw(code.into())),
        Ok(None) => Found::Lost,
    }
}

fn in_child() -> u8 {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        return child::told(errno);
    }
    let key = OpenOptions::new().write(true).open("/proc/sys/net/ipv4/ip_forward");
    let written = key.and_then(|mut key| std::io::Write::write_all(&mut key, b"1"));
    match written {
        Ok(()) => 0,
        Err(error) => USED | child::told(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    }
}

fn judge(found: Found) -> Finding {
    match found {
        Found::Works => Finding::ok("made a user and a network namespace, and switched forwarding on in it"),
        Found::NotMade(errno) => {
            let fix = match errno {
                Errno::ENOSPC => "sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000",
                Errno::EPERM | Errno::EACCES => {
                    "sysctl -w kernel.unprivileged_userns_clone=1; in a container, its seccomp profile must allow unshare \
                     (docker: --security-opt seccomp=unconfined)"
                }
                _ => "the kernel needs CONFIG_USER_NS and CONFIG_NET_NS",
            };
            Finding::fail(format!("cannot make user and network namespaces: {}", errno.desc()), fix)
        }
        Found::NotUsable(errno) => {
            let fix = match errno {
                Errno::EROFS => {
                    "mount /proc/sys read-write in the container that this runs in (docker: --security-opt \
                     systempaths=unconfined; podman: --security-opt unmask=ALL)"
                }
                _ => "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (AppArmor takes their power away)",
            };
            Finding::fail(format!("namespaces can be made but not used: {}", errno.desc()), fix)
        }
        Found::Lost => Finding::fail("the process that was to make namespaces died", "see the kernel's log (dmesg)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn making_namespaces_changes_nothing_here() {
        let net = || std::fs::read_link("/proc/self/ns/net").unwrap();
        let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        let before = (net(), forwarding());
        let found = attempt();
        assert_ne!(found, Found::Lost);
        assert_eq!((net(), forwarding()), before);
    }

    #[test]
    fn each_refusal_has_its_own_fix() {
        let cases = [
            (Found::NotMade(Errno::ENOSPC), "max_user_namespaces"),
            (Found::NotMade(Errno::EPERM), "unprivileged_userns_clone"),
            (Found::NotUsable(Errno::EACCES), "apparmor"),
            (Found::NotUsable(Errno::EROFS), "read-write"),
        ];
        for (found, fix) in cases {
            let finding = judge(found);
            assert_eq!(finding.result, Outcome::Fail);
            assert!(finding.fix.unwrap().contains(fix), "{found:?}");
        }
    }
}
