//! The monitor with a real QEMU and a real guest: what it writes down, what it survives, what dies with it.
//!
//! Needs root (a network namespace with a bridge of its own, in which nothing answers), and boots the
//! golden image under TCG.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers fail by panicking, and tell what they saw

mod alone;
mod golden;

use alone::Home;
use boma_qemu::console::boots::parts;
use boma_qemu::host::deadline::Deadline;
use boma_qemu::host::process::ProcessId;
use boma_qemu::machine::VmDir;
use boma_qemu::monitor::events::{Event, Follow, console_cuts, read_all};
use boma_qemu::monitor::{self, Client, QemuStatus};
use boma_qemu::names::MiB;
use boma_qemu::qemu::{self, Accel, Backing, Cable, Machine, Overlay, Storage};
use boma_qemu::seed::iso;
use boma_qemu::serial::{Credentials, Dialect, Serial};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// How long a boot may take; the machine may be busy and has no KVM.
const BOOT: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(10);

/// A running VM.
struct Vm {
    dir: VmDir,
    client: Client,
    monitor: ProcessId,
    home: Home,
}

/// A user for the console, `boma-rescue` with the password `secret`; an address that nothing gives it.
fn seed() -> Vec<u8> {
    let hash = Command::new("openssl").args(["passwd", "-6", "secret"]).output().unwrap().stdout;
    let user = json!({
        "users": [{
            "name": "boma-rescue", "lock_passwd": false, "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "hashed_passwd": String::from_utf8(hash).unwrap().trim(),
        }],
    });
    let network = json!({
        "version": 2,
        "ethernets": { "n": { "match": { "name": "enp0s2" }, "addresses": ["192.0.2.2/24"], "optional": true } },
    });
    let files = [
        iso::File::new("user-data", format!("#cloud-config\n{user}\n")),
        iso::File::new("meta-data", "{\"instance-id\": \"boma-it-monitor\", \"local-hostname\": \"askari\"}\n"),
        iso::File::new("network-config", network.to_string()),
    ];
    iso::write("cidata", &files, 1_800_000_000).unwrap()
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
            golden: Some(Backing { path: golden::golden(), format: "qcow2".into() }),
            memory: dir.memory(),
            seed: dir.seed(),
        }),
        user: qemu::user::of_its_own(&"boma-it-monitor".parse().unwrap()),
        mac: "52:54:00:12:34:56".parse().unwrap(),
        cable: Cable::Tap { tap: "boma-it-t0".parse().unwrap(), bridge: "boma-it".parse().unwrap() },
        smbios_serial: "ds=nocloud;i=boma-it-monitor;dsmode=net".into(),
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
    assert!(qemu.wait_gone(&Deadline::after(SOON)), "QEMU survived its monitor");
    assert!(!vm.dir.is_alive());
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

/// Log in with patience: the guest may still be booting.
async fn session(vm: &Vm) -> Serial {
    let (dialect, who) = (Dialect::debian(), Credentials::with_password("boma-rescue", "secret"));
    let mut serial = Serial::over(&vm.dir).await.unwrap();
    serial.login(&dialect, &who, &Deadline::after(BOOT)).await.unwrap();
    serial.become_root(&dialect, &who, &Deadline::after(BOOT)).await.unwrap();
    serial
}

async fn sh(session: &mut Serial, command: &str) -> (i32, String) {
    let ran = session.run(command, Duration::from_secs(60)).await.unwrap();
    assert!(!ran.truncated, "{command}");
    (ran.code, ran.output)
}

/// One boot is dear, so one test follows one guest through everything that needs it booted.
#[tokio::test]
async fn a_guest_is_followed_through_its_boots() {
    let vm = Vm::start();
    let mut shell = session(&vm).await;
    assert_eq!(sh(&mut shell, "id -un; exit 3").await, (3, "root\n".into()));
    let (_, first) = sh(&mut shell, "cat /proc/sys/kernel/random/boot_id").await;
    the_console_can_be_flooded(&vm, &mut shell).await;

    // A reboot of the guest's own: RESET comes twice, and is one boot.
    let before = vm.client.status().await.unwrap();
    vm.client.console_write(b"systemctl reboot\r", SOON).await.unwrap();
    drop(shell);
    let reset = vm.event("RESET", before.last_event, BOOT).await;
    assert_eq!((&reset.data()["reason"], &reset.data()["guest"]), (&json!("guest-reset"), &json!(true)));
    let boot = vm.event("boot", reset.seq, SOON).await;
    assert_eq!(boot.data()["n"], 2);
    let mut shell = session(&vm).await;
    let (_, second) = sh(&mut shell, "cat /proc/sys/kernel/random/boot_id").await;
    assert_ne!(first, second);
    the_log_is_cut_where_the_boot_began(&vm);

    // What a rule knows is an event at once.
    let last = vm.client.status().await.unwrap().last_event;
    sh(&mut shell, "echo '<0>BUG: soft lockup - CPU#0 stuck (a test)' >/dev/kmsg").await;
    let found = vm.event("console-rule", last, SOON).await;
    assert_eq!((&found.data()["id"], &found.data()["fatal"]), (&json!("soft-lockup"), &json!(false)));

    // A power-cycle is a new QEMU on the same disk, behind the same tap.
    let old = vm.qemu().await;
    sh(&mut shell, "echo kept >/root/marker; sync").await;
    vm.client.power_cycle().await.unwrap();
    assert_ne!(vm.qemu().await, old);
    let mut shell = session(&vm).await;
    assert_eq!(sh(&mut shell, "cat /root/marker; ip -br link show enp0s2 | cut -d' ' -f1").await.1, "kept\nenp0s2\n");
    assert_eq!(vm.client.status().await.unwrap().boots, 3);
    println!("monitor: {}", memory(vm.monitor));
    vm.client.stop().await.unwrap();
    events_are_whole(&vm);
}

/// printk in the middle of everything, more than the line can carry.
async fn the_console_can_be_flooded(vm: &Vm, shell: &mut Serial) {
    let before = vm.client.status().await.unwrap().console;
    let flood = "dmesg -n 8; (i=0; while [ $i -lt 3000 ]; do echo \"<4>flood $i\"; i=$((i+1)); done >/dev/kmsg) &
                 echo t >/proc/sysrq-trigger; seq 1 2000; exit 5";
    let expected: String = (1..=2000).map(|n| format!("{n}\n")).collect();
    assert_eq!(sh(shell, flood).await, (5, expected));
    let after = vm.client.status().await.unwrap().console;
    println!("flood: {} bytes of console", after - before);
    let (code, text) = sh(shell, "dmesg | grep -c flood; systemctl is-system-running --wait").await;
    println!("after the flood: {code} {text}");
}

fn the_log_is_cut_where_the_boot_began(vm: &Vm) {
    let log = std::fs::read(vm.dir.console()).unwrap();
    let events = read_all(&vm.dir.events()).unwrap();
    let resets = events.iter().filter(|event| event.kind() == "RESET").count();
    let cut = parts(log.len(), &console_cuts(&events));
    assert_eq!(cut.len(), 2, "{resets} resets");
    for (boot, ends_in_order) in cut.iter().zip([true, false]) {
        let text = String::from_utf8_lossy(&log[boot.range.clone()]);
        assert_eq!(text.matches("Linux version").count(), 1, "boot {}", boot.number);
        assert_eq!(text.contains("reboot: Restarting system"), ends_in_order, "boot {}", boot.number);
    }
    println!("{resets} resets, boots at {:?}", console_cuts(&events));
}

fn events_are_whole(vm: &Vm) {
    let events = read_all(&vm.dir.events()).unwrap();
    assert!(events.iter().zip(1..).all(|(event, n)| event.seq == n), "a gap");
    assert!(events.windows(2).all(|pair| pair[0].mono <= pair[1].mono), "time went back");
    for event in &events {
        println!("{:3} {:9.3} {:?} {} {}", event.seq, event.mono, event.source, event.kind(), event.data());
    }
    assert_eq!(events.last().unwrap().kind(), "qemu-exited");
    assert_eq!(events.last().unwrap().data()["asked"], true);
}

/// Resident memory, as the kernel says it.
fn memory(process: ProcessId) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect::<Vec<_>>().join(", ")
}
