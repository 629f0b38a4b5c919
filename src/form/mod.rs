//! A profile's text, taken apart key by key, so that all that is wrong with its form is said at once and each with its line and
//! column. A key that begins with `//` is a comment in each object of a profile: JSON has no other place for one.
//!
//! Fuzzed as `profile`, `audit_profile`.

pub mod names;
pub mod pattern;

use names::{keys, meant};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What the key of a comment begins with.
const COMMENT: &str = "//";

/// A text that is being read, and what is wrong with it so far.
pub(crate) struct Form<'t> {
    text: &'t str,
    pub(crate) wrong: Vec<String>,
}

/// The members of an object, in their order, without comments.
pub(crate) struct Object<'t> {
    raw: &'t RawValue,
    members: Vec<(String, &'t RawValue)>,
}

impl<'t> Form<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self { text, wrong: Vec::new() }
    }

    /// The object that a value is, whose keys are known.
    pub(crate) fn object(&mut self, raw: &'t RawValue, what: &str, known: &[&str]) -> Option<Object<'t>> {
        self.object_of(raw, what, "field", known)
    }

    /// The same, with what its keys are called.
    pub(crate) fn object_of(
        &mut self,
        raw: &'t RawValue,
        what: &str,
        noun: &str,
        known: &[&str],
    ) -> Option<Object<'t>> {
        let mut members = match serde_json::from_str::<Members<'t>>(raw.get()) {
            Ok(Members(members)) => members,
            Err(_) => {
                self.say(raw, format!("{what} is not an object"));
                return None;
            }
        };
        members.retain(|(key, _)| !key.starts_with(COMMENT));
        let mut seen: Vec<String> = Vec::new();
        members.retain(|(key, value)| {
            let problem = match (known.contains(&key.as_str()), seen.contains(key)) {
                (false, _) => Some(format!("{what}: unknown {noun} `{key}`{}", meant(key, known))),
                (true, true) => Some(format!("{what}: `{key}` is there twice")),
                (true, false) => None,
            };
            seen.push(key.clone());
            let fine = problem.is_none();
            self.wrong.extend(problem.map(|problem| self.place(self.key_at(key, value)) + &problem));
            fine
        });
        Some(Object { raw, members })
    }

    /// The items of a list.
    pub(crate) fn list(&mut self, raw: &'t RawValue, what: &str) -> Vec<&'t RawValue> {
        serde_json::from_str(raw.get()).unwrap_or_else(|_| {
            self.say(raw, format!("{what} is not a list"));
            Vec::new()
        })
    }

    /// A value of a type.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, raw: &'t RawValue, what: &str) -> Option<T> {
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(error) => {
                // The library counts lines and columns from the value's own beginning.
                let said = error.to_string();
                let suffix = format!(" at line {} column {}", error.line(), error.column());
                let lines = raw.get().split_inclusive('\n').take(error.line().saturating_sub(1));
                let into = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
                let place = self.place(self.at(raw) + into.min(raw.get().len()));
                self.wrong.push(format!("{place}{what}: {}", said.strip_suffix(&suffix).unwrap_or(&said)));
                None
            }
        }
    }

    pub(crate) fn say(&mut self, raw: &RawValue, problem: String) {
        self.wrong.push(self.place(self.at(raw)) + &problem);
    }

    /// Where a value begins in the text; it is a part of it.
    fn at(&self, raw: &RawValue) -> usize {
        (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// Where the key of a value begins, if it is written without escapes.
    fn key_at(&self, key: &str, value: &RawValue) -> usize {
        let at = self.at(value);
        self.text.get(..at).and_then(|before| before.rfind(&format!("\"{key}\""))).unwrap_or(at)
    }

    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line} column {column}: ")
    }
}

impl<'t> Object<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<&'t RawValue> {
        self.members.iter().find(|(own, _)| own == key).map(|(_, value)| *value)
    }

    /// A value that must be there.
    pub(crate) fn need<T: DeserializeOwned>(&self, form: &mut Form<'t>, what: &str, key: &str) -> Option<T> {
        match self.get(key) {
            Some(raw) => form.value(raw, &format!("{what}: {key}")),
            None => {
                form.say(self.raw, format!("{what}: missing field `{key}`"));
                None
            }
        }
    }

    /// A value that may be left out.
    pub(crate) fn may<T: DeserializeOwned + Default>(&self, form: &mut Form<'t>, what: &str, key: &str) -> Option<T> {
        match self.get(key) {
            Some(raw) => form.value(raw, &format!("{what}: {key}")),
            None => Some(T::default()),
        }
    }

    /// An object that may be left out, with comments in it.
    pub(crate) fn part<T: DeserializeOwned>(&self, form: &mut Form<'t>, key: &str) -> Option<Option<T>> {
        let Some(raw) = self.get(key).filter(|raw| raw.get() != "null") else { return Some(None) };
        let object = form.object(raw, key, keys::<T>())?;
        object.whole(form, key).map(Some)
    }

    /// All of it as one value.
    pub(crate) fn whole<T: DeserializeOwned>(&self, form: &mut Form<'t>, what: &str) -> Option<T> {
        // As it is written, where an error has a place.
        let as_written: Result<T, _> = serde_json::from_str(self.raw.get());
        if let Ok(value) = as_written {
            return Some(value);
        }
        let mut plain = serde_json::Map::new();
        for (key, raw) in &self.members {
            plain.insert(key.clone(), serde_json::from_str(raw.get()).unwrap_or_default());
        }
        match serde_json::from_value(serde_json::Value::Object(plain)) {
            Ok(value) => Some(value),
            Err(_) if self.is_all() => form.value(self.raw, what),
            Err(error) => {
                form.say(self.raw, format!("{what}: {error}"));
                None
            }
        }
    }

    /// Whether nothing of the object's text was left out of its members.
    pub(crate) fn is_all(&self) -> bool {
        serde_json::from_str::<Members<'t>>(self.raw.get()).is_ok_and(|Members(all)| all.len() == self.members.len())
    }
}

/// The name that an object has under a key, whatever else is in it.
pub(crate) fn named(raw: &RawValue, key: &str) -> Option<String> {
    let Members(all) = serde_json::from_str::<Members<'_>>(raw.get()).ok()?;
    let (_, name) = all.into_iter().find(|(own, _)| own == key)?;
    serde_json::from_str(name.get()).ok()
}

/// Whether an object has a key, whatever else is in it.
pub(crate) fn has(raw: &RawValue, key: &str) -> bool {
    serde_json::from_str::<Members<'_>>(raw.get()).is_ok_and(|Members(all)| all.iter().any(|(own, _)| own == key))
}

/// A probe: its name, and its fields below it.
pub(crate) fn tagged<'t, T: DeserializeOwned>(form: &mut Form<'t>, raw: &'t RawValue, what: &str) -> Option<T> {
    let object = form.object_of(raw, what, "probe", names::tags::<T>())?;
    let [(name, fields)] = object.members.as_slice() else {
        if object.members.len() > 1 {
            form.say(raw, format!("{what}: it has more than one probe"));
        } else if object.is_all() {
            form.say(raw, format!("{what}: the probe is empty"));
        }
        return None;
    };
    let what = format!("{what}: {name}");
    let known = names::fields::<T>(name);
    let before = form.wrong.len();
    let inner = form.object(fields, &what, known)?;
    if inner.is_all() && object.is_all() {
        return form.value(raw, &what);
    }
    let mut plain = serde_json::Map::new();
    for (key, raw) in &inner.members {
        plain.insert(key.clone(), serde_json::from_str(raw.get()).unwrap_or_default());
    }
    match serde_json::from_value(serde_json::json!({name.as_str(): plain})) {
        Ok(probe) => Some(probe),
        Err(error) => {
            // What is missing may be what was misspelt.
            if form.wrong.len() == before {
                form.say(raw, format!("{what}: {error}"));
            }
            None
        }
    }
}

/// An object's members in their order, each value as it is written.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    members.push((key, map.next_value::<&'de RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}
