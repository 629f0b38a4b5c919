//! A console log cut by boot.

use serde::Serialize;
use std::ops::Range;

/// One boot's part of a console log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// Which boot of the VM it is, from 1.
    pub number: usize,
    /// Its bytes in the log.
    pub range: Range<usize>,
}

/// Cut a log of `length` bytes where the boots began: `cuts` are their offsets in order, as the journal
/// has them. What stands before the first cut belongs to the first boot; a log that ends before a
/// cut (the journal is written first) gives that boot an empty part.
pub fn boots(length: usize, cuts: &[u64]) -> Vec<Boot> {
    let offset = |cut: u64| usize::try_from(cut).unwrap_or(usize::MAX).min(length);
    let starts: Vec<usize> = std::iter::once(0).chain(cuts.iter().skip(1).map(|cut| offset(*cut))).collect();
    let ends = starts.iter().skip(1).copied().chain([length]);
    let ranges = starts.iter().copied().zip(ends);
    ranges.enumerate().map(|(n, (start, end))| Boot { number: n + 1, range: start..end.max(start) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(length: usize, cuts: &[u64]) -> Vec<(usize, usize)> {
        boots(length, cuts).into_iter().map(|boot| (boot.range.start, boot.range.end)).collect()
    }

    #[test]
    fn a_log_without_cuts_is_one_boot() {
        assert_eq!(ranges(10, &[]), [(0, 10)]);
        assert_eq!(ranges(0, &[0]), [(0, 0)]);
    }

    #[test]
    fn each_cut_begins_a_boot() {
        assert_eq!(ranges(100, &[0, 40, 90]), [(0, 40), (40, 90), (90, 100)]);
    }

    #[test]
    fn a_log_shorter_than_its_cuts_gives_empty_boots() {
        assert_eq!(ranges(50, &[0, 40, 90]), [(0, 40), (40, 50), (50, 50)]);
    }
}
