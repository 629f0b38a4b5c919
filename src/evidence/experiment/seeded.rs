//! Numbers that follow from a seed, on any machine and with any version of this program: an experiment
//! can be run again as it was.

/// SplitMix64 (Steele, Lea, Flood 2014; the constants are those of Java's SplittableRandom).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Put things into an order that the seed decides (Fisher and Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let other = self.number() % (last as u64 + 1);
            things.swap(last, other as usize);
        }
    }
}

/// The order of an experiment: rounds, in each of which every mode has one turn, in an order of its own.
/// So what changes slowly (a busy host, a disk that fills) falls on all modes alike, and no mode always
/// follows the same other one.
pub fn order<T: Copy>(modes: &[T], rounds: usize, seed: u64) -> Vec<T> {
    let mut random = Seeded::new(seed);
    let round = |_| {
        let mut turns = modes.to_vec();
        random.shuffle(&mut turns);
        turns
    };
    (0..rounds).flat_map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_those_of_the_published_algorithm() {
        // The reference implementation's first numbers for the seed 1234567.
        let mut random = Seeded::new(1_234_567);
        assert_eq!([random.number(), random.number()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn every_mode_has_one_turn_per_round_and_the_seed_decides_the_order() {
        let modes = ["a", "b", "c", "d", "e", "f"];
        let turns = order(&modes, 3, 1);
        for round in turns.chunks(modes.len()) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, modes);
        }
        assert_eq!(turns, order(&modes, 3, 1));
        assert_ne!(turns, order(&modes, 3, 2));
        assert_ne!(turns[..6], turns[6..12], "the rounds differ");
    }
}
