use super::*;
use crate::qemu::firmware::Uefi;
use crate::qemu::media::{Disk, Image};
use crate::qemu::template::{Cloned, Saved};
use crate::qemu::{Backing, Cable, Card};
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
            bus: Bus::VirtioBlk,
            uefi: None,
            disks: Vec::new(),
            golden: Some(Backing { path: "/var/lib/boma-integration/debian-13.qcow2".into(), format: "qcow2".into() }),
            memory: "/var/lib/boma-qemu/vms/askari/memory.qcow2".into(),
            seed: "/var/lib/boma-qemu/vms/askari/seed.iso".into(),
        }),
        user: None,
        mac: "52:54:00:12:34:56".parse().unwrap(),
        cable: Cable::Tap { tap: "boma-it-t0".parse().unwrap(), bridge: "boma-it".parse().unwrap() },
        cards: Vec::new(),
        smbios_serial: "ds=nocloud".into(),
        template: None,
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
    let uefi =
        uefi.then(|| Uefi { code: "/usr/share/OVMF/CODE.fd".into(), vars: "/run/vm/vars.fd".into(), secure: false });
    let media = Media { iso: Some("/nixos.iso".into()), first: First::Iso, once: true, uefi, image: None, disks };
    Machine { storage: Storage::Media(media), cable: Cable::User, cpu: Some("Nehalem".into()), ..askari() }
}

#[test]
fn further_cards_are_ports_of_hubs_and_the_first_one_keeps_its_cable() {
    let card = |last: u8, isolated: Option<&str>| Card {
        mac: format!("52:54:00:00:00:{last:02x}").parse().unwrap(),
        isolated: isolated.map(|name| name.parse().unwrap()),
    };
    let net = |cards: Vec<Card>| {
        let all = lines(&Machine { cards, ..askari() });
        let net = |line: &&str| line.starts_with("-netdev") || line.contains("virtio-net-pci");
        all.lines().filter(net).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(net(vec![card(1, Some("lan"))]), @r"
    -netdev tap,id=net0,fd=9
    -device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,addr=0x2,romfile=
    -netdev hubport,id=net1,hubid=1
    -device virtio-net-pci,netdev=net1,mac=52:54:00:00:00:01,addr=0x12,romfile=
    ");
    insta::assert_snapshot!(net(vec![card(1, Some("lan")), card(2, None), card(3, Some("dmz")), card(4, Some("lan"))]), @r"
    -netdev tap,id=uplink,fd=9
    -netdev hubport,id=uplink-port,hubid=0,netdev=uplink
    -netdev hubport,id=net0,hubid=0
    -device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,addr=0x2,romfile=
    -netdev hubport,id=net1,hubid=2
    -device virtio-net-pci,netdev=net1,mac=52:54:00:00:00:01,addr=0x12,romfile=
    -netdev hubport,id=net2,hubid=0
    -device virtio-net-pci,netdev=net2,mac=52:54:00:00:00:02,addr=0x13,romfile=
    -netdev hubport,id=net3,hubid=1
    -device virtio-net-pci,netdev=net3,mac=52:54:00:00:00:03,addr=0x14,romfile=
    -netdev hubport,id=net4,hubid=2
    -device virtio-net-pci,netdev=net4,mac=52:54:00:00:00:04,addr=0x15,romfile=
    ");
}

/// One option with its value to a line.
fn lines(machine: &Machine) -> String {
    let shown = Fds::shown(machine);
    let files = shown.files.iter().map(|fd| fd + 1).collect();
    let fds = Fds {
        qmp: 7,
        serial: 8,
        tap: 9,
        golden: 11,
        memory: 12,
        seed: 13,
        template: 30,
        ram: 31,
        state: 32,
        files,
        ..shown
    };
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
            "-machine q35,memory-backend=pc.ram,pflash0=uefi-code,pflash1=uefi-vars",
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

/// What a part in a template adds to the command line, and what it takes away.
fn changed(part: Part) -> (Vec<String>, Vec<String>) {
    let plain = lines(&askari());
    let text = lines(&Machine { template: Some(part), ..askari() });
    let without = |one: &str, other: &str| {
        one.lines().filter(|line| !other.lines().any(|known| known == *line)).map(str::to_owned).collect()
    };
    (without(&text, &plain), without(&plain, &text))
}

#[test]
fn a_maker_of_a_template_shares_its_memory_with_a_file_and_has_a_place_for_its_state() {
    let saved = Saved { memory: "/cache/t/memory".into(), state: "/cache/t/state".into() };
    let (added, gone) = changed(Part::Maker(saved));
    assert_eq!(gone, ["-object memory-backend-ram,id=pc.ram,size=3072M"]);
    assert_eq!(
        added,
        [
            "-object memory-backend-file,id=pc.ram,mem-path=/proc/self/fd/31,size=3072M,share=on",
            "-add-fd fd=32,set=4096,opaque=state",
        ]
    );
}

#[test]
fn a_clone_writes_to_pages_and_a_disk_of_its_own_and_boots_as_others_do_once_it_has_gone_on() {
    let saved = Saved { memory: "/cache/t/memory".into(), state: "/cache/t/state".into() };
    let cloned = Cloned { disk: "/cache/t/disk.qcow2".into(), saved: Some(saved) };
    let disk = [
        "-add-fd fd=30,set=30,opaque=template-file",
        "-blockdev driver=file,node-name=template-file,filename=/dev/fdset/30,locking=on,read-only=on",
        "-blockdev driver=qcow2,node-name=template,file=template-file,backing=golden,read-only=on",
        "-blockdev driver=qcow2,node-name=disk,file=drive,backing=template,discard=unmap",
    ];
    let (added, gone) = changed(Part::Clone(cloned.clone()));
    assert!(gone.iter().any(|line| line.contains("\"node-name\":\"memory\"")), "it is added later: {gone:?}");
    let ram =
        "-object memory-backend-file,id=pc.ram,mem-path=/proc/self/fd/31,size=3072M,share=off,readonly=on,rom=off";
    assert_eq!(added[0], ram);
    assert_eq!(added[1..5], disk);
    assert_eq!(added[5..], ["-add-fd fd=32,set=4096,opaque=state", "-incoming defer"]);
    let (added, gone) = changed(Part::Clone(Cloned { saved: None, ..cloned }));
    assert_eq!(added, disk);
    assert_eq!(gone, ["-blockdev driver=qcow2,node-name=disk,file=drive,backing=golden,discard=unmap"]);
}

#[test]
fn a_machine_description_of_an_earlier_version_is_read() {
    let mut value = serde_json::to_value(askari()).unwrap();
    assert!(value.as_object_mut().unwrap().remove("template").is_none());
    assert_eq!(serde_json::from_value::<Machine>(value).unwrap(), askari());
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
