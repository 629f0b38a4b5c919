//! QEMU's command line, as a pure function of the machine.

use super::boot::Bus;
use super::firmware::Uefi;
use super::media::{CD_DEVICE, First, LAST, Media};
use super::template::{Part, STATE_SET};
use super::{Accel, Machine, Overlay, Storage, cards};
use host::names::DiskFormat;
use std::os::fd::RawFd;

/// The program, looked up in PATH.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The descriptors that QEMU inherits, by number. QMP and the console are one end each of a connected
/// socket pair: there is no path that could be stale and no moment in which nobody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fds {
    /// QMP.
    pub qmp: RawFd,
    /// The serial console.
    pub serial: RawFd,
    /// The tap; like all that a machine has not, -1 where there is none.
    pub tap: RawFd,
    /// The drives that the disk image and the data disks are on, over NBD.
    pub drives: Vec<RawFd>,
    /// The golden image below the disk image, open for reading.
    pub golden: RawFd,
    /// The template's disk between them, open for reading.
    pub template: RawFd,
    /// The file that is the guest's memory: open for both in a maker of a template, for reading in a clone.
    pub ram: RawFd,
    /// The devices' state of a template, open for writing or for reading, and not for both.
    pub state: RawFd,
    /// The file for the memory of snapshots, open for both.
    pub memory: RawFd,
    /// The seed, open for reading.
    pub seed: RawFd,
    /// Its other files ([`Machine::files`]).
    pub files: Vec<RawFd>,
}

impl Fds {
    /// The numbers in a command line that is shown: the first that are free.
    pub fn shown(machine: &Machine) -> Self {
        let mut numbers = 13..;
        let files = numbers.by_ref().take(machine.files().len()).collect();
        let drives = machine.overlay().map(|overlay| [6].into_iter().chain(numbers).take(overlay.drives().len()));
        let drives = drives.into_iter().flatten().collect();
        Self {
            qmp: 3,
            serial: 4,
            tap: 5,
            drives,
            golden: 7,
            memory: 8,
            seed: 9,
            template: 10,
            ram: 11,
            state: 12,
            files,
        }
    }

    /// All that there are.
    pub fn all(&self) -> Vec<RawFd> {
        let Self { qmp, serial, tap, drives, golden, template, ram, state, memory, seed, files } = self;
        let all = [qmp, serial, tap, golden, template, ram, state, memory, seed].into_iter().chain(drives).chain(files);
        all.copied().filter(|fd| *fd >= 0).collect()
    }
}

/// The disk that the guest boots from, as a device.
pub const DISK_DEVICE: &str = "disk0";
/// The node of that disk.
pub const DISK: &str = "disk";
const MEMORY: &str = "memory";
/// The set of descriptors that the memory of snapshots is in; beyond every number that a descriptor can have.
pub const MEMORY_SET: u32 = 4097;
/// The guest's memory, by its name in QEMU's machine and in snapshots.
const RAM: &str = "pc.ram";
/// The PCI slots: of the disk that the guest boots from, of a disk image that is booted, of the first data disk or blank
/// disk, of the seed behind them all, and of the controller of SCSI disks. Guests name virtio disks in the order of their slots.
const ROOT_SLOT: usize = 3;
const IMAGE_SLOT: usize = 4;
const DISK_SLOT: usize = 8;
const SEED_SLOT: usize = 0x10;
const SCSI_SLOT: usize = 0x11;

/// The nodes that take part in a machine's snapshots. Naming the seed or the firmware's variables fails, since a raw file
/// holds no snapshots; the variables are in the memory that is saved.
fn snapshot_nodes(machine: &Machine) -> Vec<String> {
    let disks = machine.overlay().map_or(0, |overlay| overlay.disks.len());
    [DISK, MEMORY].map(str::to_owned).into_iter().chain((0..disks).map(data_node)).collect()
}

/// The arguments of `snapshot-save` and `snapshot-load`.
pub fn snapshot(machine: &Machine, tag: &str) -> serde_json::Value {
    serde_json::json!({ "tag": tag, "vmstate": MEMORY, "devices": snapshot_nodes(machine) })
}

/// The node of the memory of snapshots, for `-blockdev` and for `blockdev-add`. A machine that goes on from a template gets it
/// when it has: QEMU activates no node that nothing uses (10.0), and takes no snapshot with one that is inactive.
pub fn memory_node() -> serde_json::Value {
    let cache = serde_json::json!({"no-flush": true});
    let filename = format!("/dev/fdset/{MEMORY_SET}");
    serde_json::json!({
        "driver": "qcow2", "node-name": MEMORY, "cache": cache,
        "file": {"driver": "file", "filename": filename, "locking": "on", "cache": cache},
    })
}

/// The arguments of `snapshot-delete`.
pub fn delete_snapshot(machine: &Machine, tag: &str) -> serde_json::Value {
    serde_json::json!({ "tag": tag, "devices": snapshot_nodes(machine) })
}

/// The node of a data disk.
fn data_node(n: usize) -> String {
    format!("data{n}")
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
/// - The memory has the same name in every machine, whatever it is: a snapshot is loaded by that name.
/// - Each QEMU has a generation of its own (`vmgenid`): where a guest goes on that has gone on elsewhere already, its kernel
///   is told, and its random numbers begin anew.
/// - The sandbox forbids QEMU to start programs, gain privileges or change scheduling.
pub fn argv(machine: &Machine, fds: &Fds) -> Vec<String> {
    let mut argv = vec![PROGRAM.to_owned()];
    let mut option = |name: &str, value: String| argv.extend([format!("-{name}"), value]);
    option("name", format!("guest={},debug-threads=on", machine.name));
    option("uuid", machine.uuid.clone());
    option("object", ram(machine, fds));
    chipset(&mut option, machine);
    let (accel, cpu) = accelerator(machine.accel);
    option("accel", accel.into());
    option("cpu", machine.cpu.clone().unwrap_or_else(|| cpu.into()));
    option("smp", machine.vcpus.to_string());
    option("m", format!("{}M", machine.mem.0));
    option("rtc", "base=utc,driftfix=slew".into());
    option("smbios", format!("type=1,serial={}", escape(&machine.smbios_serial)));
    cards::network(&mut option, machine, fds);
    match &machine.storage {
        Storage::Overlay(of) => overlay(&mut option, machine, of, fds),
        Storage::Media(of) => media(&mut option, of, fds),
    }
    option("object", "rng-builtin,id=rng0".into());
    option("device", "virtio-rng-pci,rng=rng0,addr=0x5".into());
    option("device", "pvpanic-pci,addr=0x6".into());
    option("device", "i6300esb,id=watchdog0,addr=0x7".into());
    option("device", "vmgenid,guid=auto".into());
    option("chardev", format!("socket,id=serial0,fd={}", fds.serial));
    option("serial", "chardev:serial0".into());
    option("chardev", format!("socket,id=qmp0,fd={}", fds.qmp));
    option("mon", "chardev=qmp0,mode=control".into());
    option("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".into());
    option("msg", "timestamp=on".into());
    option("display", "none".into());
    if let Some((_, write)) = machine.template.as_ref().and_then(Part::saved) {
        option("add-fd", format!("fd={},set={STATE_SET},opaque=state", fds.state));
        if !write {
            option("incoming", "defer".into());
        }
    }
    // Stopped until QMP has chosen what reboot, shutdown, panic and the watchdog do.
    argv.extend(["-nodefaults", "-no-user-config", "-S"].map(String::from));
    argv
}

/// The chipset, with the firmware in its flash memory. Under Secure Boot only code in System Management Mode writes to that.
fn chipset(option: &mut impl FnMut(&str, String), machine: &Machine) {
    const FLASH: &str = "pflash0=uefi-code,pflash1=uefi-vars";
    match machine.uefi() {
        None => option("machine", format!("q35,memory-backend={RAM}")),
        Some(uefi) if uefi.secure => {
            option("machine", format!("q35,memory-backend={RAM},smm=on,{FLASH}"));
            option("global", "driver=cfi.pflash01,property=secure,value=on".into());
        }
        Some(_) => option("machine", format!("q35,memory-backend={RAM},{FLASH}")),
    }
}

/// The firmware's two files.
fn flash(option: &mut impl FnMut(&str, String), uefi: Option<&Uefi>, mut next: impl FnMut() -> RawFd) {
    if uefi.is_some() {
        opened(option, "uefi-code", next(), "read-only=on");
        opened(option, "uefi-vars", next(), "read-only=off");
    }
}

/// The guest's memory. `rom=off`: the file is only read, and the guest writes to pages of its own.
fn ram(machine: &Machine, fds: &Fds) -> String {
    let size = machine.mem.0;
    match machine.template.as_ref().and_then(Part::saved) {
        None => format!("memory-backend-ram,id={RAM},size={size}M"),
        Some((_, write)) => {
            let how = if write { "share=on" } else { "share=off,readonly=on,rom=off" };
            format!("memory-backend-file,id={RAM},mem-path=/proc/self/fd/{},size={size}M,{how}", fds.ram)
        }
    }
}

/// A golden image, a template's disk over it, the machine's own overlay, the memory of snapshots, data disks, and
/// the seed behind them: so a data disk has the name that it has on a host without a seed.
fn overlay(option: &mut impl FnMut(&str, String), machine: &Machine, overlay: &Overlay, fds: &Fds) {
    let mut drives = fds.drives.iter();
    let mut nbd = |option: &mut dyn FnMut(&str, String), node: &str| {
        let fd = drives.next().copied().unwrap_or(-1);
        option("blockdev", format!("driver=nbd,node-name={node},server.type=fd,server.str={fd},discard=unmap"));
    };
    nbd(option, "drive");
    match &overlay.golden {
        Some(golden) => {
            opened(option, "golden-file", fds.golden, "read-only=on");
            option("blockdev", format!("driver={},node-name=golden,file=golden-file,read-only=on", golden.format));
            let mut below = "golden";
            if machine.template.as_ref().and_then(Part::disk).is_some() {
                opened(option, "template-file", fds.template, "read-only=on");
                let node = "driver=qcow2,node-name=template,file=template-file,backing=golden,read-only=on";
                option("blockdev", node.into());
                below = "template";
            }
            option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,backing={below},discard=unmap"));
        }
        None => option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,discard=unmap")),
    }
    scsi_controller(option, overlay.buses());
    let what = format!("drive={DISK},serial=disk,bootindex=1");
    option("device", disk_device(DISK_DEVICE, overlay.bus, &what, ROOT_SLOT));
    option("add-fd", format!("fd={},set={MEMORY_SET},opaque={MEMORY}", fds.memory));
    if !machine.template.as_ref().is_some_and(Part::goes_on) {
        option("blockdev", memory_node().to_string());
    }
    for (n, disk) in overlay.disks.iter().enumerate() {
        let (node, file) = (data_node(n), format!("data{n}-drive"));
        nbd(option, &file);
        option("blockdev", format!("driver=qcow2,node-name={node},file={file},discard=unmap"));
        let what = format!("drive={node},serial={}", disk.serial);
        option("device", disk_device(&format!("{node}-disk"), disk.bus, &what, DISK_SLOT + n));
    }
    opened(option, "seed", fds.seed, "read-only=on");
    option("device", format!("virtio-blk-pci,drive=seed,serial=seed,addr={SEED_SLOT:#x}"));
    let mut files = fds.files.iter();
    flash(option, overlay.uefi.as_ref(), || files.next().copied().unwrap_or(-1));
}

/// A CD in a drive as real machines have it (SATA), blank disks, and a firmware of its own. The firmware tries them in the
/// order of their boot indices; the CD comes before the disks, or behind them all.
fn media(option: &mut impl FnMut(&str, String), media: &Media, fds: &Fds) {
    let mut fds = fds.files.iter();
    let mut next = || fds.next().copied().unwrap_or(-1);
    if media.iso.is_some() {
        opened(option, "iso", next(), "read-only=on");
        let index = if media.first == First::Iso { 0 } else { LAST };
        option("device", format!("ide-cd,id={CD_DEVICE},bus=ide.0,drive=iso,bootindex={index}"));
    }
    flash(option, media.uefi.as_ref(), &mut next);
    scsi_controller(option, media.buses());
    if let Some(image) = &media.image {
        opened(option, "image-file", next(), "read-only=on");
        let format = &image.backing.format;
        option("blockdev", format!("driver={format},node-name=image-below,file=image-file,read-only=on"));
        opened(option, "image-over", next(), "discard=unmap");
        option("blockdev", "driver=qcow2,node-name=image,file=image-over,backing=image-below,discard=unmap".into());
        let what = "drive=image,serial=image,bootindex=0";
        option("device", disk_device("image", image.bus, what, IMAGE_SLOT));
    }
    for (n, disk) in media.disks.iter().enumerate() {
        let (file, format) = (format!("disk{n}-file"), disk.format.name());
        opened(option, &file, next(), "discard=unmap");
        let zeroes = if disk.format == DiskFormat::Raw { ",detect-zeroes=unmap" } else { "" };
        option("blockdev", format!("driver={format},node-name=disk{n}-node,file={file},discard=unmap{zeroes}"));
        let what = format!("drive=disk{n}-node,serial={},bootindex={}", disk.serial, n + 1);
        option("device", disk_device(&format!("disk{n}"), disk.bus, &what, DISK_SLOT + n));
    }
}

/// What SCSI disks are plugged into, if there are any.
fn scsi_controller(option: &mut impl FnMut(&str, String), mut buses: impl Iterator<Item = Bus>) {
    if buses.any(|bus| bus == Bus::VirtioScsi) {
        option("device", format!("virtio-scsi-pci,id=scsi0,addr={SCSI_SLOT:#x}"));
    }
}

/// A disk on its bus; `slot` is its place on PCI, where it is a PCI device. Guests number disks in the order of the slots.
fn disk_device(id: &str, bus: Bus, what: &str, slot: usize) -> String {
    match bus {
        Bus::VirtioBlk => format!("virtio-blk-pci,id={id},{what},addr={slot:#x}"),
        Bus::VirtioScsi => format!("scsi-hd,id={id},bus=scsi0.0,{what}"),
    }
}

/// `-machine accel=` is refused beside `-accel`, so only this one is used. `qemu64`, the default model,
/// is below x86-64-v2; `max` is as fast under TCG.
fn accelerator(accel: Accel) -> (&'static str, &'static str) {
    match accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Tcg => ("tcg,thread=multi", "max"),
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
mod tests;
