//! Which buckets of histograms have series: those of every port are a good part of what a host costs Prometheus.
use crate::metrics::{Metric, catalogue};

/// The bounds of a family's histograms as they are written. All of its ports have the same, so they are written once.
#[derive(Default)]
pub(super) struct Bounds {
    of: Vec<f64>,
    texts: Vec<Option<String>>,
}

impl Bounds {
    /// The text of each bound; `None` where its bucket has no series.
    pub(super) fn texts(&mut self, metric: &Metric, bounds: &[f64]) -> &[Option<String>] {
        if self.of != bounds {
            self.of = bounds.to_vec();
            let text = |bound: &f64| has_series(metric, *bound).then(|| bound.to_string());
            self.texts = bounds.iter().map(text).collect();
        }
        &self.texts
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
