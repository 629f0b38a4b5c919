//! The middle and the spread of a few measurements, and nothing that they do not hold.

use serde::{Deserialize, Serialize};

/// What some measurements have in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub n: usize,
    /// The median; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// How far they lie apart; none for a single one, which says nothing about that.
    pub spread: Option<Spread>,
}

/// How far measurements lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The median of the distances from the median.
    pub mad: f64,
}

impl Summary {
    /// Of some measurements; none of none, nor where one is not a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let middle = median(&values)?;
        let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        distances.sort_by(f64::total_cmp);
        let spread = match values[..] {
            [min, .., max] => median(&distances).map(|mad| Spread { min, max, mad }),
            _ => None,
        };
        Some(Self { n: values.len(), median: middle, spread })
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_spread_of_some() {
        let found = Summary::of([9.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!(found, Summary { n: 4, median: 3.0, spread: Some(Spread { min: 1.0, max: 9.0, mad: 1.5 }) });
        let odd = Summary::of([5.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.spread.unwrap().mad), (2.0, 1.0));
    }

    #[test]
    fn a_single_one_has_no_spread_and_none_has_no_middle() {
        assert_eq!(Summary::of([4.5]), Some(Summary { n: 1, median: 4.5, spread: None }));
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([1.0, f64::NAN]), None);
    }
}
