//! What each mode must do to the markers, and which marks it must leave: the table that an experiment
//! holds against what it measures.

use crate::experiment::marks::Kind;
use crate::experiment::{Fate, Marker};
use serde::{Deserialize, Serialize};
use std::fmt;
use vm::reboot::Mode;

/// What a mode must do to a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It must survive, or the mark must be there.
    Yes,
    /// It must be lost, or the mark must not be there.
    No,
    /// Either is right.
    Either,
}

impl Expected {
    /// Whether what was seen is as it must be.
    pub fn holds(self, seen: bool) -> bool {
        match self {
            Self::Yes => seen,
            Self::No => !seen,
            Self::Either => true,
        }
    }
}

/// How the old system ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It shuts down: all is synced and unmounted.
    Orderly,
    /// It is cut off; the disk goes on.
    Cut,
    /// It is cut off, and the disk's cache with it.
    PowerLoss,
}

fn end(mode: Mode) -> End {
    match mode {
        Mode::Guest | Mode::Acpi | Mode::Kexec | Mode::SoftReboot => End::Orderly,
        Mode::Reset | Mode::PowerCycle | Mode::Panic | Mode::Watchdog => End::Cut,
        Mode::PowerLoss => End::PowerLoss,
    }
}

/// Whether a marker must survive a mode. A guest whose watchdog nobody feeds runs on for the seconds that the watchdog
/// waits, and its file system commits every 5 s: what was in the page cache may have got to the disk by then.
pub fn survives(mode: Mode, marker: Marker) -> Expected {
    match (end(mode), marker) {
        (_, Marker::PageCache) if mode == Mode::Watchdog => Expected::Either,
        (End::Orderly, _) | (_, Marker::Fsynced) | (End::Cut, Marker::Direct) => Expected::Yes,
        (End::Cut | End::PowerLoss, Marker::PageCache) | (End::PowerLoss, Marker::Direct) => Expected::No,
    }
}

/// Whether a mode must leave a mark. The file system's journal is replayed whenever it was not unmounted. The
/// others depend on what the guest was doing just then: whether a deleted file was open, and whether what
/// journald has in the page cache had been written back.
pub fn leaves(mode: Mode, mark: Kind) -> Expected {
    match (end(mode), mark) {
        (End::Orderly, _) => Expected::No,
        (_, Kind::JournalReplayed) => Expected::Yes,
        (_, Kind::OrphansCleared | Kind::FsckMended | Kind::JournaldUnclean) => Expected::Either,
    }
}

/// Something that was measured and is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// What, by a stable name: `marker/direct`, `mark/journal-replayed`, `check/docker_active`.
    pub id: String,
    /// What it must be.
    pub expected: String,
    /// What it was.
    pub saw: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: must be {}, is {}", self.id, self.expected, self.saw)
    }
}

/// The markers that did not fare as they must. One that is torn or gone is wrong in any mode.
pub fn of_markers(mode: Mode, fates: &[(Marker, Fate)], circumstances: &str) -> Vec<Deviation> {
    let deviation = |(marker, fate): &(Marker, Fate)| {
        let expected = survives(mode, *marker);
        let right = match fate {
            Fate::Survived => expected.holds(true),
            Fate::Lost => expected.holds(false),
            Fate::Torn | Fate::Missing => false,
        };
        let word = match expected {
            Expected::Yes => "survived",
            Expected::No => "lost",
            Expected::Either => "survived or lost",
        };
        let saw = format!("{fate} ({circumstances})");
        (!right).then(|| Deviation { id: format!("marker/{marker}"), expected: word.into(), saw })
    };
    fates.iter().filter_map(deviation).collect()
}

/// The marks that are there and must not be, and those that are not there and must be.
pub fn of_marks(mode: Mode, marks: &[crate::experiment::Mark]) -> Vec<Deviation> {
    let deviation = |kind: Kind| {
        let first = marks.iter().find(|mark| mark.kind == kind);
        let (expected, saw) = match leaves(mode, kind) {
            Expected::Yes => ("a line that shows it", "none".to_owned()),
            Expected::No | Expected::Either => ("none", first.map(|mark| mark.line.clone()).unwrap_or_default()),
        };
        let wrong = !leaves(mode, kind).holds(first.is_some());
        wrong.then(|| Deviation { id: format!("mark/{}", kind.name()), expected: expected.into(), saw })
    };
    Kind::ALL.into_iter().filter_map(deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Mark;

    fn fates(fates: [Fate; 3]) -> [(Marker, Fate); 3] {
        let mut fates = fates.into_iter();
        Marker::ALL.map(|marker| (marker, fates.next().unwrap()))
    }

    #[test]
    fn only_a_power_loss_may_lose_what_was_handed_to_the_disk() {
        use Fate::{Lost, Survived};
        for mode in Mode::ALL {
            let right = match mode {
                Mode::Guest | Mode::Acpi | Mode::Kexec | Mode::SoftReboot => [Survived; 3],
                Mode::PowerLoss => [Survived, Lost, Lost],
                _ => [Survived, Lost, Survived],
            };
            assert_eq!(of_markers(mode, &fates(right), ""), [], "{mode}");
            let other = |fate| if fate == Survived { Lost } else { Survived };
            // A starved guest runs on for a while, which may be long enough for the page cache.
            let wrong = if mode == Mode::Watchdog { 2 } else { 3 };
            assert_eq!(of_markers(mode, &fates(right.map(other)), "").len(), wrong, "{mode}");
        }
    }

    #[test]
    fn a_torn_or_missing_marker_is_wrong_everywhere() {
        for mode in Mode::ALL {
            for fate in [Fate::Torn, Fate::Missing] {
                let found = of_markers(mode, &fates([fate; 3]), "held 0.1 s");
                assert_eq!(found.len(), 3, "{mode} {fate}");
                assert!(found[0].saw.contains("held 0.1 s"));
            }
        }
    }

    #[test]
    fn an_orderly_end_leaves_no_mark_and_a_cut_leaves_a_journal_to_replay() {
        let replayed = [Mark { kind: Kind::JournalReplayed, line: "recovery complete".into() }];
        let id = |found: &[Deviation]| found.iter().map(|deviation| deviation.id.clone()).collect::<Vec<_>>();
        assert_eq!(of_marks(Mode::Guest, &[]), []);
        assert_eq!(id(&of_marks(Mode::Guest, &replayed)), ["mark/journal-replayed"]);
        assert_eq!(of_marks(Mode::Reset, &replayed), []);
        assert_eq!(id(&of_marks(Mode::Reset, &[])), ["mark/journal-replayed"]);
    }
}
