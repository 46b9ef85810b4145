//! The highest lengths of a queue over aligned windows of time.

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds by which the clock of who notes a length may be behind: the longest tick that a kernel has (`CONFIG_HZ` 100).
pub const TICK: u64 = SECOND / 100;

/// The windows that peaks are kept for, in seconds. They are aligned: each begins at a multiple of its
/// length on the kernel's monotonic clock (`bpf_ktime_get_ns()`).
pub const WINDOWS: [u64; 3] = [1, 15, 60];

/// The place behind the [`WINDOWS`] in the arrays of [`QueuePeaks`]: the demand, over the longest window.
const DEMAND: usize = WINDOWS.len();
/// The window that the demand is kept for.
const DEMAND_WINDOW: u64 = 60;

/// The lengths of all windows, the demand's included.
const SPANS: [u64; 4] = [WINDOWS[0], WINDOWS[1], WINDOWS[2], DEMAND_WINDOW];

/// The highest lengths of one queue, as one CPU saw them when it put something into it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize))]
pub struct QueuePeaks {
    /// `bpf_ktime_get_ns()` from which on [`Self::second`] is not the current second any more.
    ends_at: u64,
    /// The second of the last note.
    second: u64,
    /// The highest in the windows that [`Self::second`] lies in; behind them the demand.
    current: [u32; 4],
    /// The highest in the windows before these; 0 where nothing was noted.
    previous: [u32; 4],
    /// `bpf_ktime_get_ns()` of [`Self::highest`], [`TICK`] too early at most.
    highest_at: u64,
    /// The highest of all.
    highest: u32,
    /// Odd while other windows are being begun, which is the writer's care: the user side looks again then.
    pub version: u32,
}

impl QueuePeaks {
    /// Whether `now` lies in other windows than the last note: they have to be begun then.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(&self, now: u64) -> bool {
        now >= self.ends_at
    }

    /// Begins the windows that `now` lies in.
    #[inline(always)]
    pub fn begin(&mut self, now: u64) {
        self.advance(now / SECOND);
        self.ends_at = (self.second + 1) * SECOND;
    }

    /// Notes the length that a queue has now, in windows that are not over.
    #[inline(always)]
    pub fn note(&mut self, now: u64, length: u32) {
        // The shortest window lies in all others: what is no peak there is none anywhere.
        if length <= self.current[0] {
            return;
        }
        for current in self.current.iter_mut().take(DEMAND) {
            if length > *current {
                *current = length;
            }
        }
        if length > self.highest {
            self.highest = length;
            self.highest_at = now;
        }
    }

    /// Notes how many would have a place in the queue if nobody had been refused, in windows that are not over.
    #[inline(always)]
    pub const fn note_demand(&mut self, demand: u32) {
        if demand > self.current[DEMAND] {
            self.current[DEMAND] = demand;
        }
    }

    /// Goes on to a later second.
    #[inline(always)]
    fn advance(&mut self, second: u64) {
        let windows = self.current.iter_mut().zip(self.previous.iter_mut()).zip(SPANS);
        for ((current, previous), span) in windows {
            let (before, after) = (self.second / span, second / span);
            if after != before {
                *previous = if after == before + 1 { *current } else { 0 };
                *current = 0;
            }
        }
        self.second = second;
    }

    /// Takes in the peaks of the same queue as another CPU saw them, or of another queue: the highest of both.
    pub fn absorb(&mut self, other: &Self) {
        let mut other = *other;
        if other.second > self.second {
            self.advance(other.second);
        } else {
            other.advance(self.second);
        }
        self.ends_at = self.ends_at.max(other.ends_at);
        for (ours, theirs) in self.current.iter_mut().zip(other.current) {
            *ours = theirs.max(*ours);
        }
        for (ours, theirs) in self.previous.iter_mut().zip(other.previous) {
            *ours = theirs.max(*ours);
        }
        if other.highest > self.highest {
            (self.highest, self.highest_at) = (other.highest, other.highest_at);
        }
    }

    /// The highest in the last complete window of each length, seen from `second` or the last note, whichever is later.
    #[must_use]
    pub fn complete(&self, second: u64) -> [u32; WINDOWS.len()] {
        let second = second.max(self.second);
        let mut peaks = [0; WINDOWS.len()];
        let kept = self.current.iter().zip(&self.previous).zip(SPANS);
        for (peak, ((current, previous), span)) in peaks.iter_mut().zip(kept) {
            *peak = match second / span - self.second / span {
                0 => *previous,
                1 => *current,
                _ => 0,
            };
        }
        peaks
    }

    /// The most places that were wanted at once in the last two minutes or so, seen from `second`: the
    /// highest length, or more where connections were refused.
    #[must_use]
    pub fn demand(&self, second: u64) -> u32 {
        let [_, _, longest, demand] = self.current;
        let [_, _, longest_before, demand_before] = self.previous;
        match (second / DEMAND_WINDOW).saturating_sub(self.second / DEMAND_WINDOW) {
            0 => longest.max(demand).max(longest_before).max(demand_before),
            1 => longest.max(demand),
            _ => 0,
        }
    }

    /// The highest of all with its `bpf_ktime_get_ns()`; `None` before the first.
    #[must_use]
    pub const fn highest(&self) -> Option<(u32, u64)> {
        if self.highest == 0 { None } else { Some((self.highest, self.highest_at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks after lengths that were noted at these milliseconds.
    fn noted(lengths: &[(u64, u32)]) -> QueuePeaks {
        let mut peaks = QueuePeaks::default();
        for (milliseconds, length) in lengths {
            let now = milliseconds * 1_000_000;
            if peaks.is_over(now) {
                peaks.begin(now);
            }
            peaks.note(now, *length);
        }
        peaks
    }

    #[test]
    fn a_window_is_told_of_once_it_is_complete_and_until_the_next_one_is() {
        let check = |lengths: &[(u64, u32)], second: u64, expected: [u32; 3]| {
            assert_eq!(noted(lengths).complete(second), expected, "{lengths:?} seen from {second}");
        };
        check(&[], 100, [0, 0, 0]);
        check(&[(100_200, 7)], 100, [0, 0, 0]);
        check(&[(100_200, 7)], 101, [7, 0, 0]);
        check(&[(100_200, 7)], 102, [0, 0, 0]);
        check(&[(100_200, 7)], 105, [0, 7, 0]);
        check(&[(100_200, 7)], 119, [0, 7, 0]);
        check(&[(100_200, 7)], 120, [0, 0, 7]);
        check(&[(100_200, 7)], 180, [0, 0, 0]);
        check(&[(100_200, 7), (100_300, 3), (101_000, 5)], 101, [7, 0, 0]);
        check(&[(100_200, 7), (100_300, 3), (101_000, 5)], 102, [5, 0, 0]);
        check(&[(100_200, 7), (101_000, 5), (106_000, 2)], 107, [2, 7, 0]);
        check(&[(100_200, 7), (101_000, 5), (166_000, 2)], 166, [0, 0, 7]);
        check(&[(100_200, 7), (300_000, 2)], 300, [0, 0, 0]);
        // Somebody asks with a clock that is behind the one of the last note.
        check(&[(100_200, 7), (101_000, 5)], 100, [7, 0, 0]);
    }

    #[test]
    fn the_highest_of_all_is_kept_with_its_first_time() {
        let check = |lengths: &[(u64, u32)], expected: Option<(u32, u64)>| {
            assert_eq!(noted(lengths).highest(), expected);
        };
        check(&[], None);
        check(&[(100, 4), (200, 9), (300, 9), (90_000, 1)], Some((9, 200_000_000)));
    }

    #[test]
    fn demand_is_the_length_and_who_was_refused_for_two_windows() {
        let check = |second: u64, expected: u32| {
            let mut peaks = noted(&[(100_000, 129)]);
            peaks.note_demand(3_000);
            peaks.note_demand(2_000);
            assert_eq!(peaks.demand(second), expected, "{second}");
        };
        check(100, 3_000);
        check(119, 3_000);
        check(179, 3_000);
        check(180, 0);
        assert_eq!(noted(&[(100_000, 129), (125_000, 2)]).demand(125), 129);
    }

    #[test]
    fn peaks_of_several_processors_are_those_of_all_notes_together() {
        let check = |first: &[(u64, u32)], second: &[(u64, u32)]| {
            let mut absorbed = noted(first);
            absorbed.absorb(&noted(second));
            let mut all = [first, second].concat();
            all.sort_by_key(|(milliseconds, _)| *milliseconds);
            let all = noted(&all);
            for second in [100, 101, 102, 115, 119, 120, 131, 180] {
                assert_eq!(absorbed.complete(second), all.complete(second), "{first:?} {second}");
                assert_eq!(absorbed.demand(second), all.demand(second), "{first:?} {second}");
            }
            assert_eq!(absorbed.highest(), all.highest());
        };
        check(&[], &[(100_200, 7)]);
        check(&[(100_200, 7)], &[]);
        check(&[(100_200, 7), (100_400, 2)], &[(100_300, 9)]);
        check(&[(100_200, 7), (119_000, 2)], &[(101_300, 4)]);
        check(&[(100_200, 7)], &[(119_300, 4), (121_000, 3)]);
    }
}
