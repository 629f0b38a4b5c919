//! A script, run as far as it can be known: every way that it can take.

use super::Grub;
use super::lexer::Word;
use super::parser::{Block, Command, parse};
use super::value::{self, Value, expand, known, variables};
use super::world::{At, Flow, Function, Tri, World, merge};
use std::rc::Rc;

/// The longest word once its variables have values; a kernel's whole command line has 2048 bytes.
const LONGEST_WORD: usize = 8 << 10;
/// Rounds of a loop.
const MOST_ROUNDS: usize = 256;
/// Functions and files within one another.
pub(super) const DEEPEST: usize = 16;

impl Grub<'_, '_> {
    /// Run a file in these worlds.
    pub(super) fn file(&mut self, world: World, at: &At) -> Vec<World> {
        let Some(text) = self.reading.text(super::Loader::Grub, &at.place) else {
            let mut world = world;
            world.unsure(|| format!("{} cannot be read", at.file));
            return vec![world];
        };
        self.source(world, &text, at)
    }

    /// Run a text.
    pub(super) fn source(&mut self, mut world: World, text: &str, at: &At) -> Vec<World> {
        let script = parse(&value::clean(text));
        if let Some((line, what)) = script.wrong.first() {
            self.reading.problem(&at.file, *line, format!("no script of GRUB's: {what}"));
            world.unsure(|| format!("{}:{line}: {what}", at.file));
        }
        let mut worlds = self.block(vec![world], &script.commands, at);
        for world in &mut worlds {
            if matches!(world.flow, Flow::Return | Flow::Break(_) | Flow::Continue(_)) {
                world.flow = Flow::Go;
            }
        }
        worlds
    }

    /// Run a block in each world that has not left it.
    pub(super) fn block(&mut self, mut worlds: Vec<World>, block: &Block, at: &At) -> Vec<World> {
        for command in block.iter() {
            let (going, mut all): (Vec<_>, Vec<_>) = worlds.into_iter().partition(|world| world.flow == Flow::Go);
            if going.is_empty() {
                return all;
            }
            let many = going.len() > 1;
            for world in going {
                all.extend(self.command(world, command, at));
            }
            worlds = if many || all.len() > 1 { merge(all) } else { all };
        }
        worlds
    }

    fn command(&mut self, mut world: World, command: &Command, at: &At) -> Vec<World> {
        if !self.reading.step(&at.file) {
            world.unsure(|| "the script says more than is followed".into());
            world.flow = Flow::Return;
            return vec![world];
        }
        match command {
            Command::Simple { line, words, block } => self.simple(world, (*line, words, block.as_ref()), at),
            Command::If { clauses, otherwise } => self.condition(world, clauses, otherwise, at),
            Command::For { line, name, words, body } => self.each(world, *line, (name, words, body), at),
            Command::Loop { line, until, test, body } => self.repeat(world, (*line, *until), test, body, at),
            Command::Function { name, body } => {
                let function = Function { body: body.clone(), at: at.clone() };
                world.functions.insert(name.clone(), Rc::new(function));
                vec![world]
            }
        }
    }

    fn condition(&mut self, world: World, clauses: &[(Block, Block)], otherwise: &Block, at: &At) -> Vec<World> {
        let (mut open, mut done) = (vec![world], Vec::new());
        for (test, body) in clauses {
            let (mut taken, mut left) = (Vec::new(), Vec::new());
            for world in self.block(open, test, at) {
                match (&world.flow, world.status) {
                    (Flow::Go, Tri::Yes) => taken.push(world),
                    (Flow::Go, Tri::No) => left.push(world),
                    (Flow::Go, Tri::Maybe) => {
                        taken.push(world.clone());
                        left.push(world);
                    }
                    _ => done.push(world),
                }
            }
            done.extend(self.block(taken, body, at));
            open = left;
            if open.is_empty() {
                return merge(done);
            }
        }
        done.extend(self.block(open, otherwise, at));
        merge(done)
    }

    fn each(&mut self, world: World, line: usize, (name, words, body): (&str, &[Word], &Block), at: &At) -> Vec<World> {
        if let Some(worlds) = self.pin(&world, words, &mut |run, world| run.each(world, line, (name, words, body), at))
        {
            return worlds;
        }
        let words: Vec<_> = self.words(&world, words, line, at);
        let mut values = Vec::new();
        for word in &words {
            match known(word) {
                Some(pattern) if pattern.contains(['*', '?']) => match self.names_like(&world, &pattern) {
                    found if found.is_empty() => values.push(word.clone()),
                    found => values.extend(found),
                },
                _ => values.push(word.clone()),
            }
        }
        let (mut worlds, mut done) = (vec![world], Vec::new());
        for value in values.into_iter().take(MOST_ROUNDS) {
            for world in &mut worlds {
                world.set(name, Value::known(value.clone()));
            }
            (worlds, done) = self.round(worlds, done, body, at);
        }
        done.extend(worlds);
        merge(done)
    }

    fn repeat(
        &mut self,
        world: World,
        (line, until): (usize, bool),
        test: &Block,
        body: &Block,
        at: &At,
    ) -> Vec<World> {
        let (mut worlds, mut done) = (vec![world], Vec::new());
        for _ in 0..MOST_ROUNDS {
            let mut going = Vec::new();
            for world in self.block(worlds, test, at) {
                let status = if until { world.status.not() } else { world.status };
                match (&world.flow, status) {
                    (Flow::Go, Tri::Yes) => going.push(world),
                    (Flow::Go, Tri::Maybe) => {
                        done.push(world.clone());
                        let mut world = world;
                        world.unsure(|| format!("{}:{line}: how often a loop runs is not known", at.file));
                        going.push(world);
                    }
                    _ => done.push(world),
                }
            }
            let unsure = going.iter().all(|world| world.unsure.is_some());
            (worlds, done) = self.round(going, done, body, at);
            // Once is enough where nobody knows how often.
            if worlds.is_empty() || unsure {
                done.extend(worlds);
                return merge(done);
            }
        }
        for world in &mut worlds {
            world.unsure(|| format!("{}:{line}: a loop does not end within {MOST_ROUNDS} rounds", at.file));
        }
        done.extend(worlds);
        merge(done)
    }

    /// One round of a loop: the worlds that go on, and those that have left it.
    fn round(&mut self, worlds: Vec<World>, mut done: Vec<World>, body: &Block, at: &At) -> (Vec<World>, Vec<World>) {
        let mut going = Vec::new();
        for mut world in self.block(worlds, body, at) {
            match world.flow {
                Flow::Go | Flow::Continue(0 | 1) => {
                    world.flow = Flow::Go;
                    going.push(world);
                }
                Flow::Break(n) | Flow::Continue(n) => {
                    let more = n.saturating_sub(1);
                    world.flow = match (more, &world.flow) {
                        (0, _) => Flow::Go,
                        (_, Flow::Break(_)) => Flow::Break(more),
                        _ => Flow::Continue(more),
                    };
                    done.push(world);
                }
                _ => done.push(world),
            }
        }
        (merge(going), merge(done))
    }

    /// Where a word has a variable with several values: the same for each of them.
    fn pin(
        &mut self,
        world: &World,
        words: &[Word],
        same: &mut dyn FnMut(&mut Self, World) -> Vec<World>,
    ) -> Option<Vec<World>> {
        let name = words.iter().flat_map(variables).find(|name| world.value(name).all().len() > 1)?;
        let mut worlds = Vec::new();
        for value in world.value(name).all() {
            let mut world = world.clone();
            match value {
                Some(value) => world.set(name, Value::known(value.clone())),
                None => drop(world.variables.remove(name)),
            }
            worlds.extend(same(self, world));
        }
        Some(merge(worlds))
    }

    /// Words with the values of their variables; none once there is no room for more.
    fn words(&mut self, world: &World, words: &[Word], line: usize, at: &At) -> Vec<String> {
        let status = match world.status {
            Tri::Yes => Some("0".to_owned()),
            Tri::No => Some("1".to_owned()),
            Tri::Maybe => None,
        };
        let mut found: Vec<String> = Vec::new();
        for word in words {
            // A variable without a value is no word where it stands alone; elsewhere it is kept, for a reader.
            let tests = found.first().is_some_and(|name| name == "[" || name == "test");
            if tests && is_nothing(word, world) {
                continue;
            }
            // "$@" is as many words as there are.
            if let [super::lexer::Part::Variable { name, .. }] = word.as_slice()
                && name == "@"
            {
                found.extend(world.params.iter().cloned());
                continue;
            }
            let value = |name: &str| match name {
                "?" => Some(status.clone().unwrap_or_else(|| Value::unknown("?").all()[0].clone().unwrap_or_default())),
                "#" => Some(world.params.len().to_string()),
                "*" | "@" => Some(world.params.join(" ")),
                _ => match name.parse::<usize>() {
                    // A parameter that is not given is nothing.
                    Ok(n) => Some(n.checked_sub(1).and_then(|n| world.params.get(n)).cloned().unwrap_or_default()),
                    Err(_) => world.text(name),
                },
            };
            let new = expand(word, value, LONGEST_WORD);
            if !self.reading.spend(&at.file, line, 64 + new.iter().map(String::len).sum::<usize>()) {
                return Vec::new();
            }
            found.extend(new);
        }
        found
    }

    fn simple(&mut self, world: World, what: (usize, &[Word], Option<&Block>), at: &At) -> Vec<World> {
        let (line, words, block) = what;
        // An assignment of several values at once keeps them.
        if let Some(worlds) = self.pin(&world, words, &mut |run, world| run.simple(world, what, at)) {
            return worlds;
        }
        let expanded = self.words(&world, words, line, at);
        let negated = expanded.first().is_some_and(|word| word == "!");
        let mut worlds = self.run(world, line, &expanded[usize::from(negated)..], block, at);
        if negated {
            for world in &mut worlds {
                world.status = world.status.not();
            }
        }
        worlds
    }

    /// Call a function.
    pub(super) fn call(&mut self, mut world: World, function: &Rc<Function>, args: &[String]) -> Vec<World> {
        if self.depth >= DEEPEST {
            world.unsure(|| format!("functions or files within one another, more than {DEEPEST}"));
            return vec![world];
        }
        let outer = std::mem::replace(&mut world.params, args.to_vec());
        self.depth += 1;
        let mut worlds = self.block(vec![world], &function.body, &function.at);
        self.depth -= 1;
        for world in &mut worlds {
            world.params.clone_from(&outer);
            if matches!(world.flow, Flow::Return) {
                world.flow = Flow::Go;
            }
        }
        merge(worlds)
    }
}

/// Whether a word is a variable by itself, outside quotes, that is not set.
fn is_nothing(word: &Word, world: &World) -> bool {
    match word.as_slice() {
        [super::lexer::Part::Variable { name, quoted: false }] => {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && world.value(name).all() == [None]
        }
        _ => false,
    }
}
