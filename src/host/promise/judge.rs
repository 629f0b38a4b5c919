//! Whether there is memory for one more VM.

use super::{Held, Need};
use crate::names::MiB;
use camino::Utf8PathBuf;
use std::fmt;

/// A place that memory is taken from: the host, or a group that allows no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// The group; none: the host.
    pub(super) group: Option<Utf8PathBuf>,
    /// What there is now.
    pub(super) left: MiB,
}

impl Room {
    /// Whether a VM's memory is taken from here. One whose groups cannot be seen may be here.
    fn holds(&self, held: &Held) -> bool {
        match &self.group {
            None => true,
            Some(group) => held.groups().is_none_or(|groups| groups.contains(group)),
        }
    }

    /// Those who have something here, or are before this ticket.
    fn counted<'a>(&self, others: &'a [Held], ticket: u64) -> Vec<&'a Held> {
        let counts = |held: &&Held| self.holds(held) && (!held.entry.waits || held.entry.ticket < ticket);
        others.iter().filter(counts).collect()
    }

    /// What is left of it when all that is promised is used.
    pub(super) fn beside(&self, others: &[Held], ticket: u64) -> MiB {
        let promised: u64 = self.counted(others, ticket).iter().map(|held| held.outstanding().0).sum();
        MiB(self.left.0.saturating_sub(promised))
    }
}

/// There is too little memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct Refused {
    /// What is needed.
    need: Need,
    /// The narrowest place.
    room: Room,
    /// What is left there beside the promises.
    beside: MiB,
    /// Who has something there, or comes first.
    holders: Vec<Held>,
}

impl Refused {
    /// Whether it can be otherwise when the others have ended.
    pub fn may_pass(&self) -> bool {
        let used: u64 = self.holders.iter().filter_map(|held| held.used).map(|used| used.0).sum();
        !self.holders.is_empty() && self.need.wanted() <= MiB(self.room.left.0.saturating_add(used))
    }

    /// Who is in the way, one after the other.
    pub fn holders(&self) -> String {
        self.holders.iter().map(Held::to_string).collect::<Vec<_>>().join("; ")
    }

    /// The same without what changes all the time.
    pub fn who(&self) -> String {
        self.holders.iter().map(|held| format!("{} {} ", held.entry.what, held.entry.waits)).collect()
    }

    fn told(&self) -> String {
        let Self { need: Need { min_free, guest, beside: more, .. }, room, beside, holders } = self;
        let place = room.group.as_ref().map(|group| format!(" in the control group {group}")).unwrap_or_default();
        let there = match holders.is_empty() {
            true => format!("{} of memory are available{place}", room.left),
            false => format!(
                "{beside} of memory are available{place} beside what is promised ({} are free now; {})",
                room.left,
                self.holders()
            ),
        };
        match beside < min_free {
            true => format!("{there}, and a run wants {min_free} (the VM takes up to {guest} of it)"),
            false => format!("{there}, and the VM takes up to {guest}, and {more} for QEMU and what is around it"),
        }
    }

    /// What to do next.
    pub(super) fn next(&self) -> Option<String> {
        let fits = self.need.mem() <= self.beside;
        let others = if self.may_pass() { "wait for them with --wait, or " } else { "" };
        Some(match (fits, self.beside < self.need.min_free) {
            (true, _) => {
                format!("{others}stop something that uses memory, or accept less with --min-free-mib {}", self.beside.0)
            }
            (false, true) => format!(
                "{others}stop something that uses memory, or lower mem_mib in the profile and give --min-free-mib as much"
            ),
            (false, false) => format!("{others}stop something that uses memory, or lower mem_mib in the profile"),
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, uid, used } = self;
        write!(f, "`{}` (pid {}, uid {uid}) ", entry.what, entry.by.pid)?;
        match (entry.waits, used) {
            (true, _) => write!(f, "waits for {}", entry.mem),
            (false, Some(used)) => write!(f, "has {}, of which {used} are used", entry.mem),
            (false, None) => write!(f, "has {}", entry.mem),
        }
    }
}

impl Need {
    /// The memory that must be there.
    fn wanted(&self) -> MiB {
        self.min_free.max(self.mem())
    }
}

/// Whether there is memory for a need with this ticket beside those that others have, and those that came before it.
pub(super) fn judge(need: &Need, rooms: &[Room], others: &[Held], ticket: u64) -> Result<(), Refused> {
    let narrowest = rooms.iter().min_by_key(|room| room.beside(others, ticket));
    let Some(room) = narrowest else { return Ok(()) };
    let beside = room.beside(others, ticket);
    if need.wanted() <= beside {
        return Ok(());
    }
    let holders = room.counted(others, ticket).into_iter().cloned().collect();
    Err(Refused { need: need.clone(), room: room.clone(), beside, holders })
}
