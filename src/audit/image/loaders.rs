//! The boot paths of an image, and the entries of their menus.

use crate::audit::outcome::Seen;
use crate::audit::probe::Entries;
use crate::form::pattern::Pattern;
use boot_media::medium::{BootPath, Boots, Chosen, Form, LoaderEntry, Loaders, Medium, Partition, Wait};

/// What speaks against a condition: what was seen, and what could not be.
#[derive(Default)]
struct Against {
    seen: Vec<String>,
    not_known: Vec<String>,
    /// How many entries were judged.
    judged: usize,
}

impl Against {
    fn end(self, loaders: &Loaders, observed: String) -> Seen {
        let all = [self.seen.as_slice(), self.not_known.as_slice()].concat();
        let evidence = format!("{}\n\n{}", all.join("\n"), evidence(loaders));
        let more = |all: &[String]| match all {
            [one] => one.clone(),
            [one, rest @ ..] => format!("{one}; {} more", rest.len()),
            [] => String::new(),
        };
        match (self.seen.is_empty(), self.not_known.is_empty()) {
            (false, _) => Seen::fails(observed, more(&self.seen)),
            (true, false) => Seen { observed, ..Seen::unknown(more(&self.not_known)) },
            (true, true) => Seen::holds(observed),
        }
        .in_text(evidence)
    }
}

fn evidence(loaders: &Loaders) -> String {
    let paths = loaders.paths.iter().map(ToString::to_string);
    let entry = |entry: &LoaderEntry| {
        let kind = if entry.boots_linux() { String::new() } else { format!(" ({:?})", entry.boots) };
        format!("{}: {:?}{kind}: {}", place(entry), entry.path(), entry.args)
    };
    let problems = loaders.problems.iter().map(ToString::to_string);
    let parts: [Vec<String>; 3] = [paths.collect(), loaders.entries.iter().map(entry).collect(), problems.collect()];
    parts.map(|part| part.join("\n")).join("\n\n")
}

fn place(entry: &LoaderEntry) -> String {
    format!("{}:{}", entry.file, entry.line)
}

/// Which entries a condition is about.
pub(super) struct Which<'p> {
    pub(super) entries: Entries,
    /// Titles or ids of those that it is not about; `*` is any text.
    pub(super) except: &'p [String],
}

impl Which<'_> {
    fn leaves_out(&self, entry: &LoaderEntry) -> bool {
        let options = glob::MatchOptions { case_sensitive: false, ..glob::MatchOptions::new() };
        let is = |pattern: &glob::Pattern, text: &str| {
            pattern.as_str().eq_ignore_ascii_case(text) || pattern.matches_with(text, options)
        };
        self.except.iter().filter_map(|text| glob::Pattern::new(text).ok()).any(|pattern| {
            is(&pattern, &entry.title)
                || is(&pattern, &entry.path())
                || entry.id.as_deref().is_some_and(|id| is(&pattern, id))
        })
    }

    /// Go through the entries; a path whose menu or default is not known speaks against every condition.
    fn each(&self, medium: &Medium, loaders: &Loaders, judge: &mut dyn FnMut(&LoaderEntry, &mut Against)) -> Against {
        let mut against = Against::default();
        let mut done: Vec<&LoaderEntry> = Vec::new();
        for path in &loaders.paths {
            self.path_is_known(medium, path, &mut against);
            let defaults: Vec<_> = path.defaults().collect();
            let entries = match self.entries {
                Entries::All => path.entries.iter().collect(),
                Entries::Default => defaults,
            };
            for entry in entries {
                if done.contains(&entry) || self.leaves_out(entry) {
                    continue;
                }
                done.push(entry);
                match entry.boots {
                    Boots::Linux => {
                        against.judged += 1;
                        judge(entry, &mut against);
                    }
                    Boots::NotKnown => {
                        against.not_known.push(format!(
                            "what {} ({:?}) starts is not known",
                            place(entry),
                            entry.path()
                        ));
                    }
                    other if self.entries == Entries::Default => {
                        against.seen.push(format!(
                            "{}: by itself {:?} boots, which is no Linux ({other:?})",
                            path.name(),
                            entry.path()
                        ));
                    }
                    _ => {}
                }
            }
        }
        if against.judged == 0 && against.seen.is_empty() && against.not_known.is_empty() {
            let what = if self.entries == Entries::All { "no entry" } else { "no default entry" };
            let configs: Vec<_> = loaders.configs.iter().map(|config| config.file.as_str()).collect();
            let read = if configs.is_empty() { "no configuration was found".to_owned() } else { configs.join(", ") };
            against.seen.push(format!("{what} is left that starts a Linux kernel: {read}"));
        }
        against
    }

    fn path_is_known(&self, medium: &Medium, path: &BootPath, against: &mut Against) {
        match &path.chosen {
            Chosen::NotFound(why) if may_lie_elsewhere(medium, path) => {
                against.not_known.push(format!("{}: {why}, but not all of the image can be read", path.name()));
            }
            Chosen::NotKnown { why, .. } => against.not_known.push(format!("{}: {why}", path.name())),
            Chosen::NotFound(why) if self.entries == Entries::Default || path.entries.is_empty() => {
                against.seen.push(format!("{}: nothing boots by itself: {why}", path.name()));
            }
            _ => {}
        }
    }
}

/// Whether a loader's configuration may lie where nobody here can look.
fn may_lie_elsewhere(medium: &Medium, path: &BootPath) -> bool {
    medium.form() != Form::Uki && path.configs.is_empty() && medium.unread().next().is_some()
}

fn observed(loaders: &Loaders, against: &Against) -> String {
    let some = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let entries = some(against.judged, "entry", "entries");
    format!("{entries} in {}", some(loaders.configs.len(), "file", "files"))
}

/// The boot loaders' entries have the arguments, and have none that they must not.
pub(super) fn args(medium: &Medium, which: &Which<'_>, expect: &[String], forbid: &[String]) -> Seen {
    let loaders = medium.loaders();
    let against = which.each(medium, &loaders, &mut |entry, against| {
        let here = format!("{} ({:?})", place(entry), entry.path());
        let missing: Vec<_> = expect.iter().filter(|arg| !has_arg(entry, arg)).map(String::as_str).collect();
        let there: Vec<_> = forbid.iter().filter(|arg| has_arg(entry, arg)).map(String::as_str).collect();
        if !there.is_empty() {
            against.seen.push(format!("{here} has {}", there.join(" ")));
        }
        let unknown: Vec<_> = entry.unknown.iter().map(|name| format!("${{{name}}}")).collect();
        if !missing.is_empty() && unknown.is_empty() {
            against.seen.push(format!("{here} lacks {}", missing.join(" ")));
        } else if !missing.is_empty() || (!forbid.is_empty() && !unknown.is_empty()) {
            let wanted = [missing, forbid.iter().map(String::as_str).collect()].concat();
            against.not_known.push(format!(
                "whether {here} has {} is not known: what {} is, the image does not say",
                wanted.join(" "),
                unknown.join(" ")
            ));
        }
    });
    let observed = observed(&loaders, &against);
    against.end(&loaders, observed)
}

/// Whether a word of the entry's command line is the argument, in which `*` is any text.
fn has_arg(entry: &LoaderEntry, arg: &str) -> bool {
    match glob::Pattern::new(arg) {
        Ok(pattern) => entry.args.split_whitespace().any(|word| pattern.matches(word)),
        Err(_) => entry.has_arg(arg),
    }
}

/// Each boot path boots one entry by itself, in time, and the one that is meant.
pub(super) fn by_itself(medium: &Medium, title: Option<&Pattern>, within_s: Option<u64>) -> Seen {
    let loaders = medium.loaders();
    let mut against = Against::default();
    for path in &loaders.paths {
        let name = path.name();
        match &path.chosen {
            Chosen::NotFound(why) if may_lie_elsewhere(medium, path) => {
                against.not_known.push(format!("{name}: {why}, but not all of the image can be read"));
            }
            Chosen::NotFound(why) => against.seen.push(format!("{name}: nothing boots by itself: {why}")),
            Chosen::NotKnown { why, .. } => against.not_known.push(format!("{name}: {why}")),
            Chosen::Entries(_) => {
                path.defaults().for_each(|entry| starts_something(entry, &name, &mut against));
                let wrong = path.defaults().find(|entry| title.is_some_and(|title| !title.is_in(&entry.path())));
                if let (Some(entry), Some(title)) = (wrong, title) {
                    against.seen.push(format!("{name}: {:?} boots, and {title} is expected", entry.path()));
                }
            }
        }
        match (path.wait, within_s) {
            (Wait::After { tenths }, Some(limit)) if u64::from(tenths) > limit.saturating_mul(10) => {
                against.seen.push(format!("{name}: it boots {}, and {limit} s are allowed", path.wait));
            }
            (Wait::Key | Wait::Password, _) => against.seen.push(format!("{name}: it {}", path.wait)),
            (Wait::NotKnown, _) if matches!(path.chosen, Chosen::Entries(_)) => {
                against.not_known.push(format!("{name}: how long it waits is not known"));
            }
            _ => {}
        }
    }
    let observed: Vec<_> = loaders
        .paths
        .iter()
        .map(|path| {
            let titles: Vec<_> = path.defaults().map(|entry| format!("{:?}", entry.path())).collect();
            format!("{}: {} {}", path.name(), titles.join(" or "), path.wait)
        })
        .collect();
    against.end(&loaders, observed.join("; "))
}

/// An entry that is a default and starts nothing boots nothing. Whether what it starts is there, `loader-files` asks.
fn starts_something(entry: &LoaderEntry, path: &str, against: &mut Against) {
    match entry.boots {
        Boots::Nothing | Boots::Menu => {
            against.seen.push(format!("{path}: {:?} is the default, and starts nothing", entry.path()))
        }
        Boots::NotKnown => against.not_known.push(format!("{path}: what {:?} starts is not known", entry.path())),
        _ => {}
    }
}

/// What the entries load is in the image, and so is every file that a configuration leads to.
pub(super) fn files(medium: &Medium, which: &Which<'_>) -> Seen {
    let loaders = medium.loaders();
    let mut against = which.each(medium, &loaders, &mut |_, _| {});
    // Not only Linux has files; but an image of which no entry starts it has been told above.
    let others = loaders.paths.iter().flat_map(|path| match which.entries {
        Entries::All => path.entries.iter().collect::<Vec<_>>(),
        Entries::Default => path.defaults().collect(),
    });
    let mut done: Vec<&LoaderEntry> = Vec::new();
    for entry in others {
        if done.contains(&entry) || which.leaves_out(entry) {
            continue;
        }
        done.push(entry);
        let here = format!("{} ({:?})", place(entry), entry.path());
        if !entry.missing.is_empty() {
            against.seen.push(format!("{here} loads {}, and its loader does not find that", entry.missing.join(", ")));
        }
        if !entry.unsure.is_empty() {
            against.not_known.push(format!("whether {here} finds {} is not known", entry.unsure.join(", ")));
        }
    }
    against.seen.extend(loaders.problems.iter().map(ToString::to_string));
    let observed = observed(&loaders, &against);
    against.end(&loaders, observed)
}

/// Labels and UUIDs that arguments and scripts look for are those of the image.
pub(super) fn labels(medium: &Medium, which: &Which<'_>) -> Seen {
    let loaders = medium.loaders();
    let (labels, uuids) = (medium.labels(), medium.uuids());
    let of = |tag: fn(&Partition) -> &Option<String>| -> Vec<String> {
        medium.partitions().iter().filter_map(|one| tag(one).clone()).collect()
    };
    let (part_labels, part_uuids) = (of(|one| &one.label), of(|one| &one.uuid));
    let mut named = 0;
    let mut against = which.each(medium, &loaders, &mut |entry, against| {
        for (kind, wanted) in sought(&entry.args) {
            named += 1;
            let here = format!("{} ({:?})", place(entry), entry.path());
            let (has, exact) = match kind {
                "label" => (&labels, true),
                "PARTLABEL" => (&part_labels, true),
                "PARTUUID" => (&part_uuids, false),
                _ => (&uuids, false),
            };
            if has.contains(&wanted) || (!exact && has.iter().any(|one| one.eq_ignore_ascii_case(&wanted))) {
                continue;
            }
            match wanted.contains("${") {
                true => against.not_known.push(format!("which {kind} {here} looks for is not known: {wanted}")),
                false => against
                    .seen
                    .push(format!("{here} looks for the {kind} {wanted:?}, and the image has {}", quoted(has))),
            }
        }
    });
    let searches = loaders.paths.iter().flat_map(|path| &path.searches);
    for line in searches {
        let line = line.to_string();
        if !against.seen.contains(&line) {
            against.seen.push(line);
        }
    }
    against.end(&loaders, format!("{named} looked for, {}", quoted(&labels)))
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The labels and UUIDs that a command line looks for: `root=LABEL=X`, `root=live:CDLABEL=X`, `inst.stage2=hd:LABEL=X`,
/// `archisolabel=X`, `live-media=/dev/disk/by-label/X` (dracut.cmdline(7), live-boot(7), mkarchiso, Anaconda's boot options).
fn sought(args: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for word in args.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else { continue };
        let mut add = |kind, text: &str| found.push((kind, unescaped(text)));
        match key {
            "archisolabel" | "misolabel" | "CDLABEL" => add("label", value),
            "archisosearchuuid" => add("UUID", value),
            _ => {
                let parts = value.split([':', ',']);
                for part in parts {
                    let by = |name: &str| part.strip_prefix(name);
                    if let Some(label) = by("LABEL=")
                        .or_else(|| by("CDLABEL="))
                        .or_else(|| by("label="))
                        .or_else(|| by("/dev/disk/by-label/"))
                    {
                        add("label", label);
                    } else if let Some(uuid) = by("UUID=").or_else(|| by("/dev/disk/by-uuid/")) {
                        add("UUID", uuid);
                    } else if let Some(label) = by("PARTLABEL=").or_else(|| by("/dev/disk/by-partlabel/")) {
                        add("PARTLABEL", label);
                    } else if let Some(uuid) = by("PARTUUID=").or_else(|| by("/dev/disk/by-partuuid/")) {
                        // `PARTUUID=…/PARTNROFF=1` is another partition of the same disk.
                        add("PARTUUID", uuid.split('/').next().unwrap_or(uuid));
                    }
                }
            }
        }
    }
    found
}

/// `\x20` is a space, as udev and dracut write it.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.trim_matches(['"', '\'']);
    while let Some((before, behind)) = rest.split_once("\\x") {
        plain.push_str(before);
        let code = behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &behind[2..];
            }
            None => {
                plain.push_str("\\x");
                rest = behind;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_that_a_command_line_looks_for_are_found() {
        let args = "root=live:CDLABEL=My\\x20Live ro inst.stage2=hd:LABEL=Srv:/x archisolabel=ARCH root=LABEL=a live-media=/dev/disk/by-label/b archisosearchuuid=2026-01-01-00-00-00-00 x=PARTLABEL=no quiet";
        let found = sought(args);
        let labels: Vec<_> = found.iter().filter(|(kind, _)| *kind == "label").map(|(_, name)| name.as_str()).collect();
        assert_eq!(labels, ["My Live", "Srv", "ARCH", "a", "b"]);
        assert_eq!(found.iter().filter(|(kind, _)| *kind == "UUID").count(), 1);
    }
}
