//! The accept queue's signal: how full it was, and how long connections waited in it.
//!
//! What is noted when a connection is put into a queue is kept per CPU and row, as the totals of
//! [`crate::handshake`] are: bottom halves are off there. What is noted at accept() is kept once per row and
//! added to atomically: all who accept from one listener take its lock one after the other anyway.

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

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
pub struct QueuePeaks {
    /// `bpf_ktime_get_ns()` from which on [`Self::second`] is not the current second any more.
    ends_at: u64,
    /// The second of the last note.
    second: u64,
    /// The highest in the windows that [`Self::second`] lies in; behind them the demand.
    current: [u32; 4],
    /// The highest in the windows before these; 0 where nothing was noted.
    previous: [u32; 4],
    /// `bpf_ktime_get_ns()` of [`Self::highest`].
    highest_at: u64,
    /// The highest of all.
    highest: u32,
    /// Odd while another window is being begun: the user side looks again then.
    pub version: u32,
}

impl QueuePeaks {
    /// Notes the length that a queue has now.
    #[inline(always)]
    pub fn note(&mut self, now: u64, length: u32) {
        self.begin(now);
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

    /// Notes how many would have a place in the queue if nobody had been refused.
    #[inline(always)]
    pub fn note_demand(&mut self, now: u64, demand: u32) {
        self.begin(now);
        if demand > self.current[DEMAND] {
            self.current[DEMAND] = demand;
        }
    }

    /// Begins the windows that `now` lies in, where they are not the same as at the last note.
    #[inline(always)]
    fn begin(&mut self, now: u64) {
        if now < self.ends_at {
            return;
        }
        let version = &raw mut self.version;
        // SAFETY: a field of `self`. Volatile: another processor reads it in between.
        unsafe { version.write_volatile(self.version.wrapping_add(1)) };
        self.advance(now / SECOND);
        self.ends_at = (self.second + 1) * SECOND;
        // SAFETY: as above.
        unsafe { version.write_volatile(self.version.wrapping_add(1)) };
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

    /// The highest in the last complete window of each length, seen from `second`.
    #[must_use]
    pub fn complete(&self, second: u64) -> [u32; WINDOWS.len()] {
        let mut peaks = [0; WINDOWS.len()];
        let kept = self.current.iter().zip(&self.previous).zip(SPANS);
        for (peak, ((current, previous), span)) in peaks.iter_mut().zip(kept) {
            *peak = match (second / span).checked_sub(self.second / span) {
                Some(0) => *previous,
                Some(1) => *current,
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
        match (second / DEMAND_WINDOW).checked_sub(self.second / DEMAND_WINDOW) {
            Some(0) => longest.max(demand).max(longest_before).max(demand_before),
            Some(1) => longest.max(demand),
            _ => 0,
        }
    }

    /// The highest of all with its `bpf_ktime_get_ns()`; `None` before the first.
    #[must_use]
    pub const fn highest(&self) -> Option<(u32, u64)> {
        if self.highest == 0 { None } else { Some((self.highest, self.highest_at)) }
    }
}

/// The upper bounds of the fill's histogram, as fractions of the limit: numerator and denominator. One more
/// bucket takes what is past the last: a queue holds one connection more than its limit.
pub const FILL_BOUNDS: [(u32, u32); 7] = [(1, 20), (1, 10), (1, 4), (1, 2), (3, 4), (9, 10), (1, 1)];
/// Buckets of the fill's histogram.
pub const FILL_BUCKETS: usize = FILL_BOUNDS.len() + 1;
/// One, in the unit of [`AcceptQueueCounters::fill_sum`].
pub const FILL_ONE: u64 = 1 << 20;

/// The bucket for a queue of this length: the first whose bound is not below. A limit of 0 counts as 1, which
/// is what such a queue holds.
#[inline(always)]
#[must_use]
pub fn fill_bucket(length: u32, limit: u32) -> usize {
    let (length, limit) = (u64::from(length), u64::from(limit.max(1)));
    let mut bucket = 0;
    for (numerator, denominator) in FILL_BOUNDS {
        if length * u64::from(denominator) <= limit * u64::from(numerator) {
            break;
        }
        bucket += 1;
    }
    bucket
}

/// What one CPU noted of one listener's queues; a value of the `ACCEPT_QUEUE` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueueCounters {
    /// Peaks of the accept queue: `sk_ack_backlog` after a connection was put into it.
    pub peaks: QueuePeaks,
    /// Connections put into the accept queue, by how full it was then: [`FILL_BOUNDS`].
    pub fill: [u64; FILL_BUCKETS],
    /// The sum of these fills, in 1/[`FILL_ONE`].
    pub fill_sum: u64,
    /// Peaks of the SYN queue: `icsk_accept_queue.qlen` after a request was put into it.
    pub syn_peaks: QueuePeaks,
}

/// The first bound of the wait's histogram is 2 to the power of minus this, in seconds.
const FINEST_WAIT: u32 = 16;
/// Bounds of the wait's histogram: powers of two from 2^-16 s (15 us) to 2^6 s.
pub const WAIT_BOUNDS: usize = 23;
/// Buckets of the wait's histogram: one more takes what is past the last bound.
pub const WAIT_BUCKETS: usize = WAIT_BOUNDS + 1;

/// The upper bound of a bucket of the wait's histogram, in seconds; `None` for the last.
#[must_use]
pub fn wait_bound(bucket: usize) -> Option<f64> {
    let power = u32::try_from(bucket).ok().filter(|_| bucket < WAIT_BOUNDS)?;
    let finest = f64::from(1_u32 << FINEST_WAIT);
    Some(f64::from(1_u32 << power) / finest)
}

/// The bucket for a wait: the first whose bound is not below.
#[inline(always)]
#[must_use]
pub const fn wait_bucket(nanoseconds: u64) -> usize {
    /// More than the last bound, and small enough to be multiplied.
    const LONG: u64 = 1 << 40;
    let nanoseconds = if nanoseconds > LONG { LONG } else { nanoseconds };
    // In units of the first bound, rounded up: whole numbers compare with powers of two as fractions do.
    let units = (nanoseconds << FINEST_WAIT).div_ceil(SECOND);
    let mut rest = if units == 0 { 0 } else { units - 1 };
    if rest >> WAIT_BOUNDS != 0 {
        return WAIT_BOUNDS;
    }
    // The number of bits of what is left, without a loop.
    let mut bits = 0;
    if rest >> 16 != 0 {
        rest >>= 16;
        bits += 16;
    }
    if rest >> 8 != 0 {
        rest >>= 8;
        bits += 8;
    }
    if rest >> 4 != 0 {
        rest >>= 4;
        bits += 4;
    }
    if rest >> 2 != 0 {
        rest >>= 2;
        bits += 2;
    }
    if rest >> 1 != 0 {
        rest >>= 1;
        bits += 1;
    }
    if rest != 0 {
        bits += 1;
    }
    bits
}

/// What was noted of one listener by whatever CPU; a value of the `ACCEPTED` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptedCounters {
    /// Connections that accept() returned.
    pub accepted: u64,
    /// Of these, those whose wait is known, by how long it was: [`wait_bound`].
    pub wait: [u64; WAIT_BUCKETS],
    /// The sum of these waits, in nanoseconds.
    pub wait_sum: u64,
    /// `bpf_ktime_get_ns()` of the last accept(); 0 before the first.
    pub accepted_at: u64,
    /// The process (thread group) that accepted last.
    pub accepted_by: u64,
    /// `bpf_ktime_get_ns()` of the first refusal of a burst.
    pub burst_began_at: u64,
    /// Connections refused in the burst.
    pub burst_refused: u64,
}

/// How long a burst of refusals is: those within it wanted a place at the same time.
pub const BURST: u64 = SECOND;

/// When a connection was put into an accept queue, and whose; a value of the `QUEUED` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuedChild {
    /// `bpf_ktime_get_ns()`
    pub queued_at: u64,
    /// The row of its listener.
    pub row: u64,
}

/// What a thread asked listen() for; a value of the `LISTEN_CALLS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenCall {
    /// `bpf_ktime_get_ns()` when it was called.
    pub called_at: u64,
    /// The backlog, before `net.core.somaxconn` is looked at.
    pub backlog: i32,
    /// Unused; keeps the size a multiple of eight.
    pub reserved: u32,
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for AcceptQueueCounters {}
#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for AcceptedCounters {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks after lengths that were noted at these milliseconds.
    fn noted(lengths: &[(u64, u32)]) -> QueuePeaks {
        let mut peaks = QueuePeaks::default();
        for (milliseconds, length) in lengths {
            peaks.note(milliseconds * 1_000_000, *length);
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
            peaks.note_demand(100_500_000_000, 3_000);
            peaks.note_demand(100_600_000_000, 2_000);
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

    #[test]
    fn no_window_is_being_begun_once_a_note_is_made() {
        assert_eq!(noted(&[(1, 1), (2_000, 1), (2_001, 1)]).version % 2, 0);
    }

    #[test]
    fn the_bucket_of_a_fill_is_the_first_whose_bound_is_not_below() {
        let check =
            |length, limit, expected| assert_eq!(fill_bucket(length, limit), expected, "{length}/{limit}");
        check(1, 128, 0);
        check(6, 128, 0);
        check(7, 128, 1);
        check(1, 10, 1);
        check(32, 128, 2);
        check(33, 128, 3);
        check(128, 128, 6);
        check(129, 128, 7);
        check(1, 0, 6);
        check(2, 1, 7);
        check(u32::MAX, u32::MAX, 6);
    }

    #[test]
    fn the_bucket_of_a_wait_is_the_first_whose_bound_is_not_below() {
        let naive = |nanoseconds: u64| {
            let within = |bucket: &usize| {
                wait_bound(*bucket).is_none_or(|bound| {
                    u128::from(nanoseconds) * 65_536 <= (bound * 65_536.0) as u128 * u128::from(SECOND)
                })
            };
            (0..WAIT_BUCKETS).find(within).unwrap()
        };
        let edges = (0..WAIT_BOUNDS).filter_map(wait_bound).flat_map(|bound| {
            let edge = (bound * 1e9) as u64;
            [edge.saturating_sub(1), edge, edge + 1]
        });
        for nanoseconds in edges.chain([0, 1, 64 * SECOND, 64 * SECOND + 1, u64::MAX]) {
            assert_eq!(wait_bucket(nanoseconds), naive(nanoseconds), "{nanoseconds}");
        }
    }
}
