//! Images of other kinds than ISO, made by programs that others wrote (mke2fs, mtools, sfdisk, qemu-img) and audited through the
//! program.

use crate::program::{Run, condition};
use crate::project::Project;
use camino::Utf8PathBuf;
use serde_json::{Value, json};
use std::process::Command;

const ROOT: &str = "0b8e3a52-6a4e-4f0e-9d3f-2d0f3f6c1a01";
const OTHER: &str = "0b8e3a52-6a4e-4f0e-9d3f-2d0f3f6c1a02";
const MIB: u64 = 1 << 20;

/// Run a tool that the machine must have; its words are the reason when it is absent or fails.
fn tool(program: &str, args: &[&str]) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(program).args(args).env("PATH", path).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}; `.ci/install` installs it"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What is to be on a disk.
struct Disk {
    fstab: String,
    initrd: bool,
    label: &'static str,
    /// What `root=` of the loader's entry says, if not the disk's UUID.
    entry_root: Option<String>,
}

impl Default for Disk {
    fn default() -> Self {
        let fstab = format!(
            "# a comment\nUUID={ROOT} / ext4 defaults 0 1\nLABEL=EFI /boot/efi vfat umask=0077 0 1\ntmpfs /tmp tmpfs\n"
        );
        Self { fstab, initrd: true, label: "gpt", entry_root: None }
    }
}

/// A project with images.
struct Site(Project);

impl Site {
    fn new() -> Self {
        Self(Project::new())
    }

    fn path(&self, name: &str) -> String {
        self.0.dir.join(name).into_string()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = Utf8PathBuf::from(self.path(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.into_string()
    }

    /// A raw disk `disk.raw`: an EFI partition, and a root of ext4 with a kernel.
    fn disk(&self, disk: &Disk) -> String {
        self.put("root/etc/fstab", &disk.fstab);
        self.put("root/boot/vmlinuz-6", "a kernel");
        if disk.initrd {
            self.put("root/boot/initrd.img-6", "a RAM disk");
        }
        let root = disk.entry_root.clone().unwrap_or_else(|| format!("UUID={ROOT}"));
        let entry = format!(
            "set default=0\nmenuentry 'Debian' {{\n  search --no-floppy --fs-uuid --set=root {ROOT}\n  linux /boot/vmlinuz-6 root={root} ro console=ttyS0,115200\n  initrd /boot/initrd.img-6\n}}\n"
        );
        self.put("root/boot/grub/grub.cfg", entry);
        let [root, esp, raw] = ["root.img", "esp.img", "disk.raw"].map(|name| self.path(name));
        let file = |path: &str, size| std::fs::File::create(path).unwrap().set_len(size).unwrap();
        file(&root, 8 * MIB);
        tool("mke2fs", &["-q", "-t", "ext4", "-U", ROOT, "-L", "root", "-d", &self.path("root"), &root]);
        file(&esp, 2 * MIB);
        tool("mformat", &["-i", &esp, "-v", "EFI", "::"]);
        tool("mmd", &["-i", &esp, "::/EFI", "::/EFI/BOOT"]);
        let program = self.put("BOOTX64.EFI", "MZ");
        tool("mcopy", &["-i", &esp, &program, "::/EFI/BOOT/BOOTX64.EFI"]);
        file(&raw, 16 * MIB);
        let (efi, linux) = if disk.label == "gpt" { ("U", "L") } else { ("ef", "83") };
        let table =
            format!("label: {}\nstart=2048, size=4096, type={efi}\nstart=8192, size=16384, type={linux}\n", disk.label);
        let script = self.put("table", table);
        tool("sh", &["-c", "sfdisk -q \"$1\" < \"$2\"", "sh", &raw, &script]);
        for (part, at) in [(&esp, MIB), (&root, 4 * MIB)] {
            let (from, to) = (format!("if={part}"), format!("of={raw}"));
            tool("dd", &[&from, &to, "bs=1M", &format!("seek={}", at / MIB), "conv=notrunc", "status=none"]);
        }
        raw
    }

    /// The same in another format.
    fn converted(&self, raw: &str, name: &str, options: &[&str]) -> String {
        let to = self.path(name);
        let args: Vec<_> =
            ["convert", "-q", "-f", "raw"].into_iter().chain(options.iter().copied()).chain([raw, &to]).collect();
        tool("qemu-img", &args);
        to
    }

    /// What an audit of an image says of these probes.
    fn audit(&self, image: &str, probes: &[(&str, Value)]) -> Run {
        let conditions: Vec<_> = probes.iter().map(|(id, probe)| condition(id, "image", probe.clone(), &[])).collect();
        std::fs::write(
            self.0.dir.join("profiles/disk.json"),
            json!({"kind": "audit", "image": image, "conditions": conditions}).to_string(),
        )
        .unwrap();
        self.0.audited(&["audit", "disk"])
    }

    fn usual(&self, image: &str) -> Run {
        let probes =
            ["one-image", "whole", "fstab", "loader-files", "loader-labels"].map(|name| (name, json!({name: {}})));
        self.audit(image, &probes)
    }
}

#[test]
fn a_good_disk_is_green_in_each_of_its_formats() {
    let site = Site::new();
    let raw = site.disk(&Disk::default());
    let formats = [
        raw.clone(),
        site.converted(&raw, "plain.qcow2", &["-O", "qcow2"]),
        site.converted(&raw, "old.qcow2", &["-O", "qcow2", "-o", "compat=0.10"]),
        site.converted(&raw, "deflate.qcow2", &["-O", "qcow2", "-c"]),
        site.converted(&raw, "zstd.qcow2", &["-O", "qcow2", "-c", "-o", "compression_type=zstd"]),
    ];
    for image in formats {
        let run = site.usual(&image);
        assert_eq!(run.code, 0, "{image}: {}", run.told);
        assert_eq!(run.results(), ["passed"; 5], "{image}: {}", run.told);
        let paths =
            json!({"files-present": {"paths": ["/etc/fstab", "partition 2:/boot/vmlinuz-*", "/EFI/BOOT/BOOTX64.EFI"]}});
        let args = json!({"loader-args": {"expect": ["console=ttyS0,115200"], "entries": "all"}});
        let run = site.audit(&image, &[("files", paths), ("args", args)]);
        assert_eq!(run.results(), ["passed"; 2], "{image}: {}", run.told);
    }
}

#[test]
fn a_disk_with_an_mbr_is_read_as_one_with_a_gpt() {
    let site = Site::new();
    let run = site.usual(&site.disk(&Disk { label: "dos", ..Disk::default() }));
    assert_eq!(run.results(), ["passed"; 5], "{}", run.told);
}

#[test]
fn a_wrong_uuid_in_the_fstab_is_red_with_its_line_and_what_there_is() {
    let site = Site::new();
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\nUUID={OTHER} /srv ext4 defaults 0 2\n");
    let raw = site.disk(&Disk { fstab, ..Disk::default() });
    let run = site.usual(&site.converted(&raw, "a.qcow2", &["-O", "qcow2"]));
    assert_eq!((run.code, run.results()), (6, vec!["passed", "passed", "failed", "passed", "passed"]), "{}", run.told);
    let cause = run.cause(2);
    assert!(
        cause.starts_with(&format!("partition 2:/etc/fstab:2: UUID={OTHER} (/srv): no such file system")),
        "{cause}"
    );
    assert!(cause.contains(&format!("partition 2 (ext4, UUID={ROOT}, LABEL=root)")), "{cause}");
}

#[test]
fn an_fstab_whose_root_is_another_partition_or_another_file_system_is_red() {
    for (line, words) in [
        ("LABEL=EFI / vfat defaults", "(/): it is partition 1, and this fstab lies on partition 2"),
        ("LABEL=root / xfs defaults", "(/): partition 2 is ext4, and not xfs"),
    ] {
        let site = Site::new();
        let run = site.usual(&site.disk(&Disk { fstab: format!("{line}\n"), ..Disk::default() }));
        assert!(run.cause(2).contains(words), "{words:?}: {}", run.cause(2));
    }
}

#[test]
fn an_entry_whose_root_is_not_on_the_disk_is_red() {
    for (root, words) in [
        (format!("UUID={OTHER}"), "looks for the UUID"),
        ("PARTUUID=11111111-2222-3333-4444-555555555555".to_owned(), "looks for the PARTUUID"),
        ("PARTLABEL=gone".to_owned(), "looks for the PARTLABEL"),
    ] {
        let site = Site::new();
        let run = site.usual(&site.disk(&Disk { entry_root: Some(root), ..Disk::default() }));
        assert_eq!((run.code, run.results()[4]), (6, "failed"), "{}", run.told);
        assert!(run.cause(4).contains(words), "{words:?}: {}", run.cause(4));
    }
}

#[test]
fn what_the_boot_does_not_wait_for_may_be_absent() {
    let site = Site::new();
    let fstab = format!("LABEL=root / ext4 defaults\nUUID={OTHER} /media/usb auto noauto,user\n");
    let run = site.usual(&site.disk(&Disk { fstab, ..Disk::default() }));
    assert_eq!(run.results()[2], "passed", "{}", run.told);
}

#[test]
fn a_missing_ram_disk_is_red_with_the_entry_that_names_it() {
    let site = Site::new();
    let raw = site.disk(&Disk { initrd: false, ..Disk::default() });
    let run = site.usual(&site.converted(&raw, "a.qcow2", &["-O", "qcow2", "-c"]));
    assert_eq!((run.code, run.results()), (6, vec!["passed", "passed", "passed", "failed", "passed"]), "{}", run.told);
    let cause = run.cause(3);
    assert!(
        cause.contains("partition 2:/boot/grub/grub.cfg:") && cause.contains("(\"Debian\") loads /boot/initrd.img-6"),
        "{cause}"
    );
}

#[test]
fn an_image_on_top_of_another_is_refused_by_that_ones_name() {
    let site = Site::new();
    let base = site.disk(&Disk::default());
    let overlay = site.path("overlay.qcow2");
    tool("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "raw", &overlay]);
    let run = site.usual(&overlay);
    assert_eq!(run.code, 4, "{}", run.told);
    assert!(run.cause(1).contains("on top of another file") && run.cause(1).contains("disk.raw"), "{}", run.cause(1));
}

#[test]
fn what_lies_in_a_file_system_that_is_not_read_is_not_taken_for_absent() {
    let site = Site::new();
    let raw = site.disk(&Disk::default());
    // The superblock of an XFS in the place of the ext4.
    let file = std::fs::OpenOptions::new().write(true).open(&raw).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 4 * MIB).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"XFSB", 4 * MIB).unwrap();
    let absent = json!({"files-absent": {"paths": ["/**/id_rsa"]}});
    let run = site
        .audit(&raw, &[("fstab", json!({"fstab": {}})), ("boots", json!({"loader-files": {}})), ("secrets", absent)]);
    assert_eq!((run.code, run.results()), (4, vec!["failed"; 3]), "{}", run.told);
    for (n, words) in [(0, "partition 2 holds xfs"), (1, "cannot be told"), (2, "partition 2 holds xfs")] {
        let cause = run.cause(n);
        assert!(cause.starts_with("could not look: ") && cause.contains(words), "{cause}");
    }
}

#[test]
fn a_disk_that_is_cut_off_is_not_whole() {
    let site = Site::new();
    let raw = site.disk(&Disk::default());
    std::fs::OpenOptions::new().write(true).open(&raw).unwrap().set_len(8 * MIB).unwrap();
    let run = site.audit(&raw, &[("whole", json!({"whole": {}}))]);
    assert_eq!(run.code, 6, "{}", run.told);
    assert!(run.cause(0).contains("cut off: the volume has 16777216 bytes"), "{}", run.cause(0));
}

#[test]
fn what_is_no_image_is_told_by_what_it_is() {
    let site = Site::new();
    let raw = site.disk(&Disk::default());
    let stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
    for (image, code, words) in [
        (site.put("empty", ""), 6, "it is an empty file"),
        (site.put("a.gz", [0x1f, 0x8b, 8, 0]), 6, "it is a gzip file"),
        (site.put("a.html", "<!DOCTYPE html>"), 6, "it is an HTML page"),
        (site.converted(&raw, "a.vmdk", &stream), 4, "is a VMware disk (VMDK, streamOptimized)"),
        (site.converted(&raw, "b.vmdk", &["-O", "vmdk"]), 4, "is a VMware disk (VMDK)"),
        (site.converted(&raw, "a.vdi", &["-O", "vdi"]), 4, "is a VirtualBox disk (VDI)"),
        (site.converted(&raw, "a.vhdx", &["-O", "vhdx"]), 4, "is a Hyper-V disk (VHDX)"),
    ] {
        let run = site.audit(&image, &[("whole", json!({"whole": {}}))]);
        assert_eq!(run.code, code, "{image}: {}", run.told);
        assert!(run.cause(0).contains(words), "{words:?} is not in {}", run.cause(0));
    }
}

#[test]
fn an_ova_is_looked_into_as_far_as_its_disk_can_be_read() {
    let site = Site::new();
    let raw = site.disk(&Disk::default());
    site.converted(&raw, "a.vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"]);
    site.put("a.ovf", "<Envelope/>");
    let pack = |name: &str, members: &[&str]| {
        let ova = site.path(name);
        let args = ["--format=ustar", "-C", site.0.dir.as_str(), "-cf", &ova];
        tool("tar", &args.into_iter().chain(members.iter().copied()).collect::<Vec<_>>());
        ova
    };
    let vmware = pack("vmware.ova", &["a.ovf", "a.vmdk"]);
    let listed = json!({"files-present": {"paths": ["/a.ovf", "/*.vmdk"]}});
    let run = site.audit(&vmware, &[("members", listed), ("fstab", json!({"fstab": {}}))]);
    assert_eq!((run.code, run.results()), (4, vec!["passed", "failed"]), "{}", run.told);
    assert!(
        run.cause(1).contains("its disk, /a.vmdk: it is a VMware disk (VMDK, streamOptimized)"),
        "{}",
        run.cause(1)
    );
    let run = site.usual(&pack("raw.ova", &["a.ovf", "disk.raw"]));
    assert_eq!(run.results(), ["passed"; 5], "{}", run.told);
    site.put("a.mf", format!("SHA256(disk.raw)= {}\n", "0".repeat(64)));
    let run = site.usual(&pack("wrong.ova", &["a.ovf", "a.mf", "disk.raw"]));
    assert!(run.cause(1).contains("/disk.raw: its SHA-256 is"), "{}", run.told);
}

#[test]
fn what_comes_over_the_network_is_judged_by_its_files_and_arguments() {
    let site = Site::new();
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    site.put("pxe/vmlinuz", &kernel);
    site.put("pxe/initrd", b"070701");
    let audit = |pxe: Value| {
        let probes = [
            ("one", json!({"one-image": {}})),
            ("files", json!({"loader-files": {}})),
            ("args", json!({"loader-args": {"expect": ["console=ttyS0*"], "entries": "all"}})),
        ];
        let conditions: Vec<_> = probes.iter().map(|(id, probe)| condition(id, "image", probe.clone(), &[])).collect();
        let profile = json!({"kind": "audit", "pxe": pxe, "conditions": conditions});
        std::fs::write(site.0.dir.join("profiles/net.json"), profile.to_string()).unwrap();
        site.0.audited(&["audit", "net"])
    };
    let good = json!({"kernel": "pxe/vmlinuz", "initrd": ["pxe/initrd"], "args": "ip=dhcp console=ttyS0,115200"});
    let run = audit(good.clone());
    assert_eq!((run.code, run.results()), (0, vec!["passed"; 3]), "{}", run.told);
    let mut bad = good;
    bad["args"] = "quiet".into();
    site.put("pxe/initrd", "<!DOCTYPE html>");
    let run = audit(bad);
    assert_eq!((run.code, run.results()), (6, vec!["passed", "failed", "failed"]), "{}", run.told);
    assert!(run.cause(1).contains("pxe/initrd is not an initial RAM disk"), "{}", run.cause(1));
    assert_eq!(run.cause(2), "pxe.args lacks console=ttyS0*");
}

#[test]
fn a_profile_that_was_written_from_a_disk_is_linted_and_runs() {
    let site = Site::new();
    let image = site.converted(&site.disk(&Disk::default()), "my Disk_1.qcow2", &["-O", "qcow2"]);
    let made = site.0.audited(&["audit", "init", &image]);
    assert_eq!(made.code, 0, "{}", made.told);
    let text = std::fs::read_to_string(site.0.dir.join("profiles/my-disk-1.json")).unwrap();
    assert!(text.contains("partition 2: ext4") && text.contains("\"fstab\"") && text.contains("\"//\""), "{text}");
    let linted = site.0.audited(&["audit", "lint", "my-disk-1"]);
    assert_eq!(linted.code, 0, "{}", linted.told);
    let run = site.0.audited(&["audit", "my-disk-1"]);
    assert_eq!(run.code, 0, "{}", run.told);
    assert!(run.results().len() >= 6 && run.results().iter().all(|result| *result == "passed"), "{}", run.told);
    let again = site.0.audited(&["audit", "init", &image]);
    assert!(again.code == 2 && again.told.contains("is there already"), "{}", again.told);
}

#[test]
fn an_image_for_arm64_is_looked_at_and_not_booted() {
    let site = Site::new();
    let [esp, iso, tree] = ["tree/efi.img", "arm.iso", "tree"].map(|name| site.path(name));
    site.put("tree/efi.img", vec![0; 1440 << 10]);
    tool("mformat", &["-i", &esp, "-f", "1440", "::"]);
    tool("mmd", &["-i", &esp, "::/EFI", "::/EFI/BOOT"]);
    let program = site.put("BOOTAA64.EFI", "MZ");
    tool("mcopy", &["-i", &esp, &program, "::/EFI/BOOT/BOOTAA64.EFI"]);
    let boots = ["-as", "mkisofs", "-quiet", "-R", "-e", "efi.img", "-no-emul-boot", "-o", &iso, &tree];
    tool("xorriso", &boots);
    let profile = json!({
        "kind": "audit", "image": iso, "machine": {"firmware": "uefi"}, "guest": {"dialect": "debian", "user": "x"},
        "conditions": [
            condition("efi", "image", json!({"el-torito": {"expect": ["efi"]}}), &[]),
            condition("login", "runtime", json!({"login": {}}), &[]),
        ],
    });
    std::fs::write(site.0.dir.join("profiles/arm.json"), profile.to_string()).unwrap();
    let run = site.0.audited(&["audit", "arm"]);
    assert_eq!((run.code, run.results()), (4, vec!["passed", "failed"]), "{}", run.told);
    assert!(run.cause(1).contains("an arm64 image") && run.cause(1).contains("only its structure"), "{}", run.cause(1));
}
