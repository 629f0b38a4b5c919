//! What a second run of the playbooks did, and what passes in check mode say of them.

use super::super::text::{Told, count};
use crate::playbook::tried::{self, summary};
use crate::record::{CheckMode, Record};
use maud::{Markup, html};

/// Tasks, and what there is to say of each of them.
type Group<'a> = (&'static str, &'a [tried::Told]);

/// The tasks of which each is wrong, and those that are only told.
fn groups(record: &Record) -> (Vec<Group<'_>>, Vec<Group<'_>>) {
    let mut wrong: Vec<Group<'_>> = vec![("changed something again", record.repeated())];
    let mut told: Vec<Group<'_>> = Vec::new();
    if let Some(compared) = record.check_mode.as_ref().and_then(CheckMode::compared) {
        let counts = !record.undone().is_empty();
        let to = if counts { &mut wrong } else { &mut told };
        to.push(("would do its work again after the restart", compared.undone.as_slice()));
        told.push(("changes something each time", &compared.again));
        told.push(("cannot be judged in check mode", &compared.unjudged));
        told.push(("ran in check mode too (check_mode: false)", &compared.ran));
    }
    for groups in [&mut wrong, &mut told] {
        groups.retain(|(_, tasks)| !tasks.is_empty());
    }
    (wrong, told)
}

/// What was done and came of it, a sentence for each; none where the playbooks were neither run again nor tried.
fn sentences(record: &Record) -> Vec<String> {
    let second = record.idempotence.iter().map(|second| {
        format!("Second run: {} tasks on the VM, {} changed something again.", second.tasks, second.changed.len())
    });
    let mut all: Vec<_> = second.collect();
    match &record.check_mode {
        None => {}
        Some(CheckMode::LeftOut { why }) => all.push(format!("Check mode: {why}.")),
        Some(CheckMode::Compared { compared, .. }) => {
            all.push(format!("Check mode: {}.", summary(compared)));
            all.extend(compared.unseen.iter().map(|why| format!("Could not look: {why}.")));
            let unused = compared.unused.iter().map(|id| format!("The profile allows `{id}`, and no task matched it."));
            all.extend(unused);
        }
    }
    all
}

/// What they say in short, and whether that is as it must be.
pub(super) fn short(record: &Record) -> Option<(String, Option<bool>)> {
    if record.idempotence.is_none() && record.check_mode.is_none() {
        return None;
    }
    let judged = record.check_mode.as_ref().and_then(CheckMode::compared).is_some_and(|compared| compared.judged > 0);
    Some(match groups(record).0.iter().map(|(_, tasks)| tasks.len()).sum::<usize>() {
        0 if record.idempotence.is_some() || judged => ("nothing to do".into(), Some(true)),
        0 => ("not known".into(), None),
        n => (count(n, "task"), Some(false)),
    })
}

pub(super) fn shown(record: &Record) -> Option<Markup> {
    let (sentences, (wrong, told)) = (sentences(record), groups(record));
    (!sentences.is_empty()).then(|| {
        html! {
            @for sentence in &sentences { p { (Told(sentence)) } }
            @for (what, tasks) in &wrong { @for task in *tasks {
                (entry(task, html! { span.tag.bad { span aria-hidden="true" { "✗ " } (Told(what)) } }))
            } }
            @for (what, tasks) in &told {
                details {
                    summary { (count(tasks.len(), "task")) ": " (Told(what)) }
                    @for task in *tasks { (entry(task, html! {})) }
                }
            }
        }
    })
}

fn entry(task: &tried::Told, tag: Markup) -> Markup {
    let item = if task.item.is_empty() { String::new() } else { format!(" [{}]", task.item) };
    let name = [task.role.as_str(), task.task.as_str()].into_iter().filter(|word| !word.is_empty());
    let name = format!("{}{item}", name.collect::<Vec<_>>().join(": "));
    html! {
        div.entry {
            p { (tag) " " b { (Told(&name)) } " " span."soft small" { (Told(&task.place)) } }
            @if !task.said.is_empty() { pre.console { (Told(&task.said)) } }
        }
    }
}
