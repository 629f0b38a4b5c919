//! Boot media made by programs that others wrote (xorriso, genisoimage, grub-mkrescue, mksquashfs, mtools), and one that
//! nobody here made: read by us, and told as those programs tell them.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking

#[path = "site/mod.rs"]
mod site;

use boot_media::medium::{
    Boots, Carrier, Chosen, Damage, Firmware, Holds, Kind, Loader, Media, Medium, MediumError, Names, Platform, Table,
    Wait,
};
use camino::Utf8Path;
use site::{Site, grub_efi, systemd_boot, tool, uki};
use std::collections::BTreeSet;
use std::io::Read;

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
    inner.put("large", &LARGE.repeat(40_000));
    std::fs::File::create(inner.tree().join("hole")).unwrap().set_len(600_000).unwrap();
    let packings = ["gzip", "xz", "zstd", "lz4"];
    for packing in packings.iter().chain(&["lzo"]) {
        let file = outer.tree().join(packing);
        tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-comp", packing, "-quiet", "-no-progress"]);
    }
    let medium = outer.xorriso(&["-R"]);
    for packing in packings {
        let listed = tool("unsquashfs", &["-lln", "-d", "", outer.tree().join(packing).as_str()]);
        let wanted: BTreeSet<_> = listed.lines().filter_map(listed_path).collect();
        let mut found = BTreeSet::new();
        let squashfs =
            medium.squashfs_names(&format!("/{packing}"), &mut |name| found.extend([name.to_owned()])).unwrap();
        assert_eq!(squashfs.compression.to_string(), packing);
        assert!(wanted.len() > 740, "{listed}");
        assert_eq!(found, wanted, "{packing}");
        for name in names.iter().step_by(50) {
            assert_eq!(medium.read(&format!("/{packing}:/{name}"), 1 << 20).unwrap(), name.as_bytes(), "{packing}");
            assert_eq!(medium.read(&format!("/{packing}:/link/../{name}"), 1 << 20).unwrap().len(), name.len());
        }
        let large = medium.read(&format!("/{packing}:/large"), 1 << 20).unwrap();
        assert!(large == LARGE.repeat(40_000), "{packing}");
        assert_eq!(medium.read(&format!("/{packing}:/hole"), 1 << 20).unwrap(), vec![0; 600_000], "{packing}");
        let error = medium.read(&format!("/{packing}:/usr/none"), 10).unwrap_err().to_string();
        assert!(error.contains("there is no /usr/none in it"), "{error}");
    }
    let within: Vec<_> = medium.within().unwrap().into_iter().map(|one| (one.name, one.holds)).collect();
    assert_eq!(within, ["/gzip", "/lz4", "/lzo", "/xz", "/zstd"].map(|name| (name.to_owned(), Holds::Squashfs)));
    let error = medium.squashfs_names("/lzo", &mut |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("it is packed with lzo; gzip, xz, zstd, lz4 and lzma can be read"), "{error}");
}

/// Several blocks of it compress well, and are not all the same.
const LARGE: &[u8] = b"0123456789abcdef";

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
    let error = medium.squashfs_names("/short", &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains(&format!("/short in {}", medium.path())) && error.contains("it is cut off"), "{error}");
    let error = medium.squashfs_names("/other", &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("does not begin with the superblock"), "{error}");
}

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
fn a_small_fat32_is_one_by_its_parameters() {
    let site = Site::new(&[("a", b"")]);
    let fat = site.tree().join("efi.img");
    tool("mkfs.fat", &["-C", "-F", "32", "-s", "1", fat.as_str(), "4096"]);
    // mtools goes by the number of clusters and does not open it: the file is written here, as cluster 3, the root's being 2.
    let mut bytes = std::fs::read(&fat).unwrap();
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (table, root) = (number(14) * 512, (number(14) + 2 * number(36)) * 512);
    bytes[table + 12..table + 16].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    bytes[root..root + 11].copy_from_slice(b"KEY        ");
    (bytes[root + 26], bytes[root + 28]) = (3, 5);
    bytes[root + 512..root + 517].copy_from_slice(b"hello");
    std::fs::write(&fat, bytes).unwrap();
    let medium = site.xorriso(&["-R", "-e", "efi.img", "-no-emul-boot"]);
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/efi.img:/key", 10).unwrap(), b"hello");
}

/// The place of a file's own record in the root folder: the one whose name is this.
fn record(image: &[u8], name: &[u8]) -> usize {
    let at = image.windows(name.len() + 1).position(|window| window[0] == name.len() as u8 && &window[1..] == name);
    at.unwrap() - 32
}

fn changed(site: &Site, change: impl Fn(&mut Vec<u8>)) -> Vec<String> {
    let mut bytes = std::fs::read(site.image()).unwrap();
    change(&mut bytes);
    let medium = Medium::of_memory("changed.iso", bytes).unwrap();
    medium.damage().iter().map(ToString::to_string).collect()
}

#[test]
fn an_image_whose_numbers_contradict_or_whose_parts_are_missing_is_not_whole() {
    let site = Site::new(&[("alone.bin", &[1; 5000]), ("other.bin", &[2; 100])]);
    let whole = site.make("genisoimage", &["-quiet"]);
    assert_eq!(whole.damage(), []);
    let goes_on = changed(&site, |bytes| {
        let at = record(bytes, b"ALONE.BIN;1");
        bytes[at + 25] |= 0x80;
    });
    assert!(goes_on[0].contains("/ALONE.BIN") && goes_on[0].contains("a part of it is missing"), "{goes_on:?}");
    for (offset, word) in [(6, "block"), (14, "length")] {
        let contradicts = changed(&site, |bytes| {
            let at = record(bytes, b"OTHER.BIN;1");
            bytes[at + offset + 3] ^= 1;
        });
        assert!(contradicts[0].contains(&format!("its {word} is")), "{contradicts:?}");
    }
    for (offset, word) in [(84, "size"), (162, "root folder's block")] {
        let contradicts = changed(&site, |bytes| bytes[0x8000 + offset + 3] ^= 1);
        assert!(contradicts[0].contains(&format!("the volume's {word} is")), "{contradicts:?}");
    }
    let partition = changed(&site, |bytes| {
        bytes[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    });
    assert!(partition[0].starts_with("partition 1 (0x83): it reaches to byte 33554432"), "{partition:?}");
}

#[test]
fn a_file_in_several_extents_is_whole() {
    let site = Site::new(&[("a", b"")]);
    // What `mkisofs -iso-level 3` does with 4 GiB, by hand: two records of one name, one behind the other.
    let medium = site.make("genisoimage", &["-quiet"]);
    assert_eq!(medium.damage(), []);
    let tree = site.tree();
    std::fs::remove_file(tree.join("a")).unwrap();
    std::fs::write(tree.join("part1.bin"), [1; 2048]).unwrap();
    std::fs::write(tree.join("part2.bin"), [2; 100]).unwrap();
    site.make("genisoimage", &["-quiet"]);
    let mut bytes = std::fs::read(site.image()).unwrap();
    let (one, two) = (record(&bytes, b"PART1.BIN;1"), record(&bytes, b"PART2.BIN;1"));
    bytes[one + 25] |= 0x80;
    bytes[two + 33..two + 44].copy_from_slice(b"PART1.BIN;1");
    let medium = Medium::of_memory("two.iso", bytes).unwrap();
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/PART1.BIN", 4096).unwrap(), [vec![1; 2048], vec![2; 100]].concat());
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
