//! What the rules found on the console.

use super::super::text::{Told, cut};
use super::Highlight;
use maud::{Markup, html};

/// The longest line of a console that is shown whole, in characters.
const LONGEST: usize = 400;

pub(super) fn shown(highlight: &Highlight) -> Markup {
    html! {
        div.entry {
            @for rule in &highlight.rules {
                p { (rule.weight.tag()) " " code { (rule.id) } ": " (Told(&rule.means)) span."soft small" { " · " (highlight.part) } }
            }
            pre.console tabindex="0" aria-label=(format!("console of {}", highlight.part)) {
                @for line in &highlight.lines {
                    @let (text, left) = cut(&line.text, LONGEST);
                    span.line.hit[line.matched] {
                        (if line.matched { "▸ " } else { "  " }) (text)
                        @if left > 0 { " … and " (left) " more characters" }
                    }
                }
            }
        }
    }
}
