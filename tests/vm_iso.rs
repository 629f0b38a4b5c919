//! The ISO that the audit's tests run on, as a file: what our reader tells of the good one and of each broken variant.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

mod iso;

use boot_media::medium::{Loader, Medium, Platform, find_one};
use iso::Variant;

const CONSOLE: &str = "console=ttyS0,115200";

#[test]
fn the_good_image_can_boot_by_both_firmwares_with_the_console_in_every_entry() {
    let medium = Medium::open(&iso::iso(Variant::Good)).unwrap();
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.volume_id(), "BOMA_TEST");
    let platforms: Vec<_> = medium.boot_entries().iter().map(|entry| (entry.platform, entry.bootable)).collect();
    assert_eq!(platforms, [(Platform::Bios, true), (Platform::Efi, true)]);
    assert!(medium.efi_files().any(|(path, _)| path == "/boot/grub/efi.img:/EFI/BOOT/BOOTX64.EFI"));
    let loaders = medium.loaders();
    assert_eq!(loaders.problems, []);
    assert!(loaders.entries.iter().all(|entry| entry.boots_linux() && entry.has_arg(CONSOLE)), "{loaders:?}");
    for loader in [Loader::Syslinux, Loader::Grub] {
        let of = loaders.entries.iter().filter(|entry| entry.loader == loader);
        assert_eq!(of.map(|entry| entry.default).collect::<Vec<_>>(), [true, false], "{loader}");
    }
    for path in loaders.entries.iter().flat_map(|entry| entry.kernel.iter().chain(&entry.initrd)) {
        assert!(medium.file(path).is_some(), "{path}");
    }
    let mut listed = Vec::new();
    medium.squashfs_names("/live/root.squashfs", &mut |name| listed.push(name.to_owned())).unwrap();
    for path in ["/usr/local/sbin/pre-nixos", "/etc/systemd/network/10-lan.link", "/usr/sbin/vgcreate", "/usr/bin/sudo"]
    {
        assert!(listed.iter().any(|file| file == path), "{path}");
    }
}

#[test]
fn each_broken_image_differs_from_the_good_one_in_its_own_way() {
    let entries = |variant| Medium::open(&iso::iso(variant)).unwrap().loaders().entries;
    let good = entries(Variant::Good);
    for variant in Variant::ALL {
        let broken = entries(variant);
        let added = |(good, broken): (&_, &_)| {
            let (good, broken): (&boot_media::medium::LoaderEntry, &boot_media::medium::LoaderEntry) = (good, broken);
            broken.args.split(' ').filter(|arg| !good.has_arg(arg)).map(str::to_owned).collect::<Vec<_>>()
        };
        let added: Vec<_> = good.iter().zip(&broken).map(added).collect();
        let wanted: &[&str] = match variant {
            Variant::Good | Variant::NoSerial | Variant::Truncated => &[],
            Variant::Noise => &["boma.noise", "printk.devkmsg=on"],
            Variant::FailingStorage => &["boma.break=storage"],
            Variant::NoDhcp => &["boma.break=dhcp"],
            Variant::SudoAsks => &["boma.break=sudo"],
            Variant::NeverEnds => &["boma.break=hang"],
        };
        assert_eq!(added, vec![wanted; 4], "{variant:?}");
        assert!(broken.iter().all(|entry| entry.has_arg(CONSOLE) == (variant != Variant::NoSerial)), "{variant:?}");
        let medium = Medium::open(&iso::iso(variant)).unwrap();
        assert_eq!(medium.damage().is_empty(), variant != Variant::Truncated, "{:?}", medium.damage());
    }
}

#[test]
fn of_two_images_both_are_named() {
    let error = find_one(&iso::two()).unwrap_err().to_string();
    assert!(error.starts_with("2 files match ") && error.contains("/a.iso, "), "{error}");
}
