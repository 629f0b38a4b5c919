//! Text of others, as it is shown: nothing in it can move the cursor, hide, colour, reorder or end what stands around it.
//!
//! What a guest, an image, a playbook or a tool wrote is kept as it came. Before it is shown it goes through here: a
//! character that draws nothing itself is written as its code point (`⟨U+009B⟩`). Only colours are taken out without a
//! trace, since what is left is what a terminal would draw. Bytes that are not UTF-8 have become U+FFFD where they were
//! read, which is drawn.
//!
//! The doors that call this: [`crate::print`] for both streams, the pages, `report.md`, `junit.xml`, and whoever
//! writes JSON.
//!
//! Fuzzed as `visible`.

use anstyle::Style;
use std::borrow::Cow;
use std::fmt::{self, Write};

/// A text of several lines: line ends and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    shown(text, true)
}

/// A text that is one line whatever it holds: a name, a cell of a table, a reason. Its line ends become visible too, so
/// that it cannot begin a line of its own; those at its end are none of it.
pub fn line(text: &str) -> Cow<'_, str> {
    shown(text.trim_end_matches(['\n', '\r']), false)
}

/// Serialised JSON in which hidden characters are written as `\uXXXX`: whoever reads the text sees them, and whoever
/// parses it gets the very characters that were meant. (`serde_json` escapes those below U+0020 only.)
pub fn json(text: &str) -> Cow<'_, str> {
    // Line ends stand between the values: in a string they are escaped already.
    escaped(
        text,
        |c| is_hidden(c) && c != '\n',
        |out, c| c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    )
}

/// A value as one line of JSON, for programs.
pub fn json_of(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(json(&serde_json::to_string(value)?).into_owned())
}

/// A value as JSON in several lines, for files that people read too.
pub fn json_pretty(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(json(&serde_json::to_string_pretty(value)?).into_owned())
}

/// A text with colours of our own in it: what is written into it is made visible, the colours apart.
#[derive(Clone, Debug, Default)]
pub struct Painted(String);

impl Painted {
    /// One line, or a part of one, in a style.
    pub fn paint(&mut self, style: Style, text: &str) {
        self.0.push_str(&format!("{style}{}{style:#}", line(text)));
    }

    /// Several lines in a style.
    pub fn paint_lines(&mut self, style: Style, text: &str) {
        self.0.push_str(&format!("{style}{}{style:#}", block(text)));
    }

    /// The text with ANSI codes: print it through `anstream`, which takes them out where there is no terminal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Write for Painted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(&block(text));
        Ok(())
    }
}

fn shown(text: &str, lines: bool) -> Cow<'_, str> {
    let kept = |c: char| c == '\t' || lines && c == '\n';
    if !text.chars().any(|c| is_hidden(c) && !kept(c)) {
        return Cow::Borrowed(text);
    }
    let text = without_colours(text);
    // Terminals and Windows end lines with both.
    let text = if lines { Cow::Owned(text.replace("\r\n", "\n")) } else { text };
    Cow::Owned(
        escaped(&text, |c| is_hidden(c) && !kept(c), |out, c| write!(out, "⟨U+{:04X}⟩", u32::from(c))).into_owned(),
    )
}

/// The same text with some characters written as something else.
fn escaped(
    text: &str,
    is_one: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char) -> fmt::Result,
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_one) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        match is_one(c) {
            // Writing to a String cannot fail.
            true => drop(write(&mut out, c)),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Without the sequences that only set colours (SGR: `ESC [`, numbers, `m`). Any other stays, to be seen.
fn without_colours(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(at);
        let inner = &sequence[2..];
        let end = inner.find(|c: char| !matches!(c, '0'..='9' | ';' | ':')).unwrap_or(inner.len());
        out.push_str(before);
        match inner[end..].strip_prefix('m') {
            Some(after) => rest = after,
            None => {
                out.push_str(&sequence[..2]);
                rest = inner;
            }
        }
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), what ends lines or changes the writing direction, and what draws nothing: the code points with
/// Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, Unicode 16), the interlinear marks, and
/// the blank pattern of braille.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_moves_or_reverses_text_becomes_visible_and_colours_go() {
        let hostile = "\u{1b}[1;31mred\u{1b}[0m \u{202e}gpj.exe \u{0}\u{7}\u{1b}] a\u{200b}b\r\nשלום\tx";
        assert_eq!(block(hostile), "red ⟨U+202E⟩gpj.exe ⟨U+0000⟩⟨U+0007⟩⟨U+001B⟩] a⟨U+200B⟩b\nשלום\tx");
        let screen = "k\u{1b}[2J\u{1b}[HPASSED\u{1b}]0;pwned\u{7} \u{9b}31m \u{7f} \u{e0041}\u{2028}\u{61c}";
        assert_eq!(
            block(screen),
            "k⟨U+001B⟩[2J⟨U+001B⟩[HPASSED⟨U+001B⟩]0;pwned⟨U+0007⟩ ⟨U+009B⟩31m ⟨U+007F⟩ ⟨U+E0041⟩⟨U+2028⟩⟨U+061C⟩"
        );
    }

    #[test]
    fn a_carriage_return_that_would_overwrite_a_line_is_seen() {
        assert_eq!(block("FAILED\rPASSED"), "FAILED⟨U+000D⟩PASSED");
        assert_eq!(line("FAILED\nPASSED: all\r\n"), "FAILED⟨U+000A⟩PASSED: all");
    }

    #[test]
    fn what_looks_like_a_colour_and_is_none_is_seen_and_nothing_is_made_by_taking_one_out() {
        assert_eq!(block("\u{1b}[1;31</td>"), "⟨U+001B⟩[1;31</td>");
        assert_eq!(block("\u{1b}\u{1b}[m[2J"), "⟨U+001B⟩[2J");
        assert_eq!(block("\u{1b}[\u{1b}[0m2J"), "⟨U+001B⟩[2J");
        assert_eq!(block("\u{1b}["), "⟨U+001B⟩[");
    }

    #[test]
    fn plain_text_of_any_language_is_not_touched() {
        for text in ["", "äöü 漢字 שלום\n\tx", "⟨U+001B⟩", "🙂 → ✓"] {
            assert!(matches!(block(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_shows_what_is_hidden_and_means_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[2J \u{202e} \u{e0041} \u{7f} \u{2028}\n é"});
        let text = json_of(&value).unwrap();
        assert_eq!(text, r#"{"a\u009b":"\u001b[2J \u202e \udb40\udc41 \u007f \u2028\n é"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(!json_pretty(&value).unwrap().contains(|c| is_hidden(c) && c != '\n'));
    }

    #[test]
    fn only_our_own_colours_come_through_a_painted_text() {
        let mut text = Painted::default();
        text.paint(Style::new().bold(), "a\u{1b}[31mb\nc");
        let hostile = "\u{1b}[31mred\u{1b}[K";
        writeln!(text, " {hostile}").unwrap();
        assert_eq!(text.as_str(), "\u{1b}[1mab⟨U+000A⟩c\u{1b}[0m red⟨U+001B⟩[K\n");
    }
}
