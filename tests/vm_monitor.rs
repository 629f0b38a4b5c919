//! The monitor with a real QEMU: what it writes down, what it survives, what dies with it. What a guest that has booted
//! does to it is in `vm_applied`.
//!
//! Needs root (a network namespace with a bridge of its own, in which nothing answers), and switches the golden image on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

mod alone;
mod golden;

use alone::Home;
use boot_media::seed::iso;
use host::deadline::Deadline;
use host::names::MiB;
use host::process::ProcessId;
use serde_json::Value;
use std::time::Duration;
use vm::machine::VmDir;
use vm::monitor::events::{Event, Follow, read_all};
use vm::monitor::{self, Client, QemuStatus};
use vm::qemu::{self, Accel, Backing, Cable, Machine, Overlay, Storage};

const SOON: Duration = Duration::from_secs(10);

/// A running VM.
struct Vm {
    dir: VmDir,
    client: Client,
    monitor: ProcessId,
    home: Home,
}

/// A seed that says nothing: no test waits until the guest has read it.
fn seed() -> Vec<u8> {
    iso::write("cidata", &[iso::File::new("meta-data", "")], 1_800_000_000).unwrap()
}

fn machine(dir: &VmDir) -> Machine {
    Machine {
        name: "boma-it-monitor".parse().unwrap(),
        uuid: "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c11".into(),
        mem: MiB(1024),
        vcpus: 2,
        accel: Accel::Tcg,
        cpu: None,
        storage: Storage::Overlay(Overlay {
            disk: dir.disk(),
            bus: qemu::boot::Bus::VirtioBlk,
            golden: Some(Backing { path: golden::golden(), format: "qcow2".into() }),
            memory: dir.memory(),
            seed: dir.seed(),
            uefi: None,
            disks: Vec::new(),
        }),
        user: qemu::user::of_its_own(&"boma-it-monitor".parse().unwrap()),
        mac: "52:54:00:12:34:56".parse().unwrap(),
        cable: Cable::Tap { tap: "boma-it-t0".parse().unwrap(), bridge: "boma-it".parse().unwrap() },
        cards: Vec::new(),
        smbios_serial: "ds=nocloud;i=boma-it-monitor;dsmode=net".into(),
        template: None,
    }
}

/// A VM's folder, ready to be started.
fn home() -> Home {
    let home = Home::new("monitor");
    qemu::disk::make(machine(&home.vm).overlay().unwrap(), &golden::golden(), "qcow2", "20G").unwrap();
    std::fs::write(home.vm.seed(), seed()).unwrap();
    home
}

impl Vm {
    /// A VM on a fresh overlay, its QEMU running.
    fn start() -> Self {
        let home = home();
        let dir = home.vm.clone();
        machine(&dir).save(&dir.machine()).unwrap();
        let monitor = home.spawn().unwrap();
        Self { client: Client::new(&dir), dir, monitor, home }
    }

    async fn qemu(&self) -> ProcessId {
        match self.client.status().await.unwrap().qemu {
            QemuStatus::Running { process, .. } => process,
            QemuStatus::Ended { why } => panic!("QEMU is not running: {why}"),
        }
    }

    /// The first event of a kind that comes after `since`.
    async fn event(&self, kind: &str, since: u64, limit: Duration) -> Event {
        let mut follow = Follow::new(&self.dir.events(), since).unwrap();
        let find = async {
            loop {
                let event = follow.next().await.unwrap();
                if event.kind() == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(limit, find).await.unwrap_or_else(|_| {
            let kinds: Vec<_> =
                read_all(&self.dir.events()).unwrap().into_iter().map(|e| e.kind().to_owned()).collect();
            panic!("no {kind} after {since} within {limit:?}, but {kinds:?}")
        })
    }
}

#[tokio::test]
async fn qemu_killed_from_outside_is_an_event_within_a_second() {
    let vm = Vm::start();
    let qemu = vm.qemu().await;
    let killed = monitor::events::monotonic();
    assert!(qemu.end(Duration::ZERO).is_ok());
    let event = vm.event("qemu-exited", 0, SOON).await;
    assert!(event.mono - killed < 1.0, "it took {} s", event.mono - killed);
    assert_eq!(event.data()["asked"], false);
    let refused = vm.client.qmp("query-status", Value::Null, SOON).await.unwrap_err();
    assert!(refused.to_string().contains("QEMU is not running"), "{refused}");
    vm.client.power_cycle().await.unwrap();
    assert_ne!(vm.qemu().await, qemu);
    vm.client.stop().await.unwrap();
    assert!(!vm.dir.is_alive() && !vm.monitor.is_alive());
}

#[tokio::test]
async fn qemu_dies_with_its_monitor() {
    let vm = Vm::start();
    let qemu = vm.qemu().await;
    assert!(qemu.is_alive() && vm.dir.is_alive());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(vm.monitor.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let deadline = Deadline::after(SOON);
    assert!(qemu.wait_gone(&deadline), "QEMU survived its monitor");
    // QEMU is signalled when the thread that started it ends; the lock goes with the last of the monitor's threads.
    assert!(vm.monitor.wait_gone(&deadline) && !vm.dir.is_alive());
}

#[tokio::test]
async fn a_monitor_whose_folder_is_deleted_ends_and_takes_qemu_along() {
    let vm = Vm::start();
    let qemu = vm.qemu().await;
    std::fs::remove_dir_all(vm.dir.path()).unwrap();
    let deadline = Deadline::after(SOON);
    assert!(vm.monitor.wait_gone(&deadline) && qemu.wait_gone(&deadline));
}

#[tokio::test]
async fn a_frozen_qemu_holds_nobody_up_and_is_killed_in_the_end() {
    let vm = Vm::start();
    let qemu = vm.qemu().await;
    let pid = rustix::process::Pid::from_raw(qemu.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let frozen = vm.client.qmp("query-status", Value::Null, Duration::from_millis(300)).await.unwrap_err();
    assert!(frozen.to_string().contains("did not answer query-status within 300ms"), "{frozen}");
    vm.client.status().await.unwrap();
    vm.client.stop().await.unwrap();
    assert!(!qemu.is_alive() && !vm.monitor.is_alive());
    assert_eq!(read_all(&vm.dir.events()).unwrap().last().unwrap().data()["status"], "signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn a_machine_that_cannot_start_can_be_changed_and_started() {
    let home = home();
    let good = machine(&home.vm);
    let overlay = Overlay { seed: "/nonexistent/seed.iso".into(), ..good.overlay().unwrap().clone() };
    Machine { storage: Storage::Overlay(overlay), ..good.clone() }.save(&home.vm.machine()).unwrap();
    let error = home.spawn().unwrap_err();
    assert!(error.to_string().contains("/nonexistent/seed.iso"), "{error}");
    let client = Client::new(&home.vm);
    let refused = client.power_cycle().await.unwrap_err();
    assert!(refused.start_error().is_some(), "{refused}");
    good.save(&home.vm.machine()).unwrap();
    client.power_cycle().await.unwrap();
    assert!(matches!(client.status().await.unwrap().qemu, QemuStatus::Running { .. }));
    client.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_monitor_for_the_same_vm_is_refused_and_harms_nothing() {
    let vm = Vm::start();
    let error = vm.home.spawn().unwrap_err();
    assert!(error.to_string().contains("is locked by the VM's monitor"), "{error}");
    vm.qemu().await;
}

#[tokio::test]
async fn a_signal_ends_both_in_order() {
    let vm = Vm::start();
    let qemu = vm.qemu().await;
    assert!(vm.monitor.end(Duration::from_secs(15)).is_ok());
    assert!(!qemu.is_alive());
    let kinds: Vec<_> = read_all(&vm.dir.events()).unwrap().into_iter().map(|event| event.kind().to_owned()).collect();
    assert!(kinds.ends_with(&["SHUTDOWN".into(), "qmp-lost".into(), "qemu-exited".into()]), "{kinds:?}");
}
