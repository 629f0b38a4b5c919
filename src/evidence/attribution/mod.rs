//! Which task had set what the reboot lost.
//!
//! A command is skipped in check mode, so a pass over the playbooks after the reboot cannot say that its work is gone.
//! The comparison of the state sees that it is, and not whose it was. What the tasks that changed something were given
//! joins the two.
//!
//! Not fuzzed: the words of a task are split here, and nothing else; results are read by `playbook`.

mod sets;
mod statement;

use crate::observe::{Finding, Judged, SetBy};
use crate::playbook::deeds::Deed;

/// Name the task that set it in each finding of which that is certain: of several the last, whose work it was that was
/// there at the end.
pub fn name_tasks(judged: &mut Judged, deeds: &[Deed]) {
    let read: Vec<_> = deeds.iter().map(|deed| (deed, statement::statements(deed))).collect();
    let allowed = judged.allowed.iter_mut().map(|(finding, _)| finding);
    judged.findings.iter_mut().chain(allowed).for_each(|finding| name_task(finding, &read));
}

fn name_task(finding: &mut Finding, read: &[(&Deed, Vec<statement::Statement>)]) {
    let set_it = |statements: &[statement::Statement]| statements.iter().any(|one| sets::sets(finding, one));
    let last = read.iter().rev().find(|(_, statements)| set_it(statements));
    finding.set_by =
        last.map(|(deed, _)| SetBy { role: deed.role.clone(), task: deed.task.clone(), place: deed.place.clone() });
    finding.consequences.iter_mut().for_each(|consequence| name_task(consequence, read));
}

#[cfg(test)]
mod tests;
