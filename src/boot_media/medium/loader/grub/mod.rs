//! GRUB: its configuration is a script, and what it does decides what boots. The script is run here as far as an image
//! tells: files are looked for, variables have values, menus are built in their order. A test that only the running machine
//! can answer is taken both ways, and what comes of either counts.
//!
//! Format: the GNU GRUB manual 2.12, chapters "Writing full configuration files directly" and "Commands"; where it is silent,
//! grub-core/script and grub-core/normal/menu.c.

mod bls;
mod commands;
mod condition;
mod files;
mod lexer;
mod menu;
mod parser;
mod run;
mod value;
mod world;

use super::reading::{Place, Reading, Sees};
use super::{Firmware, LOOK, Loader, Verdict, clean};
use value::Value;
use world::{At, Tri, World};

/// What GRUB knows before its configuration says anything.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) firmware: Option<Firmware>,
    /// The processor that it is built for, as it calls it itself.
    pub(super) cpu: Option<&'static str>,
    /// The file systems that it may have come from, the likelier first.
    pub(super) roots: Vec<usize>,
    /// A script inside of GRUB itself, which runs before all others.
    pub(super) embedded: Option<String>,
    /// Where it looks for `grub.cfg`, the first that is there; as a script would name it.
    pub(super) prefixes: Vec<String>,
    /// The folder of the file that firmware started, as a script would name it.
    pub(super) cmdpath: Option<String>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    At(Place),
    /// Not in the image.
    Nowhere,
    /// On a device that only the machine has.
    Elsewhere,
}

/// GRUB, as it runs.
struct Grub<'r, 's> {
    reading: &'r mut Reading<'s>,
    roots: Vec<usize>,
    depth: usize,
}

/// Run GRUB from its start.
pub(super) fn read(reading: &mut Reading<'_>, begin: &Begin) -> Verdict {
    let mut grub = Grub { reading, roots: begin.roots.clone(), depth: 0 };
    let mut worlds = vec![first(begin)];
    if let Some(text) = &begin.embedded {
        let volume = begin.roots.first().copied().unwrap_or_default();
        let place = Place { volume, path: "/(embedded)".into() };
        let at = At { place, file: "(embedded)".into(), depth: 0 };
        worlds = grub.source(worlds.remove(0), text, &at);
    }
    let mut ended = Vec::new();
    for world in worlds {
        // An embedded script that shows a menu or boots has done it all.
        match world.flow {
            world::Flow::Go => ended.extend(grub.main_file(world, begin)),
            _ => ended.push(world),
        }
    }
    grub.judge(ended)
}

fn first(begin: &Begin) -> World {
    let mut world = World::new();
    let platform = match begin.firmware {
        Some(Firmware::Bios) => Value::known("pc"),
        Some(Firmware::Efi) => Value::known("efi"),
        None => Value::known("pc").or(&Value::known("efi"), "grub_platform"),
    };
    world.export("grub_platform", platform);
    let cpu = begin.cpu.map_or_else(|| Value::unknown("grub_cpu"), Value::known);
    world.export("grub_cpu", cpu);
    world.export("root", Value::known(BOOT));
    if let Some(path) = &begin.cmdpath {
        world.export("cmdpath", Value::known(path.clone()));
    }
    if let [prefix, ..] = begin.prefixes.as_slice() {
        world.export("prefix", Value::known(prefix.clone()));
    }
    // grub-core/normal/main.c: what this GRUB can do.
    for feature in [
        "feature_chainloader_bpb",
        "feature_ntldr",
        "feature_platform_search_hint",
        "feature_default_font_path",
        "feature_all_video_module",
        "feature_menuentry_id",
        "feature_menuentry_options",
        "feature_200_final",
        "feature_nativedisk_cmd",
        "feature_timeout_style",
    ] {
        world.export(feature, Value::known("y"));
    }
    world
}

impl Grub<'_, '_> {
    /// The configuration that GRUB looks for when it has started.
    fn main_file(&mut self, mut world: World, begin: &Begin) -> Vec<World> {
        // An embedded script may have moved the prefix.
        let set = world.text("prefix").and_then(|prefix| value::known(&prefix));
        let moved = set.filter(|prefix| begin.prefixes.first() != Some(prefix));
        let prefixes = moved.map_or_else(|| begin.prefixes.clone(), |prefix| vec![prefix]);
        for prefix in &prefixes {
            if let Found::At(place) = self.resolve(&world, &format!("{prefix}/grub.cfg")) {
                world.export("prefix", Value::known(prefix.clone()));
                let file = self.reading.name(&place).into();
                // What an embedded script has made of entries is not shown.
                world.menu.clear();
                config_is(&mut world, &place);
                return self.file(world, &At { place, file, depth: 0 });
            }
        }
        let looked: Vec<_> = prefixes.iter().map(|prefix| format!("{}/grub.cfg", without_device(prefix))).collect();
        world.flow = world::Flow::Go;
        world.menu.clear();
        self.reading.lost = Some(format!("GRUB finds no configuration: it looks for {}", looked.join(", ")));
        vec![world]
    }

    /// The file systems that a device means; nothing if only the machine knows.
    fn volumes(&self, device: &str) -> Option<Vec<usize>> {
        match device {
            "" | BOOT => Some(self.roots.clone()),
            "cd" | "cd0" | "cd1" | "hd0" | "hd1" => Some(vec![0]),
            "memdisk" => self.reading.memdisk.map(|volume| vec![volume]),
            other => {
                if let Some(volume) = other.strip_prefix(VOLUME) {
                    return volume.parse().ok().map(|volume| vec![volume]);
                }
                let (_, partition) = other.split_once(',')?;
                let number = partition.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
                self.reading.shelf.partition(number).map(|volume| vec![volume])
            }
        }
    }

    /// The device and the path of a name, the device by `root` where it has none.
    fn located(&self, world: &World, path: &str) -> Result<(Vec<usize>, String), Found> {
        let (device, path) = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((device, path)) => (device.to_owned(), path),
            None => match world.text("root").as_deref().map(value::known) {
                Some(Some(root)) => (root, path),
                Some(None) => return Err(Found::Elsewhere),
                None => (String::new(), path),
            },
        };
        // Without a slash, no file system of GRUB's finds it (grub-core/fs/fshelp.c).
        if !path.starts_with('/') {
            return Err(Found::Nowhere);
        }
        let device = device.trim_matches(['(', ')']);
        // No part of the image becomes one of these.
        if ASSEMBLED.iter().any(|prefix| device.starts_with(prefix)) && !self.reading.shelf.is_assembled() {
            return Err(Found::Nowhere);
        }
        match self.volumes(device) {
            Some(volumes) => Ok((volumes, clean(path))),
            None => Err(Found::Elsewhere),
        }
    }

    fn resolve(&self, world: &World, path: &str) -> Found {
        match self.located(world, path) {
            Err(found) => found,
            Ok((volumes, path)) => {
                let mut places = volumes.iter().map(|&volume| Place { volume, path: path.clone() });
                places.find_map(|place| self.reading.find(&place, Sees::Grub)).map_or(Found::Nowhere, Found::At)
            }
        }
    }

    /// What `-e`, `-f`, `-d` and `-s` ask.
    fn is_there(&self, world: &World, what: &str, path: &str) -> Tri {
        let (volumes, path) = match self.located(world, path) {
            Ok(located) => located,
            Err(Found::Elsewhere) => return Tri::Maybe,
            Err(_) => return Tri::No,
        };
        let mut places = volumes.iter().map(|&volume| Place { volume, path: path.clone() });
        let file = |place: &Place| self.reading.find(place, Sees::Grub);
        Tri::of(places.any(|place| match what {
            "-d" => self.reading.is_folder(&place),
            "-e" => file(&place).is_some() || self.reading.is_folder(&place),
            "-s" => file(&place).is_some_and(|place| self.reading.size(&place) > 0),
            _ => file(&place).is_some(),
        }))
    }

    /// The files that a pattern means, with the device in front that the pattern has.
    fn names_like(&self, world: &World, pattern: &str) -> Vec<String> {
        let Ok((volumes, path)) = self.located(world, pattern) else { return Vec::new() };
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let Ok(wanted) = glob::Pattern::new(&path) else { return Vec::new() };
        let device = &pattern[..pattern.len() - pattern.trim_start_matches(|c| c != '/').len()];
        let mut found: Vec<_> =
            self.reading.places().into_iter().filter(|place| volumes.contains(&place.volume)).collect();
        found.retain(|place| wanted.matches_with(&place.path, options));
        let mut names: Vec<_> = found.into_iter().map(|place| format!("{device}{}", place.path)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The file system that has a file, a label or a UUID.
    fn volume(&self, by: char, what: &str) -> Option<usize> {
        let volumes = 0..=self.reading.shelf.volumes();
        match by {
            'f' => {
                let path = clean(what);
                volumes.into_iter().find(|&volume| {
                    let place = Place { volume, path: path.clone() };
                    self.reading.find(&place, Sees::Grub).is_some() || self.reading.is_folder(&place)
                })
            }
            'l' => {
                volumes.into_iter().find(|&volume| self.reading.shelf.label(volume).is_some_and(|label| label == what))
            }
            _ => {
                let uuid = |volume| self.reading.shelf.uuid(volume);
                volumes.into_iter().find(|&volume| uuid(volume).is_some_and(|uuid| uuid.eq_ignore_ascii_case(what)))
            }
        }
    }
}

/// What GRUB says of the configuration that it reads: grub-core/normal/main.c, read_config_file.
fn config_is(world: &mut World, place: &Place) {
    world.export("config_file", Value::known(on(place.volume, &place.path)));
    world.export("config_directory", Value::known(on(place.volume, super::folder(&place.path))));
}

/// How the devices are called that GRUB puts together of others.
const ASSEMBLED: [&str; 6] = ["md/", "mduuid/", "lvm/", "lvmid/", "crypto", "cryptouuid/"];
/// The device that GRUB has come from.
const BOOT: &str = "boot-device";
/// How the names of file systems begin, here; on the machine they are `hd0,gpt2` or `cd0`.
const VOLUME: &str = "volume";

/// How a script names a file system of the image.
fn device(volume: usize) -> String {
    format!("{VOLUME}{volume}")
}

/// Whether a text is, or begins with, a device that has another name on the machine.
fn is_device(text: &str) -> bool {
    let name = text.trim_start_matches('(');
    let digits = name.strip_prefix(VOLUME).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    digits || name.starts_with(BOOT)
}

/// The same in front of a path.
pub(super) fn on(volume: usize, path: &str) -> String {
    format!("({}){path}", device(volume))
}

/// A path without the device in front of it: `($root)/boot/grub` is `/boot/grub`.
fn without_device(path: &str) -> String {
    let rest = path.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(path, |(_, rest)| rest);
    rest.to_owned()
}
