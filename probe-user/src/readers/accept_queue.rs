//! The accept queue's signal, from the BPF maps: the pure half.
use probe_common::{
    accept_queue::{AcceptQueueCounters, AcceptedCounters},
    queue_peaks::{QueuePeaks, SECOND, TICK},
};
use serde::{Deserialize, Serialize};

use crate::sample::{PeakSample, QueueState, QueueTotals};

/// What was noted of one listener's queues, summed over the CPUs, or of several listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    totals: QueueTotals,
    peaks: QueuePeaks,
    syn_peaks: QueuePeaks,
    accepted_at: u64,
    accepted_by: u64,
}

impl QueueRow {
    /// Takes in what one CPU noted when connections came.
    pub fn absorb_cpu(&mut self, counters: &AcceptQueueCounters) {
        let AcceptQueueCounters { peaks, fill, fill_sum, syn_peaks } = counters;
        self.peaks.absorb(peaks);
        self.syn_peaks.absorb(syn_peaks);
        self.totals.add(&QueueTotals { fill: *fill, fill_sum: *fill_sum, ..QueueTotals::default() });
    }

    /// Takes in what was noted at accept().
    pub fn absorb_accepted(&mut self, counters: &AcceptedCounters) {
        let AcceptedCounters { accepted, wait, wait_sum, accepted_at, accepted_by, .. } = *counters;
        self.totals.add(&QueueTotals { accepted, wait, wait_sum, ..QueueTotals::default() });
        self.note_accept(accepted_at, accepted_by);
    }

    /// Takes in what was noted of another listener.
    pub fn absorb(&mut self, other: &Self) {
        if *other == Self::default() {
            return;
        }
        self.totals.add(&other.totals);
        self.peaks.absorb(&other.peaks);
        self.syn_peaks.absorb(&other.syn_peaks);
        self.note_accept(other.accepted_at, other.accepted_by);
    }

    fn note_accept(&mut self, at: u64, by: u64) {
        if at > self.accepted_at {
            (self.accepted_at, self.accepted_by) = (at, by);
        }
    }

    /// What only grows.
    #[must_use]
    pub const fn totals(&self) -> &QueueTotals {
        &self.totals
    }

    /// The rest, as it is at `now` of the kernel's monotonic clock, in nanoseconds.
    #[must_use]
    pub fn state(&self, now: u64) -> QueueState {
        // A window is over when nobody notes anything in it any more.
        let second = now.saturating_sub(TICK) / SECOND;
        let peaks = |peaks: &QueuePeaks| PeakSample {
            windows: peaks.complete(second),
            highest: peaks.highest().map(|(length, _)| length),
            highest_at: peaks.highest().map(|(_, at)| at),
        };
        QueueState {
            accept_queue: peaks(&self.peaks),
            syn_queue: peaks(&self.syn_peaks),
            demand: self.peaks.demand(second),
            accepted_at: (self.accepted_at != 0).then_some(self.accepted_at),
            accepted_by: u32::try_from(self.accepted_by).ok().filter(|process| *process != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue as one CPU saw it at the 100th second of the clock.
    fn seen(length: u32) -> AcceptQueueCounters {
        let mut counters =
            AcceptQueueCounters { fill: [1; 8], fill_sum: 5, ..AcceptQueueCounters::default() };
        counters.peaks.begin(100 * SECOND);
        counters.peaks.note(100 * SECOND, length);
        counters
    }

    #[test]
    fn what_the_processors_saw_is_added_up_and_of_peaks_the_highest_is_taken() {
        let mut row = QueueRow::default();
        row.absorb_cpu(&seen(3));
        row.absorb_cpu(&seen(2));
        assert_eq!((row.totals().fill, row.totals().fill_sum), ([2; 8], 10));
        let state = row.state(101 * SECOND + TICK);
        assert_eq!((state.accept_queue.windows[0], state.accept_queue.highest), (3, Some(3)));
        assert_eq!((state.syn_queue.highest, state.demand), (None, 3));
    }

    #[test]
    fn the_last_accept_of_several_listeners_is_the_latest() {
        let accepted = |accepted_at, accepted_by| {
            let mut row = QueueRow::default();
            row.absorb_accepted(&AcceptedCounters {
                accepted: 2,
                accepted_at,
                accepted_by,
                ..AcceptedCounters::default()
            });
            row
        };
        let check = |rows: &[QueueRow], accepted, at, by| {
            let mut all = QueueRow::default();
            rows.iter().for_each(|row| all.absorb(row));
            let state = all.state(SECOND);
            assert_eq!((all.totals().accepted, state.accepted_at, state.accepted_by), (accepted, at, by));
        };
        check(&[], 0, None, None);
        check(&[accepted(7, 1), accepted(9, 2), accepted(8, 3)], 6, Some(9), Some(2));
    }
}
