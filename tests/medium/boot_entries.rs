//! The boot entries and partitions of an image, as the programs that made it report them.

use crate::files::{isoinfo, paths};
use crate::site::{Site, grub_efi, tool};
use boot_media::medium::{Loader, Media, Medium, Platform, Table};
use camino::Utf8Path;
use std::collections::BTreeSet;

/// The lines of xorriso's own report that begin so, as words after the colon.
fn report(image: &Utf8Path, of: &str, line: &str) -> Vec<Vec<String>> {
    let said = tool("xorriso", &["-indev", image.as_str(), of, "plain"]);
    let lines = said.lines().filter(|said| said.starts_with(line)).filter_map(|said| said.split_once(':'));
    lines.map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The boot entries must be those that xorriso tells.
fn same_boot_entries(medium: &Medium) {
    let told = report(medium.path(), "-report_el_torito", "El Torito boot img");
    let ours = medium.boot_entries().iter().map(|e| {
        let platform = if e.platform == Platform::Efi { "UEFI" } else { "BIOS" };
        let media = if e.media == Media::NoEmulation { "none" } else { "some" };
        let bootable = if e.bootable { "y" } else { "n" };
        let segment = format!("0x{:04x}", e.segment);
        [&e.number.to_string(), platform, bootable, media, &segment, &e.sectors.to_string(), &e.lba.to_string()]
            .map(str::to_owned)
    });
    // Between segment and size xorriso has the partition type of a hard disk image.
    let told: Vec<_> = told.iter().map(|w| [0, 1, 2, 3, 4, 6, 7].map(|n| w[n].clone())).collect();
    assert_eq!(ours.collect::<Vec<_>>(), told);
}

const GRUB_CFG: &[u8] = b"set default=1\nmenuentry 'A' {\n  linux /vmlinuz console=ttyS0,115200\n}\nmenuentry 'B' {\n  linux /vmlinuz quiet\n  initrd /initrd\n}\n";

#[test]
fn an_image_of_grub_mkrescue_is_told_with_its_efi_image_and_partitions() {
    let site = Site::new(&[("boot/grub/grub.cfg", GRUB_CFG), ("vmlinuz", b"x")]);
    let medium = site.make("grub-mkrescue", &["--quiet"]);
    same_boot_entries(&medium);
    let [bios, efi] = medium.boot_entries() else { panic!("{:?}", medium.boot_entries()) };
    assert_eq!((bios.platform, efi.platform), (Platform::Bios, Platform::Efi));
    assert_eq!(efi.file.as_deref(), Some("/efi.img"));
    let files: Vec<_> = medium.efi_files().map(|(path, _)| path.to_lowercase()).collect();
    assert!(files.contains(&"/efi.img:/efi/boot/bootx64.efi".into()), "{files:?}");
    let boot = medium.efi_files().find(|(path, _)| path.to_lowercase().ends_with("bootx64.efi")).unwrap();
    assert!(medium.read(&boot.0, 16 << 20).unwrap().starts_with(b"MZ"));
    assert!(medium.partitions().iter().any(|part| part.efi && part.table == Table::Gpt), "{:?}", medium.partitions());
    let entries = medium.loaders().entries;
    let told: Vec<_> =
        entries.iter().map(|e| (e.line, e.title.as_str(), e.default, e.has_arg("console=ttyS0,115200"))).collect();
    assert_eq!(told, [(3, "A", false, true), (6, "B", true, false)]);
    assert_eq!(medium.damage(), []);
}

#[test]
fn an_image_with_isolinux_and_an_efi_partition_behind_it_is_told() {
    let cfg = b"default live\nlabel live\n linux /live/vmlinuz\n append initrd=/live/initrd console=ttyS0,115200\n";
    let isolinux = std::fs::read("/usr/lib/ISOLINUX/isolinux.bin").expect("`.ci/install` installs isolinux");
    let site = Site::new(&[("isolinux/isolinux.cfg", cfg), ("isolinux/isolinux.bin", &isolinux)]);
    let fat = site.path.join("efi.img");
    let grub = site.path.join("grub.cfg");
    std::fs::write(&grub, GRUB_CFG).unwrap();
    tool("mformat", &["-C", "-i", fat.as_str(), "-f", "1440", "::"]);
    tool("mmd", &["-i", fat.as_str(), "::/EFI", "::/EFI/BOOT", "::/EFI/a long folder name"]);
    tool("mcopy", &["-i", fat.as_str(), grub.as_str(), "::/EFI/BOOT/grub.cfg"]);
    let program = site.path.join("BOOTX64.EFI");
    std::fs::write(&program, grub_efi("/EFI/BOOT", "")).unwrap();
    tool("mcopy", &["-i", fat.as_str(), program.as_str(), "::/EFI/BOOT/BOOTX64.EFI"]);
    tool("mcopy", &["-i", fat.as_str(), grub.as_str(), "::/EFI/a long folder name/Some Other File.conf"]);
    let medium = site.xorriso(&[
        "-R",
        "-b",
        "isolinux/isolinux.bin",
        "-c",
        "isolinux/boot.cat",
        "-no-emul-boot",
        "-boot-load-size",
        "4",
        "-boot-info-table",
        "-isohybrid-mbr",
        "/usr/lib/ISOLINUX/isohdpfx.bin",
        "-append_partition",
        "2",
        "0xef",
        fat.as_str(),
        "-eltorito-alt-boot",
        "-e",
        "--interval:appended_partition_2:all::",
        "-no-emul-boot",
    ]);
    same_boot_entries(&medium);
    assert_eq!(medium.boot_entries()[0].file.as_deref(), Some("/isolinux/isolinux.bin"));
    let files: Vec<_> = medium.efi_files().map(|(path, _)| path).collect();
    let in_efi = |path: &str| format!("El Torito entry 2:{path}");
    let wanted =
        ["/EFI/a long folder name/Some Other File.conf", "/EFI/BOOT/grub.cfg", "/EFI/BOOT/BOOTX64.EFI"].map(in_efi);
    assert_eq!(files.iter().collect::<BTreeSet<_>>(), wanted.iter().collect());
    assert_eq!(medium.read(&wanted[0], 1000).unwrap(), GRUB_CFG);
    let efi: Vec<_> =
        medium.partitions().iter().filter(|part| part.efi).map(|part| (part.number, part.start)).collect();
    assert_eq!(efi, [(2, u64::from(medium.boot_entries()[1].lba) * 2048)]);
    let entries = medium.loaders().entries;
    let told: Vec<_> = entries.iter().map(|e| (e.loader, e.file.clone(), e.line, e.default)).collect();
    let live = (Loader::Syslinux, "/isolinux/isolinux.cfg".to_owned(), 4, true);
    assert_eq!(told, [live, (Loader::Grub, wanted[1].clone(), 3, false), (Loader::Grub, wanted[1].clone(), 6, true)]);
    assert_eq!(medium.damage(), []);
}

#[test]
fn the_image_of_grub_rescue_pc_is_told_correctly() {
    let path = Utf8Path::new("/usr/lib/grub-rescue/grub-rescue-cdrom.iso");
    assert!(path.exists(), "`.ci/install` installs grub-rescue-pc");
    let medium = Medium::open(path).unwrap();
    same_boot_entries(&medium);
    assert_eq!(paths(&medium), isoinfo(path, "-R"));
    let [entry] = medium.boot_entries() else { panic!("{:?}", medium.boot_entries()) };
    assert_eq!((entry.platform, entry.bootable), (Platform::Bios, true));
    assert_eq!(medium.damage(), []);

    let cfg = String::from_utf8(medium.read("/boot/grub/grub.cfg", 1 << 20).unwrap()).unwrap();
    let titled =
        |(line, text): (usize, &str)| Some((line, text.strip_prefix("menuentry \"")?.split_once('"')?.0.to_owned()));
    let titles: Vec<_> = (1..).zip(cfg.lines()).filter_map(titled).collect();
    let loaders = medium.loaders();
    let ours: Vec<_> = loaders.entries.iter().map(|entry| entry.title.clone()).collect();
    assert!(titles.len() > 5, "{cfg}");
    assert_eq!(ours, titles.iter().map(|(_, title)| title.clone()).collect::<Vec<_>>());
    let linux = loaders.entries.iter().find(|entry| entry.default).unwrap();
    assert_eq!(
        (linux.title.as_str(), linux.kernel.as_deref(), linux.args.as_str()),
        ("GNU/Linux", Some("/vmlinuz"), "root=/dev/sda1")
    );
    assert_eq!(linux.initrd, ["/initrd.img"]);
    assert!(!linux.has_arg("console=ttyS0,115200"), "its console is the screen");
    assert_eq!(cfg.lines().nth(linux.line - 1).unwrap().trim(), "linux /vmlinuz root=/dev/sda1");
    assert_eq!(loaders.serial, []);
}
