//! QEMU's command line, as a pure function of the machine.

use super::{Accel, Machine};
use std::os::fd::RawFd;

/// The program, looked up in PATH.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The descriptors that QEMU inherits, by number. QMP and the console are one end each of a connected
/// socket pair: there is no path that could be stale and no moment in which nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fds {
    /// QMP.
    pub qmp: RawFd,
    /// The serial console.
    pub serial: RawFd,
    /// The tap.
    pub tap: RawFd,
    /// The drive that the disk image is on, over NBD.
    pub drive: RawFd,
    /// The golden image below the disk image, open for reading.
    pub golden: RawFd,
    /// The file for the memory of snapshots, open for both.
    pub memory: RawFd,
    /// The seed, open for reading.
    pub seed: RawFd,
}

impl Fds {
    /// The numbers in a command line that is shown: the first that are free.
    pub const SHOWN: Self = Self { qmp: 3, serial: 4, tap: 5, drive: 6, golden: 7, memory: 8, seed: 9 };

    /// All of them.
    pub fn all(self) -> [RawFd; 7] {
        let Self { qmp, serial, tap, drive, golden, memory, seed } = self;
        [qmp, serial, tap, drive, golden, memory, seed]
    }
}

/// The disk that the guest boots from, as a device.
pub const DISK_DEVICE: &str = "disk0";
/// The node of that disk.
pub const DISK: &str = "disk";
const MEMORY: &str = "memory";
/// The nodes that take part in a snapshot. Naming the seed fails, since a raw file holds no snapshots.
pub const SNAPSHOT: [&str; 2] = [DISK, MEMORY];

/// The network card's cable, by its name in QMP.
pub const NETDEV: &str = "net0";

/// The arguments of `snapshot-save` and `snapshot-load`.
pub fn snapshot(tag: &str) -> serde_json::Value {
    serde_json::json!({ "tag": tag, "vmstate": MEMORY, "devices": SNAPSHOT })
}

/// The whole command line, program first.
///
/// - `q35` rather than `pc`: the chipset with PCI Express, which QEMU develops; it boots as fast under
///   TCG (both reach the initramfs in 6.3 s on two idle cores). SeaBIOS is its default firmware, which the
///   golden image's GRUB is made for.
/// - The network card has the first PCI slot to itself, so that it is `enp0s2` whatever else is added; its
///   boot ROM is left out, which saves the firmware a DHCP attempt.
/// - The disk image is not a file to QEMU but a drive, which keeps what was flushed and can lose the rest
///   ([`crate::drive`]). A file in the host's memory keeps everything, flushed or not.
/// - Snapshots put the memory into a plain file of its own: QEMU writes it in small pieces and waits for each,
///   which takes 0.5 s there and many times that where the disk is.
/// - Files come open: QEMU itself may open nothing but its own program, libraries and firmware.
/// - The seed is a disk, not a CD-ROM: the cloud kernel has virtio built in, and NoCloud finds it by label.
/// - The sandbox forbids QEMU to start programs, gain privileges or change scheduling.
pub fn argv(machine: &Machine, fds: &Fds) -> Vec<String> {
    let mut argv = vec![PROGRAM.to_owned()];
    let mut option = |name: &str, value: String| argv.extend([format!("-{name}"), value]);
    option("name", format!("guest={},debug-threads=on", machine.name));
    option("uuid", machine.uuid.clone());
    option("machine", "q35".into());
    for (name, value) in accelerator(machine.accel) {
        option(name, value.into());
    }
    option("smp", machine.vcpus.to_string());
    option("m", format!("{}M", machine.mem.0));
    option("rtc", "base=utc,driftfix=slew".into());
    option("smbios", format!("type=1,serial={}", escape(&machine.smbios_serial)));
    option("netdev", format!("tap,id={NETDEV},fd={}", fds.tap));
    option("device", format!("virtio-net-pci,netdev={NETDEV},mac={},addr=0x2,romfile=", machine.mac));
    option("blockdev", format!("driver=nbd,node-name=drive,server.type=fd,server.str={},discard=unmap", fds.drive));
    match &machine.golden {
        Some(golden) => {
            opened(&mut option, "golden-file", fds.golden, "read-only=on");
            option("blockdev", format!("driver={},node-name=golden,file=golden-file,read-only=on", golden.format));
            option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,backing=golden,discard=unmap"));
        }
        None => option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,discard=unmap")),
    }
    option("device", format!("virtio-blk-pci,id={DISK_DEVICE},drive={DISK},serial=disk,bootindex=1,addr=0x3"));
    opened(&mut option, "memory-file", fds.memory, "cache.no-flush=on");
    option("blockdev", format!("driver=qcow2,node-name={MEMORY},file=memory-file,cache.no-flush=on"));
    opened(&mut option, "seed", fds.seed, "read-only=on");
    option("device", "virtio-blk-pci,drive=seed,serial=seed,addr=0x4".into());
    option("object", "rng-builtin,id=rng0".into());
    option("device", "virtio-rng-pci,rng=rng0,addr=0x5".into());
    option("device", "pvpanic-pci,addr=0x6".into());
    option("device", "i6300esb,id=watchdog0,addr=0x7".into());
    option("chardev", format!("socket,id=serial0,fd={}", fds.serial));
    option("serial", "chardev:serial0".into());
    option("chardev", format!("socket,id=qmp0,fd={}", fds.qmp));
    option("mon", "chardev=qmp0,mode=control".into());
    option("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".into());
    option("msg", "timestamp=on".into());
    option("display", "none".into());
    // Stopped until QMP has chosen what reboot, shutdown, panic and the watchdog do.
    argv.extend(["-nodefaults", "-no-user-config", "-S"].map(String::from));
    argv
}

/// `-machine accel=` is refused beside `-accel`, so only this one is used. `qemu64`, the default model,
/// is below x86-64-v2; `max` is as fast under TCG.
fn accelerator(accel: Accel) -> [(&'static str, &'static str); 2] {
    match accel {
        Accel::Kvm => [("accel", "kvm"), ("cpu", "host")],
        Accel::Tcg => [("accel", "tcg,thread=multi"), ("cpu", "max")],
    }
}

/// A file that is open already, as a node. QEMU looks for a descriptor with the right access in the set.
fn opened(option: &mut impl FnMut(&str, String), node: &str, fd: RawFd, more: &str) {
    option("add-fd", format!("fd={fd},set={fd},opaque={node}"));
    option("blockdev", format!("driver=file,node-name={node},filename=/dev/fdset/{fd},locking=on,{more}"));
}

/// In QEMU's `key=value,…` syntax a comma in a value is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::MiB;
    use crate::qemu::Backing;

    fn askari() -> Machine {
        Machine {
            name: "boma-it-askari-7f3a".parse().unwrap(),
            uuid: "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c11".into(),
            mem: MiB(3072),
            vcpus: 2,
            accel: Accel::Tcg,
            disk: "/var/lib/boma-qemu/vms/askari/disk.qcow2".into(),
            golden: Some(Backing { path: "/var/lib/boma-integration/debian-13.qcow2".into(), format: "qcow2".into() }),
            user: None,
            memory: "/var/lib/boma-qemu/vms/askari/memory.qcow2".into(),
            seed: "/var/lib/boma-qemu/vms/askari/seed.iso".into(),
            mac: "52:54:00:12:34:56".parse().unwrap(),
            tap: "boma-it-t0".parse().unwrap(),
            bridge: "boma-it".parse().unwrap(),
            smbios_serial: "ds=nocloud".into(),
        }
    }

    const FDS: Fds = Fds { qmp: 7, serial: 8, tap: 9, drive: 10, golden: 11, memory: 12, seed: 13 };

    /// One option with its value to a line.
    fn lines(machine: &Machine) -> String {
        argv(machine, &FDS).join(" ").replace(" -", "\n-")
    }

    #[test]
    fn the_command_line_of_a_tcg_machine() {
        insta::assert_snapshot!(lines(&askari()));
    }

    #[test]
    fn kvm_changes_the_accelerator_and_the_cpu_only() {
        let tcg = lines(&askari());
        let kvm = lines(&Machine { accel: Accel::Kvm, ..askari() });
        let changed: Vec<_> = kvm.lines().filter(|line| !tcg.contains(line)).collect();
        assert_eq!(changed, ["-accel kvm", "-cpu host"]);
    }

    #[test]
    fn a_comma_in_a_value_does_not_start_a_new_option() {
        let odd = Machine { smbios_serial: "a,uuid=b".into(), ..askari() };
        assert!(lines(&odd).contains("serial=a,,uuid=b"));
    }

    #[test]
    fn an_unknown_key_in_a_machine_description_is_refused() {
        let mut value = serde_json::to_value(askari()).unwrap();
        value["vcpu"] = 3.into();
        let error = serde_json::from_value::<Machine>(value).unwrap_err();
        assert!(error.to_string().contains("unknown field `vcpu`"), "{error}");
    }
}
