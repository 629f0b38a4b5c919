//! Faults that only a reboot shows, and that no check looks for: the difference of the state finds each.

use crate::applied::applied;
use crate::modes::{begin_with, cut_off};

/// Something that was done to the guest: how the id of its finding begins, what its reason says, and the commands.
struct Fault {
    what: &'static str,
    id: &'static str,
    why: &'static str,
    script: &'static str,
}

/// A unit of a service, written and enabled: its name, its `[Unit]`, its `[Service]`.
const UNIT: &str = r#"unit() {
    printf '[Unit]\n%b\n[Service]\n%b\n[Install]\nWantedBy=multi-user.target\n' "$2" "$3" >/etc/systemd/system/seeded-$1.service
    systemctl daemon-reload; systemctl enable --quiet seeded-$1.service
}"#;

const FAULTS: [Fault; 31] = [
    Fault {
        what: "a service is started and not enabled",
        id: "units/seeded-worker.service/active",
        why: "it is not enabled, and nothing starts it at boot",
        script: "unit worker '' 'ExecStart=/bin/sleep infinity'; systemctl disable --quiet seeded-worker; systemctl start seeded-worker",
    },
    Fault {
        what: "a service crashes again and again after the boot, and never fails",
        id: "units/seeded-loop.service/active",
        why: "fails again and again",
        script: "touch /run/seeded-loop
         unit loop StartLimitIntervalSec=0 'ExecStart=/bin/sh -c \"[ -e /run/seeded-loop ] && exec sleep infinity; sleep 8; exit 1\"\\nRestart=always\\nRestartSec=100ms'
         systemctl start seeded-loop",
    },
    Fault {
        what: "a service is left out at boot by its own condition",
        id: "units/seeded-conditional.service/active",
        why: "ConditionPathExists=/run/seeded-mark",
        script: "touch /run/seeded-mark; unit conditional ConditionPathExists=/run/seeded-mark 'ExecStart=/bin/sleep infinity'
         systemctl start seeded-conditional",
    },
    Fault {
        what: "two services are each ordered after the other",
        id: "units/seeded-cycle-",
        why: "to break an ordering cycle",
        script: "unit cycle-a After=seeded-cycle-b.service 'ExecStart=/bin/sleep infinity'
         unit cycle-b After=seeded-cycle-a.service 'ExecStart=/bin/sleep infinity'
         systemctl start seeded-cycle-a; systemctl start seeded-cycle-b",
    },
    Fault {
        what: "a service is stopped and enabled",
        id: "units/cron.service/active",
        why: "it is enabled, so the boot has started it",
        script: "systemctl stop cron.service",
    },
    Fault {
        what: "a timer counts from a run of its service only",
        id: "units/seeded-sweep.timer/active",
        why: "counts from a run of its service, and there was none",
        script: "printf '[Service]\\nType=oneshot\\nExecStart=/bin/true\\n' >/etc/systemd/system/seeded-sweep.service
         printf '[Timer]\\nOnUnitActiveSec=15min\\n[Install]\\nWantedBy=timers.target\\n' >/etc/systemd/system/seeded-sweep.timer
         systemctl daemon-reload; systemctl enable --quiet --now seeded-sweep.timer; systemctl start seeded-sweep.service",
    },
    Fault {
        what: "a limit holds until the reboot",
        id: "unit-files/run/systemd/system.control/ssh.service.d/50-MemoryHigh.conf",
        why: "until the reboot only",
        script: "systemctl set-property --runtime ssh.service MemoryHigh=1G",
    },
    // Its failure is taken for an end like any other, as by many a unit: no check for failed units sees it.
    Fault {
        what: "a service listens on an address that comes late",
        id: "units/seeded-listener.service/active",
        why: "it was started at boot and has ended",
        script: "unit address '' 'Type=oneshot\\nExecStartPre=/bin/sleep 25\\nExecStart=/sbin/ip address replace 198.18.0.1/32 dev lo\\nRemainAfterExit=yes'
         unit listener '' 'ExecStart=-/usr/bin/python3 -m http.server --bind 198.18.0.1 8099'
         systemctl start seeded-address; systemctl start seeded-listener; sleep 2",
    },
    Fault {
        what: "a program is started by hand, from a login",
        id: "processes/seeded-game",
        why: "no unit does",
        script: "cp /bin/sleep /usr/local/bin/seeded-game; nohup /usr/local/bin/seeded-game infinity >/dev/null 2>&1 </dev/null &",
    },
    Fault {
        what: "a job for the boot stands in a file that cron does not read, as its name has a dot",
        id: "cron/root: /usr/local/sbin/seeded-up",
        why: "has not run",
        script: "echo '@reboot root /usr/local/sbin/seeded-up' >/etc/cron.d/seeded.cron",
    },
    Fault {
        what: "a variable is set for all services, at run time",
        id: "system/environment/SEEDED",
        why: "until the reboot only",
        script: "systemctl set-environment SEEDED=1",
    },
    Fault {
        what: "a disk image is attached by hand",
        id: "block-devices//srv/seeded.img",
        why: "nothing has set it up at boot",
        script: "truncate --size 8M /srv/seeded.img; mkfs.ext4 -q /srv/seeded.img; mkdir -p /srv/image; mount -o loop /srv/seeded.img /srv/image",
    },
    Fault {
        what: "a program listens on a port of the kernel's range, and no unit starts it",
        id: "processes/seeded-peer",
        why: "no unit does",
        script: "ln -sf /usr/bin/python3 /usr/local/bin/seeded-peer
         nohup /usr/local/bin/seeded-peer -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"0.0.0.0\", 34197)); time.sleep(1e6)' >/dev/null 2>&1 </dev/null &",
    },
    Fault {
        what: "an interface is made to see all that passes",
        id: "links/enp0s2/flags",
        why: "promisc",
        script: "ip link set enp0s2 promisc on",
    },
    Fault {
        what: "a setting of a device is opened to all by hand",
        id: "permissions//sys/devices/",
        why: "/sys is made anew",
        script: "chmod 0666 /sys/devices/system/cpu/cpu0/power/control",
    },
    Fault {
        what: "a sysctl is set at run time only",
        id: "sysctl/net.core.somaxconn",
        why: "no file in sysctl.d sets it",
        script: "sysctl -q -w net.core.somaxconn=8191",
    },
    Fault {
        what: "huge pages are set at run time only",
        id: "sys/kernel/mm/transparent_hugepage/enabled",
        why: "it was set at run time",
        script: "echo never >/sys/kernel/mm/transparent_hugepage/enabled",
    },
    Fault {
        what: "a route is added by hand",
        id: "routes/main/203.0.113.0/24",
        why: "it was added by hand",
        script: "ip route add 203.0.113.0/24 via 10.213.77.1",
    },
    Fault {
        what: "an address is added by hand",
        id: "addresses/enp0s2/192.0.2.10/24",
        why: "is gone",
        script: "ip address add 192.0.2.10/24 dev enp0s2",
    },
    Fault {
        what: "a neighbour is entered by hand",
        id: "neighbours/enp0s2/10.213.77.99",
        why: "is gone",
        script: "ip neighbour add 10.213.77.99 lladdr 02:00:00:00:00:99 dev enp0s2 nud permanent",
    },
    Fault {
        what: "a queue is set by hand",
        id: "qdiscs/lo/root",
        why: "pfifo limit 50p",
        script: "tc qdisc add dev lo root pfifo limit 50",
    },
    Fault {
        what: "a rule of the firewall is not saved",
        id: "nft/ip filter/DOCKER-USER/rules/tcp dport 8443",
        why: "has lost a rule",
        script: "nft insert rule ip filter DOCKER-USER tcp dport 8443 accept",
    },
    Fault {
        what: "a unit closes at boot what was open",
        id: "nft/bridge seeded",
        why: "policy drop",
        script: "unit closes '' 'Type=oneshot\\nExecStart=/usr/sbin/nft add table bridge seeded { chain input { type filter hook input priority 0; policy drop; ether type != 0x1234 accept; }; }'",
    },
    Fault {
        what: "a container has no restart policy",
        id: "containers/seeded-job/state",
        why: "its restart policy is `no`",
        script: "docker run --detach --name seeded-job reverse-proxy:1 /usr/bin/caddy respond --listen 127.0.0.1:8123",
    },
    Fault {
        what: "a container is stopped, and its restart policy starts it again",
        id: "containers/seeded-batch/state",
        why: "its restart policy `always` starts it again at boot",
        script: "docker run --detach --restart always --name seeded-batch reverse-proxy:1 /usr/bin/caddy respond --listen 127.0.0.1:8124
         docker stop --time 1 seeded-batch",
    },
    Fault {
        what: "a file system is mounted by hand",
        id: "mounts//srv/seeded",
        why: "/etc/fstab does not have it",
        script: "mkdir -p /srv/seeded; mount -t tmpfs seeded /srv/seeded",
    },
    Fault {
        what: "a folder in /run is made by hand",
        id: "permissions//run/seeded-app",
        why: "/run is empty at each boot",
        script: "mkdir /run/seeded-app",
    },
    Fault {
        what: "a socket in /run is opened to all by hand",
        id: "permissions//run/docker.sock",
        why: "666",
        script: "chmod 0666 /run/docker.sock",
    },
    Fault {
        what: "a file in /etc is written anew at each boot",
        id: "etc//etc/seeded.conf",
        why: "it was written at this boot",
        script: "unit rewrite '' 'Type=oneshot\\nExecStart=/bin/sh -c \"echo boot >/etc/seeded.conf; sleep 3\"'
         echo ours >/etc/seeded.conf",
    },
    Fault {
        what: "the host name is not made to last",
        id: "system/hostname",
        why: "/etc/hostname said",
        script: "hostname seeded-name",
    },
    // The last: systemd-resolved writes its file anew whenever an address comes or goes.
    Fault {
        what: "resolv.conf is written over",
        id: "resolv/nameserver/192.0.2.53",
        why: "is gone",
        script: "echo 'nameserver 192.0.2.53' >>/etc/resolv.conf; sleep 3; grep -q 192.0.2.53 /etc/resolv.conf",
    },
];

#[test]
fn faults_that_no_check_looks_for_are_found_by_the_difference() {
    let vm = applied();
    let earlier = vm.lane.dir.join("earlier.json");
    std::fs::write(&earlier, vm.boma(&["observe", "askari", "--json"]).exits(0).out()).unwrap();
    for Fault { what, script, .. } in &FAULTS {
        eprintln!("seeded: {what}");
        vm.root(&format!("set -e\n{UNIT}\n{script}"));
    }
    let against = vm.boma(&["observe", "askari", "--against", earlier.as_str()]);
    against.exits(0).says(&["LOST sysctl/net.core.somaxconn: 4096 -> 8191", "     addresses/enp0s2/192.0.2.10"]);
    vm.boma(&["observe", "askari", "--against", "Cargo.toml"]).exits(2).says(&["--against Cargo.toml"]);
    let foretold = vm.boma(&["observe", "askari", "--foretell", "--json"]);
    let foretold: serde_json::Value = serde_json::from_str(foretold.exits(0).out()).unwrap();
    let foretold: Vec<_> = foretold["foretold"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    for id in ["units/seeded-worker.service/active", "units/cron.service/active", "containers/seeded-batch/state"] {
        assert!(foretold.iter().any(|one| **one == *id), "{id} is not among {foretold:?}");
    }
    // No mode keeps what lives in memory only; what does not is on the disk before the machine is cut off.
    vm.root("sync");
    let [panic, cycle] = cut_off(&vm.lane, "panic", "power-cycle");
    begin_with(&panic, &["GUEST_PANICKED run", "RESET guest-reset"]);
    begin_with(&cycle, &["power-cycle kept", "qemu-exited asked", "qemu-started pid"]);
    let result = vm.lane.result();
    let findings = result["state"]["judged"]["findings"].as_array().unwrap();
    let mut wrong = Vec::new();
    for Fault { what, id, why, .. } in &FAULTS {
        let of: Vec<_> = findings.iter().filter(|found| found["id"].as_str().unwrap().starts_with(id)).collect();
        match of[..] {
            [one] if one["what"].as_str().unwrap().contains(why) => eprintln!("found: {}: {}", one["id"], one["what"]),
            ref other => wrong.push(format!("{what}: {} finding(s) of {id}: {other:#?}", other.len())),
        }
    }
    let others =
        findings.iter().filter(|found| !FAULTS.iter().any(|f| found["id"].as_str().unwrap().starts_with(f.id)));
    wrong.extend(others.filter(|found| found["severity"] == "serious").map(|found| format!("of no fault: {found:#}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The checks, which look for none of this, are green.
    vm.boma(&["assert", "askari", "--findings", "report"]).exits(0);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "passed");
    vm.boma(&["assert", "askari"]).exits(6).says(&["did not survive the reboot", "state.allow"]);
    assert_eq!(vm.lane.result()["verdict"]["kind"], "failed");
    assert!(vm.lane.evidence("junit.xml").contains("seeded-worker.service was active (running)"));
}
