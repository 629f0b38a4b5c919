use super::*;
use crate::ssh::Way;
use std::net::Ipv4Addr;

const PINNED: &str = "10.9.8.7 ssh-ed25519 AAAAhost\n10.9.8.7 ssh-rsa AAAAB3\n";

fn ways() -> Ways {
    Ways { real: vec!["192.0.2.20".into()], ..Ways::fresh(Ipv4Addr::new(10, 9, 8, 7), "ansible") }
}

/// The answers of a guest in which all is well, but for these.
fn facts(changed: &[(&str, &str)]) -> Facts {
    let well = [
        ("system", "running"),
        (
            "unit ssh.service",
            "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nUnitFileState=enabled",
        ),
        ("unit sshd.service", "LoadState=not-found\nActiveState=inactive\nSubState=dead"),
        ("unit ssh.socket", "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled"),
        ("words", "Server listening on 0.0.0.0 port 22."),
        (
            "listen",
            "LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=7,fd=3))\nLISTEN 0 128 [::]:22 [::]:* users:((\"sshd\",pid=7,fd=4))",
        ),
        (
            "addresses",
            "enp0s2 UP 10.9.8.7/24 metric 100\ndocker0 DOWN 172.17.0.1/16\nenp0s2 UP 52:54:00:12:34:56 <BROADCAST,UP>",
        ),
        ("sshd-test", ""),
        ("sshd", "port 22\npubkeyauthentication yes\npermitrootlogin no"),
        ("hostkeys", "ssh-ed25519 AAAAhost\nssh-rsa AAAAB3"),
        ("user", "ansible:x:1000:1000::/home/ansible:/bin/bash\nansible sudo\nansible L"),
        ("keys", "/home/ansible/.ssh/authorized_keys 1\n/home/ansible/.ssh/authorized_keys2 none"),
        ("full", "/dev/vda2 20000 9000 10000 48% /"),
        ("nologin", ""),
        ("filter", ""),
    ];
    let answer = |(name, text): &(&str, &str)| {
        let text = changed.iter().find(|(other, _)| other == name).map_or(*text, |(_, text)| text);
        format!("\u{1e}{name}\n{text}\n")
    };
    Facts::read(&(well.iter().map(answer).collect::<String>() + "\u{1e}end\n"))
}

fn cause(changed: &[(&str, &str)], said: &str) -> Option<String> {
    Cause::of(&facts(changed), &ways(), "ansible", PINNED, said).map(|cause| cause.to_string())
}

const FAILED: &str = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nUnitFileState=enabled";

#[test]
fn a_guest_in_which_all_is_well_has_no_cause() {
    for said in [
        "",
        "Connection refused",
        "Connection timed out during banner exchange\nConnection to 10.9.8.7 port 22 timed out",
        "ssh: connect to host 10.9.8.7 port 2222: Connection timed out",
        "kex_exchange_identification: read: Connection reset by peer",
    ] {
        assert_eq!(cause(&[], said), None, "{said}");
    }
}

#[test]
fn a_port_that_sshd_has_moved_to_and_the_filter_does_not_let_through_is_named_with_both() {
    let drops = "table inet filter {\nchain input {\ntype filter hook input priority filter; policy drop;";
    let moved = facts(&[("listen", "LISTEN 0 128 0.0.0.0:2222 0.0.0.0:*"), ("filter", drops)]);
    let mut ways = ways();
    let said = "ssh: connect to host 10.9.8.7 port 22: Connection refused; ssh: connect to host 10.9.8.7 port 2222: Connection timed out";
    let named = |ways: &Ways| Cause::of(&moved, ways, "ansible", PINNED, said).map(|cause| cause.to_string());
    assert_eq!(named(&ways).as_deref(), Some("sshd listens on 2222 now, not on 22"), "it is tried there first");
    ways.found = Some(Way { port: 2222, user: "ansible".into() });
    assert_eq!(
        named(&ways).as_deref(),
        Some(
            "sshd listens on 2222 now, not on 22, and nothing reaches it: the guest's packet filter drops it (policy drop: inet filter input)"
        )
    );
}

#[test]
fn each_thing_that_stands_in_between_is_named_in_one_line() {
    let refused = "ssh: connect to host 10.9.8.7 port 22: Connection refused";
    for (changed, said, words) in [
        (vec![("listen", "LISTEN 0 128 0.0.0.0:2222 0.0.0.0:*")], refused, "sshd listens on 2222 now, not on 22"),
        (
            vec![("listen", "LISTEN 0 128 100.64.0.1:22 0.0.0.0:*")],
            refused,
            "sshd listens on 100.64.0.1:22 (which no interface has) only, and the host is reached at 10.9.8.7",
        ),
        (
            vec![
                ("listen", "LISTEN 0 128 100.64.0.1:22 0.0.0.0:*\nLISTEN 0 128 127.0.0.1:22 0.0.0.0:*"),
                ("addresses", "ens3 UP 10.9.8.7/24\nwt0 UNKNOWN 100.64.0.1/16"),
            ],
            refused,
            "sshd listens on 100.64.0.1:22 (on wt0), 127.0.0.1:22 only, and the host is reached at 10.9.8.7",
        ),
        (
            vec![
                ("listen", ""),
                ("unit ssh.service", FAILED),
                ("sshd-test", "/etc/ssh/sshd_config.d/x.conf line 1: Bad configuration option: Nonsense"),
            ],
            refused,
            "ssh.service failed (exit-code): /etc/ssh/sshd_config.d/x.conf line 1: Bad configuration option: Nonsense",
        ),
        (
            vec![
                ("listen", ""),
                ("unit ssh.service", FAILED),
                (
                    "words",
                    "Starting ssh.service\nerror: Bind to port 22 on 100.64.0.1 failed: Cannot assign requested address.\nfatal: Cannot bind any address.\nssh.service: Failed with result 'exit-code'.",
                ),
            ],
            refused,
            "ssh.service failed (exit-code): error: Bind to port 22 on 100.64.0.1 failed: Cannot assign requested address. | fatal: Cannot bind any address.",
        ),
        (
            vec![
                ("listen", ""),
                ("unit ssh.service", "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled"),
            ],
            refused,
            "ssh.service is inactive, and disabled at boot",
        ),
        (
            vec![("listen", ""), ("unit ssh.service", FAILED), ("full", "/dev/vda2 20000 20000 0 100% /")],
            refused,
            "no space is left on /, and sshd does not run",
        ),
        (
            vec![("addresses", "enp0s2 UP 10.9.8.50/24\ndocker0 DOWN 172.17.0.1/16")],
            "No route to host",
            "its address is 10.9.8.50/24 on enp0s2 now, not 10.9.8.7",
        ),
        (
            vec![("addresses", "enp0s2 UP 192.0.2.20/24")],
            "No route to host",
            "its address is 192.0.2.20/24 on enp0s2 now, not 10.9.8.7, as the inventory says: the mirror's network cannot carry it",
        ),
        (
            vec![("addresses", "enp0s2 UP 52:54:00:12:34:56 <BROADCAST,UP>")],
            "No route to host",
            "the guest has no IPv4 address (it was given 10.9.8.7)",
        ),
        (vec![("hostkeys", "ssh-ed25519 AAAAother")], "Host key verification failed.", "the host key is another one"),
        (
            vec![("hostkeys", "ecdsa-sha2-nistp256 AAAAnew\nssh-ed25519 AAAAother\nssh-rsa AAAAB3")],
            "Host key verification failed.",
            "the host key is another one",
        ),
        (vec![("user", "id: ‘ansible’: no such user")], "Permission denied", "there is no user ansible any more"),
        (
            vec![("sshd", "port 22\nallowusers deploy\nallowusers admin")],
            "Permission denied",
            "sshd lets ansible in no more (AllowUsers deploy admin)",
        ),
        (
            vec![("sshd", "allowgroups ssh-users")],
            "Permission denied",
            "sshd lets ansible in no more (AllowGroups ssh-users)",
        ),
        (vec![("sshd", "denygroups sudo")], "Permission denied", "sshd lets ansible in no more (DenyGroups sudo)"),
        (
            vec![("user", "ansible:x:1000:1000::/home/ansible:/usr/sbin/nologin\nansible\nansible L")],
            "This account is currently not available",
            "sshd lets ansible in no more (its shell is /usr/sbin/nologin)",
        ),
        (
            vec![("keys", "/home/ansible/.ssh/authorized_keys 0\n/home/ansible/.ssh/authorized_keys2 none")],
            "Permission denied (publickey).",
            "the harness's key is not in /home/ansible/.ssh/authorized_keys, /home/ansible/.ssh/authorized_keys2 of ansible any more",
        ),
        (
            vec![(
                "filter",
                "table inet filter {\nchain input {\ntype filter hook input priority filter; policy drop;\nchain forward {",
            )],
            "ssh: connect to host 10.9.8.7 port 22: Connection timed out",
            "sshd listens, and nothing reaches port 22: the guest's packet filter drops it (policy drop: inet filter input)",
        ),
        (
            vec![],
            "ssh: connect to host 10.9.8.7 port 22: No route to host",
            "sshd listens, and nothing reaches port 22: the guest's packet filter rejects it",
        ),
    ] {
        assert_eq!(cause(&changed, said).as_deref(), Some(words), "{changed:?}");
    }
}

#[test]
fn what_is_on_its_way_or_not_known_is_no_cause() {
    let activating = "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled";
    assert_eq!(cause(&[("listen", ""), ("unit ssh.service", activating)], "refused"), None);
    // What could not be asked stands for nothing.
    for name in ["addresses", "hostkeys", "user", "keys", "sshd"] {
        assert_eq!(cause(&[(name, "")], "refused"), None, "{name}");
    }
    let units = ["unit ssh.service", "unit sshd.service", "unit ssh.socket"].map(|unit| (unit, ""));
    let unknown: Vec<_> = units.into_iter().chain([("listen", "")]).collect();
    assert_eq!(cause(&unknown, "refused"), None);
    assert_eq!(cause(&[("sshd", "allowusers deploy*")], "denied"), None, "a pattern is left to ssh's own words");
    let cut = Facts::read("\u{1e}listen\n\u{1e}unit ssh.service\nLoadState=loaded\nActiveState=failed\n");
    assert_eq!(Cause::of(&cut, &ways(), "ansible", PINNED, "refused"), None, "the script was cut off");
}

#[test]
fn a_port_that_the_inventory_names_is_where_it_must_be() {
    let ways = Ways { inventory: Way { port: 2222, user: "ansible".into() }, ..ways() };
    let moved = facts(&[("listen", "LISTEN 0 128 0.0.0.0:2222 0.0.0.0:*")]);
    assert_eq!(Cause::of(&moved, &ways, "ansible", PINNED, "refused"), None);
}

#[test]
fn a_host_key_that_was_removed_leaves_the_others() {
    for keys in ["ssh-rsa AAAAB3", "ssh-ed25519 AAAAhost\nssh-rsa AAAAnew"] {
        let cause = Cause::of(&facts(&[("hostkeys", keys)]), &ways(), "ansible", PINNED, "");
        assert!(!matches!(cause, Some(Cause::HostKey)), "{keys}: {cause:?}");
    }
}

#[test]
fn an_address_of_the_real_network_is_no_verdict_and_everything_else_is_red() {
    let cause = |has: &str| Cause::of(&facts(&[("addresses", has)]), &ways(), "ansible", PINNED, "").unwrap();
    assert_eq!(cause("enp0s2 UP 192.0.2.20/24").exit(), Exit::Lost);
    assert_eq!(cause("enp0s2 UP 10.9.8.50/24").exit(), Exit::Verify);
}
