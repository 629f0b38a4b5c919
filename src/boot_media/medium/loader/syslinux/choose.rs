//! What ISOLINUX does with a configuration: its own prompt, and the menus that are programs of their own.

use super::command::{Command, EXTENSIONS, KINDS, by_extension, command_of, is_menu, module, of_other_loaders};
use super::config::{Action, Menu, Parsed, Row, parse};
use super::{DEEPEST, Isolinux, Loader, LoaderEntry, Verdict, Wait, absolute, split, start};
use crate::medium::loader::reading::{Place, Sees};
use crate::medium::loader::{Boots, Chosen, boots};

/// What comes of a configuration by itself.
#[derive(Default)]
pub(super) struct Ends {
    entries: Vec<LoaderEntry>,
    not_found: Option<String>,
    not_known: Option<String>,
    waits: Vec<Wait>,
}

/// Where a configuration is read: its files' folder, and how deep one has led to another.
struct Here<'a> {
    parsed: &'a Parsed,
    base: &'a str,
    /// The configuration itself, for a menu that reads it once more.
    path: &'a str,
    depth: usize,
}

impl Ends {
    pub(super) fn verdict(self, mut entries: Vec<LoaderEntry>) -> Verdict {
        let mut chosen = Vec::new();
        for entry in self.entries {
            let at = entries.iter().position(|one| *one == entry).unwrap_or_else(|| {
                entries.push(entry);
                entries.len() - 1
            });
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        let chosen = match (self.not_known, self.not_found) {
            (Some(why), _) => Chosen::NotKnown { why, entries: chosen },
            (None, Some(why)) => Chosen::NotFound(why),
            (None, None) => Chosen::Entries(chosen),
        };
        let wait = if self.waits.is_empty() { Wait::After { tenths: 0 } } else { Wait::one_of(self.waits) };
        Verdict { entries, chosen, wait }
    }

    fn lost(&mut self, why: impl Into<String>) {
        self.not_found.get_or_insert(why.into());
    }
}

impl Isolinux<'_, '_> {
    /// Begin with a configuration, as `CONFIG` does too; its menu is listed, and what boots by itself is found.
    pub(super) fn start(&mut self, path: &str, base: &str, by_itself: bool, ends: &mut Ends, depth: usize) {
        let Some(parsed) = self.parsed(&[path.to_owned()], base, depth, ends, by_itself) else { return };
        let here = Here { parsed: &parsed, base, path, depth };
        self.list(&here);
        if !by_itself {
            return;
        }
        match (&parsed.ui, &parsed.default) {
            (Some(ui), _) => self.run(&here, ui, ends),
            (None, Some(default)) if !parsed.prompt => self.run(&here, default, ends),
            (None, Some(default)) => {
                ends.waits.push(waits(parsed.timeout, parsed.total_timeout));
                self.run(&here, parsed.on_timeout.as_ref().unwrap_or(default), ends);
            }
            (None, None) => ends.lost(format!("{path} has neither DEFAULT nor UI: ISOLINUX waits at its prompt")),
        }
    }

    fn parsed(&mut self, paths: &[String], base: &str, depth: usize, ends: &mut Ends, told: bool) -> Option<Parsed> {
        if depth > DEEPEST {
            ends.not_known.get_or_insert_with(|| "configurations lead into one another".into());
            return None;
        }
        let path = paths.first()?;
        let parsed = parse(self.reading, self.volume, paths, base);
        match &parsed {
            None if told => ends.lost(format!("{path} is not in the image")),
            Some(Parsed { lost: Some(why), .. }) if told => {
                ends.not_known.get_or_insert_with(|| why.clone());
            }
            _ => {}
        }
        parsed
    }

    /// All labels, and those of the menus that they open.
    fn list(&mut self, here: &Here<'_>) {
        let key = (here.path.to_owned(), here.base.to_owned());
        if self.seen.contains(&key) {
            return;
        }
        self.seen.push(key);
        let Here { parsed, base, depth, .. } = here;
        let mut ends = Ends::default();
        let elsewhere = of_other_loaders(parsed);
        for (at, label) in parsed.labels.iter().enumerate() {
            let entry = self.entry(here, at, "");
            let (kind, file) = (entry.command.clone(), split(&label.kernel).0.to_owned());
            let args = entry.args.clone();
            if !self.entries.contains(&entry) {
                self.entries.push(entry);
            }
            if elsewhere.contains(&label.name.as_str()) {
                continue;
            }
            if kind == "config" {
                let next = if args.is_empty() { (*base).to_owned() } else { absolute(base, &args) };
                self.open(&absolute(base, &file), &next, (&label.file, label.line), depth + 1, &mut ends);
            } else if kind == "com32" && is_menu(&file) {
                for path in args.split_whitespace().filter(|path| *path != "~") {
                    self.open(&absolute(base, path), base, (&label.file, label.line), depth + 1, &mut ends);
                }
            }
        }
        // A menu that the configuration begins with, and that is another's.
        for command in [&parsed.ui, &parsed.default].into_iter().flatten() {
            let (file, args) = split(command);
            if is_menu(file) && parsed.find(command).is_none() {
                for path in args.split_whitespace().filter(|path| *path != "~") {
                    self.open(&absolute(base, path), base, (here.path, 0), depth + 1, &mut ends);
                }
            }
        }
    }

    /// List another configuration.
    fn open(&mut self, path: &str, base: &str, at: (&str, usize), depth: usize, ends: &mut Ends) {
        if self.seen.len() >= 256 || !self.reading.spend(at.0, at.1, super::super::LOOK) {
            return;
        }
        match self.has(path) {
            true => self.start(path, base, false, ends, depth),
            false => self.reading.problem(at.0, at.1, format!("{path} is not in the image")),
        }
    }

    fn has(&self, path: &str) -> bool {
        self.reading.find(&Place { volume: self.volume, path: path.to_owned() }, Sees::Isolinux).is_some()
    }

    /// A label as an entry, with what a command adds to its arguments.
    fn entry(&mut self, here: &Here<'_>, at: usize, more: &str) -> LoaderEntry {
        let label = &here.parsed.labels[at];
        let mut entry =
            start::entry(Loader::Syslinux, &label.file, label.line, label.title.as_deref().unwrap_or(&label.name));
        entry.id = Some(label.name.clone());
        if let Some((menu, row)) = here.parsed.row_of(at) {
            entry.menu = here.parsed.titles(menu);
            match &here.parsed.menus[menu].rows[row].action {
                Action::Boot => {}
                Action::Menu(_) | Action::Goto(_) | Action::Leave => entry.boots = Boots::Menu,
                Action::Help | Action::Disabled => entry.boots = Boots::Nothing,
            }
            if here.parsed.menus[menu].rows[row].action != Action::Boot {
                return entry;
            }
        }
        let command = Command { label: Some(at), ..command_of(label, more) };
        self.fill(&mut entry, here, &command);
        entry
    }

    /// What a command line loads.
    fn fill(&mut self, entry: &mut LoaderEntry, here: &Here<'_>, command: &Command<'_>) {
        entry.command = command.kind.to_owned();
        entry.args.clone_from(&command.args);
        if command.kind == "localboot" {
            entry.boots = Boots::Local;
            return;
        }
        let kernel = absolute(here.base, command.file);
        entry.boots = match module(command.file) {
            _ if command.kind == "config" => Boots::Menu,
            Some("menu" | "vesamenu" | "gfxboot" | "whichsys" | "ifcpu" | "ifcpu64") => Boots::Menu,
            Some("reboot") => Boots::Restart,
            Some("poweroff") => Boots::PowerOff,
            Some("chain") => Boots::Chainloader,
            Some("mboot") if command.args.contains("xen") => Boots::Xen,
            _ => boots(command.kind, Some(&kernel)),
        };
        self.look_for(entry, &kernel, command.file);
        entry.kernel = Some(kernel);
        let label = command.label.map(|at| &here.parsed.labels[at]);
        let named = label
            .and_then(|label| label.initrd.as_deref())
            .or_else(|| command.args.split_whitespace().filter_map(|arg| arg.strip_prefix("initrd=")).next_back());
        for path in named.into_iter().flat_map(|list| list.split(',')).map(|path| absolute(here.base, path.trim())) {
            self.look_for(entry, &path, "");
            entry.initrd.push(path);
        }
    }

    /// Whether a file is there; one that is named by a server (`::/x`, `http://x`) is not known.
    fn look_for(&self, entry: &mut LoaderEntry, path: &str, written: &str) {
        if path.contains("/::") || written.contains("://") {
            entry.unsure.push(path.to_owned());
        } else {
            let place = Place { volume: self.volume, path: path.to_owned() };
            entry.missing.extend(self.reading.lacks(self.reading.find(&place, Sees::Isolinux), path));
        }
    }

    /// Run a command line: a label, or a file.
    fn run(&mut self, here: &Here<'_>, line: &str, ends: &mut Ends) {
        let (word, rest) = split(line);
        if let Some(at) = here.parsed.find(line) {
            let label = &here.parsed.labels[at];
            return self.execute(here, &Command { label: Some(at), ..command_of(label, rest) }, ends);
        }
        if word.is_empty() || here.parsed.explicit {
            return ends.lost(format!("{word:?} is no label of {}", here.path));
        }
        // `.com32 menu.c32`, as menus write it themselves.
        if let Some(kind) = word.strip_prefix('.').filter(|kind| KINDS.contains(kind)) {
            let (file, args) = split(rest);
            return self.execute(here, &Command { kind, file, args: args.to_owned(), label: None }, ends);
        }
        if !word.contains('.') && matches!(module(word), Some("gfxboot" | "menu" | "vesamenu" | "whichsys" | "ifcpu64"))
        {
            return self.execute(
                here,
                &Command { kind: "com32", file: word, args: rest.to_owned(), label: None },
                ends,
            );
        }
        let known = by_extension(word) != "linux" || self.has(&absolute(here.base, word));
        let extended =
            EXTENSIONS.iter().map(|(end, _)| format!("{word}{end}")).find(|file| self.has(&absolute(here.base, file)));
        match (known, extended) {
            (true, _) => self.execute(
                here,
                &Command { kind: by_extension(word), file: word, args: rest.to_owned(), label: None },
                ends,
            ),
            (false, Some(file)) => {
                self.execute(
                    here,
                    &Command { kind: by_extension(&file), file: &file, args: rest.to_owned(), label: None },
                    ends,
                );
            }
            (false, None) => ends.lost(format!("{word:?} is neither a label of {} nor a file", here.path)),
        }
    }

    fn execute(&mut self, here: &Here<'_>, command: &Command<'_>, ends: &mut Ends) {
        // A label can run the menu that it is a row of.
        if here.depth > DEEPEST {
            ends.not_known.get_or_insert_with(|| "configurations and menus lead into one another".into());
            return;
        }
        let row = command.label.and_then(|at| here.parsed.row_of(at));
        if row.is_some_and(|(menu, row)| here.parsed.menus[menu].rows[row].action != Action::Boot) {
            return ends.lost("the default is a row of a menu that boots nothing");
        }
        let args: Vec<_> = command.args.split_whitespace().collect();
        match (command.kind, module(command.file)) {
            ("config", _) => {
                let base =
                    if command.args.is_empty() { here.base.to_owned() } else { absolute(here.base, &command.args) };
                self.start(&absolute(here.base, command.file), &base, true, ends, here.depth + 1);
            }
            ("com32", Some("menu" | "vesamenu")) => self.menu(here, &args, ends),
            ("com32", Some("gfxboot")) => self.graphical(here, ends),
            ("com32", Some("whichsys")) => {
                let own = args.iter().position(|arg| *arg == "-iso-");
                let own =
                    own.map(|at| args[at + 1..].iter().take_while(|arg| !matches!(**arg, "-pxe-" | "-sys-")).copied());
                match own.map(|words| words.collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty()) {
                    Some(line) => self.run(&Here { depth: here.depth + 1, ..*here }, &line, ends),
                    None => ends.lost(format!("{} has no command for ISOLINUX", command.file)),
                }
            }
            // It tests the processor: any of them may run.
            ("com32", Some("ifcpu" | "ifcpu64")) => {
                for words in args.split(|arg| *arg == "--").filter(|words| !words.is_empty()) {
                    self.run(&Here { depth: here.depth + 1, ..*here }, &words.join(" "), ends);
                }
            }
            ("com32", Some("linux")) => {
                let file = args.first().copied().unwrap_or_default();
                let rest = args.get(1..).unwrap_or_default().join(" ");
                self.boot(here, &Command { kind: "linux", file, args: rest, label: command.label }, ends);
            }
            _ => self.boot(here, command, ends),
        }
    }

    fn boot(&mut self, here: &Here<'_>, command: &Command<'_>, ends: &mut Ends) {
        let entry = match command.label {
            Some(at) if command.kind != "linux" || command_of(&here.parsed.labels[at], "").args == command.args => {
                self.entry(here, at, "")
            }
            _ => {
                let title = command.label.map_or(command.file, |at| here.parsed.labels[at].name.as_str());
                let label = command.label.map(|at| &here.parsed.labels[at]);
                let default =
                    here.parsed.default_at.as_ref().map_or((here.path, 1), |(file, line)| (file.as_str(), *line));
                let (file, line) = label.map_or(default, |label| (label.file.as_str(), label.line));
                let mut entry = start::entry(Loader::Syslinux, file, line, title);
                self.fill(&mut entry, here, command);
                entry
            }
        };
        ends.entries.push(entry);
    }

    /// `menu.c32` and `vesamenu.c32`: com32/menu/menumain.c.
    fn menu(&mut self, here: &Here<'_>, args: &[&str], ends: &mut Ends) {
        let paths: Vec<_> = args
            .iter()
            .map(|path| if *path == "~" { here.path.to_owned() } else { absolute(here.base, path) })
            .collect();
        let other = match paths.is_empty() {
            true => None,
            false => match self.parsed(&paths, here.base, here.depth + 1, ends, true) {
                Some(parsed) => Some(parsed),
                None => return,
            },
        };
        let parsed = other.as_ref().unwrap_or(here.parsed);
        let path = paths.first().map_or(here.path, String::as_str);
        let here = Here { parsed, base: here.base, path, depth: here.depth + 1 };
        self.list(&here);
        // Only beside `UI` does `DEFAULT` name a row.
        let named = parsed.default.as_deref().filter(|_| parsed.ui.is_some()).and_then(|default| parsed.find(default));
        let named = named.and_then(|label| parsed.row_of(label));
        let (menu, default) = named.map_or((parsed.start, parsed.menus[parsed.start].default), |named| named);
        let menu = &parsed.menus[menu];
        let shown = selectable(menu, default);
        let Some(row) = menu.rows.get(shown) else {
            return ends.lost(format!("the menu of {path} has no entry"));
        };
        // Where the default cannot be chosen, the bar moves on, and that ends the time.
        let timeout = if shown == default { menu.timeout } else { 0 };
        if parsed.shift_key {
            return self.row(&here, row, ends);
        }
        let wait = waits(timeout, parsed.total_timeout);
        ends.waits.push(wait);
        match (&menu.on_timeout, wait) {
            (Some(line), Wait::After { .. }) => self.run(&here, line, ends),
            _ => self.row(&here, row, ends),
        }
    }

    fn row(&mut self, here: &Here<'_>, row: &Row, ends: &mut Ends) {
        match (&row.action, row.label) {
            (Action::Boot, Some(at)) => {
                let command = Command { label: Some(at), ..command_of(&here.parsed.labels[at], "") };
                self.execute(here, &command, ends);
            }
            _ => ends.lost(format!("the menu's default is {:?}, which boots nothing by itself", row.title)),
        }
    }

    /// `gfxboot.c32`: it shows the labels, and boots `DEFAULT` when `TIMEOUT` is over.
    fn graphical(&mut self, here: &Here<'_>, ends: &mut Ends) {
        let parsed = here.parsed;
        ends.waits.push(waits(parsed.timeout, parsed.total_timeout));
        let named = parsed.default.as_deref().and_then(|default| parsed.find(default));
        match named.or_else(|| (!parsed.labels.is_empty()).then_some(0)) {
            Some(at) => {
                let command = Command { label: Some(at), ..command_of(&parsed.labels[at], "") };
                self.execute(&Here { depth: here.depth + 1, ..*here }, &command, ends);
            }
            None => ends.lost(format!("{} has no label", here.path)),
        }
    }
}

fn waits(timeout: u32, total: u32) -> Wait {
    match (timeout, total) {
        (0, 0) => Wait::Key,
        (0, tenths) | (tenths, 0) => Wait::After { tenths },
        (one, other) => Wait::After { tenths: one.min(other) },
    }
}

/// The row that the bar comes to rest on.
fn selectable(menu: &Menu, default: usize) -> usize {
    let disabled = |at: usize| menu.rows.get(at).is_some_and(|row| row.action == Action::Disabled);
    let mut at = default;
    if at == 0 {
        at = (0..menu.rows.len()).find(|at| !disabled(*at)).unwrap_or(0);
    }
    if at + 1 >= menu.rows.len() {
        at = (0..menu.rows.len()).rev().find(|at| !disabled(*at)).unwrap_or(0);
    }
    at
}
