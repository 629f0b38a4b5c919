//! Configurations of ISOLINUX, SYSLINUX and EXTLINUX.
//!
//! Format: the Syslinux wiki's SYSLINUX, Config and Menu pages. Keywords have no case; a path is relative to the
//! folder of the first configuration, whichever file it is written in.

use super::{DEEPEST, LOOK, Loader, LoaderEntry, Place, Reading, clean, folder};

/// Read a configuration that the loader looks for by its name.
pub(super) fn read(reading: &mut Reading<'_>, place: Place) {
    menu(reading, &place, true, 0);
}

/// Read a configuration and what it includes; the default is marked if the loader gets there by itself.
fn menu(reading: &mut Reading<'_>, place: &Place, marked: bool, depth: usize) {
    let mut menu = Menu { volume: place.volume, base: folder(&place.path).to_owned(), ..Menu::default() };
    menu.file(reading, place, depth);
    menu.finish_label(reading);
    menu.without_label();
    let chosen = menu.chosen();
    reading.found.entries.extend(menu.labels.into_iter().enumerate().map(|(n, (_, mut entry))| {
        entry.default = marked && chosen == Some(n);
        entry
    }));
    for (file, line, path) in menu.configs {
        if !reading.spend(&file, line, LOOK) {
            return;
        }
        match reading.shelf.find(&path) {
            Some(place) if depth < DEEPEST => self::menu(reading, &place, false, depth + 1),
            Some(_) => reading.problem(&file, line, format!("{} lies too deep to be followed", path.path)),
            None => reading.problem(&file, line, format!("{} is not in the image", path.path)),
        }
    }
}

#[derive(Default)]
struct Menu {
    volume: usize,
    /// The folder that paths are relative to.
    base: String,
    /// The label that is being read.
    label: Option<Label>,
    labels: Vec<(String, LoaderEntry)>,
    /// `APPEND` before the first label.
    append: Option<String>,
    default: Option<(String, usize, String)>,
    on_timeout: Option<String>,
    menu_default: Option<usize>,
    /// Other configurations that entries lead to: file, line, path.
    configs: Vec<(String, usize, Place)>,
}

/// A label that is being read.
struct Label {
    name: String,
    entry: LoaderEntry,
    append: Option<String>,
    /// Options that stand behind the kernel.
    options: String,
    config: Option<(usize, String)>,
    is_default: bool,
}

impl Menu {
    fn file(&mut self, reading: &mut Reading<'_>, place: &Place, depth: usize) {
        let Some((file, text)) = reading.open(Loader::Syslinux, place) else { return };
        for (line, text) in (1..).zip(text.lines()) {
            let (word, rest) = split(text);
            match (word.to_ascii_lowercase().as_str(), rest) {
                ("include", path) => self.include(reading, (&file, line), path, depth),
                ("menu", rest) => {
                    let (word, rest) = split(rest);
                    match word.to_ascii_lowercase().as_str() {
                        "include" => self.include(reading, (&file, line), rest, depth),
                        word => self.menu_word(word, rest),
                    }
                }
                ("label", name) => {
                    self.finish_label(reading);
                    self.label = Some(Label::new(&file, line, name));
                }
                ("serial", _) => reading.serial(&file, line, text),
                ("default", rest) => self.default = Some((file.clone(), line, rest.to_owned())),
                ("ontimeout", rest) => self.on_timeout = Some(rest.to_owned()),
                (word, rest) => self.word(line, word, rest),
            }
        }
    }

    /// A keyword of a label, or one that holds for all labels.
    fn word(&mut self, line: usize, word: &str, rest: &str) {
        let base = self.base.clone();
        let Some(label) = &mut self.label else {
            if word == "append" {
                self.append = Some(rest.to_owned());
            }
            return;
        };
        match word {
            "kernel" | "linux" | "boot" | "bss" | "pxe" | "fdimage" | "com32" | "comboot" => {
                let (path, options) = split(rest);
                label.entry.command = command(word, path).to_owned();
                label.entry.kernel = Some(absolute(&base, path));
                label.options = options.to_owned();
                label.entry.line = line;
            }
            "localboot" => label.entry.command = "localboot".to_owned(),
            "initrd" => label.entry.initrd = rest.split(',').map(|path| absolute(&base, path.trim())).collect(),
            "append" => {
                label.append = Some(rest.to_owned());
                label.entry.line = line;
            }
            "config" => label.config = Some((line, split(rest).0.to_owned())),
            _ => {}
        }
    }

    fn menu_word(&mut self, word: &str, rest: &str) {
        let Some(label) = &mut self.label else { return };
        match word {
            // A caret marks the key that chooses the entry.
            "label" => label.entry.title = rest.replacen('^', "", 1),
            "default" => label.is_default = true,
            _ => {}
        }
    }

    fn include(&mut self, reading: &mut Reading<'_>, at: (&str, usize), rest: &str, depth: usize) {
        let (path, _) = split(rest);
        let wanted = self.place(path);
        if !reading.spend(at.0, at.1, LOOK) {
            return;
        }
        match reading.shelf.find(&wanted) {
            Some(place) if depth < DEEPEST => self.file(reading, &place, depth + 1),
            Some(_) => reading.problem(at.0, at.1, format!("{path} lies too deep to be followed")),
            None => reading.problem(at.0, at.1, format!("{} is not in the image", wanted.path)),
        }
    }

    fn place(&self, path: &str) -> Place {
        Place { volume: self.volume, path: absolute(&self.base, path) }
    }

    fn finish_label(&mut self, reading: &mut Reading<'_>) {
        let Some(mut label) = self.label.take() else { return };
        // What stands before the first label is said again with each.
        let text = self.append.as_ref().map_or(0, String::len) + size_of::<LoaderEntry>();
        if !reading.spend(&label.entry.file, label.entry.line, text) {
            return;
        }
        let append = label.append.take().or_else(|| self.append.clone()).unwrap_or_default();
        let append = if append.trim() == "-" { "" } else { append.trim() };
        label.entry.args = format!("{} {append}", label.options).trim().to_owned();
        if let Some((line, path)) = label.config {
            return self.configs.push((label.entry.file, line, self.place(&path)));
        }
        if label.entry.command == "com32" {
            // A menu of its own, as `KERNEL vesamenu.c32` with `APPEND other.cfg`.
            let configs =
                label.entry.args.split_whitespace().filter(|arg| arg.ends_with(".cfg") || arg.ends_with(".conf"));
            let configs: Vec<_> =
                configs.map(|arg| (label.entry.file.clone(), label.entry.line, self.place(arg))).collect();
            self.configs.extend(configs);
        }
        if label.entry.command.is_empty() && label.entry.kernel.is_none() {
            // Without a kernel, the label is the kernel's name.
            label.entry.command = "linux".to_owned();
            label.entry.kernel = Some(absolute(&self.base, &label.name));
        }
        if label.entry.initrd.is_empty() {
            label.entry.initrd = initrd_argument(&self.base, &label.entry.args);
        }
        if label.is_default {
            self.menu_default = Some(self.labels.len());
        }
        self.labels.push((label.name, label.entry));
    }

    /// `DEFAULT vmlinuz args` in a configuration that has no such label.
    fn without_label(&mut self) {
        let Some((file, line, text)) = &self.default else { return };
        let (kernel, options) = split(text);
        let known = self.labels.iter().any(|(name, _)| name == kernel);
        if known || !self.labels.is_empty() || kernel.is_empty() || command("kernel", kernel) != "linux" {
            return;
        }
        let mut label = Label::new(file, *line, kernel);
        label.entry.command = "linux".to_owned();
        label.entry.kernel = Some(absolute(&self.base, kernel));
        label.entry.args = format!("{options} {}", self.append.as_deref().unwrap_or_default()).trim().to_owned();
        label.entry.initrd = initrd_argument(&self.base, &label.entry.args);
        self.labels.push((label.name, label.entry));
    }

    /// Which label boots if nobody chooses.
    fn chosen(&self) -> Option<usize> {
        let by_name = |name: &str| {
            let name = split(name).0;
            self.labels.iter().position(|(label, _)| label.eq_ignore_ascii_case(name))
        };
        let on_timeout = self.on_timeout.as_deref().and_then(by_name);
        let default = || self.default.as_ref().and_then(|(_, _, name)| by_name(name));
        on_timeout.or(self.menu_default).or_else(default).or_else(|| (!self.labels.is_empty()).then_some(0))
    }
}

impl Label {
    fn new(file: &str, line: usize, name: &str) -> Self {
        let entry = LoaderEntry {
            loader: Loader::Syslinux,
            file: file.to_owned(),
            line,
            title: name.to_owned(),
            command: String::new(),
            kernel: None,
            initrd: Vec::new(),
            args: String::new(),
            default: false,
        };
        Self { name: name.to_owned(), entry, append: None, options: String::new(), config: None, is_default: false }
    }
}

/// What a keyword loads; `KERNEL` tells by the file's extension.
fn command<'a>(word: &'a str, path: &str) -> &'a str {
    match word {
        "kernel" | "boot" => match path.rsplit_once('.').map(|(_, ext)| ext.to_ascii_lowercase()).as_deref() {
            Some("c32") => "com32",
            Some("com" | "cbt") => "comboot",
            Some("bss" | "bin" | "bs") => "bss",
            Some("0") => "pxe",
            Some("img") => "fdimage",
            _ => "linux",
        },
        other => other,
    }
}

/// The RAM disks that a command line names.
fn initrd_argument(base: &str, args: &str) -> Vec<String> {
    let named = args.split_whitespace().find_map(|arg| arg.strip_prefix("initrd="));
    named.map(|list| list.split(',').map(|path| absolute(base, path)).collect()).unwrap_or_default()
}

fn absolute(base: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// The first word, and the rest without spaces around it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}
