//! Boot media made by programs that others wrote (xorriso, genisoimage, grub-mkrescue, mksquashfs, mtools), and one that
//! nobody here made: read by us, and told as those programs tell them.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

use boot_media::medium::{Damage, Kind, Loader, Media, Medium, MediumError, Names, Platform, Table};
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::Command;

/// Run a tool that the machine must have; its words are the reason when it is absent or fails.
fn tool(program: &str, args: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C.UTF-8").output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}; `.ci/install` installs it"));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{program} {args:?} ended with {}: {said}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// A folder with files to make an image of.
struct Site {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Site {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        std::fs::create_dir(path.join("tree")).unwrap();
        let site = Self { _dir: dir, path };
        files.iter().for_each(|(name, bytes)| site.put(name, bytes));
        site
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.tree().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    fn tree(&self) -> Utf8PathBuf {
        self.path.join("tree")
    }

    fn image(&self) -> Utf8PathBuf {
        self.path.join("test.iso")
    }

    /// Make an image of the tree with this program and these options.
    fn make(&self, program: &str, options: &[&str]) -> Medium {
        let (image, tree) = (self.image(), self.tree());
        let place = ["-o", image.as_str(), tree.as_str()];
        tool(program, &[options, &place].concat());
        Medium::open(&image).unwrap()
    }

    fn xorriso(&self, options: &[&str]) -> Medium {
        self.make("xorriso", &[&["-as", "mkisofs", "-quiet"], options].concat())
    }
}

/// What isoinfo lists of an image.
fn isoinfo(image: &Utf8Path, tree: &str) -> BTreeSet<String> {
    tool("isoinfo", &[tree, "-f", "-i", image.as_str()]).lines().map(str::to_owned).collect()
}

fn paths(medium: &Medium) -> BTreeSet<String> {
    medium.files().map(|file| file.path.clone()).collect()
}

const FILES: [(&str, &[u8]); 4] = [
    ("readme.txt", b"hello"),
    ("live/A Long Name.squashfs", &[7; 5000]),
    ("d/e/f/g", b""),
    ("d/UPPER-lower_x.y.z", b"1"),
];

#[test]
fn rock_ridge_files_and_links_are_those_that_isoinfo_lists() {
    let site = Site::new(&FILES);
    std::os::unix::fs::symlink("../readme.txt", site.tree().join("live/link")).unwrap();
    std::os::unix::fs::symlink("/gone", site.tree().join("dead")).unwrap();
    let medium = site.xorriso(&["-R", "-J", "-V", "BOMA TEST"]);
    assert_eq!((medium.volume_id(), medium.names()), ("BOMA TEST", Names::RockRidge));
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-R"));
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/live/A Long Name.squashfs", 5000).unwrap(), [7; 5000]);
    assert_eq!(medium.read("/live/link", 10).unwrap(), b"hello", "through the link");
    let error = medium.read("/dead", 10).unwrap_err().to_string();
    assert!(error.contains("has no file /dead"), "{error}");
    let link = medium.files().find(|file| file.path == "/live/link").unwrap();
    assert_eq!(link.kind, Kind::Link("../readme.txt".into()));
    let mut streamed = Vec::new();
    medium.stream("/readme.txt").unwrap().read_to_end(&mut streamed).unwrap();
    assert_eq!(streamed, b"hello");
}

#[test]
fn without_rock_ridge_the_names_are_joliets_or_plain() {
    let site = Site::new(&FILES);
    let medium = site.make("genisoimage", &["-quiet", "-J"]);
    assert_eq!(medium.names(), Names::Joliet);
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-J"));
    assert_eq!(medium.read("/live/A Long Name.squashfs", 5000).unwrap().len(), 5000);
    let medium = site.make("genisoimage", &["-quiet"]);
    assert_eq!(medium.names(), Names::Plain);
    assert!(medium.files().any(|file| file.path == "/README.TXT"), "{:?}", paths(&medium));
    assert_eq!(medium.read("/readme.txt", 10).unwrap(), b"hello", "in any case");
}

#[test]
fn a_folder_that_lies_too_deep_for_iso_9660_is_found_in_its_place() {
    let site = Site::new(&[("1/2/3/4/5/6/7/8/9/10/deep.txt", b"down here")]);
    let medium = site.make("genisoimage", &["-quiet", "-R"]);
    assert_eq!(medium.read("/1/2/3/4/5/6/7/8/9/10/deep.txt", 10).unwrap(), b"down here");
    assert_eq!(medium.damage(), []);
}

#[test]
fn many_files_with_long_names_are_all_listed() {
    let names: Vec<_> = (0..600).map(|n| format!("f{}/{n:04}{}", n % 7, "x".repeat(n % 230))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let site = Site::new(&files);
    let medium = site.xorriso(&["-R"]);
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-R"));
    for (name, bytes) in files {
        assert_eq!(medium.read(&format!("/{name}"), 1000).unwrap(), bytes);
    }
}

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
    let wanted = ["/EFI/a long folder name/Some Other File.conf", "/EFI/BOOT/grub.cfg"].map(in_efi);
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

#[test]
fn an_image_that_is_cut_off_names_the_files_that_are_not_whole() {
    let site = Site::new(&[("a-small", &[1; 100]), ("z-large", &[2; 900_000])]);
    let whole = site.xorriso(&["-R"]);
    std::fs::OpenOptions::new().write(true).open(site.image()).unwrap().set_len(whole.size() / 2).unwrap();
    let medium = Medium::open(&site.image()).unwrap();
    assert!(matches!(medium.damage()[0], Damage::Short { says, has } if says == whole.size() && has == says / 2));
    let files: Vec<_> = medium.damage()[1..].iter().map(ToString::to_string).collect();
    assert!(files.len() == 1 && files[0].starts_with("/z-large is cut off"), "{files:?}");
    assert_eq!(medium.read("/a-small", 100).unwrap(), [1; 100]);
    assert!(matches!(medium.read("/z-large", 1 << 20), Err(MediumError::CutOff { .. })));
}

#[test]
fn a_squashfs_is_listed_as_its_own_tool_lists_it() {
    let names: Vec<_> = (0..700).map(|n| format!("usr/share/{}/{n}-{}", n % 40, "name".repeat(n % 30))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let inner = Site::new(&files);
    std::fs::create_dir(inner.tree().join("empty")).unwrap();
    std::os::unix::fs::symlink("usr", inner.tree().join("link")).unwrap();
    let outer = Site::new(&[]);
    let packings = ["gzip", "xz", "zstd", "lz4"];
    for packing in packings {
        let file = outer.tree().join(packing);
        tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-comp", packing, "-quiet", "-no-progress"]);
    }
    let medium = outer.xorriso(&["-R"]);
    for packing in &packings[..3] {
        let listed = tool("unsquashfs", &["-lln", "-d", "", outer.tree().join(packing).as_str()]);
        let wanted: BTreeSet<_> = listed.lines().filter_map(listed_path).collect();
        let found = medium.squashfs(&format!("/{packing}")).unwrap();
        assert_eq!(found.compression.to_string(), *packing);
        assert!(wanted.len() > 740, "{listed}");
        assert_eq!(found.files.into_iter().collect::<BTreeSet<_>>(), wanted, "{packing}");
    }
    let error = medium.squashfs("/lz4").unwrap_err().to_string();
    assert!(error.ends_with("it is packed with lz4; gzip, xz and zstd can be read"), "{error}");
}

/// A line of `unsquashfs -lln`: mode, owner, size, date, time, path, and where a link leads.
fn listed_path(line: &str) -> Option<String> {
    let path = &line[line.find(" /").map(|at| at + 1).or_else(|| line.find(" squashfs-root").map(|at| at + 1))?..];
    let path = path.split(" -> ").next()?;
    (path != "/" && !path.is_empty()).then(|| if line.starts_with('d') { format!("{path}/") } else { path.to_owned() })
}

#[test]
fn a_squashfs_that_is_cut_off_or_none_is_an_error() {
    let inner = Site::new(&FILES);
    let outer = Site::new(&[(
        "other",
        b"not a squashfs, but as long as its superblock at least: ninety-six bytes and a few more on top",
    )]);
    let file = outer.tree().join("short");
    tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-quiet", "-no-progress", "-nopad"]);
    let length = file.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 10).unwrap();
    let medium = outer.xorriso(&["-R"]);
    let error = medium.squashfs("/short").unwrap_err().to_string();
    assert!(error.contains(&format!("/short in {}", medium.path())) && error.contains("it is cut off"), "{error}");
    let error = medium.squashfs("/other").unwrap_err().to_string();
    assert!(error.contains("does not begin with the superblock"), "{error}");
}
