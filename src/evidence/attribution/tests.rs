use super::*;
use crate::observe::{Finding, Section, Severity};

fn deed(module: &str, given: &str) -> Deed {
    Deed {
        role: "base".into(),
        task: "Set it".into(),
        place: "/r/roles/base/tasks/main.yml:7".into(),
        module: module.into(),
        given: vec![given.into()],
    }
}

fn finding(id: &str, before: &str) -> Finding {
    let section = Section::ALL.into_iter().find(|section| id.split('/').next() == Some(section.name())).unwrap();
    Finding {
        id: id.into(),
        section,
        what: "it is gone".into(),
        before: Some(before.into()),
        after: None,
        severity: Severity::Serious,
        consequences: Vec::new(),
        set_by: None,
    }
}

/// Who set it, as it is told.
fn told(finding: &Finding, deeds: &[Deed]) -> Option<String> {
    let mut judged = Judged { findings: vec![finding.clone()], ..Judged::default() };
    name_tasks(&mut judged, deeds);
    judged.findings[0].set_by.as_ref().map(ToString::to_string)
}

fn set(id: &str, before: &str, module: &str, given: &str) -> bool {
    told(&finding(id, before), &[deed(module, given)]).is_some()
}

const FORWARD: &str = "sysctl/net.ipv4.ip_forward";
const ROUTE: &str = "routes/main/198.51.100.0/24 dev enp0s2";
const RULE: &str = "nft/inet filter/input/rules/tcp dport 8443 accept";
const VIA: &str = "via 10.213.77.1 proto boot";

#[test]
fn the_task_whose_command_set_what_is_lost_is_named_with_its_role_and_place() {
    let said = told(&finding(FORWARD, "1"), &[deed("command", "sysctl -w net.ipv4.ip_forward=1")]);
    assert_eq!(said.unwrap(), "set by base: Set it (/r/roles/base/tasks/main.yml:7)");
    for (id, before, module, given) in [
        (FORWARD, "1", "shell", "echo 1 > /proc/sys/net/ipv4/ip_forward"),
        (FORWARD, "1", "shell", "echo 1 | sudo tee /proc/sys/net/ipv4/ip_forward >/dev/null"),
        (FORWARD, "1", "shell", "[ \"$(sysctl -n net.ipv4.ip_forward)\" = 1 ] || sysctl -qw net/ipv4/ip_forward=1"),
        (FORWARD, "1", "sysctl", "name=net.ipv4.ip_forward value=1 state=present sysctl_set=True"),
        ("sysctl/net.ipv4.tcp_rmem", "4096 131072 8000", "command", "sysctl -w 'net.ipv4.tcp_rmem=4096 131072 8000'"),
        ("sysctl/net.ipv4.conf.eth0/7.forwarding", "1", "command", "sysctl net.ipv4.conf.eth0/7.forwarding=1"),
        (ROUTE, VIA, "command", "ip route add 198.51.100.0/24 via 10.213.77.1"),
        (ROUTE, VIA, "command", "/usr/sbin/ip -4 route replace unicast 198.51.100.0/24 dev enp0s2"),
        ("routes/7/default dev wg0", "scope link", "command", "ip ro add 0.0.0.0/0 dev wg0 table 7"),
        ("routes/main/198.51.100.9 dev enp0s2", VIA, "command", "ip route add 198.51.100.9/32 via 10.213.77.1"),
        ("addresses/enp0s2/10.9.9.9/32", "scope global", "command", "ip addr add 10.9.9.9/32 dev enp0s2"),
        ("links/dummy0", "dummy", "command", "ip link add dummy0 type dummy"),
        ("links/eth0.5", "vlan", "command", "ip link add link eth0 name eth0.5 type vlan id 5"),
        ("links/enp0s2/mtu", "1400", "command", "ip link set enp0s2 mtu 1400"),
        (
            "ip-rules/ip/100 from 10.0.0.0",
            "srclen 8 table 7",
            "command",
            "ip rule add from 10.0.0.0/8 lookup 7 pref 100",
        ),
        ("containers/web/state", "running", "command", "docker run --detach --name web nginx"),
        ("containers/web", "nginx", "shell", "docker rm -f web; docker run -d --name=web -p 80:80 nginx"),
        ("containers/web/state", "running", "docker_container", "name=web image=nginx restart_policy=no"),
        ("containers/web/state", "running", "command", "docker start web"),
        ("docker-networks/edge", "bridge local", "command", "docker network create --driver bridge edge"),
        ("units/caddy.service/active", "active (running)", "command", "systemctl start caddy"),
        ("units/caddy.service/active", "active (running)", "systemd_service", "name=caddy.service state=started"),
        ("units/job.service/active", "active (running)", "command", "systemd-run --unit=job sleep 600"),
        (RULE, "tcp dport 8443 accept", "command", "nft add rule inet filter input tcp dport 8443 accept"),
        (
            RULE,
            "tcp dport 8443 accept",
            "shell",
            "nft -f - <<X\ninsert rule inet filter input tcp dport 8443 accept\nX",
        ),
        (
            "nft/ip nat/post/rules/oifname \"eth0\" masquerade",
            "x",
            "command",
            "nft add rule nat post oifname eth0 masquerade",
        ),
        ("nft/inet filter/input/policy", "drop", "shell", "nft chain inet filter input '{ policy drop; }'"),
        ("nft/inet extra", "table", "command", "nft add table inet extra"),
        (
            "nft/inet f/set bad/elements/192.0.2.1",
            "192.0.2.1",
            "shell",
            "nft add element inet f bad { 192.0.2.7, 192.0.2.1 }",
        ),
        ("mounts//data", "tmpfs tmpfs rw", "command", "mount -t tmpfs tmpfs /data"),
        ("mounts//data", "tmpfs tmpfs rw", "mount", "path=/data src=tmpfs fstype=tmpfs state=ephemeral"),
        ("swaps//swapfile", "file", "command", "swapon /swapfile"),
        ("modules/br_netfilter", "loaded", "command", "modprobe br-netfilter"),
        ("modules/dummy", "loaded", "modprobe", "name=dummy state=present"),
        ("system/hostname", "web1", "command", "hostnamectl set-hostname --transient web1"),
    ] {
        assert!(set(id, before, module, given), "{id}: {given}");
    }
}

#[test]
fn what_only_reads_removes_or_names_it_has_not_set_it() {
    for (id, before, module, given) in [
        (FORWARD, "1", "command", "sysctl -n net.ipv4.ip_forward"),
        (FORWARD, "1", "command", "sysctl -w net.ipv4.ip_forward=0"),
        (FORWARD, "1", "command", "sysctl -w net.ipv4.ip_forward_update_priority=1"),
        (FORWARD, "1", "shell", "test \"$(sysctl -n net.ipv4.ip_forward)\" = 1"),
        (FORWARD, "1", "shell", "# sysctl -w net.ipv4.ip_forward=1\ntrue"),
        (FORWARD, "1", "lineinfile", "path=/etc/sysctl.conf line=net.ipv4.ip_forward=1"),
        (FORWARD, "1", "shell", "grep net.ipv4.ip_forward=1 /etc/sysctl.conf"),
        (ROUTE, VIA, "command", "ip route del 198.51.100.0/24"),
        (ROUTE, VIA, "command", "ip route add 198.51.100.0/25 via 10.213.77.1"),
        (ROUTE, VIA, "command", "ip route add 198.51.100.0/24 via 10.213.77.9"),
        (ROUTE, VIA, "command", "ip route add 198.51.100.0/24 via 10.213.77.1 table 9"),
        (ROUTE, VIA, "command", "ip route add 192.0.2.0/24 via 198.51.100.0/24"),
        ("containers/web/state", "running", "command", "docker rm --force web"),
        ("containers/web/state", "running", "command", "docker run --name web2 nginx"),
        ("containers/web/state", "running", "command", "docker exec web run"),
        ("containers/web/state", "running", "docker_container", "name=web state=absent"),
        ("units/caddy.service/active", "active (running)", "command", "systemctl is-active caddy"),
        ("units/caddy.service/active", "active (running)", "command", "systemctl stop caddy"),
        ("units/caddy.service/active", "inactive", "command", "systemctl start caddy"),
        (RULE, "x", "command", "nft delete rule inet filter input tcp dport 8443 accept"),
        (RULE, "x", "command", "nft add rule inet filter output tcp dport 8443 accept"),
        (RULE, "x", "command", "nft add rule inet filter input tcp dport 8443 drop"),
        ("nft/inet filter/input/policy", "drop", "command", "nft list chain inet filter input"),
        ("mounts//data", "tmpfs tmpfs rw", "command", "umount /data"),
        ("mounts//data", "tmpfs tmpfs rw", "command", "mount /data /srv"),
        ("modules/dummy", "loaded", "command", "modprobe -r dummy"),
        ("sockets/tcp 0.0.0.0:80", "nginx", "command", "docker run -p 80:80 nginx"),
    ] {
        assert!(!set(id, before, module, given), "{id}: {given}");
    }
    let new = Finding { before: None, ..finding(RULE, "") };
    assert_eq!(told(&new, &[deed("command", "nft add rule inet filter input tcp dport 8443 accept")]), None);
}

#[test]
fn of_several_tasks_the_last_is_named_and_a_finding_that_is_allowed_is_told_too() {
    let named = |task: &str| Deed {
        task: task.into(),
        role: String::new(),
        ..deed("command", "sysctl -w net.ipv4.ip_forward=1")
    };
    let mut judged = Judged { allowed: vec![(finding(FORWARD, "1"), "meant".into())], ..Judged::default() };
    name_tasks(&mut judged, &[named("first"), named("last"), deed("command", "sysctl -w net.ipv4.ip_forward=0")]);
    let task = judged.allowed[0].0.set_by.as_ref().unwrap();
    assert_eq!((task.task.as_str(), task.to_string().starts_with("set by last (")), ("last", true));
}

#[test]
fn a_finding_that_was_recorded_before_there_were_tasks_in_it_is_read() {
    let old =
        r#"{"id": "nft/inet x", "section": "nft", "what": "w", "before": "b", "after": null, "severity": "serious"}"#;
    let read: Finding = serde_json::from_str(old).unwrap();
    assert_eq!(read.set_by, None);
    assert!(!serde_json::to_string(&read).unwrap().contains("set_by"));
}
