//! What each way of cutting a machine off does to what it wrote.
//!
//! Looked at where it lies, without a boot: the guest's blocks are found by their place on the disk.

use crate::applied::{Applied, applied, signal};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::Duration;
use vm::machine::VmDir;
use vm::monitor::{Client, QemuStatus};

/// Three files of one block each, allocated, filled with `o` and synced; then overwritten with `n`: one by a write
/// and an fsync, one by O_DIRECT, which nobody flushes, one by a write alone. The file system commits, and so
/// flushes, every 5 s; it is told not to.
const PLANT: &str = "set -e; mount -o remount,commit=3600 /; mkdir -p /var/lib/marks; cd /var/lib/marks
full_of() { head -c 4096 /dev/zero | tr '\\0' $1; }
full_of n >/run/new
for name in fsynced direct cached; do full_of o >$name; done
sync
start=$(($(cat /sys/class/block/$(basename $(findmnt -no SOURCE /))/start) * 512))
for name in fsynced direct cached; do
    block=$(filefrag -b4096 -v $name | sed -n 's/^ *0: *0\\.\\. *0: *\\([0-9]*\\)\\.\\..*/\\1/p')
    echo $((start + block * 4096))
done
over() { dd if=/run/new of=$1 bs=4096 count=1 conv=notrunc$2 $3 2>/dev/null; }
over fsynced ,fsync
over direct '' oflag=direct
over cached";

/// Plant the markers; where they lie on the disk, in bytes: fsynced, written past the cache, and only in it.
fn plant(vm: &Applied) -> [u64; 3] {
    let said = vm.root(PLANT);
    let places: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    places.try_into().unwrap()
}

/// Whether the block at a place of the image is full of a byte.
fn is_full_of(vm: &Applied, byte: u8, place: u64) -> bool {
    let read = format!("read -P {byte} {place} 4096");
    let image = vm.folder().join("disk.qcow2");
    let out = Command::new("qemu-io").args(["-r", "-f", "qcow2", "-c", &read, image.as_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("read 4096/4096 bytes"), "{said}");
    !said.contains("Pattern verification failed")
}

/// What the next boot would find. QEMU is killed first, which loses nothing of what it had given to the drive.
fn fates(vm: &Applied, places: [u64; 3]) -> [&'static str; 3] {
    kill_qemu(vm);
    places.map(|place| match (is_full_of(vm, b'n', place), is_full_of(vm, b'o', place)) {
        (true, false) => "survived",
        (false, true) => "lost",
        _ => "torn",
    })
}

/// Kill QEMU, and wait until the drive has ended too.
fn kill_qemu(vm: &Applied) {
    signal(vm.qemu(), Signal::SIGKILL);
    ask(vm, async |client| {
        while matches!(client.status().await.unwrap().qemu, QemuStatus::Running { .. }) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
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
    assert_eq!(fates(&vm, places), ["survived", "survived", "lost"]);
}

#[test]
fn a_power_cycle_keeps_what_was_never_flushed() {
    let vm = applied();
    let (places, since) = (plant(&vm), vm.last_event());
    ask(&vm, async |client| client.power_cycle().await.unwrap());
    assert_eq!(fates(&vm, places), ["survived", "survived", "lost"]);
    let event = vm.events(since).into_iter().find(|event| event["kind"] == "power-cycle").unwrap();
    assert!(event["data"]["kept_bytes"].as_u64().unwrap() >= 4096, "{event}");
}

#[test]
fn a_power_loss_loses_what_was_never_flushed_and_nothing_else() {
    let vm = applied();
    let (places, since) = (plant(&vm), vm.last_event());
    ask(&vm, async |client| client.power_loss().await.unwrap());
    assert_eq!(fates(&vm, places), ["survived", "lost", "lost"]);
    let event = vm.events(since).into_iter().find(|event| event["kind"] == "power-loss").unwrap();
    assert!(event["data"]["lost_bytes"].as_u64().unwrap() >= 4096, "{event}");
}

#[test]
fn the_image_is_whole_after_a_power_loss_in_the_middle_of_writing() {
    let vm = applied();
    vm.root("for n in 1 2 3; do (while :; do dd if=/dev/urandom of=/root/$n bs=64k count=200 conv=fsync; done) 2>/dev/null >/dev/null & done; sleep 3");
    ask(&vm, async |client| client.power_loss().await.unwrap());
    kill_qemu(&vm);
    let check = Command::new("qemu-img").args(["check", vm.folder().join("disk.qcow2").as_str()]).output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    // 3: leaked clusters, which a crash may leave and which harm nothing; 2 would be a damaged image.
    assert!([Some(0), Some(3)].contains(&check.status.code()), "{said}");
    vm.boma(&["reset", "askari"]).exits(0);
    vm.is_fresh();
}
