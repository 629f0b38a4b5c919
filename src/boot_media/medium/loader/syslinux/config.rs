//! The language: `com32/menu/readconfig.c` and `com32/elflink/ldlinux/readconfig.c`, which agree but for what each makes of it.

use super::super::reading::{Place, Reading, Sees};
use super::{DEEPEST, Loader, absolute, split};
use crate::medium::loader::LOOK;

/// What a label loads, by the keyword that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) title: Option<String>,
    /// `kernel`, `linux`, `com32`, `config`, `localboot`, …
    pub(super) command: String,
    /// All that stands behind it.
    pub(super) kernel: String,
    /// `APPEND`, where the label has one.
    pub(super) append: Option<String>,
    pub(super) initrd: Option<String>,
    hidden: bool,
    is_default: bool,
    disabled: bool,
    action: Action,
}

/// What choosing a row of a menu does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    /// It boots the label.
    #[default]
    Boot,
    /// It opens the menu of this number.
    Menu(usize),
    /// It goes to the menu of this name.
    Goto(String),
    /// It goes to the menu above, or leaves the menus.
    Leave,
    /// It shows a text.
    Help,
    /// It cannot be chosen.
    Disabled,
}

/// A row of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) action: Action,
    /// The label, by its place among all.
    pub(super) label: Option<usize>,
}

/// A menu, or a submenu.
#[derive(Clone, Debug, Default)]
pub(super) struct Menu {
    pub(super) parent: Option<usize>,
    /// Its row in the menu above.
    row: usize,
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) rows: Vec<Row>,
    pub(super) default: usize,
    /// Tenths of a second; 0 is for ever.
    pub(super) timeout: u32,
    pub(super) on_timeout: Option<String>,
}

/// A configuration with all that it includes.
#[derive(Clone, Debug, Default)]
pub(super) struct Parsed {
    /// The labels that can be booted, in their order.
    pub(super) labels: Vec<Label>,
    /// The menus; the first is the top one.
    pub(super) menus: Vec<Menu>,
    pub(super) start: usize,
    pub(super) default: Option<String>,
    /// The file and the line of `DEFAULT`.
    pub(super) default_at: Option<(String, usize)>,
    pub(super) ui: Option<String>,
    pub(super) prompt: bool,
    pub(super) timeout: u32,
    pub(super) on_timeout: Option<String>,
    pub(super) total_timeout: u32,
    /// `MENU SHIFTKEY`: without a key held down, the default boots at once.
    pub(super) shift_key: bool,
    pub(super) append: Option<String>,
    /// `IMPLICIT 0`: only labels can be booted.
    pub(super) explicit: bool,
    /// Files that are included and cannot be read, which leaves out what they say.
    pub(super) lost: Option<String>,
    current: usize,
    open: Option<Label>,
}

/// Read configurations, one after the other, and what they include; nothing if the first is not there.
pub(super) fn parse(reading: &mut Reading<'_>, volume: usize, paths: &[String], base: &str) -> Option<Parsed> {
    let mut parser = Parser { reading, volume, base, depth: 0 };
    let mut parsed = Parsed { menus: vec![Menu { name: ".top".into(), ..Menu::default() }], ..Parsed::default() };
    for (n, path) in paths.iter().enumerate() {
        if !parser.file(&mut parsed, path) && n == 0 {
            return None;
        }
    }
    parsed.record();
    parsed.resolve();
    Some(parsed)
}

struct Parser<'r, 's, 'b> {
    reading: &'r mut Reading<'s>,
    volume: usize,
    base: &'b str,
    depth: usize,
}

impl Parser<'_, '_, '_> {
    fn file(&mut self, parsed: &mut Parsed, path: &str) -> bool {
        let place = Place { volume: self.volume, path: path.to_owned() };
        let Some(place) = self.reading.find(&place, Sees::Isolinux) else { return false };
        let file = self.reading.name(&place);
        let Some(text) = self.reading.text(Loader::Syslinux, &place) else { return false };
        let mut in_text = false;
        for (line, text) in (1..).zip(text.lines()) {
            let (word, rest) = split(text);
            let word = word.to_ascii_lowercase();
            // What stands between `TEXT HELP` and `ENDTEXT` is shown and not read.
            if in_text || word == "text" {
                in_text = word != "endtext";
                continue;
            }
            // What stands before the first label is said again with each.
            let again = if word == "label" { parsed.append.as_ref().map_or(0, String::len) + 512 } else { 16 };
            if !self.reading.step(&file) || !self.reading.spend(&file, line, text.len() + again) {
                parsed.lost.get_or_insert_with(|| format!("{file}:{line}: there is more than is read"));
                return true;
            }
            match word.as_str() {
                "include" => self.include(parsed, (&file, line), rest),
                "menu" => {
                    let (word, rest) = split(rest);
                    match word.to_ascii_lowercase().as_str() {
                        "include" => self.include(parsed, (&file, line), rest),
                        word => parsed.menu_word(word, rest),
                    }
                }
                "serial" => self.reading.serial(&file, line, text),
                word => parsed.word((&file, line), word, rest),
            }
        }
        true
    }

    /// `INCLUDE file`; with a name behind it, what is in the file is a submenu.
    fn include(&mut self, parsed: &mut Parsed, at: (&str, usize), rest: &str) {
        let (path, tag) = split(rest);
        let wanted = absolute(self.base, path);
        if self.depth >= DEEPEST || !self.reading.spend(at.0, at.1, LOOK) {
            parsed.lost.get_or_insert_with(|| format!("{wanted} lies too deep to be followed"));
            return self.reading.problem(at.0, at.1, format!("{wanted} lies too deep to be followed"));
        }
        if !tag.is_empty() {
            parsed.begin(tag);
        }
        self.depth += 1;
        let there = self.file(parsed, &wanted);
        self.depth -= 1;
        if !tag.is_empty() {
            parsed.end();
        }
        if !there {
            self.reading.problem(at.0, at.1, format!("{wanted} is not in the image"));
        }
    }
}

impl Parsed {
    fn menu(&mut self) -> &mut Menu {
        &mut self.menus[self.current]
    }

    fn word(&mut self, at: (&str, usize), word: &str, rest: &str) {
        let number =
            || rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        match (word, &mut self.open) {
            ("label", _) => {
                self.record();
                let (file, line) = (at.0.to_owned(), at.1);
                let (name, command) = (rest.to_owned(), "kernel".to_owned());
                let kernel = name.clone();
                self.open = Some(Label { file, line, name, command, kernel, ..Label::default() });
            }
            ("append", Some(label)) => {
                label.append = Some(rest.to_owned());
                label.line = at.1;
                label.file = at.0.to_owned();
            }
            ("append", None) => self.append = Some(rest.to_owned()),
            ("initrd", Some(label)) => label.initrd = Some(rest.to_owned()),
            (
                "kernel" | "linux" | "boot" | "bss" | "pxe" | "fdimage" | "comboot" | "com32" | "config" | "localboot",
                Some(label),
            ) => {
                label.command = word.to_owned();
                label.kernel = rest.to_owned();
                label.line = at.1;
                label.file = at.0.to_owned();
            }
            ("timeout", _) => {
                self.timeout = number();
                self.menu().timeout = number();
            }
            ("totaltimeout", _) => self.total_timeout = number(),
            ("ontimeout", _) => {
                self.on_timeout = Some(rest.to_owned());
                self.menu().on_timeout = Some(rest.to_owned());
            }
            ("default", _) => {
                self.default = Some(rest.to_owned());
                self.default_at = Some((at.0.to_owned(), at.1));
            }
            ("ui", _) => self.ui = Some(rest.to_owned()),
            ("prompt", _) => self.prompt = number() != 0,
            ("implicit", _) => self.explicit = number() == 0,
            _ => {}
        }
    }

    fn menu_word(&mut self, word: &str, rest: &str) {
        let (menu, has_parent) = (self.current, self.menus[self.current].parent.is_some());
        match (word, &mut self.open) {
            // A caret marks the key that chooses the entry.
            ("label", Some(label)) => label.title = Some(rest.replacen('^', "", 1)),
            ("label", None) if has_parent => self.title_of(menu, rest),
            ("title", _) => {
                let title = rest.replacen('^', "", 1);
                let unnamed = self.menus[menu].title.is_none();
                self.menus[menu].title = Some(title.clone());
                if has_parent && unnamed {
                    self.title_of(menu, &title);
                }
            }
            ("default", Some(label)) => label.is_default = true,
            ("default", None) => {
                if let Some(parent) = self.menus[menu].parent {
                    self.menus[parent].default = self.menus[menu].row;
                }
            }
            ("hide", Some(label)) => label.hidden = true,
            ("disable" | "disabled", Some(label)) => label.disabled = true,
            ("separator", _) => {
                self.record();
                self.menu().rows.push(Row { title: String::new(), action: Action::Disabled, label: None });
            }
            ("begin", _) => self.begin(rest),
            ("end", _) => self.end(),
            ("quit", Some(label)) => label.action = Action::Leave,
            ("goto", Some(label)) => label.action = Action::Goto(rest.to_owned()),
            ("exit", Some(label)) if has_parent => {
                label.action = if rest.is_empty() { Action::Leave } else { Action::Goto(rest.to_owned()) };
            }
            ("help", Some(label)) => label.action = Action::Help,
            ("start", _) => self.start = menu,
            ("shiftkey", _) => self.shift_key = true,
            _ => {}
        }
    }

    fn title_of(&mut self, menu: usize, title: &str) {
        let title = title.replacen('^', "", 1);
        let (parent, row) = (self.menus[menu].parent, self.menus[menu].row);
        if let Some(row) = parent.and_then(|parent| self.menus[parent].rows.get_mut(row)) {
            row.title.clone_from(&title);
        }
        self.menus[menu].title.get_or_insert(title);
    }

    fn begin(&mut self, tag: &str) {
        self.record();
        let (menu, above) = (self.menus.len(), self.current);
        let parent = &mut self.menus[above];
        let inner = Menu {
            parent: Some(above),
            row: parent.rows.len(),
            name: tag.to_owned(),
            timeout: parent.timeout,
            on_timeout: parent.on_timeout.clone(),
            ..Menu::default()
        };
        parent.rows.push(Row { title: tag.to_owned(), action: Action::Menu(menu), label: None });
        self.menus.push(inner);
        self.current = menu;
    }

    fn end(&mut self) {
        self.record();
        self.current = self.menus[self.current].parent.unwrap_or(self.current);
    }

    /// Put the label that is open into its menu.
    fn record(&mut self) {
        let Some(mut label) = self.open.take() else { return };
        if label.append.is_none() {
            label.append.clone_from(&self.append);
        }
        if label.append.as_deref() == Some("-") {
            label.append = None;
        }
        let disabled = label.disabled;
        let action = if disabled { Action::Disabled } else { label.action.clone() };
        let title = label.title.clone().unwrap_or_else(|| label.name.clone());
        let (hidden, is_default) = (label.hidden, label.is_default);
        let at = match disabled {
            true => None,
            false => {
                self.labels.push(label);
                Some(self.labels.len() - 1)
            }
        };
        if hidden {
            return;
        }
        let menu = self.menu();
        if is_default && matches!(action, Action::Boot | Action::Goto(_)) {
            menu.default = menu.rows.len();
        }
        menu.rows.push(Row { title, action, label: at });
    }

    /// Names of menus become their numbers; one that is not there cannot be chosen.
    fn resolve(&mut self) {
        let names: Vec<_> = self.menus.iter().map(|menu| menu.name.clone()).collect();
        for row in self.menus.iter_mut().flat_map(|menu| &mut menu.rows) {
            if let Action::Goto(name) = &row.action {
                row.action = names.iter().position(|one| one == name).map_or(Action::Disabled, Action::Menu);
            }
        }
    }

    /// The label that a command names: its first word, as it is written.
    pub(super) fn find(&self, command: &str) -> Option<usize> {
        let name = split(command).0;
        self.labels.iter().position(|label| label.name == name)
    }

    /// The menu and the row that show a label.
    pub(super) fn row_of(&self, label: usize) -> Option<(usize, usize)> {
        let in_menu = |menu: &Menu| menu.rows.iter().position(|row| row.label == Some(label));
        self.menus.iter().enumerate().find_map(|(n, menu)| Some((n, in_menu(menu)?)))
    }

    /// The titles of the submenus down to one.
    pub(super) fn titles(&self, menu: usize) -> Vec<String> {
        let mut titles = Vec::new();
        let mut at = &self.menus[menu];
        while let Some(parent) = at.parent {
            titles.push(self.menus[parent].rows.get(at.row).map(|row| row.title.clone()).unwrap_or_default());
            at = &self.menus[parent];
        }
        titles.reverse();
        titles
    }
}
