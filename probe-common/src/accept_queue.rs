//! The accept queue's signal: how full it was, and how long connections waited in it.
//!
//! What is noted when a connection is put into a queue is kept per CPU and row, as the totals of
//! [`crate::handshake`] are: bottom halves are off there. What is noted at accept() is kept once per row and
//! added to atomically: all who accept from one listener take its lock one after the other anyway.

use crate::queue_peaks::{QueuePeaks, SECOND};

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

/// Connections in accept queues that share a value of the `QUEUED` map: those whose `skc_hash` leads there.
pub type QueuedSet = [QueuedChild; QUEUED_WAYS];

/// How many they are at most.
pub const QUEUED_WAYS: usize = 8;

/// When a connection was put into an accept queue, and whose.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuedChild {
    /// The address of its `struct sock`; 0 for a free place.
    pub child: u64,
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
                // In whole numbers: the bounds are powers of two.
                *bucket == WAIT_BOUNDS || u128::from(nanoseconds) << 16 <= u128::from(SECOND) << *bucket
            };
            (0..WAIT_BUCKETS).find(within).unwrap()
        };
        let edges = (0..WAIT_BOUNDS).flat_map(|bucket| {
            let edge = (SECOND << bucket) >> 16;
            [edge.saturating_sub(1), edge, edge + 1]
        });
        for nanoseconds in edges.chain([0, 1, 64 * SECOND, 64 * SECOND + 1, u64::MAX]) {
            assert_eq!(wait_bucket(nanoseconds), naive(nanoseconds), "{nanoseconds}");
        }
    }
}
