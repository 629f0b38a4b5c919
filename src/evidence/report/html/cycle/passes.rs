//! What a second run of the playbooks did, and what passes in check mode say of them.

use super::super::text::{Told, count};
use super::{PassTask, Passes};
use maud::{Markup, html};

/// What they say in short, and whether that is as it must be.
pub(super) fn short(passes: &Passes) -> (String, Option<bool>) {
    match passes.wrong.iter().map(|(_, tasks)| tasks.len()).sum::<usize>() {
        0 if passes.looked => ("nothing to do".into(), Some(true)),
        0 => ("not known".into(), None),
        n => (count(n, "task"), Some(false)),
    }
}

pub(super) fn shown(passes: &Passes) -> Markup {
    html! {
        @for sentence in &passes.short { p { (Told(sentence)) } }
        @for (what, tasks) in &passes.wrong { @for task in tasks {
            (entry(task, html! { span.tag.bad { span aria-hidden="true" { "✗ " } (Told(what)) } }))
        } }
        @for (what, tasks) in &passes.told {
            details {
                summary { (count(tasks.len(), "task")) ": " (Told(what)) }
                @for task in tasks { (entry(task, html! {})) }
            }
        }
    }
}

fn entry(task: &PassTask, tag: Markup) -> Markup {
    html! {
        div.entry {
            p { (tag) " " b { (Told(&task.name)) } " " span."soft small" { (Told(&task.place)) } }
            @if !task.said.is_empty() { pre.console { (Told(&task.said)) } }
        }
    }
}
