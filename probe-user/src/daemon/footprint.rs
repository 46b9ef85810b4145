//! When memory that is free should be given back: the pure part.
use std::time::Duration;

/// So much may be resident and of no use.
const TOLERATED: u64 = 1 << 20;

/// Giving memory back takes milliseconds: not more often than this.
const INTERVAL: Duration = Duration::from_secs(10);

/// So much is not kept even that long: a reading of ten thousand listeners leaves it behind.
const TOLERATED_FOR_A_WHILE: u64 = 8 << 20;

/// What is resident beside what is in use, from reading to reading.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    /// The least that ever was: the program itself, and the maps that it shares with the kernel.
    beside_heap: Option<u64>,
    given_back: Option<Duration>,
}

impl Footprint {
    /// Whether memory should be given back now. `resident` is all memory of the process and `in_use` what was
    /// allocated of it, in bytes; `now` is any clock that goes on.
    pub(super) fn is_wasteful(&mut self, resident: u64, in_use: u64, now: Duration) -> bool {
        let beside = resident.saturating_sub(in_use);
        let least = self.beside_heap.map_or(beside, |least| least.min(beside));
        self.beside_heap = Some(least);
        let is_due = self.given_back.is_none_or(|last| now.saturating_sub(last) >= INTERVAL);
        let tolerated = if is_due { TOLERATED } else { TOLERATED_FOR_A_WHILE };
        let wasteful = beside - least > tolerated;
        if wasteful {
            self.given_back = Some(now);
        }
        wasteful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_more_is_resident_than_is_used_but_not_all_the_time() {
        let mut footprint = Footprint::default();
        let mut check = |second: u64, resident: u64, in_use: u64, expected: bool| {
            let now = Duration::from_secs(second);
            assert_eq!(footprint.is_wasteful(resident << 20, in_use << 20, now), expected, "{second}");
        };
        check(0, 30, 5, false);
        check(1, 28, 3, false);
        // More in use is no waste.
        check(2, 60, 35, false);
        // Not used any more, and still there.
        check(3, 60, 5, true);
        check(4, 38, 5, false);
        check(5, 39, 5, true);
        check(6, 38, 5, false);
        check(15, 38, 5, true);
        check(30, 30, 5, false);
        check(31, 31, 5, false);
        check(32, 32, 5, true);
    }
}
