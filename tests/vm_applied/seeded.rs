//! Faults that only a reboot shows, and that no check looks for: the difference of the state finds each.

use crate::applied::applied;
use crate::modes::{begin_with, cut_off};

/// What was done to the guest, and a word by which its finding is known.
const FAULTS: [(&str, &str, &str); 11] = [
    (
        "a service is started and not enabled",
        "seeded-worker.service",
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/seeded-worker.service
         systemctl daemon-reload; systemctl start seeded-worker.service",
    ),
    ("a sysctl is set at run time only", "net.core.somaxconn", "sysctl -q -w net.core.somaxconn=8191"),
    ("a route is added by hand", "203.0.113.0/24", "ip route add 203.0.113.0/24 via 10.213.77.1"),
    ("an address is added by hand", "192.0.2.10", "ip address add 192.0.2.10/24 dev enp0s2"),
    ("a rule of the firewall is not saved", "dport 8443", "nft insert rule ip filter DOCKER-USER tcp dport 8443 accept"),
    (
        "a container has no restart policy",
        "seeded-job",
        "docker run --detach --name seeded-job reverse-proxy:1 /usr/bin/caddy respond --listen 127.0.0.1:8123",
    ),
    ("a file system is mounted by hand", "/srv/seeded", "mkdir -p /srv/seeded; mount -t tmpfs seeded /srv/seeded"),
    ("a module is loaded by hand", "wireguard", "modprobe wireguard"),
    ("the host name is not made to last", "seeded-name", "hostname seeded-name"),
    // Its failure is taken for an end like any other, as by many a unit: no check for failed units sees it.
    (
        "a service listens on an address that comes late",
        ":8099",
        "printf '[Service]\\nType=oneshot\\nExecStartPre=/bin/sleep 25\\nExecStart=/sbin/ip address replace 198.18.0.1/32 dev lo\\nRemainAfterExit=yes\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/seeded-address.service
         printf '[Service]\\nExecStart=-/usr/bin/python3 -m http.server --bind 198.18.0.1 8099\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/seeded-listener.service
         systemctl daemon-reload; systemctl enable --quiet seeded-address.service seeded-listener.service
         systemctl start seeded-address.service; systemctl start seeded-listener.service",
    ),
    // The last: systemd-resolved writes its file anew whenever an address comes or goes.
    (
        "resolv.conf is written over",
        "192.0.2.53",
        "echo 'nameserver 192.0.2.53' >>/etc/resolv.conf; sleep 3; grep -q 192.0.2.53 /etc/resolv.conf",
    ),
];

#[test]
fn faults_that_no_check_looks_for_are_found_by_the_difference() {
    let vm = applied();
    let earlier = vm.lane.dir.join("earlier.json");
    std::fs::write(&earlier, vm.boma(&["observe", "askari", "--json"]).exits(0).out()).unwrap();
    for (what, _, script) in FAULTS {
        eprintln!("seeded: {what}");
        vm.root(&format!("set -e\n{script}"));
    }
    let against = vm.boma(&["observe", "askari", "--against", earlier.as_str()]);
    against.exits(0).says(&["LOST sysctl/net.core.somaxconn: 4096 -> 8191", "     addresses/enp0s2/192.0.2.10"]);
    vm.boma(&["observe", "askari", "--against", "Cargo.toml"]).exits(2).says(&["--against Cargo.toml"]);
    // No mode keeps what lives in memory only; what does not is on the disk before the machine is cut off.
    vm.root("sync");
    let [panic, cycle] = cut_off(&vm.lane, "panic", "power-cycle");
    begin_with(&panic, &["GUEST_PANICKED run", "RESET guest-reset"]);
    begin_with(&cycle, &["power-cycle kept", "qemu-exited asked", "qemu-started pid"]);
    let result = vm.lane.result();
    let findings = result["state"]["judged"]["findings"].as_array().unwrap();
    let text: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let missed: Vec<_> = FAULTS.iter().filter(|(_, word, _)| !text.iter().any(|said| said.contains(word))).collect();
    assert!(missed.is_empty(), "not found: {missed:#?}\nfound: {text:#?}");
    for (id, why) in [
        ("sysctl/net.core.somaxconn", "no file in sysctl.d sets it"),
        ("units/seeded-worker.service/active", "not enabled"),
    ] {
        let what = &findings.iter().find(|finding| finding["id"] == id).unwrap()["what"];
        assert!(what.as_str().unwrap().contains(why), "{what}");
    }
    let others: Vec<_> = text.iter().filter(|said| !FAULTS.iter().any(|(_, word, _)| said.contains(word))).collect();
    eprintln!("{} findings; not by their own word, but what came with a fault: {others:#?}", text.len());
    // The checks, which look for none of this, are green.
    vm.boma(&["assert", "askari", "--findings", "report"]).exits(0);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "passed");
    vm.boma(&["assert", "askari"]).exits(6).says(&["did not survive the reboot", "state.allow"]);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "failed");
    assert!(vm.lane.evidence("junit.xml").contains("seeded-worker.service was active (running)"));
}
