//! The values of GRUB's variables, where not all of them are known.
//!
//! A part of a text that nobody knows here stands in it between two characters that no text has: a variable that was never
//! set, which GRUB takes for nothing, unless somebody sets it who is not in the image; and one that the running machine fills in.

use super::lexer::{Part, Word};

/// Characters that Unicode has set aside for programs; [`clean`] takes them out of what is read.
const UNSET: char = '\u{fdd0}';
const UNKNOWN: char = '\u{fdd1}';
const END: char = '\u{fdd2}';

/// Different values that a variable may have, before nothing is known of it.
const MOST_VALUES: usize = 8;

/// What is known of a variable: each value that it may have, where nothing is that it may be unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value(Vec<Option<String>>);

impl Value {
    /// It has this value.
    pub(super) fn known(text: impl Into<String>) -> Self {
        Self(vec![Some(text.into())])
    }

    /// It is not set.
    pub(super) fn unset() -> Self {
        Self(vec![None])
    }

    /// Only the running machine knows.
    pub(super) fn unknown(name: &str) -> Self {
        Self::known(marked(UNKNOWN, name))
    }

    /// All that it may be.
    pub(super) fn all(&self) -> &[Option<String>] {
        &self.0
    }

    /// Either of two.
    pub(super) fn or(&self, other: &Self, name: &str) -> Self {
        let new = other.0.iter().filter(|one| !self.0.contains(one));
        let all: Vec<_> = self.0.iter().chain(new).cloned().collect();
        if all.len() > MOST_VALUES { Self::unknown(name) } else { Self(all) }
    }
}

fn marked(kind: char, name: &str) -> String {
    format!("{kind}{name}{END}")
}

/// A text without the characters that mean something here.
pub(super) fn clean(text: &str) -> String {
    text.replace([UNSET, UNKNOWN, END], "\u{fffd}")
}

/// What stands for a variable that is not set.
pub(super) fn unset(name: &str) -> String {
    marked(UNSET, name)
}

/// The text as GRUB would have it, if all of it is known: a variable that is not set is nothing.
pub(super) fn known(text: &str) -> Option<String> {
    if text.contains(UNKNOWN) {
        return None;
    }
    Some(parts(text).into_iter().filter(|(name, _)| !name).map(|(_, text)| text).collect())
}

/// The text for a reader: what is not known is `${name}`.
pub(super) fn shown(text: &str) -> String {
    let show = |(name, text): (bool, &str)| if name { format!("${{{text}}}") } else { text.to_owned() };
    parts(text).into_iter().map(show).collect()
}

/// The variables in a text that have no known value.
pub(super) fn names(text: &str) -> Vec<String> {
    parts(text).into_iter().filter(|(name, _)| *name).map(|(_, name)| name.to_owned()).collect()
}

/// A text in its parts; whether each is a variable's name.
fn parts(text: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find([UNSET, UNKNOWN]) {
        let (before, behind) = rest.split_at(at);
        let behind = &behind[UNSET.len_utf8()..];
        let (name, after) = behind.split_once(END).unwrap_or((behind, ""));
        found.extend([(false, before), (true, name)]);
        rest = after;
    }
    found.push((false, rest));
    found
}

/// Put values into a word: the words that become of it, where a value outside quotes is cut at its spaces.
pub(super) fn expand(word: &Word, value: impl Fn(&str) -> Option<String>, longest: usize) -> Vec<String> {
    let (mut words, mut open): (Vec<String>, Option<String>) = (Vec::new(), None);
    for part in word {
        match part {
            Part::Text { text, .. } => open.get_or_insert_default().push_str(text),
            Part::Variable { name, quoted } => {
                let value = value(name).unwrap_or_else(|| unset(name));
                if *quoted {
                    open.get_or_insert_default().push_str(&value);
                    continue;
                }
                if value.starts_with(is_space) {
                    words.extend(open.take());
                }
                let mut pieces = value.split(is_space).filter(|piece| !piece.is_empty()).peekable();
                while let Some(piece) = pieces.next() {
                    open.get_or_insert_default().push_str(piece);
                    if pieces.peek().is_some() || value.ends_with(is_space) {
                        words.extend(open.take());
                    }
                }
            }
        }
        if let Some(text) = &mut open
            && text.len() > longest
        {
            let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
            text.truncate(end);
        }
    }
    words.extend(open);
    words
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

/// The variables that a word names.
pub(super) fn variables(word: &Word) -> impl Iterator<Item = &str> {
    word.iter().filter_map(|part| match part {
        Part::Variable { name, .. } => Some(name.as_str()),
        Part::Text { .. } => None,
    })
}
