//! The checks for `--net host`, on hosts that have what they look for: each host is a network namespace
//! (in a user namespace, so that no root is needed) in a process of its own.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

use boma_qemu::doctor::{Check, DoctorInput, Outcome, examine};
use camino::Utf8Path;
use host::dirs::Dirs;
use host::names::MiB;
use host::programs::{path, widened};
use std::process::Command;
use vm::network::{Mode, NetFile};

const INSIDE: &str = "BOMA_TEST_INSIDE";

/// Run `body` on a host of its own: this test again, in fresh namespaces.
fn on_a_fresh_host(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("PATH", widened(&path()))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

fn run(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn look() -> Vec<Check> {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let here = Utf8Path::from_path(dir.path()).unwrap();
    examine(&DoctorInput {
        dirs: Dirs { root: root.into(), state: here.join("s"), cache: here.join("c"), runs: here.join("r") },
        mode: Mode::Host,
        net: NetFile::read(&root.join("net/boma-it.json")).unwrap(),
        repo: None,
        image_there: true,
        min_free: MiB(0),
        path: path(),
    })
}

fn check<'a>(checks: &'a [Check], id: &str) -> &'a Check {
    checks.iter().find(|check| check.id == id).unwrap()
}

#[test]
fn a_host_with_nothing_in_the_way_passes_and_stays_as_it_was() {
    on_a_fresh_host("a_host_with_nothing_in_the_way_passes_and_stays_as_it_was", || {
        let state = || run("ip addr; ip route show table all; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward");
        let before = state();
        let checks = look();
        for id in ["net-admin", "port-53", "subnet", "forward", "user-namespaces"] {
            let check = check(&checks, id);
            assert_eq!(check.result, Outcome::Ok, "{check:?}");
        }
        assert_eq!(state(), before);
    });
}

#[test]
fn a_resolver_on_all_addresses_is_found_and_named() {
    on_a_fresh_host("a_resolver_on_all_addresses_is_found_and_named", || {
        run("ip link set lo up");
        let _listener = std::net::TcpListener::bind("0.0.0.0:53").unwrap();
        let checks = look();
        let check = check(&checks, "port-53");
        assert_eq!(check.result, Outcome::Fail, "{check:?}");
        assert!(check.probed.contains(&format!("pid {}", std::process::id())), "{check:?}");
    });
}

#[test]
fn a_lan_that_holds_the_subnet_is_found_and_named() {
    on_a_fresh_host("a_lan_that_holds_the_subnet_is_found_and_named", || {
        run("ip link add lan0 type bridge; ip addr add 10.213.0.5/16 dev lan0; ip link set lan0 up");
        let checks = look();
        let check = check(&checks, "subnet");
        assert_eq!(check.result, Outcome::Fail, "{check:?}");
        assert!(check.probed.contains("10.213.0.0/16 on lan0"), "{check:?}");
    });
}

#[test]
fn a_forward_chain_that_drops_is_found_until_a_rule_names_the_bridge() {
    on_a_fresh_host("a_forward_chain_that_drops_is_found_until_a_rule_names_the_bridge", || {
        run("nft add table ip filter");
        run("nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'");
        let checks = look();
        let found = check(&checks, "forward");
        assert_eq!(found.result, Outcome::Fail, "{found:?}");
        // The fix is a command: run as printed, it mends what it is for.
        let (_, fix) = found.fix.as_ref().unwrap().split_once("; or ").unwrap();
        run(fix);
        assert_eq!(check(&look(), "forward").result, Outcome::Warn);
    });
}

#[test]
fn a_host_that_forbids_user_namespaces_is_told_apart() {
    on_a_fresh_host("a_host_that_forbids_user_namespaces_is_told_apart", || {
        std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
        let checks = look();
        let check = check(&checks, "user-namespaces");
        assert_eq!(check.result, Outcome::Fail, "{check:?}");
        assert!(check.fix.as_ref().unwrap().contains("user.max_user_namespaces"), "{check:?}");
    });
}

/// What the program says where a script has changed the host: in namespaces of its own, where it is root.
fn doctor_after(change: &str) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--"]);
    let script = format!("set -e\n{change}\nexec \"$0\" doctor --json");
    command.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_boma-qemu")]);
    command.current_dir(dir.path()).env("BOMA_ROOT", env!("CARGO_MANIFEST_DIR")).env("PATH", widened(&path()));
    command.envs(["BOMA_STATE", "BOMA_RUNS", "BOMA_IT_CACHE"].map(|name| (name, dir.path().join(name))));
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let lines = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let checks: Vec<_> = lines.map(|line| line["check"].clone()).filter(|check| !check.is_null()).collect();
    assert!(checks.len() > 10, "{change}: {said}{}", String::from_utf8_lossy(&out.stderr));
    checks
}

fn found(checks: &[serde_json::Value], id: &str) -> serde_json::Value {
    checks.iter().find(|check| check["id"] == id).unwrap().clone()
}

/// Becomes the program as on a kernel without Landlock: a filter (seccomp(2)) answers its three calls with ENOSYS.
const WITHOUT_LANDLOCK: &str = r#"exec python3 -c "
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x15, 2, 0, 444), (0x15, 1, 0, 445), (0x15, 0, 1, 446), (6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code)))) == 0
os.execv(sys.argv[1], [sys.argv[1], 'doctor', '--json'])" "$0""#;

/// What is in the way, how it comes there, which check finds it, how bad it is, and a word of the fix.
const OBSTACLES: [[&str; 5]; 6] = [
    // As Docker, Podman and LXC do it.
    [
        "a covered part of /proc",
        "mount --bind /dev/null /proc/version",
        "confinement",
        "fail",
        "systempaths=unconfined",
    ],
    [
        "settings that cannot be written",
        "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys",
        "user-namespaces",
        "fail",
        "read-write",
    ],
    ["no /dev/net/tun", "mount -t tmpfs tmpfs /dev/net", "tun", "fail", "--device /dev/net/tun"],
    ["no user namespaces", "echo 0 > /proc/sys/user/max_user_namespaces", "confinement", "fail", "max_user_namespaces"],
    ["no Landlock", WITHOUT_LANDLOCK, "qemu-confinement", "warn", "lsm=landlock"],
    ["no firmware", "mount -t tmpfs tmpfs /usr/share/OVMF", "uefi", "warn", "ovmf"],
];

#[test]
fn what_a_container_or_a_kernel_forbids_is_found_by_trying_it_and_told_with_the_fix() {
    let nothing = doctor_after("");
    for [what, change, id, result, fix] in OBSTACLES {
        assert_eq!(found(&nothing, id)["result"], "ok", "{what}: the test would prove nothing");
        let check = found(&doctor_after(change), id);
        assert_eq!(check["result"], result, "{what}: {check}");
        assert!(check["fix"].as_str().unwrap_or_default().contains(fix), "{what}: {check}");
    }
    let place = found(&nothing, "place");
    assert!(place["probed"].as_str().unwrap().contains("a user namespace"), "{place}");
}
