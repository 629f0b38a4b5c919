//! A console log cut into the parts that belong together.

use serde::Serialize;
use std::ops::Range;

/// What begins with a part of a console log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begins {
    /// A boot: the firmware starts.
    Boot,
    /// A boot of some time before goes on from a snapshot. What stands before the cut is not its past.
    Restore,
}

/// Where a part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes from the start of the log.
    pub offset: u64,
    /// What begins there.
    pub begins: Begins,
}

/// One part of a console log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it begins with.
    pub begins: Begins,
    /// Which boot of the VM it is, or which restore, from 1: each kind has its own numbers.
    pub number: usize,
    /// Its bytes in the log.
    pub range: Range<usize>,
}

impl Part {
    /// Its name, `boot-2` or `restore-1`.
    pub fn name(&self) -> String {
        let word = match self.begins {
            Begins::Boot => "boot",
            Begins::Restore => "restore",
        };
        format!("{word}-{}", self.number)
    }
}

/// Cut a log of `length` bytes: `cuts` are in order, as the journal has them. What stands before the first
/// cut belongs to the first part; a log that ends before a cut (the journal is written first) gives that
/// part no bytes.
pub fn parts(length: usize, cuts: &[Cut]) -> Vec<Part> {
    let offset = |cut: &Cut| usize::try_from(cut.offset).unwrap_or(usize::MAX).min(length);
    let first = [Cut { offset: 0, begins: Begins::Boot }];
    let cuts = if cuts.is_empty() { &first } else { cuts };
    let mut numbers = [0, 0];
    let part = |(n, cut): (usize, &Cut)| {
        let start = if n == 0 { 0 } else { offset(cut) };
        let end = cuts.get(n + 1).map_or(length, offset);
        let number = &mut numbers[usize::from(cut.begins == Begins::Restore)];
        *number += 1;
        Part { begins: cut.begins, number: *number, range: start..end.max(start) }
    };
    cuts.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(length: usize, offsets: &[u64]) -> Vec<(usize, usize)> {
        let cuts: Vec<_> = offsets.iter().map(|offset| Cut { offset: *offset, begins: Begins::Boot }).collect();
        parts(length, &cuts).into_iter().map(|part| (part.range.start, part.range.end)).collect()
    }

    #[test]
    fn a_log_without_cuts_is_one_boot() {
        assert_eq!(ranges(10, &[]), [(0, 10)]);
        assert_eq!(ranges(0, &[0]), [(0, 0)]);
    }

    #[test]
    fn each_cut_begins_a_part() {
        assert_eq!(ranges(100, &[0, 40, 90]), [(0, 40), (40, 90), (90, 100)]);
    }

    #[test]
    fn a_log_shorter_than_its_cuts_gives_empty_parts() {
        assert_eq!(ranges(50, &[0, 40, 90]), [(0, 40), (40, 50), (50, 50)]);
    }

    #[test]
    fn a_restore_is_a_part_of_its_own_and_takes_no_number_from_the_boots() {
        use Begins::{Boot, Restore};
        let cuts = [(0, Boot), (10, Restore), (20, Boot), (30, Restore)].map(|(offset, begins)| Cut { offset, begins });
        let names: Vec<_> = parts(40, &cuts).iter().map(Part::name).collect();
        assert_eq!(names, ["boot-1", "restore-1", "boot-2", "restore-2"]);
    }
}
