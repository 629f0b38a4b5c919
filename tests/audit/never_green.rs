//! No condition is green without having looked: images that lack what is asked, each in a way that was once taken for good.

use crate::image_paths::{CONSOLE, fails, is_not_known, passes, serial, squashfs};
use crate::program::condition;
use crate::project::Project;
use crate::site::{Site, grub_efi, tool, uki};
use camino::Utf8PathBuf;
use serde_json::{Value, json};

fn keys() -> Value {
    json!({"files-absent": {"paths": ["/**/id_rsa"]}})
}

/// An image whose BIOS path has this isolinux.cfg.
fn isolinux(site: &Site, config: &str) -> Utf8PathBuf {
    site.put("isolinux/isolinux.cfg", config.as_bytes());
    site.bootable("A", Some("isolinux"), None)
}

#[test]
fn a_link_to_nothing_is_no_file_that_is_present() {
    let site = Site::new(&[("live/readme", b"x")]);
    std::os::unix::fs::symlink("gone", site.tree().join("live/vmlinuz")).unwrap();
    std::os::unix::fs::symlink("readme", site.tree().join("live/other")).unwrap();
    let image = site.bootable("A", None, None);
    fails(&image, json!({"files-present": {"paths": ["/live/vmlinuz"]}}), &["/live/vmlinuz"]);
    passes(&image, json!({"files-present": {"paths": ["/live/other", "/live"]}}));
}

#[test]
fn a_key_that_only_one_tree_of_names_has_is_found() {
    let site = Site::new(&[("a/id_rsa", b"secret"), ("b", b"x")]);
    for options in [&["-R", "-J", "-hide", "id_rsa"][..], &["-J", "-hide-joliet", "id_rsa"]] {
        let image = site.make("genisoimage", &[&["-quiet"], options].concat());
        fails(image.path(), keys(), &["the volume's other names:/", "must not be"]);
    }
    passes(Site::new(&[("b", b"x")]).make("genisoimage", &["-quiet", "-R", "-J"]).path(), keys());
}

#[test]
fn a_key_in_a_floppy_image_is_found_and_an_image_in_an_image_is_not_taken_for_empty() {
    let site = Site::new(&[]);
    let fat = std::fs::read(site.fat(&[("etc/id_rsa", b"secret")])).unwrap();
    site.put("boot/floppy.img", &fat);
    let image = site.bootable("A", None, None);
    fails(&image, keys(), &["/boot/floppy.img:/etc/id_rsa"]);
    passes(&image, json!({"file-in-image": {"path": "/boot/floppy.img:/etc/id_rsa", "contains": ["^secret$"]}}));
    let inner = Site::new(&[("id_rsa", b"secret")]);
    let bytes = std::fs::read(inner.xorriso(&["-R"]).path()).unwrap();
    let site = Site::new(&[("isos/other.iso", &bytes)]);
    is_not_known(&site.bootable("A", None, None), keys(), &["/isos/other.iso holds ISO 9660"]);
}

#[test]
fn a_squashfs_that_is_cut_off_is_neither_whole_nor_without_keys() {
    let packed = squashfs(&[("etc/id_rsa", b"secret"), ("big", &noise(400_000))]);
    let site = Site::new(&[("live/root.squashfs", &packed[..packed.len() / 2])]);
    let image = site.bootable("A", None, None);
    fails(&image, json!({"whole": {}}), &["/live/root.squashfs"]);
    is_not_known(&image, keys(), &["/live/root.squashfs"]);
    // Here it is the image that ends too early.
    let site = Site::new(&[("live/root.squashfs", &packed)]);
    let image = site.bootable("A", None, None);
    std::fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(200_000).unwrap();
    is_not_known(&image, keys(), &["/live/root.squashfs"]);
}

/// Bytes that nothing makes smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..count).map(next).collect()
}

#[test]
fn an_entry_of_the_boot_catalogue_that_leads_to_nothing_boots_nothing() {
    let efi = json!({"el-torito": {"expect": ["efi"]}});
    let site = Site::new(&[]);
    let zeros = site.path.join("zeros");
    std::fs::write(&zeros, vec![0; 1440 << 10]).unwrap();
    fails(&site.bootable("A", None, Some(&zeros)), efi.clone(), &["for EFI", "nothing in it"]);
    let without = site.fat(&[("EFI/BOOT/grub.cfg", b"set timeout=1\nmenuentry a { linux /k }"), ("k", b"k")]);
    let image = site.bootable("A", None, Some(&without));
    fails(&image, efi.clone(), &["no /EFI/BOOT/BOOT*.EFI"]);
    fails(&image, json!({"loader-files": {}}), &["/EFI/BOOT/BOOTX64.EFI"]);
    let whole = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", ""))]);
    passes(&site.bootable("A", None, Some(&whole)), efi);
}

#[test]
fn files_that_no_entry_loads_or_that_are_empty_are_not_there() {
    let site = Site::new(&[("k", b"k"), ("i", b"")]);
    let image = isolinux(&site, "default a\nlabel a\n localboot 0\n");
    fails(&image, json!({"loader-files": {}}), &["starts a Linux kernel"]);
    let image = isolinux(&site, "default a\nlabel a\n linux /k\n initrd /i\n");
    fails(&image, json!({"loader-files": {}}), &["/i (empty)"]);
    // A row that opens a menu boots nothing by itself.
    let image = isolinux(&site, "default a\nlabel a\n config other.cfg\n");
    fails(&image, json!({"boots-by-itself": {}}), &["other.cfg is not in the image"]);
}

#[test]
fn a_checksum_that_is_published_beside_the_image_is_read_however_it_is_written() {
    let site = Site::new(&[("a", b"a")]);
    let image = site.bootable("A", None, None);
    let put = |name: &str, text: &str| std::fs::write(image.with_file_name(name), text).unwrap();
    let (sum, other) = (json!({"checksum": {}}), "b".repeat(64));
    passes(&image, sum.clone());
    for line in
        [format!("{other}  ./test.iso\n"), format!("SHA256 (test.iso) = {other}\n"), format!("{other} *x/test.iso")]
    {
        put("SHA256SUMS", &line);
        fails(&image, sum.clone(), &["by SHA256SUMS it is bbbb"]);
    }
    put("test.iso.sha256", "<html>not found</html>");
    is_not_known(&image, sum.clone(), &["test.iso.sha256 has no SHA-256"]);
    put("test.iso.sha256", &format!("{other}\n"));
    fails(&image, sum, &["by test.iso.sha256 it is bbbb"]);
}

#[test]
fn a_squashfs_that_is_named_must_be_there() {
    let site = Site::new(&[("a", b"a")]);
    let image = site.bootable("A", None, None);
    let named = json!({"squashfs-lists": {"path": "/live/root.squashfs", "files": ["/etc/os-release"]}});
    fails(&image, named, &["/live/root.squashfs is not in the image"]);
}

#[test]
fn what_a_file_must_not_say_is_found_over_several_lines_and_what_means_nothing_is_refused() {
    let site = Site::new(&[("etc/x", b"one\ntwo\n")]);
    let image = site.bootable("A", None, None);
    let lacks = |pattern: &str| json!({"file-in-image": {"path": "/etc/x", "lacks": [pattern]}});
    fails(&image, lacks("one\\ntwo"), &["matches /one"]);
    let world = Project::new();
    for pattern in ["", ".*", "(a|b)?", "x*"] {
        let probe = json!({"file-in-image": {"path": "/etc/x", "contains": [pattern]}});
        world.own(json!([condition("a", "image", probe, &[])]), json!({}));
        world.refused(&["audit", "own"], 2, &["matches every text"]);
    }
}

#[test]
fn a_unified_kernel_image_is_an_image_by_itself() {
    let site = Site::new(&[]);
    let put = |name: &str, bytes: &[u8]| {
        let path = site.path.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = put("linux.efi", &uki(CONSOLE));
    for probe in [
        serial("default"),
        json!({"whole": {}}),
        json!({"loader-files": {}}),
        json!({"boots-by-itself": {"title": "^Test OS$"}}),
    ] {
        passes(&good, probe);
    }
    fails(&put("quiet.efi", &uki("quiet")), serial("all"), &["(\"Test OS\") lacks"]);
    is_not_known(&good, keys(), &["initial RAM disk in it is not unpacked"]);
    fails(&good, json!({"el-torito": {"expect": ["efi"]}}), &["no boot catalogue"]);
    let all = uki(CONSOLE);
    fails(&put("cut.efi", &all[..all.len() * 3 / 4]), json!({"whole": {}}), &["section ."]);
    is_not_known(&put("grub.efi", &grub_efi("/EFI", "")), json!({"whole": {}}), &["an EFI program without a kernel"]);
}

/// A disk with an EFI partition and one of ext4 that has these files.
fn disk(files: &[(&str, &[u8])]) -> (Site, Utf8PathBuf) {
    let root = Site::new(files);
    let site = Site::new(&[]);
    let [image, ext4, table] = ["disk.raw", "root.img", "table"].map(|name| site.path.join(name));
    let sized = |path: &Utf8PathBuf, mib: u64| std::fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
    sized(&ext4, 8);
    tool("mke2fs", &["-q", "-t", "ext4", "-d", root.tree().as_str(), ext4.as_str()]);
    let fat = site.fat(&[
        ("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", "")),
        ("EFI/BOOT/grub.cfg", b"set timeout=1\nmenuentry a { linux /k }"),
        ("k", b"k"),
    ]);
    sized(&image, 24);
    std::fs::write(&table, "label: gpt\nstart=2048, size=16384, type=U\nstart=20480, size=16384, type=L\n").unwrap();
    tool("sh", &["-c", "sfdisk -q \"$1\" < \"$2\"", "sh", image.as_str(), table.as_str()]);
    for (part, at) in [(&fat, "1"), (&ext4, "10")] {
        let (from, to, seek) = (format!("if={part}"), format!("of={image}"), format!("seek={at}"));
        tool("dd", &[&from, &to, "bs=1M", &seek, "conv=notrunc", "status=none"]);
    }
    (site, image)
}

#[test]
fn an_fstab_that_names_devices_only_is_not_judged_and_a_folder_of_a_disk_is_found() {
    let (_site, image) = disk(&[("etc/fstab", b"/dev/sda2 / ext4 defaults 0 1\n"), ("root/.ssh/config", b"x")]);
    is_not_known(&image, json!({"fstab": {}}), &["named by its device"]);
    fails(&image, json!({"files-absent": {"paths": ["/root/.ssh"]}}), &["partition 2:/root/.ssh"]);
    let (_site, image) = disk(&[("etc/fstab", b"# nothing\n")]);
    is_not_known(&image, json!({"fstab": {}}), &["mounts nothing"]);
}

#[test]
fn a_partition_table_whose_checksum_is_wrong_is_damage() {
    use std::os::unix::fs::FileExt;
    let (_site, image) = disk(&[("etc/fstab", b"")]);
    passes(&image, json!({"whole": {}}));
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(b"x", 1024 + 56).unwrap();
    fails(&image, json!({"whole": {}}), &["the GPT's checksum"]);
}

#[test]
fn a_bios_path_whose_configuration_may_lie_in_what_is_not_read_is_not_known() {
    use std::os::unix::fs::FileExt;
    let (_site, image) = disk(&[("etc/fstab", b"")]);
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    // Boot code, and an XFS in the place of the ext4.
    file.write_all_at(&[0xeb; 100], 0).unwrap();
    file.write_all_at(&[0; 4096], 10 << 20).unwrap();
    file.write_all_at(b"XFSB", 10 << 20).unwrap();
    is_not_known(
        &image,
        json!({"loader-args": {"forbid": ["debug"], "entries": "default"}}),
        &["BIOS", "not all of the image"],
    );
    is_not_known(&image, json!({"boots-by-itself": {}}), &["not all of the image"]);
}
