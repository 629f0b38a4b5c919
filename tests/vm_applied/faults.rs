//! `fault disk=…`: what the guest sees of it, and that it is over when it is undone.

use crate::applied::{Applied, applied};

fn fault(vm: &Applied, what: &str) {
    vm.boma(&["fault", "askari", what]).exits(0);
}

/// How long the guest takes to read 2.5 MiB from its disk, in seconds; each time from another place.
fn reading(vm: &Applied, from: u32) -> f64 {
    let said = vm.root(&format!("dd if=/dev/vda of=/dev/null bs=64k count=40 skip={from} iflag=direct 2>&1"));
    let seconds = said.split(", ").find_map(|part| part.strip_suffix(" s")).unwrap();
    seconds.parse().unwrap()
}

#[test]
fn a_slow_disk_reads_a_mebibyte_in_a_second_until_it_is_undone() {
    let vm = applied();
    let before = reading(&vm, 1000);
    fault(&vm, "disk=slow");
    let slow = reading(&vm, 2000);
    fault(&vm, "disk=ok");
    let after = reading(&vm, 3000);
    assert!((1.8..15.0).contains(&slow), "{slow} s");
    assert!(before < slow / 2.0 && after < slow / 2.0, "{before} s, {slow} s, {after} s");
}

#[test]
fn on_a_full_disk_not_even_root_finds_room_until_it_is_undone() {
    let vm = applied();
    let write = "dd if=/dev/zero of=/root/more bs=64k count=4 conv=fsync 2>&1 | tail -n 1; rm -f /root/more";
    assert!(vm.root(write).contains("copied"));
    fault(&vm, "disk=full");
    let full = vm.root(&format!("{write}; df --output=avail / | tail -n 1"));
    assert!(!full.contains("262144 bytes") && full.ends_with('0'), "{full}");
    fault(&vm, "disk=ok");
    assert!(vm.root(write).contains("262144 bytes"));
}

/// Reads the first sector five times a second and tells on the console how it went. It needs nothing of the root
/// file system: when that has given up its journal, not even `sleep` can be started from it. The way into the error
/// is gone once beforehand, so that it is in memory.
const WATCH: &str = r#"
import mmap, os, time
disk, kmsg, page = os.open("/dev/vda", os.O_RDONLY | os.O_DIRECT), os.open("/dev/kmsg", os.O_WRONLY), mmap.mmap(-1, 4096)
def look(fd):
    try:
        return "good" if os.preadv(fd, [page], 0) else "empty"
    except OSError:
        return "bad"
look(-1)
while True:
    os.write(kmsg, b"<1>the disk is " + look(disk).encode())
    time.sleep(0.2)
"#;

#[test]
fn a_broken_disk_fails_what_is_asked_of_it_until_it_is_undone() {
    let vm = applied();
    vm.root(&format!("python3 -c '{WATCH}' >/dev/null 2>&1 </dev/null &"));
    let sees = |what: &str, since: u64| {
        let condition = format!("console={what}");
        vm.boma(&["wait", "askari", &condition, "--since", &since.to_string(), "--timeout", "120"]).exits(0);
    };
    sees("the disk is good", vm.last_event());
    fault(&vm, "disk=error");
    let broken = vm.last_event();
    sees("the disk is bad", broken);
    // Something always writes, journald for one, and ext4 does not get over that.
    sees("Aborting journal on device vda", broken);
    let rules = vm.events(0).into_iter().filter(|event| event["kind"] == "console-rule");
    assert!(rules.into_iter().any(|event| event["data"]["line"].as_str().unwrap().contains("I/O error")));
    fault(&vm, "disk=ok");
    sees("the disk is good", vm.last_event());
}

#[test]
fn a_restore_ends_the_faults_of_the_disk() {
    let vm = applied();
    fault(&vm, "disk=slow");
    vm.boma(&["reset", "askari"]).exits(0);
    assert!(reading(&vm, 4000) < 1.8);
    fault(&vm, "disk=full");
    vm.boma(&["reset", "askari"]).exits(0);
    assert!(vm.root("ls /var/lib/boma-it.fill 2>&1 || true").contains("No such file"));
    vm.is_fresh();
}
