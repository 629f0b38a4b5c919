//! The crash states: which files were durable in how many of them, and what else was found.

use super::super::text::Told;
use crate::experiment::crash::{Control, CrashStates, Fate, FileFate};
use maud::{Markup, html};

pub(super) fn shown(crash: &CrashStates) -> Markup {
    let wrong = crash.wrong();
    html! {
        p { (Told(&crash.headline())) }
        table {
            thead { tr {
                th scope="col" { "file" }
                th scope="col" { "must be" }
                th scope="col" { "was, in so many states" }
            } }
            tbody {
                @for Control { clean, file } in &crash.controls {
                    (row(file, if *clean { "kept (control)" } else { "lost in one at least (control)" }))
                }
                @for file in &crash.not_durable { (row(file, "kept")) }
                @for file in &crash.between { (row(file, "kept from the power loss on")) }
            }
        }
        @for wrong in &wrong {
            div.small { span.bad { span aria-hidden="true" { "✗ " } span.hidden { "wrong: " } } (Told(wrong)) }
        }
    }
}

fn row(file: &FileFate, must: &str) -> Markup {
    let of = |(fate, states): (&Fate, &usize)| format!("{fate} {states}");
    let was: Vec<_> = file.states.iter().map(of).collect();
    html! { tr {
        th scope="row" { (Told(&file.path)) }
        td { (must) }
        td { (was.join(", ")) }
    } }
}
