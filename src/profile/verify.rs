//! `verify` in a host's profile: a playbook, or a list of playbooks, probes and programs. All that is wrong with it is said at
//! once, each with its line and column.
//!
//! Fuzzed as `profile`.

use crate::checks::{Format, LONGEST, Probe, Program, Question};
use crate::form::names::keys;
use crate::form::{self, Form, named, tagged};
use camino::{Utf8Path, Utf8PathBuf};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What is asked of a host before the reboot and after it. There is at least one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify(Vec<Entry>);

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A playbook, from the project root: its tasks, or what it hands over, are checks.
    Playbook(Utf8PathBuf),
    /// A question: one check.
    Probe(Question),
    /// A program of the user's: one check, or one for each of its tests.
    Run(Program),
}

/// What is done of the entries in one go.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'v> {
    /// A playbook.
    Playbook(&'v Utf8Path),
    /// Questions that stand one after the other: they are asked together.
    Probes(Vec<&'v Question>),
    /// A program.
    Run(&'v Program),
}

/// The object of an entry that is a playbook.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^//": true}))]
struct Playbook {
    #[schemars(with = "String")]
    playbook: Utf8PathBuf,
}

impl Verify {
    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The playbooks, from the project root, in their order.
    pub fn playbooks(&self) -> impl Iterator<Item = &Utf8Path> {
        self.0.iter().filter_map(|entry| match entry {
            Entry::Playbook(path) => Some(path.as_path()),
            Entry::Probe(_) | Entry::Run(_) => None,
        })
    }

    /// The questions, in their order.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.0.iter().filter_map(|entry| match entry {
            Entry::Probe(question) => Some(question),
            Entry::Playbook(_) | Entry::Run(_) => None,
        })
    }

    /// The entries in their order, with questions together that stand together.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        for entry in &self.0 {
            match (entry, parts.last_mut()) {
                (Entry::Probe(question), Some(Part::Probes(all))) => all.push(question),
                (Entry::Probe(question), _) => parts.push(Part::Probes(vec![question])),
                (Entry::Playbook(path), _) => parts.push(Part::Playbook(path)),
                (Entry::Run(program), _) => parts.push(Part::Run(program)),
            }
        }
        parts
    }

    /// Whether a check of this name can be one of a question's or a program's.
    pub fn names(&self, id: &str) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Playbook(_) => false,
            Entry::Probe(question) => question.name == id,
            Entry::Run(Program { name, format: Format::Exit, .. }) => name == id,
            Entry::Run(Program { name, .. }) => {
                id.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(": "))
            }
        })
    }

    /// Read the value that `verify` has, as far as it can be.
    pub(super) fn read<'t>(form: &mut Form<'t>, raw: &'t RawValue) -> Option<Self> {
        if !raw.get().starts_with('[') {
            return playbook(form, raw, "verify").map(|path| Self(vec![Entry::Playbook(path)]));
        }
        let list = form.list(raw, "verify");
        if list.is_empty() {
            form.say(raw, "verify: the list is empty, so nothing would be checked".into());
            return None;
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let read: Vec<_> = list.iter().zip(1..).map(|(raw, number)| entry(form, raw, number, &mut seen)).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }
}

fn entry<'t>(
    form: &mut Form<'t>,
    raw: &'t RawValue,
    number: usize,
    seen: &mut BTreeMap<String, usize>,
) -> Option<Entry> {
    let what = format!("verify {number}");
    if !raw.get().starts_with('{') {
        return playbook(form, raw, &what).map(Entry::Playbook);
    }
    let name = named(raw, "name");
    if let Some(first) = name.as_ref().and_then(|name| seen.get(name)) {
        form.say(raw, format!("{what}: verify {first} is called {:?}, too", name.as_deref().unwrap_or_default()));
    }
    let what = name.as_ref().map_or(what, |name| format!("verify {number} ({name})"));
    if let Some(name) = name {
        seen.entry(name).or_insert(number);
    }
    let has = |key: &str| form::has(raw, key);
    match (has("playbook"), has("probe"), has("run")) {
        (true, false, false) => {
            let object = form.object(raw, &what, keys::<Playbook>())?;
            playbook(form, object.get("playbook")?, &what).map(Entry::Playbook)
        }
        (false, true, false) => question(form, raw, &what).map(Entry::Probe),
        (false, false, true) => program(form, raw, &what).map(Entry::Run),
        _ => {
            form.say(raw, format!("{what}: an entry has one of `playbook`, `probe` and `run`"));
            None
        }
    }
}

fn playbook<'t>(form: &mut Form<'t>, raw: &'t RawValue, what: &str) -> Option<Utf8PathBuf> {
    let path: Utf8PathBuf = form.value(raw, what)?;
    if path.as_str().is_empty() || path.as_str().contains('\0') {
        form.say(raw, format!("{what}: {path:?} is not the path of a playbook"));
        return None;
    }
    Some(path)
}

/// A name that a check can have: it stands in reports, one to a line.
fn name<'t>(form: &mut Form<'t>, raw: &'t RawValue, what: &str, name: Option<String>) -> Option<String> {
    let name = name?;
    if name.trim() != name || name.is_empty() || name.contains(host::visible::is_hidden) || name.contains(['\n', '\t'])
    {
        form.say(raw, format!("{what}: name: {name:?} is not one line of text"));
        return None;
    }
    Some(name)
}

fn time<'t>(form: &mut Form<'t>, raw: &'t RawValue, what: &str, seconds: Option<u64>) -> Option<u64> {
    let seconds = seconds?;
    if !(1..=LONGEST).contains(&seconds) {
        form.say(raw, format!("{what}: {seconds} s is not between 1 and {LONGEST}"));
        return None;
    }
    Some(seconds)
}

fn question<'t>(form: &mut Form<'t>, raw: &'t RawValue, what: &str) -> Option<Question> {
    let object = form.object(raw, what, keys::<Question>())?;
    let given = object.need(form, what, "name");
    let name = name(form, raw, what, given);
    let place = object.get("probe")?;
    let probe: Option<Probe> = tagged(form, place, what);
    for wrong in probe.iter().flat_map(Probe::wrong) {
        form.say(place, format!("{what}: {wrong}"));
    }
    let within = match object.get("within") {
        None => Some(crate::checks::WITHIN),
        Some(raw) => {
            let what = format!("{what}: within");
            let given = form.value(raw, &what);
            time(form, raw, &what, given)
        }
    };
    Some(Question { name: name?, probe: probe?, within: within? })
}

fn program<'t>(form: &mut Form<'t>, raw: &'t RawValue, what: &str) -> Option<Program> {
    let object = form.object(raw, what, keys::<Program>())?;
    let given = object.need(form, what, "name");
    let name = name(form, raw, what, given);
    let place = object.get("run")?;
    let run: Option<Vec<String>> = form.value(place, &format!("{what}: run"));
    if let Some(argv) = &run
        && (argv.first().is_none_or(String::is_empty) || argv.iter().any(|word| word.contains('\0')))
    {
        form.say(place, format!("{what}: run: there is no command, or a NUL is in it"));
    }
    let format = object.need(form, what, "format");
    let limit = match object.get("limit") {
        None => Some(crate::checks::LIMIT),
        Some(raw) => {
            let what = format!("{what}: limit");
            let given = form.value(raw, &what);
            time(form, raw, &what, given)
        }
    };
    Some(Program { name: name?, run: run?, format: format?, limit: limit? })
}

impl Serialize for Verify {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [Entry::Playbook(path)] = self.0.as_slice() {
            return path.serialize(serializer);
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for entry in &self.0 {
            match entry {
                Entry::Playbook(path) => list.serialize_element(path)?,
                Entry::Probe(question) => list.serialize_element(question)?,
                Entry::Run(program) => list.serialize_element(program)?,
            }
        }
        list.end()
    }
}

/// A playbook's path, or a list of entries.
impl JsonSchema for Verify {
    fn schema_name() -> Cow<'static, str> {
        "Verify".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let path = generator.subschema_for::<String>();
        let objects = [
            generator.subschema_for::<Question>(),
            generator.subschema_for::<Program>(),
            generator.subschema_for::<Playbook>(),
        ];
        let entry: Vec<_> = std::iter::once(path.clone()).chain(objects).collect();
        json_schema!({"anyOf": [path, {"type": "array", "minItems": 1, "items": {"anyOf": entry}}]})
    }
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let mut form = Form::of(raw.get());
        let read = Self::read(&mut form, &raw);
        match (read, form.wrong.is_empty()) {
            (Some(verify), true) => Ok(verify),
            _ => Err(D::Error::custom(form.wrong.join("; "))),
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
