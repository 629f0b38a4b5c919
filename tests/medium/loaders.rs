//! What each boot path of an image comes to.

use crate::site::{Site, grub_efi, systemd_boot, tool, uki};
use boot_media::medium::{Boots, Carrier, Chosen, Firmware, Medium, Names, Wait};

/// What a boot path comes to, in one line.
fn told(medium: &Medium) -> Vec<String> {
    let path = |path: &boot_media::medium::BootPath| {
        let titles: Vec<_> = path.defaults().map(|entry| entry.path()).collect();
        let loader = path.loader.map_or_else(|| "?".into(), |loader| loader.to_string());
        format!("{}: {loader}: {} {}", path.name(), titles.join(" or "), path.wait)
    };
    medium.loaders().paths.iter().map(path).collect()
}

const MENU: &[u8] = b"set timeout=3\nmenuentry 'Live' { linux /vmlinuz console=ttyS0; initrd /initrd }\nmenuentry 'Memtest' { linux /memtest.efi }\n";

#[test]
fn a_grub_of_an_efi_program_is_followed_by_what_is_embedded_in_it() {
    let site = Site::new(&[
        ("boot/grub/grub.cfg", MENU),
        ("vmlinuz", b"k"),
        ("initrd", b"i"),
        (".disk/info", b"x"),
        ("memtest.efi", b"m"),
    ]);
    let grub = grub_efi("/nowhere", "search --file --set=root /.disk/info\nset prefix=($root)/boot/grub\n");
    let fat =
        site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub), ("EFI/BOOT/grub.cfg", b"menuentry 'not this' { linux /k }\n")]);
    let medium = Medium::open(&site.bootable("LIVE", None, Some(&fat))).unwrap();
    assert_eq!(told(&medium), ["UEFI, optical disc: GRUB: Live after 3 s", "UEFI, USB stick: GRUB: Live after 3 s"]);
    let path = &medium.loaders().paths[0];
    assert!(path.starts.ends_with(":/EFI/BOOT/BOOTX64.EFI"), "{}", path.starts);
    assert_eq!(path.entries[0].missing, [""; 0]);
    assert_eq!((path.entries[1].boots, path.problems.as_slice()), (Boots::Memtest, &[][..]));
}

#[test]
fn a_configuration_in_the_memory_disk_of_an_efi_program_is_read() {
    let site = Site::new(&[("vmlinuz", b"k")]);
    let (config, out) = (site.path.join("in.cfg"), site.path.join("standalone.efi"));
    std::fs::write(&config, "set timeout=0\nmenuentry 'Inside' { linux /vmlinuz }\n").unwrap();
    let graft = format!("boot/grub/grub.cfg={config}");
    tool(
        "grub-mkstandalone",
        &[
            "-O",
            "x86_64-efi",
            "--install-modules=normal linux iso9660 tar memdisk",
            "--fonts=",
            "--locales=",
            "--themes=",
            "-o",
            out.as_str(),
            &graft,
        ],
    );
    let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &std::fs::read(&out).unwrap())]);
    let medium = Medium::open(&site.bootable("LIVE", None, Some(&fat))).unwrap();
    assert_eq!(told(&medium)[0], "UEFI, optical disc: GRUB: Inside at once");
    assert_eq!(medium.loaders().configs[0].file, "(memdisk)/boot/grub/grub.cfg");
}

#[test]
fn systemd_boot_and_unified_kernel_images_are_told_with_their_command_line() {
    let image = uki("root=x console=ttyS0");
    let site = Site::new(&[("x", b"")]);
    let entry = b"title Plain\nlinux /k\noptions quiet\n";
    let fat = site.fat(&[
        ("EFI/BOOT/BOOTX64.EFI", &systemd_boot()),
        ("EFI/Linux/test.efi", &image),
        ("loader/loader.conf", b"timeout 7\ndefault test*\n"),
        ("loader/entries/plain.conf", entry),
        ("k", b"k"),
    ]);
    let medium = Medium::open(&site.bootable("LIVE", None, Some(&fat))).unwrap();
    assert_eq!(told(&medium)[0], "UEFI, optical disc: systemd-boot: Test OS after 7 s");
    let entries = medium.loaders().entries;
    let args: Vec<_> = entries.iter().map(|entry| (entry.title.as_str(), entry.args.as_str(), entry.default)).collect();
    assert_eq!(args, [("Test OS", "root=x console=ttyS0", true), ("Plain", "quiet", false)]);

    let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &image)]);
    let medium = Medium::open(&site.bootable("LIVE", None, Some(&fat))).unwrap();
    assert_eq!(told(&medium)[0], "UEFI, optical disc: a unified kernel image: Test OS at once");
    let path = &medium.loaders().paths[0];
    assert_eq!(
        (path.firmware, path.carrier, path.wait),
        (Some(Firmware::Efi), Some(Carrier::Optical), Wait::After { tenths: 0 })
    );
}

#[test]
fn an_image_for_both_firmwares_has_four_boot_paths() {
    let cfg = b"ui menu.c32\ntimeout 20\nlabel live\n linux /vmlinuz\n append console=ttyS0\n";
    let site = Site::new(&[("isolinux/isolinux.cfg", cfg), ("vmlinuz", b"k")]);
    let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", "")), ("EFI/BOOT/grub.cfg", MENU)]);
    let medium = Medium::open(&site.bootable("LIVE", Some("isolinux"), Some(&fat))).unwrap();
    let wanted = [
        "BIOS, optical disc: isolinux: live after 2 s",
        "UEFI, optical disc: GRUB: Live after 3 s",
        "BIOS, USB stick: isolinux: live after 2 s",
        "UEFI, USB stick: GRUB: Live after 3 s",
    ];
    assert_eq!(told(&medium), wanted);
}

#[test]
fn isolinux_does_not_see_joliet_names() {
    let cfg = b"default live\nlabel live\n linux /A-Long-Kernel-Name\nlabel short\n linux /vmlinuz\n";
    let isolinux = std::fs::read("/usr/lib/ISOLINUX/isolinux.bin").expect("`.ci/install` installs isolinux");
    let site = Site::new(&[
        ("isolinux/isolinux.cfg", cfg),
        ("isolinux/isolinux.bin", &isolinux),
        ("A-Long-Kernel-Name", b"k"),
        ("vmlinuz", b"v"),
    ]);
    let medium = site.make(
        "genisoimage",
        &["-quiet", "-J", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"],
    );
    assert_eq!(medium.names(), Names::Joliet);
    let entries = medium.loaders().entries;
    let missing: Vec<_> = entries.iter().map(|entry| entry.missing.join(" ")).collect();
    assert_eq!(missing, ["/A-Long-Kernel-Name", ""]);
}

#[test]
fn what_boots_is_not_known_where_the_boot_image_is_odd() {
    let site = Site::new(&[
        ("boot.img", b"odd"),
        ("boot/grub/grub.cfg", MENU),
        ("isolinux/isolinux.cfg", b"default a\nlabel a\n linux /a\n"),
    ]);
    let medium = site.xorriso(&["-R", "-b", "boot.img", "-no-emul-boot"]);
    let chosen = medium.loaders().paths[0].chosen.clone();
    assert!(matches!(&chosen, Chosen::NotKnown { why, .. } if why.contains("/boot.img")), "{chosen:?}");
}
