//! Which entry of GRUB's menu boots: grub-core/normal/menu.c; manual, sections "default", "timeout" and "Submenus".

use super::value::{known, names, shown};
use super::world::{Flow, Item, Leaving, Load, World};
use super::{Grub, without_device};
use crate::medium::loader::{Boots, Chosen, Loader, LoaderEntry, Verdict, Wait, boots, start};
use std::rc::Rc;

/// Submenus within submenus.
const DEEPEST_MENU: usize = 8;

/// What comes of a menu by itself.
#[derive(Default)]
struct Ends {
    entries: Vec<LoaderEntry>,
    not_found: Option<String>,
    not_known: Option<String>,
    waits: Vec<Wait>,
}

impl Grub<'_, '_> {
    /// The entries and the default of all ways that the scripts may have taken.
    pub(super) fn judge(&mut self, worlds: Vec<World>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut ends = Ends::default();
        for world in worlds {
            if let Some(why) = &world.unsure {
                ends.not_known.get_or_insert_with(|| why.clone());
            }
            let mut found = Vec::new();
            self.list(&world, &[], &mut found);
            for entry in found {
                if !verdict.entries.contains(&entry) {
                    verdict.entries.push(entry);
                }
            }
            self.by_itself(world, &[], &mut ends);
        }
        verdict.wait = Wait::one_of(ends.waits);
        let mut chosen = Vec::new();
        for entry in ends.entries {
            let at = verdict.entries.iter().position(|one| *one == entry).unwrap_or_else(|| {
                verdict.entries.push(entry);
                verdict.entries.len() - 1
            });
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        verdict.chosen = match (ends.not_found, ends.not_known, chosen) {
            (_, Some(why), chosen) => Chosen::NotKnown { why, entries: chosen },
            (Some(why), None, _) => Chosen::NotFound(why),
            (None, None, chosen) => Chosen::Entries(chosen),
        };
        verdict
    }

    /// All entries of a menu, those in submenus too.
    fn list(&mut self, world: &World, path: &[String], found: &mut Vec<LoaderEntry>) {
        if let Flow::Menu(inner) = &world.flow {
            return self.list(inner, path, found);
        }
        if world.menu.is_empty() {
            found.extend(world.loads.iter().map(without_menu));
        }
        for item in &world.menu {
            self.entries_of(world, item, path, found);
        }
    }

    fn entries_of(&mut self, world: &World, item: &Rc<Item>, path: &[String], found: &mut Vec<LoaderEntry>) {
        if path.len() >= DEEPEST_MENU || !self.reading.step(&item.at.file) {
            return self.reading.problem(&item.at.file, item.line, "submenus within submenus: this one is not read");
        }
        let below = || [path, std::slice::from_ref(&item.title)].concat();
        for inner in self.open(world, item, None) {
            if item.submenu || matches!(inner.flow, Flow::Menu(_)) {
                let before = found.len();
                self.list(&inner, &below(), found);
                if !item.submenu && found.len() == before {
                    found.push(entry(item, path, &inner, None));
                }
                continue;
            }
            for load in variants(&inner) {
                let entry = entry(item, path, &inner, load);
                if !found.contains(&entry) {
                    found.push(entry);
                }
            }
        }
    }

    /// Run the block of an entry or a submenu; `default` is what is left of the path to the entry that boots.
    fn open(&mut self, world: &World, item: &Rc<Item>, default: Option<&str>) -> Vec<World> {
        let mut inner = match item.submenu {
            true => world.inner(),
            false => World { menu: Vec::new(), loads: Vec::new(), ..world.clone() },
        };
        inner.flow = Flow::Go;
        inner.params.clone_from(&item.params);
        inner.unsure = None;
        if let Some(default) = default {
            inner.set("timeout", super::Value::known("0"));
            inner.set("default", super::Value::known(default));
        }
        let at = item.at.clone();
        self.block(vec![inner], &item.body, &at)
    }

    /// What boots if nobody touches a key.
    fn by_itself(&mut self, world: World, path: &[String], ends: &mut Ends) {
        match world.flow {
            Flow::Menu(inner) => return self.by_itself(*inner, path, ends),
            Flow::Leave(how) => return ends.leaves(how),
            Flow::Boot if !world.loads.is_empty() => {
                ends.entries.extend(world.loads.last().map(without_menu));
                return ends.waits.push(Wait::After { tenths: 0 });
            }
            _ => {}
        }
        if let Some(why) = &world.unsure {
            ends.not_known.get_or_insert_with(|| why.clone());
        }
        if world.rows().is_empty() {
            let lost = self.reading.lost.clone();
            let why = lost.unwrap_or_else(|| match world.loads.first() {
                Some(load) => format!("{}:{}: it is loaded, and nothing boots it", load.file, load.line),
                None => "GRUB's menu is empty".into(),
            });
            ends.not_found.get_or_insert(why);
            return;
        }
        if path.is_empty() {
            ends.waits.extend(waits(&world));
        }
        for default in world.value("default").all() {
            match known(default.as_deref().unwrap_or_default()) {
                None => {
                    let why = format!(
                        "the default is {}, which only the machine knows",
                        shown(default.as_deref().unwrap_or_default())
                    );
                    ends.not_known.get_or_insert(why);
                }
                Some(default) => {
                    let before = ends.entries.len();
                    self.take(&world, &default, path, ends);
                    if path.is_empty() && fails(&ends.entries[before..]) {
                        self.fall_back(&world, ends);
                    }
                }
            }
        }
    }

    /// The entries that `fallback` names, until one has its kernel; manual, section "fallback".
    fn fall_back(&mut self, world: &World, ends: &mut Ends) {
        let lists: Vec<_> = world.value("fallback").all().iter().flatten().map(|list| known(list)).collect();
        for list in lists {
            let Some(list) = list else {
                ends.not_known.get_or_insert_with(|| "what GRUB falls back to is not known".into());
                continue;
            };
            for step in list.split_whitespace() {
                let before = ends.entries.len();
                if number(&world.rows(), step).is_some_and(|at| at < world.rows().len()) {
                    self.take(world, step, &[], ends);
                }
                let new = &ends.entries[before..];
                if !new.is_empty() && !fails(new) {
                    break;
                }
            }
        }
    }

    /// Take the entry that a default names.
    fn take(&mut self, world: &World, default: &str, path: &[String], ends: &mut Ends) {
        let (first, rest) = split(default);
        // A default that is not there is the first entry.
        let rows = world.rows();
        let at = number(&rows, &first).filter(|&at| at < rows.len()).unwrap_or(0);
        let Some(item) = rows.get(at).cloned() else { return };
        let restricted = !item.unrestricted
            && world.value("superusers").all().iter().any(|who| who.as_deref().is_some_and(|who| !who.is_empty()));
        if restricted {
            ends.waits.push(Wait::Password);
        }
        if path.len() >= DEEPEST_MENU {
            ends.not_known.get_or_insert_with(|| "the default lies in submenus within submenus".into());
            return;
        }
        let below = [path, std::slice::from_ref(&item.title)].concat();
        for inner in self.open(world, &item, Some(rest).filter(|_| item.submenu)) {
            if item.submenu || matches!(inner.flow, Flow::Menu(_)) {
                self.by_itself(inner, &below, ends);
                continue;
            }
            if let Some(why) = &inner.unsure {
                ends.not_known.get_or_insert_with(|| why.clone());
            }
            ends.entries.extend(variants(&inner).into_iter().map(|load| entry(&item, path, &inner, load)));
        }
    }
}

impl Ends {
    fn leaves(&mut self, how: Leaving) {
        let how = match how {
            Leaving::Exit => "GRUB's script leaves GRUB",
            Leaving::Restart => "GRUB's script restarts the machine",
            Leaving::PowerOff => "GRUB's script switches the machine off",
            Leaving::Setup => "GRUB's script opens the firmware's setup",
        };
        self.not_found.get_or_insert_with(|| how.into());
    }
}

/// Whether no entry can be booted: its kernel is not there.
fn fails(entries: &[LoaderEntry]) -> bool {
    !entries.is_empty() && entries.iter().all(LoaderEntry::lacks_kernel)
}

/// What an entry may load; nothing, too.
fn variants(world: &World) -> Vec<Option<&Load>> {
    if world.loads.is_empty() { vec![None] } else { world.loads.iter().map(Some).collect() }
}

/// The first step of a default, and what is left: `>` parts them, and `>>` is one `>` of a name.
fn split(default: &str) -> (String, &str) {
    let mut first = String::new();
    let mut rest = default;
    while let Some(at) = rest.find('>') {
        first.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('>') {
            Some(more) => {
                first.push('>');
                rest = more;
            }
            None => return (first, rest),
        }
    }
    first.push_str(rest);
    (first, "")
}

/// The entry that a step names: by its number, its id or its title.
fn number(menu: &[Rc<Item>], step: &str) -> Option<usize> {
    let digits = step.trim_end().trim_start_matches('+');
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.parse().ok();
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return usize::from_str_radix(hex, 16).ok();
    }
    let named = |item: &Rc<Item>| item.title == step || item.id.as_deref() == Some(step);
    menu.iter().position(named).or_else(|| {
        // A number with something behind it is a number: strtoul.
        let end = step.find(|c: char| !c.is_ascii_digit()).unwrap_or(step.len());
        step[..end].parse().ok()
    })
}

/// How long the menu waits.
fn waits(world: &World) -> Vec<Wait> {
    let of = |timeout: &Option<String>| match timeout.as_deref().map(known) {
        None => Wait::Key,
        Some(None) => Wait::NotKnown,
        Some(Some(text)) => {
            let text = text.trim();
            let digits = &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())];
            digits.parse::<u32>().map_or(Wait::Key, |seconds| Wait::After { tenths: seconds.saturating_mul(10) })
        }
    };
    world.value("timeout").all().iter().map(of).collect()
}

fn without_menu(load: &Load) -> LoaderEntry {
    loaded(start::entry(Loader::Grub, &load.file, load.line, "(without a menu)"), load)
}

fn loaded(mut entry: LoaderEntry, load: &Load) -> LoaderEntry {
    entry.file = load.file.to_string();
    entry.line = load.line;
    entry.command.clone_from(&load.command);
    entry.kernel = load.kernel.as_ref().map(|kernel| without_device(&shown(kernel)));
    entry.initrd = load.initrd.iter().map(|file| without_device(&shown(file))).collect();
    let args = load.args.join(" ");
    entry.args = shown(&args);
    entry.unknown = names(&args);
    entry.missing.clone_from(&load.missing);
    entry.unsure.clone_from(&load.unsure);
    let kernel_known = load.kernel.as_deref().is_none_or(|kernel| known(kernel).is_some());
    entry.boots = if kernel_known { boots(&load.command, entry.kernel.as_deref()) } else { Boots::NotKnown };
    entry
}

fn entry(item: &Item, path: &[String], world: &World, load: Option<&Load>) -> LoaderEntry {
    let mut entry = start::entry(Loader::Grub, &item.at.file, item.line, &item.title);
    entry.id.clone_from(&item.id);
    entry.menu = path.to_vec();
    entry.boots = match &world.flow {
        Flow::Leave(Leaving::Exit) => Boots::Local,
        Flow::Leave(Leaving::Restart) => Boots::Restart,
        Flow::Leave(Leaving::PowerOff) => Boots::PowerOff,
        Flow::Leave(Leaving::Setup) => Boots::Setup,
        Flow::Menu(_) => Boots::Menu,
        _ if world.unsure.is_some() => Boots::NotKnown,
        _ => Boots::Nothing,
    };
    load.map_or_else(|| entry.clone(), |load| loaded(entry.clone(), load))
}
