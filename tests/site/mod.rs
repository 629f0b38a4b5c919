//! A folder with files, and images that others' programs make of it.

#![allow(dead_code)] // each test binary uses a part of it
#![allow(clippy::expect_used, reason = "a test that cannot go on says so best by failing")]

use boot_media::medium::Medium;
use camino::Utf8PathBuf;
use std::process::Command;

/// Run a tool that the machine must have; its words are the reason when it is absent or fails.
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C.UTF-8").output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}; `.ci/install` installs it"));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{program} {args:?} ended with {}: {said}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// A folder with files to make an image of.
pub(crate) struct Site {
    _dir: tempfile::TempDir,
    pub(crate) path: Utf8PathBuf,
}

impl Site {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        std::fs::create_dir(path.join("tree")).unwrap();
        let site = Self { _dir: dir, path };
        files.iter().for_each(|(name, bytes)| site.put(name, bytes));
        site
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.tree().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    pub(crate) fn tree(&self) -> Utf8PathBuf {
        self.path.join("tree")
    }

    pub(crate) fn image(&self) -> Utf8PathBuf {
        self.path.join("test.iso")
    }

    /// Make an image of the tree with this program and these options.
    pub(crate) fn make(&self, program: &str, options: &[&str]) -> Medium {
        let (image, tree) = (self.image(), self.tree());
        let place = ["-o", image.as_str(), tree.as_str()];
        tool(program, &[options, &place].concat());
        Medium::open(&image).unwrap()
    }

    pub(crate) fn xorriso(&self, options: &[&str]) -> Medium {
        self.make("xorriso", &[&["-as", "mkisofs", "-quiet"], options].concat())
    }

    /// An image with isolinux for BIOS (on a stick, too) and, if there is one, this FAT image for UEFI, appended behind it.
    pub(crate) fn bootable(&self, label: &str, isolinux: Option<&str>, efi: Option<&Utf8PathBuf>) -> Utf8PathBuf {
        let mut options: Vec<String> = ["-R", "-J", "-V", label].map(str::to_owned).to_vec();
        if let Some(folder) = isolinux {
            let bin = std::fs::read("/usr/lib/ISOLINUX/isolinux.bin").expect("`.ci/install` installs isolinux");
            self.put(&format!("{folder}/isolinux.bin"), &bin);
            options.extend(["-b".into(), format!("{folder}/isolinux.bin"), "-c".into(), format!("{folder}/boot.cat")]);
            let bios = [
                "-no-emul-boot",
                "-boot-load-size",
                "4",
                "-boot-info-table",
                "-isohybrid-mbr",
                "/usr/lib/ISOLINUX/isohdpfx.bin",
            ];
            options.extend(bios.map(str::to_owned));
        }
        if let Some(efi) = efi {
            let append = ["-append_partition", "2", "0xef", efi.as_str(), "-eltorito-alt-boot"];
            options.extend(append.map(str::to_owned));
            options.extend(["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"].map(str::to_owned));
        }
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.xorriso(&options).path().to_owned()
    }

    /// A FAT image with these files.
    pub(crate) fn fat(&self, files: &[(&str, &[u8])]) -> Utf8PathBuf {
        let fat = self.path.join("fat.img");
        let kib = files.iter().map(|(_, bytes)| bytes.len() / 1024 + 8).sum::<usize>() + 1440;
        tool("mformat", &["-C", "-i", fat.as_str(), "-h", "16", "-s", "32", "-T", &(kib * 2).to_string(), "::"]);
        for (name, bytes) in files {
            let file = self.path.join("one");
            std::fs::write(&file, bytes).unwrap();
            let mut folder = String::from("::");
            for part in name.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev() {
                folder = format!("{folder}/{part}");
                // It may be there already.
                let _ = Command::new("mmd").args(["-D", "s", "-i", fat.as_str(), &folder]).output();
            }
            tool("mcopy", &["-o", "-i", fat.as_str(), file.as_str(), &format!("::/{name}")]);
        }
        fat
    }
}

/// GRUB as an EFI program, made as the distributions make theirs: with this prefix and this script inside.
pub(crate) fn grub_efi(prefix: &str, script: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (dir.path().join("embedded.cfg"), dir.path().join("grubx64.efi"));
    std::fs::write(&config, script).unwrap();
    let (config, out) = (config.to_str().unwrap().to_owned(), out.to_str().unwrap().to_owned());
    let modules = ["normal", "iso9660", "fat", "search", "configfile", "linux", "part_msdos"];
    let args = ["-O", "x86_64-efi", "-p", prefix, "-c", &config, "-o", &out];
    tool("grub-mkimage", &[&args[..], &modules].concat());
    std::fs::read(out).unwrap()
}

/// systemd-boot as Debian has it.
pub(crate) fn systemd_boot() -> Vec<u8> {
    std::fs::read("/usr/lib/systemd/boot/efi/systemd-bootx64.efi").expect("`.ci/install` installs systemd-boot-efi")
}

/// A unified kernel image of systemd's stub.
pub(crate) fn uki(cmdline: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("uki.efi").to_str().unwrap().to_owned();
    let mut args = Vec::new();
    let parts = [
        (".osrel", "PRETTY_NAME=\"Test OS\"\nID=test\n", "0x20000"),
        (".cmdline", cmdline, "0x30000"),
        (".linux", "kernel", "0x2000000"),
        (".initrd", "ram", "0x3000000"),
    ];
    for (name, text, at) in parts {
        let file = dir.path().join(&name[1..]);
        std::fs::write(&file, text).unwrap();
        args.extend([
            "--add-section".to_owned(),
            format!("{name}={}", file.display()),
            "--change-section-vma".to_owned(),
            format!("{name}={at}"),
        ]);
    }
    args.extend(["/usr/lib/systemd/boot/efi/linuxx64.efi.stub".to_owned(), out.clone()]);
    tool("objcopy", &args.iter().map(String::as_str).collect::<Vec<_>>());
    std::fs::read(out).unwrap()
}
