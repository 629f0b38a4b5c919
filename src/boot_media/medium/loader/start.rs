//! What firmware starts, which loader that is, and where the loader looks for its configuration.

use super::inside::{self, Embedded, HEADERS, Section};
use super::reading::{Place, Reading, Sees, Shelf};
use super::{
    BootPath, Boots, Carrier, Chosen, Firmware, Loader, LoaderEntry, Verdict, Wait, bls, folder, grub, syslinux,
};

/// Bytes of a boot image that its loader is known by.
const LOOKED_AT: usize = 4 << 20;
/// The largest part of a loader that is read: its modules with a memory disk, or a command line.
const LARGEST_PART: u64 = 64 << 20;

/// One thing that firmware can start.
#[derive(Clone, Debug)]
pub(in crate::medium) struct Start {
    pub(in crate::medium) firmware: Option<Firmware>,
    pub(in crate::medium) carrier: Option<Carrier>,
    /// How the reader knows it.
    pub(in crate::medium) name: String,
    pub(in crate::medium) what: What,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::medium) enum What {
    /// A BIOS boot image, with its first bytes.
    Image(Vec<u8>),
    /// The EFI programs of a file system.
    Efi(usize),
    /// It cannot be read, and why.
    Unreadable(String),
    /// The image does not say which loader it is: whatever finds a configuration on one of these file systems.
    Files(Vec<usize>),
}

/// The folders and names in which ISOLINUX looks for its configuration: core/fs/iso9660/iso9660.c.
const ISOLINUX: [&str; 5] = ["/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", ""];
const ISOLINUX_NAMES: [&str; 2] = ["isolinux.cfg", "syslinux.cfg"];
/// The same of SYSLINUX and EXTLINUX on a disk: the Syslinux wiki's Config page.
const EXTLINUX: [&str; 5] = ["/boot/extlinux", "/boot/syslinux", "/extlinux", "/syslinux", ""];
const EXTLINUX_NAMES: [&str; 2] = ["extlinux.conf", "syslinux.cfg"];
/// The programs that UEFI starts from a medium: UEFI specification 2.10, table 3-6. Those of this machine's kind come first.
const EFI: [&str; 5] = ["BOOTX64.EFI", "BOOTIA32.EFI", "BOOTAA64.EFI", "BOOTRISCV64.EFI", "BOOTARM.EFI"];
/// Where the distributions' GRUB is told to look (`grub-mkimage --prefix`), where it does not say so itself: a BIOS image is
/// compressed.
const PREFIXES: [&str; 4] = ["/boot/grub", "/boot/grub2", "/grub", "/EFI/BOOT"];
const EFI_PREFIXES: [&str; 8] = [
    "/EFI/BOOT",
    "/EFI/debian",
    "/EFI/ubuntu",
    "/EFI/fedora",
    "/boot/grub/x86_64-efi",
    "/boot/grub",
    "/boot/grub2",
    "/grub",
];

/// Follow a start to its menu; where several loaders may be meant, each of them.
pub(super) fn follow(shelf: &dyn Shelf, start: &Start) -> Vec<BootPath> {
    match &start.what {
        What::Image(head) => vec![bios(shelf, start, head)],
        What::Efi(volume) => vec![efi(shelf, start, *volume)],
        What::Unreadable(why) => {
            vec![Walk::new(shelf, start).lost(None, format!("{} cannot be read: {why}", start.name))]
        }
        What::Files(volumes) => files(shelf, start, volumes),
    }
}

/// One boot path while it is followed.
struct Walk<'a> {
    reading: Reading<'a>,
    start: &'a Start,
    starts: String,
}

impl<'a> Walk<'a> {
    fn new(shelf: &'a dyn Shelf, start: &'a Start) -> Self {
        Self { reading: Reading::new(shelf), start, starts: start.name.clone() }
    }

    fn find(&self, volume: usize, path: &str, sees: Sees) -> Option<Place> {
        self.reading.find(&Place { volume, path: path.to_owned() }, sees)
    }

    fn end(mut self, loader: Option<Loader>, mut verdict: Verdict) -> BootPath {
        if self.reading.ran_out() {
            let entries = match verdict.chosen {
                Chosen::Entries(entries) | Chosen::NotKnown { entries, .. } => entries,
                Chosen::NotFound(_) => Vec::new(),
            };
            verdict.chosen =
                Chosen::NotKnown { why: "the configurations say more than is read of them".into(), entries };
        }
        BootPath {
            firmware: self.start.firmware,
            carrier: self.start.carrier,
            starts: self.starts,
            loader,
            configs: std::mem::take(&mut self.reading.configs),
            entries: verdict.entries,
            chosen: verdict.chosen,
            wait: verdict.wait,
            serial: self.reading.serial,
            problems: self.reading.problems,
            searches: self.reading.searches,
        }
    }

    fn lost(self, loader: Option<Loader>, why: String) -> BootPath {
        self.end(loader, Verdict { chosen: Chosen::NotFound(why), ..Verdict::default() })
    }

    fn not_known(self, loader: Option<Loader>, why: String) -> BootPath {
        let chosen = Chosen::NotKnown { why, entries: Vec::new() };
        self.end(loader, Verdict { chosen, ..Verdict::default() })
    }

    fn syslinux(mut self, config: Option<Place>) -> BootPath {
        let Some(place) = config else {
            return self.lost(Some(Loader::Syslinux), "ISOLINUX finds no isolinux.cfg in any of its folders".into());
        };
        let verdict = syslinux::read(&mut self.reading, &place);
        self.end(Some(Loader::Syslinux), verdict)
    }

    fn grub(mut self, begin: grub::Begin) -> BootPath {
        let verdict = grub::read(&mut self.reading, &begin);
        self.end(Some(Loader::Grub), verdict)
    }

    fn systemd_boot(mut self, volume: usize) -> BootPath {
        // Entries may lie on a boot partition of their own.
        let mut volumes = std::iter::once(volume).chain(self.reading.shelf.systems());
        let volume = volumes.find(|&volume| bls::has_entries(&self.reading, volume)).unwrap_or(volume);
        let verdict = bls::read(&mut self.reading, volume);
        self.end(Some(Loader::SystemdBoot), verdict)
    }
}

fn isolinux_config(reading: &Reading<'_>) -> Option<Place> {
    let paths = ISOLINUX.iter().flat_map(|folder| ISOLINUX_NAMES.iter().map(move |name| format!("{folder}/{name}")));
    paths.into_iter().find_map(|path| reading.find(&Place { volume: 0, path }, Sees::Isolinux))
}

fn extlinux_config(reading: &Reading<'_>, volume: usize) -> Option<Place> {
    let paths = EXTLINUX.iter().flat_map(|folder| EXTLINUX_NAMES.iter().map(move |name| format!("{folder}/{name}")));
    paths.into_iter().find_map(|path| reading.find(&Place { volume, path }, Sees::Isolinux))
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn bios(shelf: &dyn Shelf, start: &Start, head: &[u8]) -> BootPath {
    let walk = Walk::new(shelf, start);
    let name = start.name.to_ascii_lowercase();
    if name.ends_with("isolinux.bin") || contains(head, "ISOLINUX") {
        let config = isolinux_config(&walk.reading);
        return walk.syslinux(config);
    }
    let begin = bios_grub(&name);
    let is_grub = name.contains("grub") || name.contains("eltorito") || contains(head, "GRUB");
    let has_grub =
        begin.prefixes.iter().any(|prefix| walk.find(0, &format!("{prefix}/grub.cfg"), Sees::Grub).is_some());
    if is_grub {
        return walk.grub(begin);
    }
    let config = isolinux_config(&walk.reading);
    match (config.is_some(), has_grub) {
        (true, false) => walk.syslinux(config),
        (false, true) => walk.grub(begin),
        _ => walk.not_known(None, format!("which boot loader {} is cannot be told", start.name)),
    }
}

/// GRUB in a BIOS boot image: its folder says where it looks, as `/boot/grub/i386-pc/eltorito.img` does.
fn bios_grub(name: &str) -> grub::Begin {
    let own = folder(name).strip_suffix("/i386-pc").map(str::to_owned);
    let prefixes = own.into_iter().chain(PREFIXES.map(str::to_owned)).collect();
    grub::Begin { firmware: Some(Firmware::Bios), roots: vec![0], embedded: None, prefixes, cmdpath: None }
}

/// An image that firmware would not boot, or a disk whose boot code is not known: whichever loaders find a configuration in it.
fn files(shelf: &dyn Shelf, start: &Start, volumes: &[usize]) -> Vec<BootPath> {
    let mut paths = Vec::new();
    let walk = || Walk::new(shelf, start);
    for &volume in volumes {
        let config =
            if volume == 0 { isolinux_config(&walk().reading) } else { extlinux_config(&walk().reading, volume) };
        if config.is_some() {
            paths.push(walk().syslinux(config));
        }
        let has = |prefix: &&&str| walk().find(volume, &format!("{prefix}/grub.cfg"), Sees::Grub).is_some();
        let prefixes: Vec<_> = PREFIXES.iter().filter(has).map(|prefix| grub::on(volume, prefix)).collect();
        if !prefixes.is_empty() {
            let (firmware, roots) = (start.firmware, vec![volume]);
            paths.push(walk().grub(grub::Begin { firmware, roots, embedded: None, prefixes, cmdpath: None }));
        }
        if start.firmware != Some(Firmware::Bios) && bls::is_there(&walk().reading, volume) {
            paths.push(walk().systemd_boot(volume));
        }
    }
    if paths.is_empty() {
        let why = match start.firmware {
            None => "nothing in the image can be booted, and no boot loader's configuration was found".into(),
            Some(_) => format!("no boot loader's configuration was found for {}", start.name),
        };
        paths.push(walk().lost(None, why));
    }
    paths
}

fn efi(shelf: &dyn Shelf, start: &Start, volume: usize) -> BootPath {
    let mut walk = Walk::new(shelf, start);
    let found = EFI.iter().find_map(|name| walk.find(volume, &format!("/EFI/BOOT/{name}"), Sees::Firmware));
    let Some(mut program) = found else { return efi_by_files(walk, volume, None) };
    walk.starts = shelf.name(&program);
    let (mut head, mut sections) = look(shelf, &program);
    if is_shim(&head, &sections) {
        // shim starts the program of this name beside it.
        let second = program
            .path
            .to_ascii_lowercase()
            .replace("boot", "\u{0}")
            .rsplit('\u{0}')
            .next()
            .map(str::to_owned)
            .unwrap_or_default();
        let path = format!("{}/grub{second}", folder(&program.path));
        match walk.find(volume, &path, Sees::Firmware) {
            Some(place) => program = place,
            // Without it, an installed system's fallback starts what the distribution has put beside.
            None if walk.find(volume, &format!("{}/fb{second}", folder(&program.path)), Sees::Firmware).is_some() => {
                return efi_by_files(walk, volume, None);
            }
            None => return walk.lost(None, format!("shim looks for {path}, and it is not there")),
        }
        walk.starts = format!("{} (shim), {}", walk.starts, shelf.name(&program));
        (head, sections) = look(shelf, &program);
    }
    let section = |name: &str| sections.iter().find(|section| section.name == name);
    if let Some(mods) = section("mods") {
        return efi_grub(walk, volume, &program, mods);
    }
    if section(".linux").is_some() {
        let entry = bls::uki(shelf, &program, &sections);
        let wait = Wait::After { tenths: 0 };
        return walk.end(Some(Loader::Uki), Verdict { entries: vec![entry], chosen: Chosen::Entries(vec![0]), wait });
    }
    if section(".sdmagic").is_some() || contains(&head, "LoaderInfo: systemd-boot") {
        return walk.systemd_boot(volume);
    }
    efi_by_files(walk, volume, Some((&program, &head)))
}

fn look(shelf: &dyn Shelf, program: &Place) -> (Vec<u8>, Vec<Section>) {
    let head = shelf.part(program, 0, LOOKED_AT as u64).unwrap_or_default();
    let sections = inside::sections(&head[..head.len().min(HEADERS)]);
    (head, sections)
}

fn is_shim(head: &[u8], sections: &[Section]) -> bool {
    sections.iter().any(|section| section.name == ".sbatlevel" || section.name == ".vendor_cert")
        || contains(head, "UEFI SHIM")
}

/// GRUB as an EFI program: it says itself what is in it.
fn efi_grub(mut walk: Walk<'_>, volume: usize, program: &Place, mods: &Section) -> BootPath {
    let bytes = walk.reading.shelf.part(program, mods.at, mods.len.min(LARGEST_PART)).unwrap_or_default();
    let Some(Embedded { config, prefix, memdisk }) = inside::embedded(&bytes) else {
        let why = format!("what is embedded in {} cannot be read", walk.starts);
        return walk.not_known(Some(Loader::Grub), why);
    };
    if let Some(memdisk) = memdisk {
        match inside::memdisk(memdisk) {
            Some(files) => walk.reading.put_memdisk(files),
            None => {
                let why = format!("the memory disk in {} cannot be read", walk.starts);
                return walk.not_known(Some(Loader::Grub), why);
            }
        }
    }
    let own = folder(&program.path);
    // The distributions' signed GRUB looks beside itself, too.
    let prefixes = prefix.filter(|prefix| !prefix.is_empty()).into_iter().chain([grub::on(volume, own)]).collect();
    let cmdpath = Some(grub::on(volume, own));
    let begin =
        grub::Begin { firmware: Some(Firmware::Efi), roots: roots(&walk, volume), embedded: config, prefixes, cmdpath };
    walk.grub(begin)
}

/// From a disc, GRUB takes the whole of it for its root; from a stick, the EFI partition.
fn roots(walk: &Walk<'_>, volume: usize) -> Vec<usize> {
    if walk.start.carrier == Some(Carrier::Stick) { vec![volume, 0] } else { vec![0, volume] }
}

/// An EFI program that is not known, or none: what there is a configuration for.
fn efi_by_files(walk: Walk<'_>, volume: usize, program: Option<(&Place, &[u8])>) -> BootPath {
    let is_grub = program.is_some_and(|(_, head)| contains(head, "GRUB"));
    let beside = program.is_some_and(|(place, _)| {
        let path = format!("{}/grubx64.efi", folder(&place.path));
        walk.find(volume, &path, Sees::Firmware).is_some()
    });
    let roots = roots(&walk, volume);
    let there = |prefix: &str, volume: usize| walk.find(volume, &format!("{prefix}/grub.cfg"), Sees::Grub).is_some();
    // A configuration in the EFI file system is nearer than one on the disc.
    let volumes = [volume, 0].into_iter().chain(walk.reading.shelf.systems());
    let by = volumes.flat_map(|volume| EFI_PREFIXES.iter().map(move |prefix| (volume, *prefix)));
    let found: Vec<_> = by.filter(|(volume, prefix)| there(prefix, *volume)).collect();
    let prefixes: Vec<_> = found.iter().map(|(volume, prefix)| grub::on(*volume, prefix)).collect();
    // GRUB's root is where its configuration lies; that of a disc may be either.
    let roots = match found.first() {
        Some((first, _)) if walk.reading.shelf.systems().contains(first) => vec![*first],
        _ => roots,
    };
    let has_bls = bls::is_there(&walk.reading, volume);
    match (prefixes.is_empty(), has_bls) {
        (false, false) => {}
        (false, true) if is_grub || beside => {}
        (true, true) => return walk.systemd_boot(volume),
        (true, false) if program.is_none() => {
            let why = format!("{} has no /EFI/BOOT/BOOTX64.EFI, and no boot loader's configuration", walk.starts);
            return walk.lost(None, why);
        }
        _ => {
            let why = format!("which boot loader {} is cannot be told", walk.starts);
            return walk.not_known(None, why);
        }
    }
    let cmdpath = Some(grub::on(volume, "/EFI/BOOT"));
    walk.grub(grub::Begin { firmware: Some(Firmware::Efi), roots, embedded: None, prefixes, cmdpath })
}

/// An entry with nothing in it yet.
pub(super) fn entry(loader: Loader, file: &str, line: usize, title: &str) -> LoaderEntry {
    LoaderEntry {
        loader,
        file: file.to_owned(),
        line,
        title: title.to_owned(),
        id: None,
        menu: Vec::new(),
        boots: Boots::Nothing,
        command: String::new(),
        kernel: None,
        initrd: Vec::new(),
        args: String::new(),
        unknown: Vec::new(),
        missing: Vec::new(),
        unsure: Vec::new(),
        default: false,
    }
}
