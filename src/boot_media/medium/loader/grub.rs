//! GRUB configurations: menu entries, submenus, and the files that they lead to.

use super::script::{Part, Statement, Word, statements};
use super::{DEEPEST, LOOK, Loader, LoaderEntry, Place, Reading, clean, folder};
use std::collections::HashMap;
use std::rc::Rc;

/// Submenus within submenus, and blocks within blocks.
const DEEPEST_MENU: usize = 32;
const DEEPEST_BLOCK: usize = 256;
/// The longest word once its variables have values; a kernel's whole command line has 2048 bytes.
const LONGEST_WORD: usize = 8 << 10;

/// Read a configuration that GRUB looks for by its name.
pub(super) fn read(reading: &mut Reading<'_>, place: Place) {
    let mut menu = Menu::new(&place, HashMap::new());
    run(reading, &mut menu, &place, 0);
    menu.close(reading, true);
}

/// A step on the way to an entry.
#[derive(Clone, Debug)]
struct Step {
    index: usize,
    title: String,
    id: Option<String>,
}

/// A menu: what `configfile` starts anew, and `source` adds to.
struct Menu {
    variables: HashMap<String, String>,
    /// Whether a `search` or `set root` has chosen a file system that is not the configuration's own.
    searched: bool,
    /// Where the entries go: the submenus that are open.
    open: Vec<Rc<Step>>,
    /// How many entries each open level has.
    counts: Vec<usize>,
    entries: Vec<(Vec<Rc<Step>>, LoaderEntry)>,
}

/// A block that is open.
enum Block {
    Entry(Vec<Rc<Step>>, LoaderEntry),
    Submenu,
    Other,
}

impl Menu {
    fn new(place: &Place, mut variables: HashMap<String, String>) -> Self {
        variables.entry("prefix".into()).or_insert_with(|| folder(&place.path).to_owned());
        Self { variables, searched: false, open: Vec::new(), counts: vec![0], entries: Vec::new() }
    }

    /// The next step on the level that is open.
    fn step(&mut self, words: &[String]) -> Rc<Step> {
        let count = self.counts.last_mut();
        let index = count.map_or(0, |count| {
            *count += 1;
            *count - 1
        });
        Rc::new(Step { index, title: title(words), id: option(words, "--id") })
    }

    fn expand(&self, word: &Word) -> String {
        let mut text = String::new();
        for part in word {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(name) => match self.variables.get(name) {
                    Some(value) => text.push_str(value),
                    None => text.push_str(&format!("${{{name}}}")),
                },
            }
            while text.len() > LONGEST_WORD {
                text.pop();
            }
        }
        text
    }

    fn set(&mut self, assignment: &str, on_condition: bool) {
        let Some((name, value)) = assignment.split_once('=') else { return };
        self.searched |= name == "root";
        // On one side of an `if` a value that nobody knows says less than the one before.
        if !(on_condition && value.contains("${")) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Hand the entries over; the default is marked if this menu is the one that is booted into.
    fn close(self, reading: &mut Reading<'_>, marked: bool) {
        let wanted = self.variables.get("default").map_or("0", String::as_str);
        let wanted: Vec<_> = wanted.split('>').collect();
        let is = |(step, wanted): (&Rc<Step>, &&str)| {
            step.index.to_string() == **wanted || step.title == **wanted || step.id.as_deref() == Some(wanted)
        };
        let leads = |steps: &[Rc<Step>]| steps.len() >= wanted.len() && steps.iter().zip(&wanted).all(is);
        // What GRUB does with a default that is not there: the first entry.
        let chosen = self.entries.iter().position(|(steps, _)| leads(steps)).unwrap_or(0);
        let entries = self.entries.into_iter().enumerate();
        reading.found.entries.extend(entries.map(|(n, (_, mut entry))| {
            entry.default = marked && n == chosen;
            entry
        }));
    }
}

/// Run through a file.
fn run(reading: &mut Reading<'_>, menu: &mut Menu, place: &Place, depth: usize) {
    let Some((file, text)) = reading.open(Loader::Grub, place) else { return };
    let mut script = Script { reading, menu, place, file, depth, blocks: Vec::new(), conditions: 0 };
    script.run(&text);
    // A block that the file does not close ends with it.
    while !script.blocks.is_empty() {
        script.close();
    }
}

/// A file that is being read.
struct Script<'r, 's, 'm> {
    reading: &'r mut Reading<'s>,
    menu: &'m mut Menu,
    place: &'m Place,
    file: String,
    depth: usize,
    blocks: Vec<Block>,
    /// How many `if`, `while`, … are open.
    conditions: usize,
}

impl Script<'_, '_, '_> {
    fn run(&mut self, text: &str) {
        for statement in statements(text) {
            match statement {
                Statement::Close => self.close(),
                Statement::Command { line, words, opens } => {
                    let mut expanded = Vec::new();
                    for word in &words {
                        let word = self.menu.expand(word);
                        if !self.reading.spend(&self.file, line, word.len() + size_of::<LoaderEntry>()) {
                            return;
                        }
                        expanded.push(word);
                    }
                    self.command(line, &expanded, opens);
                    if self.blocks.len() > DEEPEST_BLOCK {
                        return self.reading.problem(&self.file, line, "too many blocks within blocks to be read");
                    }
                }
            }
        }
    }

    fn command(&mut self, line: usize, words: &[String], opens: bool) {
        let keywords = words.iter().take_while(|word| matches!(word.as_str(), "then" | "else" | "do")).count();
        let words = &words[keywords..];
        let Some((name, args)) = words.split_first() else {
            if opens {
                self.blocks.push(Block::Other);
            }
            return;
        };
        match name.as_str() {
            "if" | "while" | "until" | "for" => self.conditions += 1,
            "fi" | "done" => self.conditions = self.conditions.saturating_sub(1),
            "menuentry" => return self.menuentry(line, args),
            "submenu" if self.menu.open.len() < DEEPEST_MENU => {
                let step = self.menu.step(args);
                self.menu.open.push(step);
                self.menu.counts.push(0);
                return self.blocks.push(Block::Submenu);
            }
            "set" => args.iter().for_each(|arg| self.menu.set(arg, self.conditions > 0)),
            "search" | "search.file" | "search.fs_label" | "search.fs_uuid" => self.menu.searched = true,
            "source" | "." | "extract_entries_source" => self.follow(line, args, false),
            "configfile" | "normal" | "extract_entries_configfile" => self.follow(line, args, true),
            "serial" => self.reading.serial(&self.file, line, &words.join(" ")),
            "terminal_output" | "terminal_input" | "terminal" if args.iter().any(|arg| arg.starts_with("serial")) => {
                self.reading.serial(&self.file, line, &words.join(" "));
            }
            assignment if args.is_empty() && is_assignment(assignment) => {
                self.menu.set(assignment, self.conditions > 0);
            }
            command => self.load(line, command, args),
        }
        if opens {
            self.blocks.push(Block::Other);
        }
    }

    fn menuentry(&mut self, line: usize, args: &[String]) {
        let step = self.menu.step(args);
        let entry = self.entry(line, step.title.clone());
        let steps = [self.menu.open.as_slice(), &[step]].concat();
        self.blocks.push(Block::Entry(steps, entry));
    }

    fn entry(&self, line: usize, title: String) -> LoaderEntry {
        LoaderEntry {
            loader: Loader::Grub,
            file: self.file.clone(),
            line,
            title,
            command: String::new(),
            kernel: None,
            initrd: Vec::new(),
            args: String::new(),
            default: false,
        }
    }

    /// A command that loads something, in an entry; or without one, in a configuration that boots without a menu.
    fn load(&mut self, line: usize, command: &str, args: &[String]) {
        let is_initrd = command.starts_with("initrd");
        let kernels = ["linux", "linux16", "linuxefi", "multiboot", "multiboot2", "chainloader", "kfreebsd", "knetbsd"];
        if !is_initrd && !kernels.contains(&command) {
            return;
        }
        let in_entry = self.blocks.iter().rposition(|block| matches!(block, Block::Entry(..)));
        if in_entry.is_none() && !is_initrd {
            self.menuentry(line, &["(without a menu)".to_owned()]);
            // It has no braces; it ends with the file.
            let entry = self.blocks.pop();
            self.blocks.splice(0..0, entry);
        }
        let Some(Block::Entry(_, entry)) = self.blocks.get_mut(in_entry.unwrap_or(0)) else { return };
        let paths: Vec<_> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
        if is_initrd {
            entry.initrd.extend(paths.iter().map(|path| without_device(path)));
        } else if let Some((kernel, rest)) = paths.split_first() {
            let rest: Vec<_> = rest.iter().map(|arg| arg.as_str()).collect();
            entry.command = command.to_owned();
            entry.kernel = Some(without_device(kernel));
            entry.args = rest.join(" ");
            entry.line = line;
        }
    }

    fn close(&mut self) {
        match self.blocks.pop() {
            Some(Block::Entry(steps, entry)) => self.menu.entries.push((steps, entry)),
            Some(Block::Submenu) => {
                self.menu.open.pop();
                self.menu.counts.pop();
            }
            Some(Block::Other) | None => {}
        }
    }

    /// Go on in another file: in the same menu, or in one of its own.
    fn follow(&mut self, line: usize, args: &[String], own_menu: bool) {
        let Some(path) = args.first() else { return };
        if !self.reading.spend(&self.file, line, LOOK) {
            return;
        }
        let Some(place) = self.resolve(path) else {
            // What is looked for on a condition may be missing; what only the running loader knows cannot be judged.
            if self.conditions == 0 && !path.contains("${") {
                self.reading.problem(&self.file, line, format!("{path} is not in the image"));
            }
            return;
        };
        if self.depth >= DEEPEST {
            return self.reading.problem(&self.file, line, format!("{path} lies too deep to be followed"));
        }
        if !own_menu {
            return run(self.reading, self.menu, &place, self.depth + 1);
        }
        // An entry that opens another menu is chosen by somebody: that menu's default is not what boots by itself.
        let by_itself = !self.blocks.iter().any(|block| matches!(block, Block::Entry(..)));
        let mut menu = Menu::new(&place, self.menu.variables.clone());
        menu.searched = self.menu.searched;
        menu.variables.remove("default");
        run(self.reading, &mut menu, &place, self.depth + 1);
        menu.close(self.reading, by_itself);
    }

    /// The file that a path means: on the file system that was chosen, or else wherever it is.
    fn resolve(&self, path: &str) -> Option<Place> {
        let named = path.starts_with('(') || self.menu.searched;
        let plain = without_device(path);
        let plain = if plain.starts_with('/') { plain } else { format!("{}/{plain}", folder(&self.place.path)) };
        let order = if named { [0, self.place.volume] } else { [self.place.volume, 0] };
        order.iter().find_map(|&volume| self.reading.shelf.find(&Place { volume, path: clean(&plain) }))
    }
}

/// A path without the device in front of it: `($root)/boot/grub` is `/boot/grub`.
fn without_device(path: &str) -> String {
    let rest = path.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(path, |(_, rest)| rest);
    rest.to_owned()
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The title of an entry: the first word that is neither an option nor an option's value.
fn title(words: &[String]) -> String {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--class" | "--users" | "--hotkey" | "--id" | "--source" => {
                words.next();
            }
            option if option.starts_with("--") => {}
            title => return title.to_owned(),
        }
    }
    String::new()
}

/// The value of an option, as `--id x` or `--id=x`.
fn option(words: &[String], name: &str) -> Option<String> {
    let at = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    at.cloned().or_else(|| words.iter().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned())))
}
