//! GRUB's commands, as far as they decide what boots. The manual's section "Commands" has them all; what is not here changes
//! nothing that counts, but for its status, which is not known then.

use super::Grub;
use super::condition;
use super::parser::Block;
use super::value::{Value, known, shown};
use super::world::{At, Flow, Item, Leaving, Load, Tri, World};
use std::rc::Rc;

/// Kernels that one entry loads, at most; each way through a script has all of them.
const MOST_LOADS: usize = 32;

/// Commands that load what is booted.
const KERNELS: [&str; 14] = [
    "linux",
    "linux16",
    "linuxefi",
    "multiboot",
    "multiboot2",
    "chainloader",
    "kfreebsd",
    "knetbsd",
    "kopenbsd",
    "ntldr",
    "freedos",
    "xen_hypervisor",
    "appleloader",
    "plan9",
];
/// Commands that make entries of what is not read here: other loaders' menus, and the modules of GRUB 2.14. Those of Ventoy's own
/// GRUB begin with `vt_`.
const ELSEWHERE: [&str; 7] = [
    "legacy_configfile",
    "legacy_source",
    "extract_legacy_entries_source",
    "extract_legacy_entries_configfile",
    "syslinux_configfile",
    "syslinux_source",
    "uki",
];
/// Options of `menuentry` that have a value: grub-core/commands/menuentry.c.
const WITH_VALUE: [&str; 5] = ["--class", "--users", "--hotkey", "--source", "--id"];

impl Grub<'_, '_> {
    /// Run one command whose words are known.
    pub(super) fn run(
        &mut self,
        mut world: World,
        line: usize,
        words: &[String],
        block: Option<&Block>,
        at: &At,
    ) -> Vec<World> {
        let Some((name, args)) = words.split_first() else { return vec![world] };
        let Some(name) = known(name) else {
            world.unsure(|| format!("{}:{line}: what {} does is not known", at.file, shown(name)));
            world.status = Tri::Maybe;
            return vec![world];
        };
        if let Some(function) = world.functions.get(&name).cloned() {
            return self.call(world, &function, args);
        }
        if args.is_empty() && is_assignment(&words[0]) {
            set(&mut world, &words[0]);
            return vec![world];
        }
        world.status = Tri::Yes;
        if name.starts_with("vt_") || ELSEWHERE.contains(&name.as_str()) {
            world.unsure(|| format!("{}:{line}: what {name} does is not followed here", at.file));
            world.status = Tri::Maybe;
            return vec![world];
        }
        match name.as_str() {
            "source" | "." | "extract_entries_source" => {
                return self.follow(world, line, args, at);
            }
            "configfile" | "normal" | "extract_entries_configfile" => return self.other_menu(world, line, args, at),
            "eval" => return self.eval(world, line, args, at),
            "menuentry" | "submenu" | "hiddenentry" => self.entry(&mut world, line, (&name, args), block, at),
            "test" => world.status = self.test(&world, args),
            "[" => world.status = self.test(&world, args.strip_suffix(&["]".to_owned()]).unwrap_or(args)),
            "initrd" | "initrd16" | "initrdefi" => self.initrd(&mut world, args),
            "search" | "search.file" | "search.fs_label" | "search.fs_uuid" => {
                self.search(&mut world, line, (&name, args), at);
            }
            "load_env" => self.load_env(&mut world, args),
            "probe" => self.probe(&mut world, args),
            "blscfg" => self.blscfg(&mut world, line, args, at),
            "serial" => self.reading.serial(&at.file, line, &shown(&words.join(" "))),
            "terminal_output" | "terminal_input" | "terminal" => {
                if args.iter().any(|arg| arg.starts_with("serial")) {
                    self.reading.serial(&at.file, line, &shown(&words.join(" ")));
                }
            }
            kernel if KERNELS.contains(&kernel) => self.load(&mut world, line, &name, args, at),
            "xen_module" | "module" | "module2" | "multiboot_module" => self.module(&mut world, args),
            other => simple(&mut world, other, args),
        }
        vec![world]
    }

    fn test(&mut self, world: &World, words: &[String]) -> Tri {
        condition::test(words, &mut |what, path| self.is_there(world, what, path))
    }

    fn entry(&mut self, world: &mut World, line: usize, what: (&str, &[String]), block: Option<&Block>, at: &At) {
        let (name, args) = what;
        let (mut id, mut title, mut params, mut unrestricted, mut source) = (None, None, Vec::new(), false, None);
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let plain = known(word).unwrap_or_else(|| word.clone());
            let (option, inline) = match plain.split_once('=') {
                Some((option, value)) if WITH_VALUE.contains(&option) => (option, Some(value.to_owned())),
                _ => (plain.as_str(), None),
            };
            match option {
                "--unrestricted" => unrestricted = true,
                option if WITH_VALUE.contains(&option) => {
                    let value = inline.or_else(|| words.next().map(|word| shown(word)));
                    match option {
                        "--id" => id = value,
                        "--source" => source = value,
                        _ => {}
                    }
                }
                option if option.starts_with("--") && title.is_none() => {}
                _ => {
                    title.get_or_insert_with(|| shown(word));
                    params.push(word.clone());
                }
            }
        }
        let source = source.map(|source| super::parser::parse(&source).commands);
        let (Some(title), Some(body)) = (title, block.cloned().or(source)) else {
            return self.reading.problem(&at.file, line, format!("{name} without a title or a block"));
        };
        let (submenu, hidden, at) = (name == "submenu", name == "hiddenentry", at.clone());
        world.menu.push(Rc::new(Item { title, id, body, params, submenu, hidden, unrestricted, at, line }));
    }

    fn load(&mut self, world: &mut World, line: usize, command: &str, args: &[String], at: &At) {
        // `linux` has no options; the others' stand before the file.
        let options =
            if command.starts_with("linux") { 0 } else { args.iter().take_while(|arg| arg.starts_with('-')).count() };
        let args = &args[options..];
        let mut load = Load {
            command: command.to_owned(),
            kernel: args.first().cloned(),
            initrd: Vec::new(),
            args: args.iter().skip(1).cloned().collect(),
            line,
            file: at.file.clone(),
            missing: Vec::new(),
            unsure: Vec::new(),
        };
        if let Some(kernel) = args.first() {
            self.look_for(world, &mut load, kernel);
        }
        if world.loads.len() >= MOST_LOADS {
            return world.unsure(|| format!("{}:{line}: more than {MOST_LOADS} kernels are loaded", at.file));
        }
        world.loads.push(load);
    }

    fn initrd(&mut self, world: &mut World, args: &[String]) {
        let Some(mut load) = world.loads.pop() else { return };
        load.initrd.clear();
        for file in args.iter().filter(|arg| !arg.starts_with("--")) {
            // `newc:name:file` puts a file into an archive of its own.
            let file = file
                .strip_prefix("newc:")
                .and_then(|rest| rest.split_once(':'))
                .map_or(file.as_str(), |(_, file)| file);
            load.initrd.push(file.to_owned());
            self.look_for(world, &mut load, file);
        }
        world.loads.push(load);
    }

    /// What a multiboot kernel gets: for Xen, that is Linux with its command line.
    fn module(&mut self, world: &mut World, args: &[String]) {
        let Some(mut load) = world.loads.pop() else { return };
        if let Some(file) = args.iter().find(|arg| !arg.starts_with("--")) {
            self.look_for(world, &mut load, file);
        }
        world.loads.push(load);
    }

    /// Whether a file that is loaded is there.
    fn look_for(&mut self, world: &World, load: &mut Load, file: &str) {
        // `+1` is the first sector of a device, and no file.
        if super::without_device(file).starts_with('+') {
            return;
        }
        let name = super::without_device(&shown(file));
        match known(file).map(|path| self.resolve(world, &path)) {
            Some(super::Found::At(place)) => load.missing.extend(self.reading.lacks(Some(place), &name)),
            Some(super::Found::Nowhere) => load.missing.push(name),
            _ => load.unsure.push(name),
        }
    }

    fn follow(&mut self, mut world: World, line: usize, args: &[String], at: &At) -> Vec<World> {
        let Some(next) = self.next_file(&mut world, line, args, at) else { return vec![world] };
        self.depth += 1;
        let worlds = self.file(world, &next);
        self.depth -= 1;
        worlds
    }

    /// `configfile` shows the other file's menu in the place of this one.
    fn other_menu(&mut self, mut world: World, line: usize, args: &[String], at: &At) -> Vec<World> {
        let prefix = [format!("{}/grub.cfg", world.text("prefix").unwrap_or_default())];
        let args = if args.is_empty() { &prefix } else { args };
        let Some(next) = self.next_file(&mut world, line, args, at) else { return vec![world] };
        self.depth += 1;
        let mut inner = world.inner();
        super::config_is(&mut inner, &next.place);
        let inner = self.file(inner, &next);
        self.depth -= 1;
        let shown = |inner| World { flow: Flow::Menu(Box::new(inner)), ..world.clone() };
        inner.into_iter().map(shown).collect()
    }

    /// The file that a command goes on in, if it is there.
    fn next_file(&mut self, world: &mut World, line: usize, args: &[String], at: &At) -> Option<At> {
        let path = args.first()?;
        if !self.reading.spend(&at.file, line, super::LOOK) {
            return None;
        }
        if self.depth >= super::run::DEEPEST {
            world.unsure(|| format!("{}:{line}: {} lies too deep to be followed", at.file, shown(path)));
            return None;
        }
        let found = known(path).map(|path| self.resolve(world, &path));
        match found {
            Some(super::Found::At(place)) => {
                let file = self.reading.name(&place).into();
                Some(At { place, file, depth: self.depth + 1 })
            }
            Some(super::Found::Nowhere) => {
                world.status = Tri::No;
                self.reading.problem(&at.file, line, format!("{} is not in the image", shown(path)));
                None
            }
            Some(super::Found::Elsewhere) | None => {
                world.status = Tri::Maybe;
                world.unsure(|| format!("{}:{line}: what {} says is not known", at.file, shown(path)));
                None
            }
        }
    }

    fn eval(&mut self, mut world: World, line: usize, args: &[String], at: &At) -> Vec<World> {
        match known(&args.join(" ")) {
            Some(text) if self.depth < super::run::DEEPEST => {
                self.depth += 1;
                let worlds = self.source(world, &text, at);
                self.depth -= 1;
                worlds
            }
            _ => {
                world.unsure(|| format!("{}:{line}: what eval runs is not known", at.file));
                vec![world]
            }
        }
    }
}

/// A command that needs nothing but the world.
fn simple(world: &mut World, name: &str, args: &[String]) {
    match name {
        "set" => {
            for arg in args {
                set(world, arg);
            }
        }
        "unset" => args.iter().for_each(|name| drop(world.variables.remove(name))),
        "export" => world.exported.extend(args.iter().map(|arg| arg.split('=').next().unwrap_or_default().to_owned())),
        "setparams" => world.params = args.to_vec(),
        "shift" => world.params = world.params.split_off(world.params.len().min(count(args))),
        "true" | "echo" | "sleep" | "clear" | "insmod" | "save_env" | "list_env" | "cat" | "ls" => {}
        "false" => world.status = Tri::No,
        "break" => world.flow = Flow::Break(count(args)),
        "continue" => world.flow = Flow::Continue(count(args)),
        "return" => {
            world.status =
                args.first().map_or(world.status, |code| known(code).map_or(Tri::Maybe, |code| Tri::of(code == "0")));
            world.flow = Flow::Return;
        }
        "boot" => world.flow = Flow::Boot,
        "exit" | "normal_exit" => world.flow = Flow::Leave(Leaving::Exit),
        "reboot" => world.flow = Flow::Leave(Leaving::Restart),
        "halt" => world.flow = Flow::Leave(Leaving::PowerOff),
        "fwsetup" if args.iter().any(|arg| arg == "--is-supported") => world.status = Tri::Maybe,
        "fwsetup" => world.flow = Flow::Leave(Leaving::Setup),
        _ => filled_in(world, args),
    }
}

/// A command that puts something of the running machine into a variable (`probe --set=uuid`, `regexp -s 1:x`), or that
/// changes nothing.
pub(super) fn filled_in(world: &mut World, args: &[String]) {
    world.status = Tri::Maybe;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = match arg.as_str() {
            "-s" | "--set" => args.next().map(String::as_str),
            option => option.strip_prefix("--set="),
        };
        if let Some(name) = name {
            let name = name.rsplit(':').next().unwrap_or(name);
            world.set(name, Value::unknown(name));
        }
    }
}

fn set(world: &mut World, assignment: &str) {
    if let Some((name, value)) = assignment.split_once('=') {
        world.set(name, Value::known(value));
    }
    world.status = Tri::Yes;
}

fn count(args: &[String]) -> usize {
    args.first().and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}
