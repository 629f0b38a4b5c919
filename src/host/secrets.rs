//! Secrets: what may not leave the program, and the mask that stands in their place.
//!
//! The values of extra-vars and of the vault come to be known in one place each; the doors through which text leaves
//! (standard output and error, the evidence, Ansible's log, the record) mask them. They are known to the whole
//! process, since a door does not know whose words it lets through. A mask is as long as what it hides: offsets hold.

use crate::visible;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// Shorter values are not hidden: they would be found everywhere, and hide what is none.
pub const SHORTEST: usize = 6;

/// Those that are known, the longest first, each with what finds it.
static KNOWN: RwLock<Vec<(String, Regex)>> = RwLock::new(Vec::new());

/// Know these values from now on, in the ways in which they may be written. A value of several lines (a key) is one
/// secret per line.
pub fn know(values: impl IntoIterator<Item = String>) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for value in values {
        for text in value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST) {
            for way in ways(text) {
                if known.iter().any(|(text, _)| *text == way) {
                    continue;
                }
                // A literal, and no limit on its size: this cannot fail.
                let pattern = RegexBuilder::new(&regex::escape(&way)).size_limit(usize::MAX).build();
                known.extend(pattern.ok().map(|pattern| (way, pattern)));
            }
        }
    }
    known.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
}

/// As it is; in JSON; in XML and HTML; in base64 (where it stands alone); and as text and JSON show what is hidden in it.
fn ways(text: &str) -> Vec<String> {
    use base64::Engine;
    let json = serde_json::to_string(text).unwrap_or_default();
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let base64 = base64::engine::general_purpose::STANDARD.encode(text);
    let json = json.trim_matches('"').to_owned();
    let shown = [visible::line(text), visible::json(&json)].map(Cow::into_owned);
    let mut ways = vec![text.to_owned(), json, html, base64];
    ways.extend(shown);
    ways.retain(|way| way.len() >= SHORTEST);
    ways.dedup();
    ways
}

/// The same bytes with every known secret masked.
pub fn masked(bytes: &[u8]) -> Cow<'_, [u8]> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(bytes);
    for (secret, pattern) in known.iter() {
        if let Cow::Owned(clean) = pattern.replace_all(&text, regex::bytes::NoExpand(&vec![b'*'; secret.len()])) {
            text = Cow::Owned(clean);
        }
    }
    text
}

/// The same text with every known secret masked.
pub fn mask(text: &str) -> Cow<'_, str> {
    match masked(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // Whole strings were replaced by ASCII.
        Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
    }
}

/// What of a text of variables (YAML, as the vault holds it) may be a secret: each line's value, and each line of a
/// longer one.
pub fn values_of(yaml: &str) -> Vec<String> {
    let value = |line: &str| {
        let line = line.trim().trim_start_matches("- ");
        let value = line.split_once(": ").map_or(line, |(_, value)| value).trim();
        let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        bare.unwrap_or(value).to_owned()
    };
    let is_value = |line: &&str| !line.trim_end().ends_with(':') && !line.trim_start().starts_with('#');
    yaml.lines().filter(is_value).map(value).filter(|value| !value.starts_with("{{")).collect()
}

/// Whether a variable's name says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "credential", "private", "auth", "vault"].iter().any(|word| name.contains(word))
}

/// Mask the known secrets on this process's own command line, which everybody on the host can read. Before any other
/// thread is started.
pub fn leave_the_process_list() {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): fields 48 and 49, counted behind the name's bracket, which is field 2.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(45);
    let mut address = || fields.next().and_then(|field| field.parse::<usize>().ok());
    let (Some(start), Some(end)) = (address(), address()) else { return };
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    if start == 0 || end.checked_sub(start) != Some(line.len()) {
        return;
    }
    let clean = masked(&line);
    if clean.len() == line.len() {
        super::sys::set_command_line(start, &clean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_way_in_which_it_is_written_and_nothing_moves() {
        know(["plan\"ted<secret>".to_owned(), "short".to_owned()]);
        let said = serde_json::json!({ "msg": "it was plan\"ted<secret> all along" }).to_string();
        let clean = mask(&said);
        assert!(!clean.contains("ted<secret>") && clean.len() == said.len(), "{clean}");
        assert!(!mask("<b>plan&quot;ted&lt;secret&gt;</b>").contains("secret"));
        assert_eq!(mask("password: cGxhbiJ0ZWQ8c2VjcmV0Pg=="), "password: ************************");
        assert!(matches!(mask("short is no secret"), Cow::Borrowed(_)));
        let clean = masked(b"\xff plan\"ted<secret> \xfe");
        assert_eq!(&clean[..], b"\xff **************** \xfe");
    }

    #[test]
    fn a_secret_that_holds_what_is_hidden_is_masked_as_it_is_shown_too() {
        know(["se\u{1b}[2Jcr\u{200b}et".to_owned()]);
        assert!(!mask("x ⟨U+001B⟩[2Jcr").contains("***"));
        assert!(!mask(&visible::line("it is se\u{1b}[2Jcr\u{200b}et")).contains("cr"));
        let json = visible::json_of(&"se\u{1b}[2Jcr\u{200b}et").unwrap();
        assert!(!mask(&json).contains("cr"), "{}", mask(&json));
    }

    #[test]
    fn a_secret_of_several_lines_is_hidden_line_by_line() {
        know(["-----BEGIN-----\nb3BlbnNzaC1rZXktdjE\n-----END-----\n".to_owned()]);
        assert_eq!(mask("  b3BlbnNzaC1rZXktdjE  x"), "  *******************  x");
    }

    #[test]
    fn the_values_of_a_vault_are_found_and_templates_are_none() {
        let yaml = "---\n# a comment\na: 'quoted value'\nb:\n  - item one\n  - c: \"deep value\"\nd: |\n  line 1 of it\ne: \"{{ a }}\"\n";
        let values = values_of(yaml);
        for value in ["quoted value", "item one", "deep value", "line 1 of it"] {
            assert!(values.iter().any(|found| found == value), "{value} in {values:?}");
        }
        assert!(!values.iter().any(|value| value.contains("{{") || value.contains("comment")), "{values:?}");
    }
}
