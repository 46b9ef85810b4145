//! Middle and spread of few figures.

use serde::{Deserialize, Serialize};

/// The median of some figures, and the quartiles around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lower_quartile: f64,
    pub(super) upper_quartile: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 2)?,
            lower_quartile: quantile(&sorted, 1)?,
            upper_quartile: quantile(&sorted, 3)?,
        })
    }
}

/// The median alone.
pub(super) fn median(figures: &[f64]) -> Option<f64> {
    Spread::of(figures).map(|spread| spread.median)
}

/// A number of quarters of the way through sorted figures, between the two that lie there.
fn quantile(sorted: &[f64], quarters: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (whole, rest) = (last * quarters / 4, last * quarters % 4);
    let below = *sorted.get(whole)?;
    let above = *sorted.get(whole + 1).unwrap_or(&below);
    let share = [0.0, 0.25, 0.5, 0.75].get(rest)?;
    Some((above - below).mul_add(*share, below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn quartiles_lie_between_figures() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((spread.lower_quartile, spread.upper_quartile), (1.75, 3.25));
        let spread = Spread::of(&[5.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((spread.lower_quartile, spread.upper_quartile), (2.0, 4.0));
    }

    #[test]
    fn one_wild_figure_does_not_move_the_middle() {
        assert_eq!(median(&[10.0, 11.0, 12.0, 13.0, 1.0e9]), Some(12.0));
    }
}
