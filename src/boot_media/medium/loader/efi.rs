//! EFI programs: which of them firmware starts, what that is, and what it leads to: shim, GRUB, systemd-boot, unified kernel
//! images.
//!
//! Sources: UEFI specification 2.10, section 3.5.1; shim's README.fallback, shim.c and fallback.c.

use super::foreign::{self, contains};
use super::inside::{self, Embedded, HEADERS, Section};
use super::reading::{Place, Sees, Shelf};
use super::start::{Start, Walk};
use super::{BootPath, Carrier, Chosen, Firmware, Loader, Verdict, Wait, bls, folder, grub};

/// Bytes of a program that its loader is known by.
const LOOKED_AT: u64 = 4 << 20;
/// The largest part of a loader that is read: its modules with a memory disk, or a command line.
const LARGEST_PART: u64 = 64 << 20;
/// The largest list of shim's fallback, bytes.
const LARGEST_LIST: u64 = 64 << 10;
/// Programs that start one another: shim, its fallback, shim, GRUB.
const MOST_PROGRAMS: usize = 6;

/// The programs that UEFI starts from a medium: UEFI specification 2.10, table 3-6. Those of this machine's kind come first.
const EFI: [&str; 5] = ["BOOTX64.EFI", "BOOTIA32.EFI", "BOOTAA64.EFI", "BOOTRISCV64.EFI", "BOOTARM.EFI"];
const EFI_PREFIXES: [&str; 9] = [
    "/EFI/BOOT",
    "/EFI/debian",
    "/EFI/ubuntu",
    "/EFI/fedora",
    "/boot/grub/x86_64-efi",
    "/boot/grub",
    "/boot/grub2",
    "/grub",
    "/grub2",
];

/// Follow what firmware starts from a file system.
pub(super) fn follow(shelf: &dyn Shelf, start: &Start, volume: usize) -> BootPath {
    let mut walk = Walk::new(shelf, start);
    let found = EFI.iter().find_map(|name| walk.find(volume, &format!("/EFI/BOOT/{name}"), Sees::Firmware));
    match found {
        Some(place) => program(walk, place),
        None => {
            let why = "it has no /EFI/BOOT/BOOTX64.EFI, the program that firmware starts";
            walk.reading.problem(&start.name, 0, why);
            by_files(walk, volume, None)
        }
    }
}

/// Follow a program.
pub(super) fn program(mut walk: Walk<'_>, mut place: Place) -> BootPath {
    let shelf = walk.reading.shelf;
    walk.starts = shelf.name(&place);
    for _ in 0..MOST_PROGRAMS {
        let head = match shelf.part(&place, 0, LOOKED_AT) {
            Ok(head) => head,
            Err(why) => {
                let why = format!("{} cannot be read: {why}", shelf.name(&place));
                return walk.not_known(None, why);
            }
        };
        let sections = inside::sections(&head[..head.len().min(HEADERS)]);
        if !is_shim(&head, &sections) {
            return start(walk, &place, &head, &sections);
        }
        match behind_shim(&walk, &place) {
            Ok(next) => place = next,
            Err(why) => return walk.lost(None, why),
        }
        walk.starts = format!("{} (shim), {}", walk.starts, shelf.name(&place));
    }
    walk.not_known(None, "more EFI programs start one another than are followed".into())
}

fn start(walk: Walk<'_>, place: &Place, head: &[u8], sections: &[Section]) -> BootPath {
    let section = |name: &str| sections.iter().find(|section| section.name == name);
    if let Some(mods) = section("mods") {
        return grub(walk, place, mods);
    }
    if section(".linux").is_some() {
        let entries = bls::uki(walk.reading.shelf, place, sections);
        let wait = Wait::After { tenths: 0 };
        return walk.end(Some(Loader::Uki), Verdict { entries, chosen: Chosen::Entries(vec![0]), wait });
    }
    if section(".sdmagic").is_some() || contains(head, "LoaderInfo: systemd-boot") {
        return walk.systemd_boot(place.volume);
    }
    if head.get(0x202..0x206) == Some(b"HdrS") {
        let entry = bls::kernel(walk.reading.shelf, place);
        let wait = Wait::After { tenths: 0 };
        return walk.end(Some(Loader::Uki), Verdict { entries: vec![entry], chosen: Chosen::Entries(vec![0]), wait });
    }
    match foreign::of_efi(head) {
        Some(loader) => walk.foreign(loader),
        None => by_files(walk, place.volume, Some((place, head))),
    }
}

fn is_shim(head: &[u8], sections: &[Section]) -> bool {
    sections.iter().any(|section| section.name == ".sbatlevel" || section.name == ".vendor_cert")
        || contains(head, "UEFI SHIM")
}

/// What shim starts: from `/EFI/BOOT` its fallback, if that is there, and else GRUB beside it.
fn behind_shim(walk: &Walk<'_>, shim: &Place) -> Result<Place, String> {
    let (own, volume) = (folder(&shim.path), shim.volume);
    let name = shim.path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let ending = name.strip_prefix("boot").or_else(|| name.strip_prefix("shim")).unwrap_or("x64.efi");
    let fallback = walk.find(volume, &format!("{own}/fb{ending}"), Sees::Firmware);
    if let Some(fallback) = fallback.filter(|_| own.eq_ignore_ascii_case("/EFI/BOOT")) {
        let name = walk.reading.shelf.name(&fallback);
        return behind_fallback(walk, volume, &format!("BOOT{ending}").replace(".efi", ".csv")).ok_or_else(|| {
            format!("shim starts {name}, and that finds no program: no folder beside it has a BOOT*.CSV")
        });
    }
    let path = format!("{own}/grub{ending}");
    walk.find(volume, &path, Sees::Firmware).ok_or_else(|| format!("shim looks for {path}, and it is not there"))
}

/// The program that shim's fallback starts: the first in the list that a distribution has put into its folder. The list is
/// UTF-16, a line each of program, name, arguments and description.
fn behind_fallback(walk: &Walk<'_>, volume: usize, list: &str) -> Option<Place> {
    let mut lists: Vec<_> = walk.reading.places().into_iter().filter(|place| place.volume == volume).collect();
    lists.retain(|place| {
        let (inner, name) = (folder(&place.path), place.path.rsplit('/').next().unwrap_or_default());
        let is_list = name.eq_ignore_ascii_case(list) || name.eq_ignore_ascii_case("boot.csv");
        is_list && folder(inner).eq_ignore_ascii_case("/EFI") && !inner.eq_ignore_ascii_case("/EFI/BOOT")
    });
    lists.sort();
    lists.iter().find_map(|place| {
        let bytes = walk.reading.shelf.bytes(place, LARGEST_LIST).ok()?;
        let program = first_program(&bytes)?;
        walk.find(volume, &format!("{}/{program}", folder(&place.path)), Sees::Firmware)
    })
}

/// The program of the first line; plain text is taken as well.
fn first_program(list: &[u8]) -> Option<String> {
    let wide = list.get(1) == Some(&0) || list.starts_with(&[0xff, 0xfe]);
    let text = match wide {
        true => {
            let units: Vec<_> = list.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        false => String::from_utf8_lossy(list).into_owned(),
    };
    let line = text.trim_start_matches('\u{feff}').lines().find(|line| line.contains(','))?;
    Some(line.split(',').next()?.trim().to_owned()).filter(|program| !program.is_empty())
}

/// The processor that a program is for, as GRUB calls it, by the end of its name.
fn processor(path: &str) -> Option<&'static str> {
    let name = path.to_ascii_lowercase();
    let all = [("x64.efi", "x86_64"), ("ia32.efi", "i386"), ("aa64.efi", "arm64"), ("riscv64.efi", "riscv64")];
    all.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, cpu)| cpu)
}

/// GRUB as an EFI program: it says itself what is in it.
fn grub(mut walk: Walk<'_>, program: &Place, mods: &Section) -> BootPath {
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
    let (volume, own) = (program.volume, folder(&program.path));
    // The distributions' signed GRUB looks beside itself, too.
    let prefixes = prefix.filter(|prefix| !prefix.is_empty()).into_iter().chain([grub::on(volume, own)]).collect();
    let cmdpath = Some(grub::on(volume, own));
    let (roots, cpu) = (roots(&walk, volume), processor(&program.path));
    walk.grub(grub::Begin { firmware: Some(Firmware::Efi), cpu, roots, embedded: config, prefixes, cmdpath })
}

/// From a disc, GRUB takes the whole of it for its root; from a stick, the EFI partition.
fn roots(walk: &Walk<'_>, volume: usize) -> Vec<usize> {
    if walk.start.carrier == Some(Carrier::Stick) { vec![volume, 0] } else { vec![0, volume] }
}

/// An EFI program that is not known, or none: what there is a configuration for.
fn by_files(walk: Walk<'_>, volume: usize, program: Option<(&Place, &[u8])>) -> BootPath {
    let is_grub = program.is_some_and(|(_, head)| contains(head, "GRUB"));
    let beside = program.is_some_and(|(place, _)| {
        let path = format!("{}/grubx64.efi", folder(&place.path));
        walk.find(volume, &path, Sees::Firmware).is_some()
    });
    let roots = roots(&walk, volume);
    let there = |prefix: &str, volume: usize| walk.find(volume, &format!("{prefix}/grub.cfg"), Sees::Grub).is_some();
    // A configuration in the EFI file system is nearer than one on the disc.
    let systems = walk.reading.shelf.systems().into_iter().filter(|system| *system != volume);
    let volumes = [volume, 0].into_iter().chain(systems);
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
    let cpu = program.and_then(|(place, _)| processor(&place.path));
    walk.grub(grub::Begin { firmware: Some(Firmware::Efi), cpu, roots, embedded: None, prefixes, cmdpath })
}
