//! Losses at the same time: which come of which.

use super::*;
use crate::observe::loss::Loss;
use crate::observe::state::state_for_tests as state;
use crate::observe::{Finding, Severity};

fn lost(section: Section, key: &str, was: &str, is: Option<&str>) -> Change {
    let loss = Some(Loss { what: key.into(), severity: Severity::Serious });
    let (before, after) = (Some(was.to_owned()), is.map(str::to_owned));
    Change { section, key: key.into(), before, after, loss, took_effect: None, comes_of: None }
}

fn roots(mut changes: Vec<Change>, before: &State) -> Vec<String> {
    trace(&mut changes, before);
    changes.iter().filter(|change| change.comes_of.is_none()).map(Change::id).collect()
}

#[test]
fn a_wireguard_link_takes_its_address_its_listeners_its_peers_and_its_modules_with_it() {
    let mut before = state(&[(Section::Links, "mesh0", "wireguard")]);
    for (module, user) in [("curve25519_x86_64", "wireguard"), ("udp_tunnel", "wireguard")] {
        before.known.module_users.insert(module.into(), vec![user.into()]);
    }
    let changes = vec![
        lost(Section::Sockets, "udp 0.0.0.0:51820", "the kernel", None),
        lost(Section::Sockets, "tcp 10.66.0.1:8080", "nginx", None),
        lost(Section::Links, "mesh0", "wireguard", None),
        lost(Section::Addresses, "mesh0/10.66.0.1/24", "scope global", None),
        lost(Section::Wireguard, "mesh0/KEY=", "allowed 10.66.0.2/32", None),
        lost(Section::Routes, "main/10.67.0.0/16 dev mesh0", "scope link", None),
        lost(Section::Sysctl, "net.ipv4.conf.all.send_redirects", "0", Some("1")),
        lost(Section::Modules, "curve25519_x86_64", "loaded", None),
        lost(Section::Modules, "udp_tunnel", "loaded", None),
        lost(Section::Modules, "wireguard", "loaded", None),
    ];
    assert_eq!(roots(changes, &before), ["links/mesh0"]);
}

#[test]
fn a_docker_that_does_not_run_takes_all_of_its_own_with_it_and_nothing_else() {
    let before = state(&[(Section::Containers, "web/ports/*:443", "443/tcp")]);
    let changes = vec![
        lost(Section::Units, "docker.service/active", "active (running)", Some("failed")),
        lost(Section::Units, "docker.socket/active", "active", Some("failed")),
        lost(Section::Containers, "", "seen", None),
        lost(Section::DockerNetworks, "", "seen", None),
        lost(Section::Sockets, "tcp 0.0.0.0:443", "docker-proxy", None),
        lost(Section::Sockets, "tcp 0.0.0.0:25", "master", None),
        lost(Section::Nft, "ip nat", "DOCKER: chain", None),
        lost(Section::Nft, "inet filter/input", "chain", None),
        lost(Section::Links, "docker0", "bridge", None),
        lost(Section::Addresses, "docker0/172.17.0.1/16", "scope global", None),
        lost(Section::Sysctl, "net.ipv4.ip_forward", "1", Some("0")),
        lost(Section::Sysctl, "net.ipv4.conf.all.accept_redirects", "0", Some("1")),
        lost(Section::Sockets, "unix /run/docker.sock", "systemd", None),
        lost(Section::Sockets, "unix /var/run/docker/metrics.sock", "dockerd", None),
        lost(Section::Modules, "br_netfilter", "loaded", None),
        lost(Section::Permissions, "/run/docker.sock", "socket 660 root:docker", None),
    ];
    assert_eq!(
        roots(changes, &before),
        ["units/docker.service/active", "sockets/tcp 0.0.0.0:25", "nft/inet filter/input"]
    );
}

#[test]
fn a_unit_takes_the_listeners_of_its_main_process_with_it() {
    let mut before = State::default();
    before.known.owners.insert("tcp 0.0.0.0:5432".into(), "postgresql@15-main.service".into());
    let changes = vec![
        lost(Section::Units, "postgresql@15-main.service/active", "active (running)", None),
        lost(Section::Sockets, "tcp 0.0.0.0:5432", "postgres", None),
        lost(Section::Sockets, "tcp 0.0.0.0:6432", "pgbouncer", None),
    ];
    assert_eq!(roots(changes, &before), ["units/postgresql@15-main.service/active", "sockets/tcp 0.0.0.0:6432"]);
}

#[test]
fn ipv6_that_is_switched_off_is_one_finding() {
    let before = state(&[(Section::Kernel, "ipv6", "on")]);
    let mut changes = vec![
        lost(Section::Sockets, "tcp [::]:22", "sshd", None),
        lost(Section::Addresses, "eth0/2001:db8::2/64", "scope global", None),
        lost(Section::Sysctl, "net.ipv6.conf.all.*", "…", None),
        lost(Section::Routes, "main/default dev eth0", "via fe80::1 proto ra", None),
        lost(Section::Kernel, "ipv6", "on", Some("off")),
        lost(Section::Sys, "module/ipv6/parameters/disable", "0", Some("1")),
        lost(Section::Sysctl, "vm.swappiness", "1", Some("60")),
    ];
    assert_eq!(roots(changes.clone(), &before), ["kernel/ipv6", "sysctl/vm.swappiness"]);
    changes.retain(|change| !matches!(change.section, Section::Kernel | Section::Sys));
    changes.push(lost(Section::Sysctl, "net.ipv6.conf.all.disable_ipv6", "0", Some("1")));
    assert_eq!(roots(changes, &before), ["sysctl/vm.swappiness", "sysctl/net.ipv6.conf.all.disable_ipv6"]);
}

#[test]
fn a_container_takes_its_ports_and_its_health_with_it() {
    let before = state(&[(Section::Containers, "web/ports/10.66.0.1:8072", "80/tcp")]);
    let changes = vec![
        lost(Section::Containers, "web/state", "running", Some("exited")),
        lost(Section::Containers, "web/health", "healthy", Some("unhealthy")),
        lost(Section::Sockets, "tcp 10.66.0.1:8072", "docker-proxy", None),
        lost(Section::Nft, "ip nat/DOCKER/rules/x", "tcp dport 8072 counter dnat to web@bridge:80", None),
    ];
    assert_eq!(roots(changes, &before), ["containers/web/state"]);
}

#[test]
fn a_finding_holds_what_comes_of_it_and_weighs_as_much_as_the_heaviest() {
    let mut module = lost(Section::Modules, "wireguard", "loaded", None);
    module.loss = Some(Loss { what: "w".into(), severity: Severity::Minor });
    let mut changes = vec![module, lost(Section::Modules, "udp_tunnel", "loaded", None)];
    let mut before = State::default();
    before.known.module_users.insert("udp_tunnel".into(), vec!["wireguard".into()]);
    trace(&mut changes, &before);
    let findings: Vec<Finding> = crate::observe::Diff { changes }.findings(&[]);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].severity, findings[0].consequences.len()), (Severity::Serious, 1));
}

#[test]
fn a_console_that_the_command_line_no_longer_names_takes_its_getty_with_it() {
    let changes = vec![
        lost(Section::Kernel, "command-line/console=ttyS0,115200", "console=ttyS0,115200", None),
        lost(Section::Units, "serial-getty@ttyS0.service/active", "active (running)", Some("inactive")),
        lost(Section::Units, "serial-getty@ttyS1.service/active", "active (running)", Some("inactive")),
    ];
    let left = ["kernel/command-line/console=ttyS0,115200", "units/serial-getty@ttyS1.service/active"];
    assert_eq!(roots(changes, &state(&[])), left);
}
