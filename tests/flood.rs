//! A QEMU that has become hostile, as far as it can flood: its monitor answers all the same, and what it takes in memory
//! has an end. The QEMU is a program of the test's; no guest boots.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test that cannot go on says so best by failing")]

#[path = "project/executable.rs"]
mod executable;

use camino::{Utf8Path, Utf8PathBuf};
use host::ledger::Ledger;
use host::names::MiB;
use host::process::ProcessId;
use host::promise::{self, Need, Place, Promise};
use host::tail::end_of;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use vm::machine::VmDir;
use vm::monitor::events::read_all;
use vm::monitor::{self, Client, ClientError, QemuStatus, Refusal};
use vm::qemu::{Accel, Cable, Machine, Overlay, PROGRAM, Storage};

/// Speaks QMP until the machine runs, then floods QMP, the console, its drive and its standard error at once, and ends. What
/// it sends is counted in `ROUNDS`, and goes on for `SECONDS`.
const QEMU: &str = include_str!("flood/qemu.py");
/// How long it may take to send it all.
const LIMIT: Duration = Duration::from_secs(400);
/// The most memory that the monitor may ever have had, in KiB: the drive's cache is 256 MiB of it, requests and their
/// answers 128 MiB.
const MOST_KIB: u64 = 480 << 10;

/// How long a flood is: at least both.
#[derive(Clone, Copy)]
struct Length {
    rounds: u32,
    time: Duration,
}

struct Vm {
    dir: VmDir,
    monitor: ProcessId,
    _state: tempfile::TempDir,
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Ok(ledger) = Ledger::open(&self.dir.ledger()) {
            ledger.undo();
        }
    }
}

impl Vm {
    fn start(length: Length) -> Self {
        Self::start_with(length, None)
    }

    fn start_with(length: Length, promise: Option<&Promise>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let at = Utf8PathBuf::from_path_buf(state.path().to_owned()).unwrap();
        let dir = VmDir::at(at.join("vms/flood"));
        std::fs::create_dir_all(dir.path()).unwrap();
        let program = at.join("bin").join(PROGRAM);
        std::fs::create_dir(at.join("bin")).unwrap();
        let text = QEMU.replace("ROUNDS = 1", &format!("ROUNDS = {}", length.rounds));
        let text = text.replace("SECONDS = 0", &format!("SECONDS = {}", length.time.as_secs()));
        executable::write(&program, &text);
        let machine = machine(&dir);
        for file in [dir.disk(), dir.memory(), dir.seed()] {
            std::fs::write(file, "").unwrap();
        }
        machine.save(&dir.machine()).unwrap();
        let path = format!("PATH={}:{}", at.join("bin"), std::env::var("PATH").unwrap());
        let exe = Utf8Path::new(env!("CARGO_BIN_EXE_boma-qemu"));
        let monitor = monitor::spawn(exe, &["env".into(), path], &dir, promise).unwrap();
        Self { dir, monitor, _state: state }
    }

    /// A figure of the monitor's in /proc, in KiB.
    fn kib(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.monitor.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn machine(dir: &VmDir) -> Machine {
    Machine {
        name: "boma-it-flood".parse().unwrap(),
        uuid: "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c12".into(),
        mem: MiB(256),
        vcpus: 1,
        accel: Accel::Tcg,
        cpu: None,
        storage: Storage::Overlay(Overlay {
            disk: dir.disk(),
            bus: vm::qemu::boot::Bus::VirtioBlk,
            golden: None,
            memory: dir.memory(),
            seed: dir.seed(),
            uefi: None,
            disks: Vec::new(),
        }),
        user: None,
        mac: "52:54:00:12:34:56".parse().unwrap(),
        cable: Cable::None,
        cards: Vec::new(),
        smbios_serial: "ds=nocloud".into(),
        template: None,
    }
}

/// Garbage for the control socket, for as long as it takes it; and clients that ask and never read.
fn pester(vm: &Vm) {
    if let Ok(mut control) = UnixStream::connect(vm.dir.control()) {
        control.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let line = [vec![b'['; 100_000], vec![b'\n']].concat();
        while control.write_all(&line).is_ok() {}
    }
    // The second one waits: QEMU answers nothing.
    let status = "{\"id\": 1, \"ask\": {\"status\": {}}}\n".repeat(200);
    let asks = status
        + r#"{"id": 2, "ask": {"qmp": {"command": "x", "arguments": {}, "limit": {"secs": 1, "nanos": 0}}}}"#
        + "\n";
    let deaf = (0..20).filter_map(|_| UnixStream::connect(vm.dir.control()).ok());
    for mut client in deaf.collect::<Vec<_>>() {
        client.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        // Whoever is one too many is let go.
        let _ = client.write_all(asks.as_bytes());
    }
}

/// What a flood took, in KiB.
struct Taken {
    /// The most that it ever had.
    most: u64,
    /// What it had, from time to time.
    series: Vec<u64>,
}

/// Everything at once.
fn flood(length: Length) -> Taken {
    let vm = Vm::start(length);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = Instant::now();
    let client = Client::new(&vm.dir);
    let (mut series, period) = (Vec::new(), (length.time / 240).max(Duration::from_secs(1)));
    loop {
        let status = runtime.block_on(client.status());
        assert!(start.elapsed() < length.time + LIMIT, "the flood does not end");
        let status = match status {
            // A slow machine may take more than the few seconds that a command waits.
            Err(ClientError::TimedOut { .. }) => continue,
            // The deaf clients have all places until they are let go.
            Err(ClientError::Refused(Refusal::Crowded { .. })) => continue,
            answered => answered.unwrap(),
        };
        if let QemuStatus::Ended { why } = status.qemu {
            assert_eq!(why, "exit status: 0", "the flood did not come to its end: {}", said(&vm));
            break;
        }
        pester(&vm);
        if start.elapsed() > period * u32::try_from(series.len()).unwrap() {
            series.push(vm.kib("VmRSS:"));
            if length.time > Duration::ZERO {
                println!("{:>5} s  {:>7} KiB", start.elapsed().as_secs(), series[series.len() - 1]);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let most = vm.kib("VmHWM:");
    let events = read_all(&vm.dir.events()).unwrap();
    let kinds = |kind: &str| events.iter().filter(|event| event.kind() == kind).count();
    let seen = ["STOP", "qmp-garbage", "console-gap"].map(kinds);
    assert!(seen[0] > 1000 && seen[1] > 10 && seen[2] == 1, "it was no flood: {seen:?}");
    for (file, most) in [(vm.dir.events(), 80 << 20), (vm.dir.monitor_log(), 1 << 20), (vm.dir.qemu_err(), 3 << 20)] {
        let on_the_disk = std::fs::metadata(&file).unwrap().blocks() * 512;
        assert!(on_the_disk < most, "{file} takes {on_the_disk} bytes");
    }
    let words = std::fs::metadata(vm.dir.qemu_err()).unwrap().len();
    assert!(words > 30 << 20, "it was no flood: {words} bytes on its standard error");
    assert!(most < MOST_KIB, "{most} KiB");
    Taken { most, series }
}

fn said(vm: &Vm) -> String {
    end_of(vm.dir.qemu_err(), 2000).unwrap_or_default()
}

#[test]
fn a_qemu_that_floods_takes_no_more_memory_the_longer_it_does() {
    let of = |rounds| flood(Length { rounds, time: Duration::ZERO }).most;
    let (once, more) = (of(1), of(3));
    assert!(more < once + once / 4 + (32 << 10), "{once} KiB, and {more} KiB for three times as much");
}

/// `BOMA_FLOOD_SECONDS` is another time than an hour.
#[test]
#[ignore = "takes an hour"]
fn an_hour_of_it_takes_no_more_memory_than_its_first_quarter() {
    let seconds = std::env::var("BOMA_FLOOD_SECONDS").map_or(3600, |text| text.parse().unwrap());
    let Taken { most, series } = flood(Length { rounds: 1, time: Duration::from_secs(seconds) });
    assert!(series.len() >= 8, "too short to tell: {series:?}");
    // It goes up and down with what is being served: the highest of a part is what tells.
    let quarters: Vec<_> = series.chunks(series.len().div_ceil(4)).map(|part| part.iter().max().unwrap()).collect();
    println!("highest of each quarter: {quarters:?} KiB; ever: {most} KiB");
    let [first, .., last] = quarters[..] else { panic!("{quarters:?}") };
    assert!(*last < first + first / 20 + (16 << 10), "{quarters:?} KiB");
}

#[test]
fn the_memory_that_was_promised_is_the_monitors_until_it_is_killed() {
    let place = Place::find(Utf8Path::new("/nowhere"));
    let what = format!("a test, pid {}", std::process::id());
    let need = Need { what: what.clone(), guest: MiB(64), beside: MiB(1), vcpus: 1, min_free: MiB(0) };
    let promise = Promise::take(&place, &need, None).unwrap();
    let own = || promise::look(&place).unwrap().0.into_iter().find(|held| held.entry.what == what);
    assert_eq!(own().unwrap().entry.monitor, None);
    let vm = Vm::start_with(Length { rounds: 1, time: Duration::from_secs(60) }, Some(&promise));
    drop(promise);
    let held = own().expect("its monitor has it");
    assert_eq!(held.entry.monitor, Some(vm.monitor));
    // The QEMU of this test is its child, and takes some memory.
    assert!(held.used.is_some_and(|used| used > MiB(0)), "{held:?}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(vm.monitor.pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(host::testing::soon(|| own().is_none()), "whoever killed it");
}
