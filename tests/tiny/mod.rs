//! The smallest guest there is: a boot sector of 512 bytes, on a machine with a monitor.

#![allow(dead_code)] // each test file uses its part

use crate::alone::Home;
use host::names::MiB;
use host::process::ProcessId;
use vm::machine::VmDir;
use vm::monitor::Client;
use vm::monitor::events::{Event, read_all};
use vm::qemu::{self, Accel, Backing, Cable, Machine, Overlay, Storage};

/// A running VM.
pub(crate) struct Vm {
    pub(crate) dir: VmDir,
    pub(crate) client: Client,
    pub(crate) monitor: ProcessId,
    _home: Home,
}

impl Vm {
    /// Switch on a machine whose boot sector begins with `code`.
    pub(crate) fn start(code: Vec<u8>) -> Self {
        let home = Home::new("tiny");
        let dir = home.vm.clone();
        let image = dir.path().join("tiny.img");
        let mut disk = code;
        assert!(disk.len() <= 510, "{} bytes", disk.len());
        disk.resize(510, 0);
        disk.extend([0x55, 0xaa]);
        disk.resize(1 << 20, 0);
        std::fs::write(&image, disk).unwrap();
        std::fs::write(dir.seed(), vec![0; 1 << 20]).unwrap();
        let machine = machine(&dir);
        qemu::disk::make(machine.overlay().unwrap(), &image, "raw", "1M").unwrap();
        machine.save(&dir.machine()).unwrap();
        let monitor = home.spawn().unwrap();
        Self { client: Client::new(&dir), dir, monitor, _home: home }
    }

    /// The monitor's resident memory now, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.monitor.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn events(&self, kind: &str) -> Vec<Event> {
        read_all(&self.dir.events()).unwrap().into_iter().filter(|event| event.kind() == kind).collect()
    }

    pub(crate) async fn console(&self) -> u64 {
        self.client.status().await.unwrap().console
    }
}

fn machine(dir: &VmDir) -> Machine {
    Machine {
        name: "boma-it-tiny".parse().unwrap(),
        uuid: "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c12".into(),
        mem: MiB(64),
        vcpus: 1,
        accel: Accel::Tcg,
        cpu: None,
        storage: Storage::Overlay(Overlay {
            disk: dir.disk(),
            bus: qemu::boot::Bus::VirtioBlk,
            golden: Some(Backing { path: dir.path().join("tiny.img"), format: "raw".into() }),
            memory: dir.memory(),
            seed: dir.seed(),
            uefi: None,
            disks: Vec::new(),
        }),
        user: None,
        mac: "52:54:00:12:34:57".parse().unwrap(),
        cable: Cable::Tap { tap: "boma-it-t1".parse().unwrap(), bridge: "boma-it".parse().unwrap() },
        cards: Vec::new(),
        smbios_serial: "tiny".into(),
        template: None,
    }
}
