//! Words and numbers as the pages show them.

use maud::{Markup, Render, html};
use std::fmt::Write;

/// The longest text of others that is shown whole, in characters; the evidence has the rest.
const LONGEST: usize = 1200;

/// Text that came from the guest, a playbook or the console: kept apart from its surroundings in its writing
/// direction, and cut where it is too long to be read.
pub(super) struct Told<'a>(pub(super) &'a str);

impl Render for Told<'_> {
    fn render(&self) -> Markup {
        let (text, left) = cut(self.0.trim(), LONGEST);
        html! {
            span.told {
                // What stands between backticks is a command or a name, as everywhere in this project.
                @let pieces: Vec<_> = text.split('`').collect();
                @if pieces.len() % 2 == 0 { (text) }
                @else { @for (n, piece) in pieces.iter().enumerate() {
                    @if n % 2 == 1 { code { (piece) } } @else { (piece) }
                } }
            }
            @if left > 0 { span.soft { " … and " (left) " more characters" } }
        }
    }
}

/// The beginning of a text, and how many characters are left out.
pub(super) fn cut(text: &str, longest: usize) -> (&str, usize) {
    match text.char_indices().nth(longest) {
        Some((at, _)) => (&text[..at], text[at..].chars().count()),
        None => (text, 0),
    }
}

/// Seconds, as exactly as they are worth reading.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        ..9.995 => format!("{seconds:.2} s"),
        ..599.95 => format!("{seconds:.1} s"),
        _ => format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
    }
}

/// A size in bytes.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// `1 check`, `2 checks`.
pub(super) fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// A path as the address of a link: whatever could end it or lead elsewhere is encoded.
pub(super) fn link(path: &str) -> String {
    let mut out = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(byte.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// Make everything visible that would hide, colour, reverse or end text: the last step of every page, so that
/// no part of it can be forgotten. Control sequences of terminals go; other controls, and what changes the
/// writing direction or has no width, become their code points.
pub(super) fn visible(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut rest = page.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            '\u{1b}' if rest.peek() == Some(&'[') => skip_sequence(&mut rest),
            _ if is_hidden(c) => drop(write!(out, "⟨U+{:04X}⟩", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

/// A control sequence ends with a byte from `@` to `~` (ECMA-48); what does not belong into one ends it too.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    rest.next();
    while let Some(c) = rest.next_if(|c| (' '..='~').contains(c) && *c != '<') {
        if ('@'..='~').contains(&c) {
            return;
        }
    }
}

/// Controls, and Unicode's format characters that reorder or hide what stands around them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reverses_text_becomes_visible_and_colours_go() {
        let hostile = "\u{1b}[1;31mred\u{1b}[0m \u{202e}gpj.exe \u{0}\u{7}\u{1b}] a\u{200b}b\r\nשלום\tx";
        assert_eq!(visible(hostile), "red ⟨U+202E⟩gpj.exe ⟨U+0000⟩⟨U+0007⟩⟨U+001B⟩] a⟨U+200B⟩b\nשלום\tx");
    }

    #[test]
    fn a_sequence_that_never_ends_cannot_swallow_the_page() {
        assert_eq!(visible("\u{1b}[1;31</td>"), "</td>");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 2), ("äö", 1));
        assert_eq!(cut("äöü", 3), ("äöü", 0));
    }

    #[test]
    fn a_link_stays_in_its_folder_whatever_the_file_is_called() {
        assert_eq!(link("guest/a b\".txt"), "./guest/a%20b%22.txt");
        assert_eq!(link("javascript:alert(1)"), "./javascript%3Aalert%281%29");
    }

    #[test]
    fn seconds_are_as_exact_as_they_are_worth_reading() {
        assert_eq!([0.034, 9.996, 59.94, 725.4].map(seconds), ["0.03 s", "10.0 s", "59.9 s", "12 min 05 s"]);
    }
}
