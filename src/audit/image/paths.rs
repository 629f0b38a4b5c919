//! What each firmware would boot of an image, step by step, for a reader: which boot image it finds, which configuration that
//! reads, and what boots if nobody chooses. Nothing is judged by it; that is for the conditions.

use boot_media::medium::{BootEntry, Carrier, Chosen, Firmware, Form, Loader, LoaderEntry, Loaders, Medium, Platform};
use serde::{Deserialize, Serialize};

/// One way to boot an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPath {
    /// Who boots it from what (`BIOS, from a CD`).
    pub by: String,
    /// From the firmware on.
    pub steps: Vec<BootStep>,
}

/// One step of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootStep {
    /// What it is (`boot image`, `configuration`, `default entry`).
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether the boot can go on from here.
    pub ok: bool,
}

fn step(what: &str, found: Option<String>, otherwise: &str) -> BootStep {
    let ok = found.is_some();
    BootStep { what: what.to_owned(), found: found.unwrap_or_else(|| otherwise.to_owned()), ok }
}

/// The ways to boot an image.
pub(super) fn of(medium: &Medium) -> Vec<BootPath> {
    let loaders = medium.loaders();
    let optical = |platform| {
        let entry = medium.boot_entries().iter().find(|entry| entry.platform == platform && entry.bootable);
        step("boot image", entry.map(BootEntry::to_string), "no such entry in the boot catalogue")
    };
    if medium.form() == Form::Uki {
        let steps = vec![step("EFI program", medium.files().next().map(|file| file.path.clone()), "no program")];
        return vec![BootPath { by: "UEFI".to_owned(), steps: on(Firmware::Efi, None, steps, &loaders) }];
    }
    let is_iso = medium.form() == Form::Iso;
    let from_disk = if is_iso { "from a USB stick" } else { "from a disk" };
    let mut ways = Vec::new();
    if is_iso {
        ways.push(("BIOS, from a CD".to_owned(), Firmware::Bios, vec![optical(Platform::Bios)]));
        ways.push(("UEFI, from a CD".to_owned(), Firmware::Efi, vec![optical(Platform::Efi), program(medium)]));
    }
    let table = (!medium.partitions().is_empty()).then(|| format!("{} partitions", medium.partitions().len()));
    let code = medium.has_boot_code().then(|| "boot code in the first sector".to_owned());
    ways.push((format!("BIOS, {from_disk}"), Firmware::Bios, vec![step("boot code", code, "no boot code")]));
    let esp = medium.partitions().iter().find(|one| one.efi).map(|one| format!("partition {}", one.number));
    let esp =
        step("EFI partition", esp, if table.is_some() { "none of the partitions is one" } else { "no partitions" });
    ways.push((format!("UEFI, {from_disk}"), Firmware::Efi, vec![esp, program(medium)]));
    let carrier = |by: &str| if by.ends_with("CD") { Carrier::Optical } else { Carrier::Stick };
    let way = |(by, firmware, steps): (String, Firmware, Vec<BootStep>)| BootPath {
        steps: on(firmware, Some(carrier(&by)), steps, &loaders),
        by,
    };
    ways.into_iter().map(way).collect()
}

/// The program that UEFI starts where nothing else was set up.
fn program(medium: &Medium) -> BootStep {
    let is_one = |name: &&String| {
        let name = name.to_ascii_lowercase();
        name.contains("/efi/boot/boot") && name.ends_with(".efi")
    };
    let names: Vec<_> = medium.efi_files().map(|(name, _)| name).collect();
    step("EFI program", names.iter().find(is_one).cloned(), "no /EFI/BOOT/BOOT*.EFI")
}

/// From the firmware's side on to the configuration and what it boots by itself.
fn on(firmware: Firmware, carrier: Option<Carrier>, mut steps: Vec<BootStep>, loaders: &Loaders) -> Vec<BootStep> {
    if steps.iter().any(|step| !step.ok) {
        return steps;
    }
    let own = |path: &&boot_media::medium::BootPath| path.firmware == Some(firmware) && path.carrier == carrier;
    let path = loaders.paths.iter().find(own);
    let config = path.and_then(|path| path.configs.first());
    let config = config.map(|config| format!("{}: {}", config.loader, config.file));
    let itself = path.is_some_and(|path| path.loader == Some(Loader::Uki)).then(|| "in the program itself".to_owned());
    steps.push(step("configuration", config.or(itself), "no configuration was found"));
    let Some(path) = path else { return steps };
    let shown = |entry: &LoaderEntry| match &entry.kernel {
        Some(kernel) => format!("{:?}: {kernel} {}", entry.path(), entry.args),
        None => format!("{:?}: {}", entry.path(), entry.command),
    };
    let entries: Vec<_> = path.defaults().map(shown).collect();
    let (entry, otherwise) = match &path.chosen {
        Chosen::Entries(_) => (Some(format!("{} ({})", entries.join(" or "), path.wait)), String::new()),
        Chosen::NotFound(why) => (None, format!("nothing boots by itself: {why}")),
        Chosen::NotKnown { why, .. } => (None, format!("not known which entry boots by itself: {why}")),
    };
    steps.push(step("default entry", entry, &otherwise));
    steps
}
