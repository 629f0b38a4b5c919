//! `blscfg`: entries of the Boot Loader Specification as GRUB shows them.
//!
//! Source: grub-core/commands/bls.c of Fedora's GRUB, and blsuki.c of GRUB 2.14, which differ but little. Variables in an entry
//! get their values when it is made; one that is not set is nothing.

use super::lexer::{Part, Word};
use super::parser::Command;
use super::value::{Value, known, shown};
use super::world::{At, Item, World};
use super::{Found, Grub};
use crate::medium::loader::version;
use std::rc::Rc;

/// Where the entries lie, the first that has one, where no `blsdir` says so.
const FOLDERS: [&str; 2] = ["/loader/entries", "/boot/loader/entries"];

impl Grub<'_, '_> {
    /// Add the entries to the menu.
    pub(super) fn blscfg(&mut self, world: &mut World, line: usize, args: &[String], at: &At) {
        let mut given = None;
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-p" | "--path" => given = words.next().cloned(),
                option if option.starts_with("--path=") => given = Some(option["--path=".len()..].to_owned()),
                "-f" | "--enable-fallback" => {}
                _ => world.unsure(|| format!("{}:{line}: which entries blscfg shows is not known", at.file)),
            }
        }
        let named = given.or_else(|| world.text("blsdir").filter(|folder| !folder.is_empty()));
        let folders: Vec<_> = named.into_iter().chain(FOLDERS.map(str::to_owned)).collect();
        for folder in &folders {
            let pattern = known(folder).map(|folder| format!("{}/*.conf", folder.trim_end_matches('/')));
            let located = pattern.as_deref().map(|pattern| self.located(world, pattern));
            let Some(Ok(_)) = located else {
                return world.unsure(|| format!("{}:{line}: where blscfg looks is not known", at.file));
            };
            let mut names = self.names_like(world, pattern.as_deref().unwrap_or_default());
            // The newest comes first.
            names.sort_by(|a, b| version::compare(b, a));
            if names.is_empty() {
                continue;
            }
            for name in names {
                if !self.reading.spend(&at.file, line, super::LOOK) {
                    return;
                }
                self.bls_entry(world, &name, at);
            }
            return;
        }
    }

    fn bls_entry(&mut self, world: &mut World, path: &str, from: &At) {
        let Found::At(place) = self.resolve(world, path) else { return };
        let file: Rc<str> = self.reading.name(&place).into();
        let Some(text) = self.reading.text(super::Loader::Grub, &place) else {
            return world.unsure(|| format!("{file} cannot be read"));
        };
        let mut entry = Entry::default();
        for (line, text) in (1..).zip(text.lines()) {
            let Some((key, value)) = text.trim().split_once(char::is_whitespace) else { continue };
            let value = super::value::clean(value.trim());
            match key {
                "title" => entry.title = Some(value),
                "linux" => entry.linux = Some((line, value)),
                "initrd" => entry.initrd.push(value),
                "options" => entry.options = format!("{} {value}", entry.options),
                "grub_arg" => entry.unrestricted |= value.contains("--unrestricted"),
                _ => {}
            }
        }
        let Some((line, linux)) = entry.linux else {
            return self.reading.problem(&file, 0, "blscfg leaves it out: it has no linux");
        };
        let initrd = entry.initrd.iter().flat_map(|value| words(world, value));
        let command = |name: &str, words: Vec<String>| {
            let all = std::iter::once(name.to_owned()).chain(words);
            Command::Simple { line, words: all.map(plain).collect(), block: None }
        };
        let mut load = words(world, &linux);
        load.extend(words(world, &entry.options));
        let initrd: Vec<_> = initrd.collect();
        let mut body = vec![command("linux", load)];
        if !initrd.is_empty() {
            body.push(command("initrd", initrd));
        }
        let name = place.path.rsplit('/').next().unwrap_or_default();
        world.menu.push(Rc::new(Item {
            title: entry.title.unwrap_or_else(|| shown(&linux)),
            id: Some(name.trim_end_matches(".conf").to_owned()),
            body: Rc::new(body),
            params: Vec::new(),
            submenu: false,
            hidden: false,
            unrestricted: entry.unrestricted,
            at: At { place, file, depth: from.depth },
            line,
        }));
    }
}

/// What an entry's file says.
#[derive(Default)]
struct Entry {
    title: Option<String>,
    linux: Option<(usize, String)>,
    initrd: Vec<String>,
    options: String,
    unrestricted: bool,
}

fn plain(text: String) -> Word {
    vec![Part::Text { text, quoted: true }]
}

/// The words of a value; `$name` and `${name}` are variables.
fn words(world: &World, value: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once('$') {
        text.push_str(before);
        let in_braces = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = in_braces.unwrap_or_else(|| {
            let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
            behind.split_at(end)
        });
        match world.value(name).all() {
            [None] => {}
            [Some(value)] => text.push_str(value),
            _ => text.push_str(Value::unknown(name).all()[0].as_deref().unwrap_or_default()),
        }
        rest = after;
    }
    text.push_str(rest);
    text.split_whitespace().map(str::to_owned).collect()
}
