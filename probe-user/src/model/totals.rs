//! Totals that only grow, and the arithmetic by which a port's are shared out between series.
//!
//! Written once for all fields: a struct literal without a rest makes the compiler ask for each of them.
use super::{Handshakes, Histogram, LastAckRefused, Overflows, QueueCounts, SynDropped};

/// A set of totals, each of which may be unknown.
pub trait Totals: Clone + Default {
    /// The sum. What is unknown here stays unknown, what is unknown there counts as nothing.
    #[must_use]
    fn plus(&self, other: &Self) -> Self;

    /// The difference, and 0 where it would be less. Unknowns as in [`Totals::plus`].
    #[must_use]
    fn minus(&self, other: &Self) -> Self;

    /// What is known here, else what is known there.
    #[must_use]
    fn or(&self, other: &Self) -> Self;

    /// Whether nothing is above 0.
    fn is_nothing(&self) -> bool;

    /// Whether all that is known there is known here as well.
    fn knows_all_of(&self, other: &Self) -> bool;

    /// Adds more. What is known of either is known of the sum.
    fn add(&mut self, more: &Self) {
        *self = self.or(&more.minus(more)).plus(more);
    }
}

impl Totals for Option<u64> {
    fn plus(&self, other: &Self) -> Self {
        self.map(|count| count.saturating_add(other.unwrap_or(0)))
    }

    fn minus(&self, other: &Self) -> Self {
        self.map(|count| count.saturating_sub(other.unwrap_or(0)))
    }

    fn or(&self, other: &Self) -> Self {
        (*self).or(*other)
    }

    fn is_nothing(&self) -> bool {
        self.is_none_or(|count| count == 0)
    }

    fn knows_all_of(&self, other: &Self) -> bool {
        self.is_some() || other.is_none()
    }
}

/// Both histograms of one kind have the same bounds; one that is not known has none.
impl Totals for Option<Histogram> {
    fn plus(&self, other: &Self) -> Self {
        combined(self, other, u64::saturating_add, |ours, theirs| ours + theirs)
    }

    fn minus(&self, other: &Self) -> Self {
        combined(self, other, u64::saturating_sub, |ours, theirs| (ours - theirs).max(0.0))
    }

    fn or(&self, other: &Self) -> Self {
        self.clone().or_else(|| other.clone())
    }

    fn is_nothing(&self) -> bool {
        self.as_ref().is_none_or(|histogram| histogram.counts.iter().all(|count| *count == 0))
    }

    fn knows_all_of(&self, other: &Self) -> bool {
        self.is_some() || other.is_none()
    }
}

fn combined(
    ours: &Option<Histogram>,
    theirs: &Option<Histogram>,
    counts: fn(u64, u64) -> u64,
    sums: fn(f64, f64) -> f64,
) -> Option<Histogram> {
    let mut combined = ours.clone()?;
    if let Some(theirs) = theirs {
        let both = combined.counts.iter().zip(theirs.counts.iter());
        let both = both.map(|(ours, theirs)| counts(*ours, *theirs));
        combined.counts = both.chain(combined.counts.iter().skip(theirs.counts.len()).copied()).collect();
        combined.sum = sums(combined.sum, theirs.sum);
    }
    Some(combined)
}

/// Makes [`Totals`] of a struct whose fields are totals.
macro_rules! totals {
    ($type:ident: $($field:ident),+ $(,)?) => {
        impl $crate::model::totals::Totals for $type {
            fn plus(&self, other: &Self) -> Self {
                Self { $($field: self.$field.plus(&other.$field)),+ }
            }

            fn minus(&self, other: &Self) -> Self {
                Self { $($field: self.$field.minus(&other.$field)),+ }
            }

            fn or(&self, other: &Self) -> Self {
                Self { $($field: $crate::model::totals::Totals::or(&self.$field, &other.$field)),+ }
            }

            fn is_nothing(&self) -> bool {
                let Self { $($field),+ } = self;
                $($field.is_nothing())&&+
            }

            fn knows_all_of(&self, other: &Self) -> bool {
                let Self { $($field),+ } = self;
                $($crate::model::totals::Totals::knows_all_of($field, &other.$field))&&+
            }
        }
    };
}
pub(super) use totals;

totals!(QueueCounts: accepted, accept_wait, accept_queue_fill);
totals!(SynDropped: accept_queue_full, syn_queue_full, syn_backlog_reserve, other);
totals!(LastAckRefused: accept_queue_full, other, undivided);
totals!(Overflows: syn, ack, undivided);
totals!(
    Handshakes: syn_received,
    syn_queued,
    syn_dropped,
    syncookies_sent,
    syncookies_received,
    syncookies_failed,
    syn_queue_full_cookies,
    last_ack_received,
    last_ack_refused,
    established,
    synack_retransmits,
    request_errors,
    requests_aborted,
    requests_expired,
    closed_unaccepted,
    connections_refused,
    accept_queue_overflows,
    listen_drops,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_stays_unknown_and_counts_as_nothing() {
        let check = |left: Option<u64>, right: Option<u64>, expected: [Option<u64>; 4]| {
            let mut sum = left;
            sum.add(&right);
            assert_eq!([left.plus(&right), left.minus(&right), Totals::or(&left, &right), sum], expected);
        };
        check(Some(5), Some(3), [Some(8), Some(2), Some(5), Some(8)]);
        check(Some(3), Some(5), [Some(8), Some(0), Some(3), Some(8)]);
        check(Some(5), None, [Some(5); 4]);
        check(None, Some(5), [None, None, Some(5), Some(5)]);
        check(None, None, [None; 4]);
        assert!(
            Some(0).knows_all_of(&Some(1)) && None::<u64>.knows_all_of(&None) && Some(1).knows_all_of(&None)
        );
        assert!(!None.knows_all_of(&Some(0_u64)));
        check(Some(u64::MAX), Some(1), [Some(u64::MAX), Some(u64::MAX - 1), Some(u64::MAX), Some(u64::MAX)]);
    }

    #[test]
    fn histograms_are_reckoned_bucket_by_bucket() {
        let histogram = |counts: [u64; 2], sum| {
            Some(Histogram { upper_bounds: [1.0].into(), counts: counts.into(), sum })
        };
        let (more, less) = (histogram([5, 3], 9.5), histogram([2, 3], 4.0));
        assert_eq!(more.minus(&less), histogram([3, 0], 5.5));
        assert_eq!(less.plus(&more), histogram([7, 6], 13.5));
        assert_eq!((less.minus(&more), more.minus(&None)), (histogram([0, 0], 0.0), more.clone()));
        assert!(less.minus(&more).is_nothing() && !less.is_nothing() && None::<Histogram>.is_nothing());
        assert_eq!(None.plus(&less), None);
    }

    #[test]
    fn every_field_is_reckoned_with_its_own_kind() {
        let text = |factor: u64| {
            // All different, in the order of the fields.
            let mut next = 0;
            let blank = serde_json::to_value(Handshakes::default()).unwrap();
            serde_json::from_value::<Handshakes>(fill(blank, &mut next, factor)).unwrap()
        };
        assert_eq!(text(3).minus(&text(2)), text(1));
        assert_eq!(text(1).plus(&text(2)), text(3));
        assert_eq!(Totals::or(&Handshakes::default(), &text(2)), text(2));
        assert!(!text(1).is_nothing() && text(0).is_nothing() && Handshakes::default().is_nothing());
    }

    fn fill(value: serde_json::Value, next: &mut u64, factor: u64) -> serde_json::Value {
        match value {
            serde_json::Value::Object(fields) => serde_json::Value::Object(
                fields.into_iter().map(|(name, field)| (name, fill(field, next, factor))).collect(),
            ),
            _ => {
                *next += 1;
                serde_json::Value::from(*next * factor)
            }
        }
    }
}
