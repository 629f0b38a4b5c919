//! What firmware starts, which loader that is, and where the loader looks for its configuration.

use super::foreign::{self, contains};
use super::reading::{Place, Reading, Sees, Shelf};
use super::{
    BootPath, Boots, Carrier, Chosen, Firmware, Loader, LoaderEntry, Verdict, bls, efi, folder, grub, syslinux,
};

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
    /// An EFI program.
    Program(Place),
    /// It cannot be read, and why.
    Unreadable(String),
    /// The image does not say which loader it is: whatever finds a configuration on one of these file systems.
    Files(Vec<usize>),
}

/// The folders and names in which ISOLINUX looks for its configuration: core/fs/iso9660/iso9660.c.
const ISOLINUX: [&str; 5] = ["/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", ""];
const ISOLINUX_NAMES: [&str; 2] = ["isolinux.cfg", "syslinux.cfg"];
/// The same of SYSLINUX and EXTLINUX on a disk: the Syslinux wiki's Config page.
const EXTLINUX: [&str; 6] = ["/boot/extlinux", "/boot/syslinux", "/boot", "/extlinux", "/syslinux", ""];
const EXTLINUX_NAMES: [&str; 2] = ["extlinux.conf", "syslinux.cfg"];
/// Where the distributions' GRUB is told to look (`grub-mkimage --prefix`), where it does not say so itself: a BIOS image is
/// compressed.
const PREFIXES: [&str; 5] = ["/boot/grub", "/boot/grub2", "/grub", "/grub2", EFI_FOLDER];
const EFI_FOLDER: &str = "/EFI/BOOT";

/// Follow a start to its menu; where several loaders may be meant, each of them.
pub(super) fn follow(shelf: &dyn Shelf, start: &Start) -> Vec<BootPath> {
    match &start.what {
        What::Image(head) => vec![bios(shelf, start, head)],
        What::Efi(volume) => vec![efi::follow(shelf, start, *volume)],
        What::Program(place) => vec![efi::program(Walk::new(shelf, start), place.clone())],
        What::Unreadable(why) => {
            vec![Walk::new(shelf, start).lost(None, format!("{} cannot be read: {why}", start.name))]
        }
        What::Files(volumes) => files(shelf, start, volumes),
    }
}

/// One boot path while it is followed.
pub(super) struct Walk<'a> {
    pub(super) reading: Reading<'a>,
    pub(super) start: &'a Start,
    pub(super) starts: String,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shelf: &'a dyn Shelf, start: &'a Start) -> Self {
        Self { reading: Reading::new(shelf), start, starts: start.name.clone() }
    }

    pub(super) fn find(&self, volume: usize, path: &str, sees: Sees) -> Option<Place> {
        self.reading.find(&Place { volume, path: path.to_owned() }, sees)
    }

    pub(super) fn end(mut self, loader: Option<Loader>, mut verdict: Verdict) -> BootPath {
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

    pub(super) fn lost(self, loader: Option<Loader>, why: String) -> BootPath {
        self.end(loader, Verdict { chosen: Chosen::NotFound(why), ..Verdict::default() })
    }

    pub(super) fn not_known(self, loader: Option<Loader>, why: String) -> BootPath {
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

    pub(super) fn grub(mut self, begin: grub::Begin) -> BootPath {
        let verdict = grub::read(&mut self.reading, &begin);
        self.end(Some(Loader::Grub), verdict)
    }

    /// systemd-boot reads entries beside itself, and on a partition of the type XBOOTLDR.
    pub(super) fn systemd_boot(mut self, volume: usize) -> BootPath {
        let extended = self.reading.shelf.extended().into_iter().filter(|other| *other != volume);
        let volumes: Vec<_> = std::iter::once(volume).chain(extended).collect();
        let verdict = bls::read(&mut self.reading, &volumes);
        self.end(Some(Loader::SystemdBoot), verdict)
    }

    /// A loader whose menu is not read here.
    pub(super) fn foreign(self, loader: &'static str) -> BootPath {
        let why = format!("{} is {loader}, whose menu is not read here", self.starts);
        self.not_known(Some(Loader::Other(loader)), why)
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

fn bios(shelf: &dyn Shelf, start: &Start, head: &[u8]) -> BootPath {
    let walk = Walk::new(shelf, start);
    let name = start.name.to_ascii_lowercase();
    if name.ends_with("isolinux.bin") || contains(head, "ISOLINUX") {
        // `isolinux-config --base` writes another folder into it, as openSUSE does.
        let own = Some(folder(&start.name)).filter(|own| own.len() > 1 && contains(head, own));
        let config = own.and_then(|own| walk.find(0, &format!("{own}/isolinux.cfg"), Sees::Isolinux));
        let config = config.or_else(|| isolinux_config(&walk.reading));
        return walk.syslinux(config);
    }
    if let Some(loader) = foreign::of_bios(&name, head) {
        return walk.foreign(loader);
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
    grub::Begin {
        firmware: Some(Firmware::Bios),
        cpu: Some("i386"),
        roots: vec![0],
        embedded: None,
        prefixes,
        cmdpath: None,
    }
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
        // What lies there on a disk is for UEFI.
        let meant = |prefix: &&&str| start.firmware != Some(Firmware::Bios) || **prefix != EFI_FOLDER;
        let prefixes: Vec<_> =
            PREFIXES.iter().filter(meant).filter(has).map(|prefix| grub::on(volume, prefix)).collect();
        if !prefixes.is_empty() {
            let (firmware, roots) = (start.firmware, vec![volume]);
            let cpu = (firmware == Some(Firmware::Bios)).then_some("i386");
            paths.push(walk().grub(grub::Begin { firmware, cpu, roots, embedded: None, prefixes, cmdpath: None }));
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
