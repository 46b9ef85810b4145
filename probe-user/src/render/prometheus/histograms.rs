//! Histograms, and which of their buckets have series: those of every port are a good part of what a host costs Prometheus.
use prometheus::proto::{Bucket, Histogram as Distribution};

use super::{Exposition, Identity};
use crate::{
    metrics::{Metric, catalogue},
    model::Histogram,
};

impl Exposition {
    pub(super) fn add_histogram(&mut self, metric: &'static Metric, port: Identity, histogram: &Histogram) {
        let mut below = 0_u64;
        let mut buckets = Vec::new();
        // The last bucket, which has no bound, is the count: the encoder writes it.
        for (bound, count) in histogram.upper_bounds.iter().zip(histogram.counts.iter()) {
            below = below.wrapping_add(*count);
            if has_series(metric, *bound) {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(below);
                buckets.push(bucket);
            }
        }
        let mut distribution = Distribution::default();
        distribution.set_bucket(buckets);
        distribution.set_sample_sum(histogram.sum);
        distribution.set_sample_count(histogram.count());
        self.families.add_distribution(metric, port, distribution);
    }
}

/// Waits are measured by powers of two from 15 us on, which the JSON snapshot shows. Of these only powers of four from a
/// millisecond on have series: 9 buckets instead of 23. They say whether anybody had to wait, and how long by and large.
fn has_series(metric: &Metric, bound: f64) -> bool {
    let power = bound.log2();
    metric.name != catalogue::ACCEPT_WAIT.name || (power >= -10.0 && power % 2.0 == 0.0)
}

#[cfg(test)]
mod tests {
    use probe_common::accept_queue::{WAIT_BOUNDS, wait_bound};

    use super::*;

    #[test]
    fn of_the_waits_every_other_bound_from_a_millisecond_on_has_series() {
        let bounds = (0..WAIT_BOUNDS).filter_map(wait_bound);
        let shown: Vec<f64> = bounds.filter(|bound| has_series(&catalogue::ACCEPT_WAIT, *bound)).collect();
        let expected = [0.000_976_562_5, 0.003_906_25, 0.015_625, 0.062_5, 0.25, 1.0, 4.0, 16.0, 64.0];
        assert_eq!(shown, expected);
        assert!(has_series(&catalogue::ACCEPT_QUEUE_FILL, 0.9));
    }
}
