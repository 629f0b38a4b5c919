//! What each way of cutting a machine off does to what it wrote.
//!
//! Looked at where it lies, without a boot: the guest's blocks are found by their place on the disk.

use crate::applied::{Applied, applied, signal};
use boma_qemu::machine::VmDir;
use boma_qemu::monitor::Client;
use nix::sys::signal::Signal;
use std::process::Command;

/// Two files of one block each, allocated, filled with `o` and synced; then overwritten with `n`: one by a write
/// and an fsync, one by O_DIRECT, which nobody flushes. The file system commits, and so flushes, every 5 s; it is
/// told not to.
const PLANT: &str = "set -e; mount -o remount,commit=3600 /; sync; mkdir -p /var/lib/marks; cd /var/lib/marks
python3 -c '
import mmap, os
def put(name, byte, flags=0):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | flags, 0o644)
    page = mmap.mmap(-1, 4096)
    page.write(byte * 4096)
    os.pwrite(fd, page, 0)
    return fd
for name in (\"fsynced\", \"direct\"):
    os.fsync(put(name, b\"o\"))
os.sync()
os.fsync(put(\"fsynced\", b\"n\"))
put(\"direct\", b\"n\", os.O_DIRECT)
'
start=$(($(cat /sys/class/block/vda2/start) * 512))
for name in fsynced direct; do
    block=$(filefrag -b4096 -v $name | sed -n 's/^ *0: *0\\.\\. *0: *\\([0-9]*\\)\\.\\..*/\\1/p')
    echo $((start + block * 4096))
done";

/// Plant the markers; where they lie on the disk, in bytes: the fsynced one, the other one.
fn plant(vm: &Applied) -> [u64; 2] {
    let said = vm.root(PLANT);
    let places: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    places.try_into().unwrap()
}

/// Whether the block at a place is full of a byte, as the guest's next boot would read it.
fn is_full_of(vm: &Applied, byte: u8, place: u64) -> bool {
    let line = format!("qemu-io disk \"read -P {byte} {place} 4096\"");
    let arguments = serde_json::json!({ "command-line": line }).to_string();
    let ran = vm.boma(&["qmp", "askari", "human-monitor-command", &arguments]);
    let said = ran.exits(0).out();
    assert!(said.contains("read 4096/4096 bytes"), "{said}");
    !said.contains("Pattern verification failed")
}

fn fates(vm: &Applied, [fsynced, direct]: [u64; 2]) -> [&'static str; 2] {
    [fsynced, direct].map(|place| match (is_full_of(vm, b'n', place), is_full_of(vm, b'o', place)) {
        (true, false) => "survived",
        (false, true) => "lost",
        _ => "torn",
    })
}

fn ask(vm: &Applied, what: impl AsyncFnOnce(Client)) {
    let client = Client::new(&VmDir::at(vm.folder()));
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what(client));
}

#[test]
fn a_reset_keeps_what_was_never_flushed() {
    let vm = applied();
    let places = plant(&vm);
    vm.boma(&["qmp", "askari", "system_reset"]).exits(0);
    assert_eq!(fates(&vm, places), ["survived", "survived"]);
}

#[test]
fn a_power_cycle_keeps_what_was_never_flushed() {
    let vm = applied();
    let (places, since) = (plant(&vm), vm.last_event());
    ask(&vm, async |client| client.power_cycle().await.unwrap());
    assert_eq!(fates(&vm, places), ["survived", "survived"]);
    let event = vm.events(since).into_iter().find(|event| event["kind"] == "power-cycle").unwrap();
    assert!(event["data"]["kept_bytes"].as_u64().unwrap() >= 4096, "{event}");
}

#[test]
fn a_power_loss_loses_what_was_never_flushed_and_nothing_else() {
    let vm = applied();
    let (places, since) = (plant(&vm), vm.last_event());
    ask(&vm, async |client| client.power_loss().await.unwrap());
    assert_eq!(fates(&vm, places), ["survived", "lost"]);
    let event = vm.events(since).into_iter().find(|event| event["kind"] == "power-loss").unwrap();
    assert!(event["data"]["lost_bytes"].as_u64().unwrap() >= 4096, "{event}");
}

#[test]
fn the_image_is_whole_after_a_power_loss_in_the_middle_of_writing() {
    let vm = applied();
    vm.root("for n in 1 2 3; do (while :; do dd if=/dev/urandom of=/root/$n bs=64k count=200 conv=fsync; done) 2>/dev/null >/dev/null & done; sleep 3");
    ask(&vm, async |client| client.power_loss().await.unwrap());
    signal(vm.qemu(), Signal::SIGKILL);
    let start = std::time::Instant::now();
    while vm.events(0).last().unwrap()["kind"] != "qemu-exited" && start.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let check = Command::new("qemu-img").args(["check", vm.folder().join("disk.qcow2").as_str()]).output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    // 3: leaked clusters, which a crash may leave and which harm nothing; 2 would be a damaged image.
    assert!([Some(0), Some(3)].contains(&check.status.code()), "{said}");
    vm.boma(&["reset", "askari"]).exits(0);
}
