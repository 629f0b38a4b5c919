//! QEMU's command line, as a pure function of the machine.

use super::boot::Bus;
use super::firmware::Uefi;
use super::media::{CD_DEVICE, First, LAST, Media};
use super::{Accel, Cable, Machine, Overlay, Storage};
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
        let mut numbers = 10..;
        let files = numbers.by_ref().take(machine.files().len()).collect();
        let drives = machine.overlay().map(|overlay| [6].into_iter().chain(numbers).take(overlay.drives().len()));
        let drives = drives.into_iter().flatten().collect();
        Self { qmp: 3, serial: 4, tap: 5, drives, golden: 7, memory: 8, seed: 9, files }
    }

    /// All that there are.
    pub fn all(&self) -> Vec<RawFd> {
        let Self { qmp, serial, tap, drives, golden, memory, seed, files } = self;
        let all = [qmp, serial, tap, golden, memory, seed].into_iter().chain(drives).chain(files);
        all.copied().filter(|fd| *fd >= 0).collect()
    }
}

/// The disk that the guest boots from, as a device.
pub const DISK_DEVICE: &str = "disk0";
/// The node of that disk.
pub const DISK: &str = "disk";
const MEMORY: &str = "memory";
/// The PCI slots: of the disk that the guest boots from, of a disk image that is booted, of the first data disk or blank disk, of the seed behind them all, and of
/// the controller of SCSI disks. Guests name virtio disks in the order of their slots.
const ROOT_SLOT: usize = 3;
const IMAGE_SLOT: usize = 4;
const DISK_SLOT: usize = 8;
const SEED_SLOT: usize = 0x10;
const SCSI_SLOT: usize = 0x11;

/// The network card's cable, by its name in QMP.
pub const NETDEV: &str = "net0";

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
/// - The sandbox forbids QEMU to start programs, gain privileges or change scheduling.
pub fn argv(machine: &Machine, fds: &Fds) -> Vec<String> {
    let mut argv = vec![PROGRAM.to_owned()];
    let mut option = |name: &str, value: String| argv.extend([format!("-{name}"), value]);
    option("name", format!("guest={},debug-threads=on", machine.name));
    option("uuid", machine.uuid.clone());
    chipset(&mut option, machine);
    let (accel, cpu) = accelerator(machine.accel);
    option("accel", accel.into());
    option("cpu", machine.cpu.clone().unwrap_or_else(|| cpu.into()));
    option("smp", machine.vcpus.to_string());
    option("m", format!("{}M", machine.mem.0));
    option("rtc", "base=utc,driftfix=slew".into());
    option("smbios", format!("type=1,serial={}", escape(&machine.smbios_serial)));
    network(&mut option, machine, fds);
    match &machine.storage {
        Storage::Overlay(of) => overlay(&mut option, of, fds),
        Storage::Media(of) => media(&mut option, of, fds),
    }
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

/// The chipset, with the firmware in its flash memory. Under Secure Boot only code in System Management Mode writes to that.
fn chipset(option: &mut impl FnMut(&str, String), machine: &Machine) {
    const FLASH: &str = "pflash0=uefi-code,pflash1=uefi-vars";
    match machine.uefi() {
        None => option("machine", "q35".into()),
        Some(uefi) if uefi.secure => {
            option("machine", format!("q35,smm=on,{FLASH}"));
            option("global", "driver=cfi.pflash01,property=secure,value=on".into());
        }
        Some(_) => option("machine", format!("q35,{FLASH}")),
    }
}

/// The firmware's two files.
fn flash(option: &mut impl FnMut(&str, String), uefi: Option<&Uefi>, mut next: impl FnMut() -> RawFd) {
    if uefi.is_some() {
        opened(option, "uefi-code", next(), "read-only=on");
        opened(option, "uefi-vars", next(), "read-only=off");
    }
}

/// The network card, if there is one. Behind QEMU's own network is nothing: `restrict` keeps the guest from the host and
/// from everything beyond, and where QEMU has a network of its own there is nothing to keep it from.
fn network(option: &mut impl FnMut(&str, String), machine: &Machine, fds: &Fds) {
    match &machine.cable {
        Cable::Tap { .. } => option("netdev", format!("tap,id={NETDEV},fd={}", fds.tap)),
        Cable::User => option("netdev", format!("user,id={NETDEV},restrict=on,ipv6=off")),
        Cable::None => return,
    }
    option("device", format!("virtio-net-pci,netdev={NETDEV},mac={},addr=0x2,romfile=", machine.mac));
}

/// A golden image, its overlay, the memory of snapshots, data disks, and the seed behind them: so a data disk has the name
/// that it has on a host without a seed.
fn overlay(option: &mut impl FnMut(&str, String), overlay: &Overlay, fds: &Fds) {
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
            option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,backing=golden,discard=unmap"));
        }
        None => option("blockdev", format!("driver=qcow2,node-name={DISK},file=drive,discard=unmap")),
    }
    if overlay.buses().any(|bus| bus == Bus::VirtioScsi) {
        option("device", format!("virtio-scsi-pci,id=scsi0,addr={SCSI_SLOT:#x}"));
    }
    let what = format!("drive={DISK},serial=disk,bootindex=1");
    option("device", disk_device(DISK_DEVICE, overlay.bus, &what, ROOT_SLOT));
    opened(option, "memory-file", fds.memory, "cache.no-flush=on");
    option("blockdev", format!("driver=qcow2,node-name={MEMORY},file=memory-file,cache.no-flush=on"));
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
    let buses = || media.disks.iter().map(|disk| disk.bus).chain(media.image.iter().map(|image| image.bus));
    if buses().any(|bus| bus == Bus::VirtioScsi) {
        option("device", format!("virtio-scsi-pci,id=scsi0,addr={SCSI_SLOT:#x}"));
    }
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
mod tests {
    use super::*;
    use crate::qemu::Backing;
    use crate::qemu::media::{Disk, Image};
    use host::names::MiB;

    fn askari() -> Machine {
        Machine {
            name: "boma-it-askari-7f3a".parse().unwrap(),
            uuid: "6d2a6e5e-7f4b-4d0c-9a44-0f6f0d3b1c11".into(),
            mem: MiB(3072),
            vcpus: 2,
            accel: Accel::Tcg,
            cpu: None,
            storage: Storage::Overlay(Overlay {
                disk: "/var/lib/boma-qemu/vms/askari/disk.qcow2".into(),
                golden: Some(Backing {
                    path: "/var/lib/boma-integration/debian-13.qcow2".into(),
                    format: "qcow2".into(),
                }),
                memory: "/var/lib/boma-qemu/vms/askari/memory.qcow2".into(),
                seed: "/var/lib/boma-qemu/vms/askari/seed.iso".into(),
                bus: Bus::VirtioBlk,
                uefi: None,
                disks: Vec::new(),
            }),
            user: None,
            mac: "52:54:00:12:34:56".parse().unwrap(),
            cable: Cable::Tap { tap: "boma-it-t0".parse().unwrap(), bridge: "boma-it".parse().unwrap() },
            smbios_serial: "ds=nocloud".into(),
        }
    }

    /// A machine that boots from a CD and then from its disks.
    fn nixos(uefi: bool) -> Machine {
        let disk = |n: usize, bus, format| Disk {
            path: format!("/run/vm/disk{n}").into(),
            size: MiB(2048),
            bus,
            format,
            serial: format!("disk{n}"),
        };
        let disks = vec![disk(0, Bus::VirtioBlk, DiskFormat::Qcow2), disk(1, Bus::VirtioScsi, DiskFormat::Raw)];
        let uefi = uefi.then(|| Uefi {
            code: "/usr/share/OVMF/CODE.fd".into(),
            vars: "/run/vm/vars.fd".into(),
            secure: false,
        });
        let media = Media { iso: Some("/nixos.iso".into()), first: First::Iso, once: true, uefi, image: None, disks };
        Machine { storage: Storage::Media(media), cable: Cable::User, cpu: Some("Nehalem".into()), ..askari() }
    }

    /// One option with its value to a line.
    fn lines(machine: &Machine) -> String {
        let shown = Fds::shown(machine);
        let files = shown.files.iter().map(|fd| fd + 4).collect();
        let fds = Fds { qmp: 7, serial: 8, tap: 9, golden: 11, memory: 12, seed: 13, files, ..shown };
        argv(machine, &fds).join(" ").replace(" -", "\n-")
    }

    #[test]
    fn the_command_line_of_a_machine_that_boots_from_a_cd_by_bios() {
        insta::assert_snapshot!(lines(&nixos(false)));
    }

    #[test]
    fn uefi_adds_its_two_files_and_nothing_else() {
        let (bios, uefi) = (lines(&nixos(false)), lines(&nixos(true)));
        // The disks' descriptors have other numbers.
        let plain = |line: &str| line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let known: Vec<_> = bios.lines().map(plain).collect();
        let added: Vec<_> = uefi.lines().filter(|line| !known.contains(&plain(line))).collect();
        assert_eq!(
            added,
            [
                "-machine q35,pflash0=uefi-code,pflash1=uefi-vars",
                "-add-fd fd=15,set=15,opaque=uefi-code",
                "-blockdev driver=file,node-name=uefi-code,filename=/dev/fdset/15,locking=on,read-only=on",
                "-add-fd fd=16,set=16,opaque=uefi-vars",
                "-blockdev driver=file,node-name=uefi-vars,filename=/dev/fdset/16,locking=on,read-only=off",
            ]
        );
    }

    #[test]
    fn a_cd_that_was_booted_from_once_stands_behind_the_disks_and_no_card_is_no_option() {
        let Storage::Media(media) = nixos(false).storage else { panic!() };
        let later = Media { first: First::Disk, ..media };
        let text = lines(&Machine { storage: Storage::Media(later), cable: Cable::None, ..nixos(false) });
        assert!(text.contains("drive=iso,bootindex=100") && text.contains("serial=disk0,bootindex=1,"), "{text}");
        assert!(!text.contains("net0"), "{text}");
    }

    #[test]
    fn a_disk_image_is_the_first_disk_and_only_its_overlay_is_written_to() {
        let Storage::Media(media) = nixos(false).storage else { panic!() };
        let image = |bus| Image {
            backing: Backing { path: "/debian.raw".into(), format: "raw".into() },
            overlay: "/run/vm/image.qcow2".into(),
            bus,
        };
        let machine = |bus| {
            let media = Media { iso: None, first: First::Disk, image: Some(image(bus)), ..media.clone() };
            assert_eq!(media.files()[0], ("/debian.raw".into(), false));
            assert_eq!(media.files()[1], ("/run/vm/image.qcow2".into(), true));
            Machine { storage: Storage::Media(media), ..nixos(false) }
        };
        let text = lines(&machine(Bus::VirtioBlk));
        for line in [
            "-blockdev driver=file,node-name=image-file,filename=/dev/fdset/14,locking=on,read-only=on\n",
            "-blockdev driver=raw,node-name=image-below,file=image-file,read-only=on\n",
            "-blockdev driver=qcow2,node-name=image,file=image-over,backing=image-below,discard=unmap\n",
            "-device virtio-blk-pci,id=image,drive=image,serial=image,bootindex=0,addr=0x4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let text = lines(&machine(Bus::VirtioScsi));
        assert!(text.contains("scsi-hd,id=image,bus=scsi0.0,drive=image,serial=image,bootindex=0\n"), "{text}");
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
