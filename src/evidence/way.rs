//! The way into the guest, as a run saw it.

use serde::{Deserialize, Serialize};
use vm::ssh::{About, Change, Rank, Way};

/// The way into the guest, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayIn {
    /// The one that answered last.
    pub answered: Way,
    /// What it is to the host.
    pub is: Rank,
    /// The one that the real inventory names.
    pub inventory: Way,
    /// What the playbooks changed about it.
    pub applied: Vec<Change>,
    /// What the last reboot changed about it.
    pub rebooted: Vec<Change>,
    /// Whether the real inventory has a password for becoming root.
    pub become_password: bool,
}

impl WayIn {
    /// The way in one line.
    pub fn line(&self) -> String {
        let whose = match self.is {
            Rank::Inventory => "as the inventory says".to_owned(),
            Rank::Fresh => format!("as in a fresh guest; the inventory says {}", self.inventory),
            Rank::BreakGlass => format!("the break-glass way; the inventory says {}", self.inventory),
            Rank::Unexpected => format!("UNEXPECTED: the inventory says {}", self.inventory),
        };
        format!("{}, {whose}", self.answered)
    }

    /// Everything that changed, in order.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.applied.iter().chain(&self.rebooted)
    }

    /// Whether anything is worth a word.
    pub fn is_plain(&self) -> bool {
        self.is == Rank::Inventory && self.changes().next().is_none()
    }

    /// What is not as it must be.
    pub fn wrong(&self) -> Option<(String, String)> {
        if self.is == Rank::Unexpected {
            let moved = self.changes().filter(|change| change.about == About::Way).last();
            let how = moved.map_or_else(|| format!("ssh answers by {}", self.answered), |change| change.what.clone());
            let next = format!(
                "if it is meant, say so in the inventory (ansible_port: {}, ansible_user: {}); if not, find what moved it",
                self.answered.port, self.answered.user
            );
            return Some((format!("the host can be reached only as nothing expects it: {how}"), next));
        }
        if self.is == Rank::BreakGlass {
            let what = format!(
                "only the break-glass way leads in: ssh answers by {} and not by {}",
                self.answered, self.inventory
            );
            return Some((
                what,
                "on the real host that way would be left: find what keeps the other one from answering".into(),
            ));
        }
        let no_password = |change: &&Change| change.about == About::Sudo && !self.become_password;
        if let Some(change) = self.changes().find(no_password) {
            let next =
                "give the inventory the password (ansible_become_password), or leave the user a rule without one";
            return Some((format!("Ansible cannot become root any more: {}", change.what), next.into()));
        }
        let lost = |change: &&Change| change.about != About::Way || self.is != Rank::Inventory;
        self.rebooted.iter().find(lost).map(|change| {
            (format!("the reboot changed the way in: {}", change.what), "find what changes it at boot".into())
        })
    }
}
