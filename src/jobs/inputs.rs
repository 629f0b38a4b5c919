//! What a plan's inputs say: the repository and its inventory, by Ansible's own programs, and what is never to be reached.

use super::Progress;
use super::bring_up::own_exe;
use super::never::{Never, incomplete};
use super::target::Target;
use crate::ansible::preflight::{self, Preflight};
use crate::profile::Unresolved;
use host::failure::Failure;
use host::secrets;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What was found.
pub(super) struct Inputs {
    pub(super) preflight: Preflight,
    /// The names that must never be reached, with their addresses.
    pub(super) never: BTreeMap<String, Vec<IpAddr>>,
    /// The same in one line.
    pub(super) said: String,
}

/// Look at them; nothing is made, and no host is contacted.
pub(super) fn look(target: &Target<'_>, progress: &dyn Progress) -> Result<Inputs, Failure> {
    let (dirs, plan) = (target.dirs, &target.plan);
    let controller = plan.controller(dirs);
    let allowed = target.allowed(&controller);
    let found = preflight::check(&controller, &plan.playbooks(dirs), &dirs.state, &own_exe()?, &allowed)?;
    secrets::know(found.secrets.clone());
    for note in &found.notes {
        progress.note(note);
    }
    for file in &found.real.skipped {
        progress.note(&format!("{file} lies beside the inventory and is not one: nothing in it is kept out of reach"));
    }
    let never = Never::of(&found.real, &plan.profile.never);
    let lacks = never.lacks();
    match (&lacks, plan.profile.never_unresolved) {
        (Some(lacks), Unresolved::Refuse) => return Err(incomplete(&plan.host, lacks)),
        (Some(lacks), Unresolved::Note) => progress
            .note(&format!("never to be reached, but without a known address, so only the names are refused: {lacks}")),
        (None, _) => {}
    }
    let unknown = match never.missing.len() {
        0 => String::new(),
        some => format!(", {some} of unknown address"),
    };
    let said = format!("ansible-core {}, {} names never to be reached{unknown}", found.version, never.list.len());
    Ok(Inputs { preflight: found, never: never.list, said })
}
