//! Which states a crash could have left: a pure function of what changed between the flushes, the seed and a number.
//!
//! A state is legal if everything before some flush is there, and of what came behind it any part, sector by sector: a drive
//! may write what it holds in any order, and tears nothing smaller than a sector. Each second state is of the moment of the power
//! loss itself, between the last flush before it and the next; the others are of any moment of the window, for an order of writes
//! that is wrong shows while the workload runs.

use crate::experiment::seeded::Seeded;
use std::ops::Range;
use vm::crash::State;

/// What is needed of a window: how many sectors each change has, between each two flushes, and where the power is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The sectors of each change, flush by flush.
    pub epochs: Vec<Vec<usize>>,
    /// How many flushes come before the power loss.
    pub promised: usize,
}

impl Shape {
    /// The shape of a window.
    pub fn of(window: &vm::crash::Window) -> Self {
        let sectors = |epoch: &Vec<vm::crash::Change>| epoch.iter().map(vm::crash::Change::sectors).collect();
        Self { epochs: window.epochs.iter().map(sectors).collect(), promised: window.promised }
    }

    /// State number `n`, from 0. The first is what a power loss leaves that takes all that was not flushed, the second one that
    /// takes nothing.
    pub fn state(&self, seed: u64, n: usize) -> State {
        // Each state has numbers of its own, so that one can be made without those before it.
        let mut random = Seeded::new(seed ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let after = match n % 2 {
            1 if n > 1 => below(&mut random, self.epochs.len()),
            _ => self.promised,
        };
        let changes = self.epochs.get(after).map_or(&[][..], Vec::as_slice);
        let kept = match (n, below(&mut random, 4)) {
            (0, _) => Vec::new(),
            (1, _) => changes.iter().enumerate().map(|(number, sectors)| (number, 0..*sectors)).collect(),
            (_, 0) => one_alone(&mut random, changes),
            (_, 1) => all_but_one(&mut random, changes),
            (_, _) => some(&mut random, changes),
        };
        State { after, kept }
    }
}

fn below(random: &mut Seeded, end: usize) -> usize {
    (random.number() % (end.max(1) as u64)) as usize
}

/// One change, or a part of it.
fn one_alone(random: &mut Seeded, changes: &[usize]) -> Vec<(usize, Range<usize>)> {
    if changes.is_empty() {
        return Vec::new();
    }
    let number = below(random, changes.len());
    part(random, changes[number]).map(|sectors| (number, sectors)).into_iter().collect()
}

/// Everything but one change, of which a part may be there.
fn all_but_one(random: &mut Seeded, changes: &[usize]) -> Vec<(usize, Range<usize>)> {
    let missing = below(random, changes.len());
    let kept = |(number, sectors): (usize, &usize)| match number == missing {
        true => torn(random, *sectors).map(|sectors| (number, sectors)),
        false => Some((number, 0..*sectors)),
    };
    changes.iter().enumerate().filter_map(kept).collect()
}

/// Each change or not, by odds that are the state's own.
fn some(random: &mut Seeded, changes: &[usize]) -> Vec<(usize, Range<usize>)> {
    let odds = 1 + below(random, 7);
    let kept = |(number, sectors): (usize, &usize)| match below(random, 8) < odds {
        true => part(random, *sectors).map(|sectors| (number, sectors)),
        false => None,
    };
    changes.iter().enumerate().filter_map(kept).collect()
}

/// The whole of a change, or in one of four cases what is left of it when it was torn.
fn part(random: &mut Seeded, sectors: usize) -> Option<Range<usize>> {
    match below(random, 4) {
        0 => torn(random, sectors),
        _ => Some(0..sectors),
    }
}

/// The sectors before a cut, or behind it; none if nothing is left.
fn torn(random: &mut Seeded, sectors: usize) -> Option<Range<usize>> {
    let cut = below(random, sectors + 1);
    let left = if below(random, 2) == 0 { 0..cut } else { cut..sectors };
    (!left.is_empty()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn shape() -> impl Strategy<Value = Shape> {
        let epochs = proptest::collection::vec(proptest::collection::vec(1_usize..20, 0..8), 1..6);
        epochs.prop_flat_map(|epochs| {
            let flushes = epochs.len();
            (Just(epochs), 0..flushes).prop_map(|(epochs, promised)| Shape { epochs, promised })
        })
    }

    proptest! {
        /// Each is one that a crash can leave: of what came after a flush some, of each change sectors that it has, each once
        /// and in order. And it is the same one each time.
        #[test]
        fn every_state_is_legal_and_the_same_each_time(shape in shape(), seed in any::<u64>(), n in 0_usize..300) {
            let state = shape.state(seed, n);
            prop_assert!(state.after < shape.epochs.len());
            let changes = &shape.epochs[state.after];
            prop_assert!(state.kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (number, sectors) in &state.kept {
                prop_assert!(!sectors.is_empty() && sectors.end <= changes[*number]);
            }
            if n % 2 == 0 {
                prop_assert_eq!(state.after, shape.promised);
            }
            prop_assert_eq!(shape.state(seed, n), state);
        }
    }

    fn states(seed: u64, many: usize) -> Vec<State> {
        let shape = Shape { epochs: vec![vec![8, 1], vec![8, 16, 2, 3], vec![2]], promised: 1 };
        (0..many).map(|n| shape.state(seed, n)).collect()
    }

    #[test]
    fn the_first_has_nothing_that_was_not_flushed_and_the_second_all_of_it() {
        let first = states(5, 2);
        assert_eq!(first[0], State { after: 1, kept: Vec::new() });
        assert_eq!(first[1], State { after: 1, kept: vec![(0, 0..8), (1, 0..16), (2, 0..2), (3, 0..3)] });
    }

    #[test]
    fn another_seed_gives_other_states() {
        assert_ne!(states(1, 30), states(2, 30));
    }

    #[test]
    fn many_states_are_of_every_flush_torn_and_whole_and_of_any_part() {
        let all: HashSet<_> = states(1, 200).into_iter().collect();
        assert!(all.len() > 40, "{} are different", all.len());
        for after in 0..3 {
            assert!(all.iter().any(|state| state.after == after), "none after flush {after}");
        }
        let at_loss: Vec<_> = all.iter().filter(|state| state.after == 1).collect();
        // The later one of two is there without the first, and the other way round: a drive knows no order.
        let has = |state: &State, number| state.kept.iter().any(|(other, _)| *other == number);
        assert!(at_loss.iter().any(|state| has(state, 1) && !has(state, 0)));
        assert!(at_loss.iter().any(|state| has(state, 0) && !has(state, 1)));
        let torn = |state: &&State| state.kept.iter().any(|(number, sectors)| *number == 1 && sectors.len() < 16);
        assert!(at_loss.iter().copied().any(|state| torn(&state)));
    }
}
