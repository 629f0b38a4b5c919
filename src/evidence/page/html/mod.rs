//! The pages: one file each, with everything inline, to be read by a person in any browser.
//!
//! They draw what was recorded: here nothing is read, and nothing is decided.
//! A page asks nothing of a network and runs no script. Whatever came from the guest is escaped where it
//! is written (maud does it) and made visible as a whole at the end (`text::visible`).

mod checks;
pub mod cycle;
pub mod experiment;
pub(in crate::page) mod findings;
pub mod head;
pub mod parts;
mod proof;
mod scale;
pub mod several;
pub mod text;

pub use cycle::CyclePage;
pub use experiment::ExperimentPage;

use crate::record::proof::ProofRecord;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The page of one run.
pub fn cycle(page: &CyclePage<'_>) -> String {
    document(&format!("{} · boma-qemu", page.record.host), &cycle::body(page))
}

/// The page of an experiment.
pub fn experiment(page: &ExperimentPage<'_>) -> String {
    document(&format!("experiment {} · boma-qemu", page.all.host), &experiment::body(page))
}

/// The page of a proof.
pub fn proof(all: &ProofRecord, command: &str) -> String {
    document(&format!("proof {} · boma-qemu", all.host), &proof::body(all, command))
}

/// A page: its title, and what it shows.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Not even a slip in here could make the page load something or run a script.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    // The last step, so that no part of the page can be forgotten.
    host::visible::block(&page.into_string()).into_owned()
}

/// A part of a page: its name and a remark in the margin, its matter beside them.
pub fn part(id: &str, name: &str, remark: &str, matter: &Markup) -> Markup {
    html! {
        section.part id=(id) aria-labelledby=(format!("{id}-name")) {
            header {
                h2 id=(format!("{id}-name")) { (name) }
                @if !remark.is_empty() { p { (remark) } }
            }
            div.matter { (matter) }
        }
    }
}

#[cfg(test)]
mod tests;
