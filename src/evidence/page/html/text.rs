//! Words and numbers as the pages show them.

use maud::{Markup, Render, html};
use std::fmt::Write;

/// The longest text of others that is shown whole, in characters; the evidence has the rest.
const LONGEST: usize = 1200;

/// Text that came from the guest, a playbook or the console: kept apart from its surroundings in its writing
/// direction, and cut where it is too long to be read.
pub struct Told<'a>(pub &'a str);

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
pub fn seconds(seconds: f64) -> String {
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
pub fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// A path as the address of a link: whatever could end it or lead elsewhere is encoded.
pub fn link(path: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
