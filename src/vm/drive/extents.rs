//! A set of blocks as ranges: what a guest zeroes is long and costs one entry, whatever its length.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of block numbers that neither overlap nor touch: each one's first, and the one behind its last.
#[derive(Debug, Default)]
pub(super) struct Extents(BTreeMap<u64, u64>);

impl Extents {
    /// Take these blocks in.
    pub(super) fn add(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let Range { mut start, mut end } = blocks;
        // What overlaps or touches becomes one with it.
        while let Some((first, behind)) = self.last(..=end).filter(|(_, behind)| *behind >= start) {
            self.0.remove(&first);
            (start, end) = (start.min(first), end.max(behind));
        }
        self.0.insert(start, end);
    }

    /// Leave these blocks out.
    pub(super) fn remove(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        while let Some((first, behind)) = self.last(..blocks.end).filter(|(_, behind)| *behind > blocks.start) {
            self.0.remove(&first);
            if first < blocks.start {
                self.0.insert(first, blocks.start);
            }
            if behind > blocks.end {
                self.0.insert(blocks.end, behind);
            }
        }
    }

    /// Whether a block is in it.
    pub(super) fn contains(&self, block: u64) -> bool {
        self.last(..=block).is_some_and(|(_, behind)| behind > block)
    }

    /// The parts of it that lie in `blocks`, in order.
    pub(super) fn within(&self, blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let begun = self.last(..blocks.start).filter(|(_, behind)| *behind > blocks.start);
        let first = begun.map_or(blocks.start, |(first, _)| first);
        let all = if blocks.is_empty() { 0..0 } else { first..blocks.end };
        self.0.range(all).map(move |(first, behind)| (*first).max(blocks.start)..(*behind).min(blocks.end))
    }

    /// All ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(first, behind)| *first..*behind)
    }

    /// How many ranges there are: what it costs.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn last(&self, range: impl std::ops::RangeBounds<u64>) -> Option<(u64, u64)> {
        self.0.range(range).next_back().map(|(first, behind)| (*first, *behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a plain set.
        #[test]
        fn it_is_a_set(ops in proptest::collection::vec((any::<bool>(), 0_u64..40, 0_u64..12), 0..40), at in 0_u64..40) {
            let (mut extents, mut set) = (Extents::default(), BTreeSet::new());
            for (add, start, length) in ops {
                let range = start..start + length;
                match add {
                    true => {
                        extents.add(range.clone());
                        set.extend(range);
                    }
                    false => {
                        extents.remove(range.clone());
                        set.retain(|block| !range.contains(block));
                    }
                }
                let found: Vec<_> = extents.iter().collect();
                prop_assert!(found.iter().all(|range| !range.is_empty()), "{:?}", found);
                prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", found);
                prop_assert_eq!(found.into_iter().flatten().collect::<BTreeSet<_>>(), set.clone());
                prop_assert_eq!(extents.blocks(), set.len() as u64);
            }
            prop_assert_eq!(extents.contains(at), set.contains(&at));
            let part: Vec<_> = extents.within(at..at + 7).flatten().collect();
            prop_assert_eq!(part, set.range(at..at + 7).copied().collect::<Vec<_>>());
        }
    }
}
