//! The passes over the playbooks, as the page shows them.

use crate::playbook::tried::Told;
use crate::playbook::tried::summary;
use crate::record::{CheckMode, Record};
use crate::report::html::cycle::{PassTask, Passes};

/// What the playbooks did or would do once more, if that is known.
pub(super) fn of(record: &Record) -> Option<Passes> {
    let mut passes = Passes::default();
    if let Some(second) = &record.idempotence {
        let n = second.changed.len();
        passes.looked = true;
        passes.short.push(format!("Second run: {} tasks on the VM, {n} changed something again.", second.tasks));
        add(&mut passes.wrong, "changed something again", &second.changed);
    }
    match &record.check_mode {
        None => {}
        Some(CheckMode::LeftOut { why }) => passes.short.push(format!("Check mode: {why}.")),
        Some(CheckMode::Compared { compared, .. }) => {
            passes.short.push(format!("Check mode: {}.", summary(compared)));
            passes.short.extend(compared.unseen.iter().map(|why| format!("Could not look: {why}.")));
            let unused = compared.unused.iter().map(|id| format!("The profile allows `{id}`, and no task matched it."));
            passes.short.extend(unused);
            passes.looked |= compared.judged > 0;
            let undone = "would do its work again after the restart";
            let counts = !record.undone().is_empty();
            add(if counts { &mut passes.wrong } else { &mut passes.told }, undone, &compared.undone);
            for (what, tasks) in [
                ("changes something each time", &compared.again),
                ("cannot be judged in check mode", &compared.unjudged),
                ("ran in check mode too (check_mode: false)", &compared.ran),
            ] {
                add(&mut passes.told, what, tasks);
            }
        }
    }
    (!passes.short.is_empty()).then_some(passes)
}

fn add(to: &mut Vec<(String, Vec<PassTask>)>, what: &str, told: &[Told]) {
    let task = |told: &Told| {
        let name = [told.role.as_str(), told.task.as_str()].into_iter().filter(|word| !word.is_empty());
        let item = if told.item.is_empty() { String::new() } else { format!(" [{}]", told.item) };
        let name = format!("{}{item}", name.collect::<Vec<_>>().join(": "));
        PassTask { name, place: told.place.clone(), said: told.said.clone() }
    };
    if !told.is_empty() {
        to.push((what.to_owned(), told.iter().map(task).collect()));
    }
}
