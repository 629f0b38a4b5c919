//! A regular expression in a profile: one that is wrong is refused where it stands.

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A regular expression that is known to be one. `^` and `$` are the ends of a line.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("format" = "regex"))]
pub struct Pattern(Regex);

impl Pattern {
    /// The first line of a text in which it is found.
    pub fn line_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.lines().find(|line| self.0.is_match(line))
    }

    /// Whether it is found anywhere in the text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match RegexBuilder::new(&text).multi_line(true).build() {
            Ok(_) if always(&text) => {
                Err(format!("the regular expression {text:?} matches every text, even an empty one"))
            }
            Ok(_) if never(&text) => Err(format!("the regular expression {text:?} can never match")),
            Ok(pattern) => Ok(Self(pattern)),
            // The library's message draws the place over several lines; its last one says what is wrong.
            Err(error) => {
                let said = error.to_string();
                let what = said.lines().next_back().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Err(format!("the regular expression {text:?} cannot be used: {what}"))
            }
        }
    }
}

/// Whether it matches whatever it is given: nothing is asked by it.
fn always(text: &str) -> bool {
    let mut parser = regex_syntax::ParserBuilder::new().multi_line(true).build();
    let empty = |hir: &regex_syntax::hir::Hir| {
        hir.properties().minimum_len() == Some(0) && hir.properties().look_set().is_empty()
    };
    parser.parse(text).is_ok_and(|hir| empty(&hir))
}

/// Whether there is no text at all that it matches (an empty class, say).
fn never(text: &str) -> bool {
    let mut parser = regex_syntax::ParserBuilder::new().multi_line(true).build();
    parser.parse(text).is_ok_and(|hir| hir.properties().minimum_len().is_none())
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
