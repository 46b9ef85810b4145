//! The queues of a port or of one of its listeners: how full they were, and how long connections waited.
use std::sync::{Arc, LazyLock};

use probe_common::accept_queue::{FILL_BOUNDS, FILL_ONE, WAIT_BOUNDS, wait_bound};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plan::outcome::Coverage,
    sample::{Instants, PeakSample, QueueSample, QueueTotals},
};

/// What is known of queues. `None` is "cannot be known here", never zero. Of several listeners the totals are sums,
/// and of the rest the highest or the latest: each has a queue of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Queues {
    /// What only grows.
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// The highest lengths of the accept queue.
    pub accept_queue_peaks: Option<Peaks>,
    /// The highest lengths of the SYN queue.
    pub syn_queue_peaks: Option<Peaks>,
    /// When accept() last returned a connection, in seconds since the epoch; `None` also before the first.
    pub last_accept: Option<f64>,
    /// The process that it returned it to.
    pub accepted_by: Option<u32>,
    /// The most places that were wanted in one listener's accept queue at once in the last two minutes or so: the
    /// connections in it and those that were refused within a second.
    pub demand: Option<u32>,
}

/// Totals of queues, since the hooks were attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueCounts {
    /// Connections that accept() returned.
    pub accepted: Option<u64>,
    /// How long accepted connections had been in the accept queue, in seconds.
    pub accept_wait: Option<Histogram>,
    /// How full the accept queue was each time that a connection was put in it, as a fraction of its limit.
    pub accept_queue_fill: Option<Histogram>,
}

/// How often something was how large.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// The upper bounds of the buckets; each bucket has its bound in it.
    pub upper_bounds: Arc<[f64]>,
    /// How many fell into each bucket, and behind them how many were above the last bound.
    pub counts: Arc<[u64]>,
    /// The sum of all that was measured.
    pub sum: f64,
}

impl Histogram {
    /// One with these bounds in which nothing is yet.
    fn empty(upper_bounds: impl Iterator<Item = f64>) -> Self {
        let upper_bounds: Arc<[f64]> = upper_bounds.collect();
        Self { counts: vec![0; upper_bounds.len().saturating_add(1)].into(), upper_bounds, sum: 0.0 }
    }

    /// These counts; this empty one's, which all that have counted nothing share, where there are none.
    fn counts_or(&self, counts: &[u64]) -> Arc<[u64]> {
        if *self.counts == *counts { Arc::clone(&self.counts) } else { counts.into() }
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// The upper bound of the bucket in which the given fraction of all is reached; `None` when nothing was
    /// measured, infinite past the last bound.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a fraction of a count needs no more digits")]
    pub fn quantile(&self, fraction: f64) -> Option<f64> {
        let count = self.count();
        let wanted = (count > 0).then_some(fraction * count as f64)?;
        let mut below = 0_u64;
        for (bound, here) in self.upper_bounds.iter().zip(self.counts.iter()) {
            below = below.saturating_add(*here);
            if below as f64 >= wanted {
                return Some(*bound);
            }
        }
        Some(f64::INFINITY)
    }
}

/// The highest lengths of a queue, over windows that begin at multiples of their length on the monotonic clock:
/// whoever asks within one and the same window is told the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Peaks {
    /// In the last complete second.
    pub last_1_second: u32,
    /// In the last complete window of 15 seconds.
    pub last_15_seconds: u32,
    /// In the last complete window of 60 seconds.
    pub last_60_seconds: u32,
    /// Since the hooks were attached.
    pub highest: u32,
    /// When that was, in seconds since the epoch; `None` while nothing was ever in the queue.
    pub highest_at: Option<f64>,
}

impl Queues {
    /// What a sample means under a plan.
    pub(super) fn new(sample: &QueueSample, coverage: &Coverage, taken: &Instants) -> Self {
        let QueueSample { totals, state } = sample;
        let (accept_queue, accepted) = (coverage.accept_queue_depth, coverage.accepted);
        Self {
            counts: QueueCounts::new(totals, coverage),
            accept_queue_peaks: accept_queue.then(|| peaks(&state.accept_queue, taken)),
            syn_queue_peaks: coverage.syn_queue_depth.then(|| peaks(&state.syn_queue, taken)),
            last_accept: state.accepted_at.filter(|_| accepted).map(|at| taken.unix_seconds_of(at)),
            accepted_by: state.accepted_by.filter(|_| accepted),
            demand: coverage.tells_demand().then_some(state.demand),
        }
    }
}

impl QueueCounts {
    /// What totals mean under a plan.
    pub(super) fn new(totals: &QueueTotals, coverage: &Coverage) -> Self {
        let (accept_queue, accepted) = (coverage.accept_queue_depth, coverage.accepted);
        Self {
            accepted: accepted.then_some(totals.accepted),
            accept_wait: accepted.then(|| wait(&totals.wait, totals.wait_sum)),
            accept_queue_fill: accept_queue.then(|| fill(&totals.fill, totals.fill_sum)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sums are approximate far beyond any sum that there is")]
fn wait(counts: &[u64], nanoseconds: u64) -> Histogram {
    static EMPTY: LazyLock<Histogram> =
        LazyLock::new(|| Histogram::empty((0..WAIT_BOUNDS).filter_map(wait_bound)));
    Histogram {
        upper_bounds: Arc::clone(&EMPTY.upper_bounds),
        counts: EMPTY.counts_or(counts),
        sum: nanoseconds as f64 / 1e9,
    }
}

#[expect(clippy::cast_precision_loss, reason = "sums are approximate far beyond any sum that there is")]
fn fill(counts: &[u64], sum: u64) -> Histogram {
    static EMPTY: LazyLock<Histogram> = LazyLock::new(|| {
        let bound = |(numerator, denominator): (u32, u32)| f64::from(numerator) / f64::from(denominator);
        Histogram::empty(FILL_BOUNDS.into_iter().map(bound))
    });
    Histogram {
        upper_bounds: Arc::clone(&EMPTY.upper_bounds),
        counts: EMPTY.counts_or(counts),
        sum: sum as f64 / FILL_ONE as f64,
    }
}

fn peaks(sample: &PeakSample, taken: &Instants) -> Peaks {
    let [last_1_second, last_15_seconds, last_60_seconds] = sample.windows;
    Peaks {
        last_1_second,
        last_15_seconds,
        last_60_seconds,
        highest: sample.highest.unwrap_or(0),
        highest_at: sample.highest_at.map(|at| taken.unix_seconds_of(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::QueueState;

    fn sample() -> QueueSample {
        let accept_queue =
            PeakSample { windows: [1, 2, 3], highest: Some(9), highest_at: Some(4_000_000_000) };
        QueueSample {
            totals: QueueTotals {
                accepted: 5,
                wait_sum: 2_500_000_000,
                fill_sum: FILL_ONE / 2,
                ..QueueTotals::default()
            },
            state: QueueState {
                accept_queue,
                accepted_at: Some(9_000_000_000),
                accepted_by: Some(77),
                demand: 12,
                ..QueueState::default()
            },
        }
    }

    const TAKEN: Instants = Instants { monotonic: 10_000_000_000, unix_seconds: 100.0 };

    #[test]
    fn numbers_come_in_base_units_and_instants_as_times_of_day() {
        let queues = Queues::new(&sample(), &Coverage::EVERYTHING, &TAKEN);
        let wait = queues.counts.accept_wait.unwrap();
        assert_eq!((wait.sum, wait.upper_bounds.len(), wait.counts.len()), (2.5, 23, 24));
        assert_eq!(queues.counts.accept_queue_fill.unwrap().sum, 0.5);
        let peaks = queues.accept_queue_peaks.unwrap();
        assert_eq!((peaks.last_15_seconds, peaks.highest, peaks.highest_at), (2, 9, Some(94.0)));
        assert_eq!(
            (queues.counts.accepted, queues.last_accept, queues.accepted_by),
            (Some(5), Some(99.0), Some(77))
        );
        assert_eq!((queues.demand, queues.syn_queue_peaks.unwrap().highest_at), (Some(12), None));
    }

    #[test]
    fn what_no_hook_tells_is_not_known() {
        assert_eq!(Queues::new(&sample(), &Coverage::NOTHING, &TAKEN), Queues::default());
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_are_not_above() {
        let check = |counts: &[u64], fraction: f64, expected: Option<f64>| {
            let upper_bounds = vec![1.0, 2.0, 4.0];
            let histogram = Histogram { upper_bounds: upper_bounds.into(), counts: counts.into(), sum: 0.0 };
            assert_eq!(histogram.quantile(fraction), expected, "{counts:?}");
        };
        check(&[0, 0, 0, 0], 0.5, None);
        check(&[1, 0, 0, 0], 0.5, Some(1.0));
        check(&[50, 49, 1, 0], 0.99, Some(2.0));
        check(&[50, 48, 2, 0], 0.99, Some(4.0));
        check(&[0, 0, 0, 1], 0.5, Some(f64::INFINITY));
    }
}
