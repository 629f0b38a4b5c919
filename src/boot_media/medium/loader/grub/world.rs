//! What a script has done so far. Where a test cannot be answered there are several of these, one for each way that the
//! script may have taken.

use super::parser::Block;
use super::value::Value;
use crate::medium::loader::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The answer to a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    Yes,
    No,
    Maybe,
}

impl Tri {
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

/// What the script does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Flow {
    /// The next command.
    Go,
    /// It leaves so many loops.
    Break(usize),
    /// It goes on with the next round.
    Continue(usize),
    /// It leaves the function or the file.
    Return,
    /// It boots what is loaded.
    Boot,
    /// It leaves GRUB.
    Leave(Leaving),
    /// Another configuration's menu is shown.
    Menu(Box<World>),
}

/// How GRUB is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Exit,
    Restart,
    PowerOff,
    Setup,
}

/// A file that a script is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) place: Place,
    pub(super) file: Rc<str>,
    pub(super) depth: usize,
}

/// An entry of a menu.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) title: String,
    /// Its id; the title, if it was given none.
    pub(super) id: Option<String>,
    pub(super) body: Block,
    /// What its block finds in `$1`, `$2`, …
    pub(super) params: Vec<String>,
    pub(super) submenu: bool,
    /// Whether it is started by its key only: it is no row of the menu, and no default means it.
    pub(super) hidden: bool,
    /// Whether it boots without a password where one is set.
    pub(super) unrestricted: bool,
    pub(super) at: At,
    pub(super) line: usize,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        (self.line, &self.title, &self.id, &self.at, &self.params)
            == (other.line, &other.title, &other.id, &other.at, &other.params)
    }
}

/// Something that a command has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) command: String,
    /// The file, as the script names it.
    pub(super) kernel: Option<String>,
    pub(super) initrd: Vec<String>,
    /// Words of the command line.
    pub(super) args: Vec<String>,
    pub(super) line: usize,
    pub(super) file: Rc<str>,
    /// Files that are not there, and files of which that cannot be told.
    pub(super) missing: Vec<String>,
    pub(super) unsure: Vec<String>,
}

/// The state of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    pub(super) variables: BTreeMap<String, Value>,
    /// Variables that are seen in submenus and in other configurations, too.
    pub(super) exported: BTreeSet<String>,
    pub(super) functions: BTreeMap<String, Rc<Function>>,
    pub(super) params: Vec<String>,
    pub(super) menu: Vec<Rc<Item>>,
    pub(super) loads: Vec<Load>,
    pub(super) status: Tri,
    pub(super) flow: Flow,
    /// Why what comes of this script is not known.
    pub(super) unsure: Option<String>,
}

/// A function, and the file that it is in.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) body: Block,
    pub(super) at: At,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.body, &other.body)
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            variables: BTreeMap::new(),
            exported: BTreeSet::new(),
            functions: BTreeMap::new(),
            params: Vec::new(),
            menu: Vec::new(),
            loads: Vec::new(),
            status: Tri::Yes,
            flow: Flow::Go,
            unsure: None,
        }
    }

    /// The rows of the menu.
    pub(super) fn rows(&self) -> Vec<Rc<Item>> {
        self.menu.iter().filter(|item| !item.hidden).cloned().collect()
    }

    pub(super) fn value(&self, name: &str) -> Value {
        self.variables.get(name).cloned().unwrap_or_else(Value::unset)
    }

    /// The value, where there is one only.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.variables.get(name)?.all() {
            [only] => only.clone(),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }

    pub(super) fn export(&mut self, name: &str, value: Value) {
        self.set(name, value);
        self.exported.insert(name.to_owned());
    }

    pub(super) fn unsure(&mut self, why: impl FnOnce() -> String) {
        self.unsure.get_or_insert_with(why);
    }

    /// What a submenu or another configuration begins with: only what is exported.
    pub(super) fn inner(&self) -> Self {
        let seen = self.variables.iter().filter(|(name, _)| self.exported.contains(*name));
        Self {
            variables: seen.map(|(name, value)| (name.clone(), value.clone())).collect(),
            exported: self.exported.clone(),
            functions: self.functions.clone(),
            unsure: self.unsure.clone(),
            ..Self::new()
        }
    }

    /// Whether the two differ in nothing but what variables and tests say.
    fn same_ways(&self, other: &Self) -> bool {
        self.menu == other.menu
            && self.loads == other.loads
            && self.flow == other.flow
            && self.params == other.params
            && self.functions == other.functions
    }

    fn join(&mut self, other: Self) {
        let names: BTreeSet<_> = self.variables.keys().chain(other.variables.keys()).cloned().collect();
        for name in names {
            let (ours, theirs) = (self.value(&name), other.value(&name));
            if ours != theirs {
                let either = ours.or(&theirs, &name);
                self.variables.insert(name, either);
            }
        }
        self.exported.extend(other.exported);
        self.unsure = self.unsure.take().or(other.unsure);
        if self.status != other.status {
            self.status = Tri::Maybe;
        }
    }
}

/// Ways through a script that are followed at once.
const MOST_WORLDS: usize = 32;

/// One of those that differ only in their variables.
pub(super) fn merge(worlds: Vec<World>) -> Vec<World> {
    let mut merged: Vec<World> = Vec::new();
    for world in worlds {
        match merged.iter_mut().find(|one| one.same_ways(&world)) {
            Some(same) => same.join(world),
            None => merged.push(world),
        }
    }
    if merged.len() > MOST_WORLDS {
        merged.truncate(MOST_WORLDS);
        for world in &mut merged {
            world.unsure(|| "the script can take more ways than are followed".into());
        }
    }
    merged
}
