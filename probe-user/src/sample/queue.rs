//! What the hooks note of queues.
use probe_common::{
    accept_queue::{FILL_BUCKETS, WAIT_BUCKETS},
    queue_peaks::WINDOWS,
};
use serde::{Deserialize, Serialize};

/// Declares [`QueueTotals`], so that no list of its fields can forget one.
macro_rules! queue_totals {
    ($($(#[$documentation:meta])* $field:ident: $of:ty,)+) => {
        /// Totals of one listener's accept queue, or of all listeners of a port. They only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct QueueTotals {
            $($(#[$documentation])* pub $field: $of,)+
        }

        impl QueueTotals {
            /// Adds another listener's totals.
            pub fn add(&mut self, other: &Self) {
                $(self.$field.add_all(&other.$field);)+
            }
        }
    };
}

queue_totals! {
    /// Connections that accept() returned: `inet_csk_accept()`.
    accepted: u64,
    /// Of these, those whose wait is known, by how long they were in the queue:
    /// `probe_common::accept_queue::wait_bound`.
    wait: [u64; WAIT_BUCKETS],
    /// The sum of these waits, in nanoseconds.
    wait_sum: u64,
    /// Connections put in the queue, by how full it was with them: `probe_common::accept_queue::FILL_BOUNDS`.
    fill: [u64; FILL_BUCKETS],
    /// The sum of these fills, in 1/`probe_common::accept_queue::FILL_ONE`.
    fill_sum: u64,
}

/// Numbers that are added up one by one.
trait AddAll {
    fn add_all(&mut self, other: &Self);
}

impl AddAll for u64 {
    fn add_all(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }
}

impl<const LENGTH: usize> AddAll for [u64; LENGTH] {
    fn add_all(&mut self, other: &Self) {
        self.iter_mut().zip(other).for_each(|(ours, theirs)| ours.add_all(theirs));
    }
}

/// The highest lengths of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakSample {
    /// In the last complete window of each length: `probe_common::queue_peaks::WINDOWS`.
    pub windows: [u32; WINDOWS.len()],
    /// Since the hooks were attached; `None` before anything was in it.
    pub highest: Option<u32>,
    /// When that was, in nanoseconds of `CLOCK_MONOTONIC`.
    pub highest_at: Option<u64>,
}

/// What is known of queues beside their totals. Of several listeners: of each number the highest or the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Peaks of the accept queue: `sk_ack_backlog` each time that a connection was put in it.
    pub accept_queue: PeakSample,
    /// Peaks of the SYN queue: `icsk_accept_queue.qlen` each time that a request was put in it.
    pub syn_queue: PeakSample,
    /// The most places that were wanted in the accept queue at once, in the last two minutes or so: its length, and
    /// the connections that were refused within a second.
    pub demand: u32,
    /// When accept() last returned a connection, in nanoseconds of `CLOCK_MONOTONIC`.
    pub accepted_at: Option<u64>,
    /// The process that it returned it to.
    pub accepted_by: Option<u32>,
}

/// When a sample was taken, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instants {
    /// Nanoseconds of `CLOCK_MONOTONIC`, which `bpf_ktime_get_ns()` gives as well.
    pub monotonic: u64,
    /// Seconds since the epoch.
    pub unix_seconds: f64,
}

impl Instants {
    /// The seconds since the epoch of an instant on the monotonic clock.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a microsecond more or less")]
    pub fn unix_seconds_of(&self, monotonic: u64) -> f64 {
        let ago = self.monotonic as f64 - monotonic as f64;
        self.unix_seconds - ago / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_added_bucket_by_bucket() {
        let one = QueueTotals { accepted: 1, wait: [2; 24], wait_sum: 3, fill: [4; 8], fill_sum: 5 };
        let mut sum = one;
        sum.add(&one);
        assert_eq!(sum, QueueTotals { accepted: 2, wait: [4; 24], wait_sum: 6, fill: [8; 8], fill_sum: 10 });
    }

    #[test]
    fn an_instant_of_the_monotonic_clock_has_a_time_of_day() {
        let now = Instants { monotonic: 5_000_000_000, unix_seconds: 1_000.5 };
        assert!((now.unix_seconds_of(3_000_000_000) - 998.5).abs() < 1e-9);
        assert!((now.unix_seconds_of(6_000_000_000) - 1_001.5).abs() < 1e-9);
    }
}
