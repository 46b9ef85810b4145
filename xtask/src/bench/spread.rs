//! What a row of measurements comes to.

use serde::{Deserialize, Serialize};

/// The value that so great a part of all is not above; 0 of none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length is a length")]
pub(super) fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (fraction * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1).min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The value in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The middle of some values, and between which two it lies in 95 of 100 such measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Interval {
    pub(super) lower: f64,
    pub(super) middle: f64,
    pub(super) upper: f64,
}

/// How often an interval may be wrong, on each of its sides.
const ONE_SIDE: f64 = 0.025;

/// Nothing is supposed of how the values are spread: each is above the true median as likely as below it, so how many of
/// them are is a matter of tossed coins. Of fewer than six values there is no such interval.
pub(super) fn interval(values: &[f64]) -> Option<Interval> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let left_out = values_left_out(values.len())?;
    Some(Interval {
        lower: *values.get(left_out)?,
        middle: median(&values),
        upper: *values.get(values.len().checked_sub(left_out + 1)?)?,
    })
}

/// How many values of each end are outside, at most; `None` if even all of them are too few.
fn values_left_out(count: usize) -> Option<usize> {
    // Of so many coins none shows heads, one does, two do.
    let mut chance = 0.5_f64.powf(count as f64);
    let (mut sum, mut outside) = (chance, None);
    for heads in 0..count {
        if sum > ONE_SIDE {
            break;
        }
        outside = Some(heads);
        chance *= (count - heads) as f64 / (heads + 1) as f64;
        sum += chance;
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!([median(&values), quantile(&values, 0.99), quantile(&values, 0.0)], [10.0, 20.0, 1.0]);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn an_interval_has_the_values_that_a_table_of_the_sign_test_has() {
        let check = |count: u32, expected: Option<(f64, f64)>| {
            let values: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            let found = interval(&values).map(|interval| (interval.lower, interval.upper));
            assert_eq!(found, expected, "{count}");
        };
        check(0, None);
        check(5, None);
        check(6, Some((1.0, 6.0)));
        check(8, Some((1.0, 8.0)));
        check(9, Some((2.0, 8.0)));
        check(20, Some((6.0, 15.0)));
        check(30, Some((10.0, 21.0)));
        check(100, Some((40.0, 61.0)));
    }

    #[test]
    fn some_wild_values_do_not_widen_an_interval() {
        let mut values = vec![1.0; 20];
        values[..5].copy_from_slice(&[0.1, 0.2, 17.0, 1e9, 0.0]);
        assert_eq!(interval(&values), Some(Interval { lower: 1.0, middle: 1.0, upper: 1.0 }));
    }
}
