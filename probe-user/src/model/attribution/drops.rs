//! The drops of one port's sockets over time.
use serde::{Deserialize, Serialize};

/// What one sample says of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortReading {
    /// `sk_drops` of the port's listeners, the closed ones included, modulo 2^32. `None` when a
    /// listener was opened or closed while they were read: the numbers do not belong together, the
    /// next sample will tell.
    pub(super) socket_drops: Option<u32>,
    /// Segments that raised `sk_drops` without being a listen drop; read after the sockets.
    pub(super) discarded: u64,
    /// The same, read before the sockets.
    pub(super) discarded_before: u64,
    /// A listener was opened here since the hooks were attached.
    pub(super) opened_while_watched: bool,
    /// The map counts this port. If not, what its listeners drop is lost when they are closed, and what
    /// they discard is not known.
    pub(super) in_map: bool,
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything that the port dropped so far is in the history.
    Complete,
    /// Some of what it dropped is missing for now: it will be in a later reading.
    Waiting,
    /// What it dropped since the last checkpoint is not known and never will be.
    Blind,
}

/// Follows a port's drops from where they began to count.
///
/// The sockets' drops and the discarded segments are not read in one instant, so the drops have two
/// bounds: a discarded segment that was counted before the sockets were read is in their drops, one
/// that was counted after may not be. Both bounds are on the drops since the count began plus an
/// unknown number, the same in both and always: the discarded segments of the first sample that
/// came too late for its sockets.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct DropHistory {
    /// The sockets' drops at the last reading that counted; `None` until there is one.
    last: Option<u32>,
    /// What they have grown by.
    accumulated: u64,
    /// The discarded segments before the sockets were read where the count began.
    discarded_at_start: u64,
    /// The most that the unknown number can be.
    unknown_most: u64,
    least: u64,
    most: u64,
}

impl DropHistory {
    /// The history of a port whose every listener was opened while the hooks were watching: all that
    /// its sockets ever dropped counts.
    pub(super) fn from_opening() -> Self {
        Self { last: Some(0), ..Self::default() }
    }

    /// The history of a port that was there before: what its sockets dropped from `reading` on
    /// counts. If that one is of no use, the next one that is begins the count.
    pub(super) fn from_reading(reading: &PortReading, discards_known: bool) -> Self {
        let during = reading.discarded.saturating_sub(reading.discarded_before);
        let unknown_most = if discards_known { during } else { 0 };
        Self {
            last: reading.socket_drops,
            accumulated: 0,
            discarded_at_start: reading.discarded_before,
            unknown_most,
            least: 0,
            most: unknown_most,
        }
    }

    /// Takes in the next reading.
    pub(super) fn advance(&mut self, reading: &PortReading, discards_known: bool) -> Progress {
        let Some(now) = reading.socket_drops else { return Progress::Waiting };
        let Some(last) = self.last else {
            *self = Self::from_reading(reading, discards_known);
            return Progress::Blind;
        };
        // Where the sum went back, a listener was closed and its drops are not in the map yet: with
        // the next reading they are. A sum that went forward by more than 2^31 between two samples
        // looks the same.
        let Ok(grown) = u32::try_from(now.wrapping_sub(last).cast_signed()) else { return Progress::Waiting };
        // Without a row in the map drops cannot be told from discarded segments.
        if grown > 0 && !reading.in_map {
            return Progress::Waiting;
        }
        self.last = Some(now);
        self.accumulated = self.accumulated.saturating_add(u64::from(grown));
        let without = |discarded: u64| {
            let discarded =
                if discards_known { discarded.saturating_sub(self.discarded_at_start) } else { 0 };
            self.accumulated.saturating_add(self.unknown_most).saturating_sub(discarded)
        };
        let (least, most) = (without(reading.discarded), without(reading.discarded_before));
        self.least = self.least.max(least);
        self.most = self.least.max(most);
        Progress::Complete
    }

    /// The port's drops since the count began: exactly its ListenDrops when discarded segments are
    /// known and none comes in while the sockets are read, else a few less. When they are not
    /// known, they are in it. Only grows.
    pub(super) fn total(&self) -> u64 {
        self.least.saturating_sub(self.unknown_most)
    }

    /// The least that the drops, and the unknown number, were at the last reading that counted.
    /// Only grows.
    pub(super) fn least(&self) -> u64 {
        self.least
    }

    /// The most that the drops, and the unknown number, were at the last reading that counted.
    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(socket_drops: Option<u32>, discarded: u64) -> PortReading {
        PortReading { socket_drops, discarded, discarded_before: 0, opened_while_watched: true, in_map: true }
    }

    /// The totals after each reading of (sockets' drops, discarded segments).
    fn totals(mut history: DropHistory, discards_known: bool, readings: &[(Option<u32>, u64)]) -> Vec<u64> {
        let step = |(drops, discarded): &(Option<u32>, u64)| {
            history.advance(&reading(*drops, *discarded), discards_known);
            history.total()
        };
        readings.iter().map(step).collect()
    }

    #[test]
    fn drops_add_up_over_closings_and_wraps_and_without_what_was_discarded() {
        let check = |readings: &[(Option<u32>, u64)], expected: &[u64]| {
            assert_eq!(totals(DropHistory::from_opening(), true, readings), expected, "{readings:?}");
        };
        check(&[(Some(7), 0)], &[7]);
        check(&[(Some(7), 0), (Some(7), 0), (Some(9), 0)], &[7, 7, 9]);
        // Closed, and in the map with the next sample.
        check(&[(Some(7), 0), (Some(0), 0), (Some(10), 0)], &[7, 7, 10]);
        check(&[(Some(7), 0), (None, 0), (Some(10), 0)], &[7, 7, 10]);
        check(
            &[(Some(0x7fff_ffff), 0), (Some(0xffff_fff0), 0), (Some(5), 0)],
            &[0x7fff_ffff, 0xffff_fff0, 0x1_0000_0005],
        );
        check(&[(Some(7), 3), (Some(7), 5), (Some(9), 5)], &[4, 4, 4]);
        check(&[(Some(7), 9), (Some(20), 9)], &[0, 11]);
    }

    #[test]
    fn segments_discarded_during_the_sample_leave_room_between_least_and_most() {
        let check = |history: &mut DropHistory, drops: u32, discarded: [u64; 2], expected: [u64; 3]| {
            let [discarded_before, discarded] = discarded;
            history.advance(&PortReading { discarded_before, ..reading(Some(drops), discarded) }, true);
            assert_eq!([history.total(), history.least(), history.most()], expected);
        };
        let mut opened = DropHistory::from_opening();
        check(&mut opened, 10, [2, 5], [5, 5, 8]);
        check(&mut opened, 10, [5, 5], [5, 5, 5]);
        check(&mut opened, 10, [5, 9], [5, 5, 5]);
        check(&mut opened, 14, [9, 9], [5, 5, 5]);
        // Of the three segments discarded in the first sample nobody knows which are in the hundred.
        let first = PortReading { discarded_before: 1, ..reading(Some(100), 4) };
        let mut found = DropHistory::from_reading(&first, true);
        assert_eq!([found.total(), found.least(), found.most()], [0, 0, 3]);
        check(&mut found, 102, [4, 4], [0, 2, 2]);
        check(&mut found, 109, [4, 4], [6, 9, 9]);
    }

    #[test]
    fn without_known_discards_the_total_is_all_that_the_sockets_dropped() {
        assert_eq!(totals(DropHistory::from_opening(), false, &[(Some(7), 3), (Some(9), 5)]), [7, 9]);
    }

    #[test]
    fn a_port_that_was_there_before_counts_from_its_first_good_reading() {
        let check = |first: Option<u32>, readings: &[(Option<u32>, u64)], expected: &[u64]| {
            let first = PortReading { discarded_before: 2, ..reading(first, 3) };
            assert_eq!(totals(DropHistory::from_reading(&first, true), true, readings), expected);
        };
        check(Some(100), &[(Some(100), 3), (Some(107), 3)], &[0, 6]);
        check(None, &[(Some(100), 0), (Some(107), 0)], &[0, 7]);
    }

    #[test]
    fn a_reading_that_cannot_count_says_so() {
        let check = |history: DropHistory, next: PortReading, expected: Progress| {
            let mut history = history;
            assert_eq!(history.advance(&next, true), expected, "{next:?}");
        };
        check(DropHistory::from_opening(), reading(Some(1), 0), Progress::Complete);
        check(DropHistory::from_opening(), reading(None, 0), Progress::Waiting);
        check(DropHistory::from_opening(), reading(Some(u32::MAX), 0), Progress::Waiting);
        check(DropHistory::from_reading(&reading(None, 0), true), reading(Some(5), 0), Progress::Blind);
        let unmapped = |drops| PortReading { in_map: false, ..reading(Some(drops), 0) };
        check(DropHistory::from_opening(), unmapped(1), Progress::Waiting);
        check(DropHistory::from_opening(), unmapped(0), Progress::Complete);
    }

    proptest! {
        #[test]
        fn a_total_never_goes_back(readings: Vec<(Option<u32>, u64)>, discards_known: bool) {
            let totals = totals(DropHistory::from_opening(), discards_known, &readings);
            prop_assert!(totals.is_sorted());
        }
    }
}
