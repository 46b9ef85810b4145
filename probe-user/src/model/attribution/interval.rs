//! What is certain of the drops and overflows between a checkpoint and now.
//!
//! Neither the sockets nor `/proc/PID/net/netstat` can be read in one instant. A sample has the
//! namespace's counters from before its sockets were read and from after, and so does the
//! checkpoint; from the four come bounds that hold whatever happened in between:
//!
//! * What was counted *before* had reached the sockets when they were read, and what the sockets
//!   showed is in what was counted *after* (a drop raises ListenOverflows, then `sk_drops`, then
//!   ListenDrops). So the sockets dropped at least `drops_before(now) - drops_after(checkpoint)`
//!   and at most `drops_after(now) - drops_before(checkpoint)` between the two reads of them;
//!   overflows alike.
//! * Drops that are no overflow: at most the most drops less the fewest overflows. Taking both
//!   counters from one read would not do: a packet between its two increments would make another's
//!   drop an overflow.
//!
//! # Drops of a port
//! Where discarded segments are known a port's growth *is* its drops. Otherwise the ports grew by
//! their drops and by discarded segments; together by no more discarded segments than the sum of
//! the growths exceeds the namespace's fewest drops. In the worst case these are all this port's:
//! what it grew by beyond that is certain. This needs every drop of the namespace to be in some
//! port's growth.
//!
//! # Overflows of a port
//! * Its drops, less all the drops of the namespace that are no overflow: in the worst case these
//!   are all this port's. Drops that are in no port's growth only make this smaller.
//! * The namespace's overflows, less all that the other ports grew by: in the worst case they took
//!   as many as that. Where only one port dropped these are all of the overflows. This too needs
//!   every drop to be in some port's growth, and then, where discarded segments are known, it says
//!   the same as the first rule; it is used where they are not.
use serde::{Deserialize, Serialize};

use super::Attributed;
use crate::sample::NetstatSample;

/// The namespace's counters around the read of its sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bracket {
    /// Before the sockets were read.
    pub(super) before: NetstatSample,
    /// After the sockets were read.
    pub(super) after: NetstatSample,
}

impl Bracket {
    /// Nothing was counted while the sockets were read.
    pub(super) fn is_quiet(&self) -> bool {
        self.before == self.after
    }
}

/// What happened in the namespace between two reads of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The fewest drops.
    drops_least: u64,
    /// The most drops.
    drops_most: u64,
    /// The fewest overflows.
    overflows_least: u64,
    /// The most drops that are no overflow.
    others_most: u64,
}

impl Bounds {
    pub(super) fn between(checkpoint: &Bracket, now: &Bracket) -> Self {
        let drops_most = now.after.listen_drops.saturating_sub(checkpoint.before.listen_drops);
        let overflows_least = now.before.listen_overflows.saturating_sub(checkpoint.after.listen_overflows);
        Self {
            drops_least: now.before.listen_drops.saturating_sub(checkpoint.after.listen_drops),
            drops_most,
            overflows_least,
            others_most: drops_most.saturating_sub(overflows_least),
        }
    }
}

/// How many drops more a port has than at the checkpoint.
///
/// The three differ while segments are discarded during the samples, here and at the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Those that were not certain at the checkpoint and are now. Some may be older than the checkpoint.
    pub(super) certain: u64,
    /// The least that the sockets dropped between the two reads of them.
    pub(super) least: u64,
    /// The most that the sockets dropped between the two reads of them.
    pub(super) most: u64,
}

/// What the ports' growths are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// Discarded segments are known: a port's growth is its drops.
    pub(super) discards_known: bool,
    /// Some drops of the namespace since the checkpoint may be in no port's growth.
    pub(super) blind: bool,
    /// Some growth may be of drops that the namespace counted before the checkpoint.
    pub(super) late: bool,
}

/// How the ports' growths and the namespace's counters fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Balance {
    /// They agree.
    Even,
    /// Drops are missing in the growths.
    Short,
    /// The growths have more than can be in the counters.
    Over,
}

/// How the growths fit, where discarded segments are known.
pub(super) fn balance(growths: &[Growth], bounds: &Bounds) -> Balance {
    let sum = sum(growths);
    if sum.least > bounds.drops_most {
        Balance::Over
    } else if sum.certain < bounds.drops_least {
        Balance::Short
    } else {
        Balance::Even
    }
}

/// What is certain of each port, by what it grew by since the checkpoint.
pub(super) fn certain(growths: &[Growth], bounds: &Bounds, trust: Trust) -> Vec<Attributed> {
    let sum = sum(growths);
    let rule = |growth: &Growth| {
        if trust.discards_known {
            certain_of_drops(*growth, sum, bounds, trust)
        } else {
            certain_of_upper_bound(growth.certain, sum.certain, bounds, trust)
        }
    };
    growths.iter().map(rule).collect()
}

/// The growth is the port's drops.
fn certain_of_drops(growth: Growth, sum: Growth, bounds: &Bounds, trust: Trust) -> Attributed {
    // Growth that is late by n drops may be n drops that are no overflow and that `others_most`
    // lacks. But then the growths exceed what was counted by n, and they may not exceed it by more
    // than was counted during the reads, by which `others_most` is too high: n at least. Only
    // missing growth could hide that.
    let usable = !trust.late || !trust.blind && sum.most <= bounds.drops_most;
    let overflows = if usable { growth.least.saturating_sub(bounds.others_most) } else { 0 };
    Attributed { listen_drops: growth.certain, accept_queue_overflows: overflows.min(growth.certain) }
}

/// The growth is the port's drops and what it discarded.
fn certain_of_upper_bound(growth: u64, sum: u64, bounds: &Bounds, trust: Trust) -> Attributed {
    // Fewer than were counted: some are in no growth even though nothing said so.
    if trust.blind || sum < bounds.drops_least {
        return Attributed::default();
    }
    // A growth of earlier drops is more discarded segments, as far as this goes: certain is only less.
    let drops = growth.saturating_sub(sum.saturating_sub(bounds.drops_least));
    let by_drops = drops.saturating_sub(bounds.others_most);
    let by_overflows = bounds.overflows_least.saturating_sub(sum.saturating_sub(growth));
    Attributed { listen_drops: drops, accept_queue_overflows: by_drops.max(by_overflows).min(drops) }
}

fn sum(growths: &[Growth]) -> Growth {
    growths.iter().fold(Growth::default(), |sum, growth| Growth {
        certain: sum.certain.saturating_add(growth.certain),
        least: sum.least.saturating_add(growth.least),
        most: sum.most.saturating_add(growth.most),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Trust = Trust { discards_known: true, blind: false, late: false };
    const UPPER: Trust = Trust { discards_known: false, ..EXACT };

    fn netstat(listen_drops: u64, listen_overflows: u64) -> NetstatSample {
        NetstatSample { listen_overflows, listen_drops, ..NetstatSample::default() }
    }

    fn quiet(drops: u64, overflows: u64) -> Bounds {
        let now = Bracket { before: netstat(drops, overflows), after: netstat(drops, overflows) };
        Bounds::between(&Bracket::default(), &now)
    }

    fn in_time(growths: &[u64]) -> Vec<Growth> {
        growths.iter().map(|count| Growth { certain: *count, least: *count, most: *count }).collect()
    }

    fn pairs(growths: &[u64], bounds: &Bounds, trust: Trust) -> Vec<(u64, u64)> {
        let pair = |port: Attributed| (port.listen_drops, port.accept_queue_overflows);
        certain(&in_time(growths), bounds, trust).into_iter().map(pair).collect()
    }

    #[test]
    fn the_bounds_take_each_counter_from_the_safe_side() {
        let checkpoint = Bracket { before: netstat(10, 4), after: netstat(12, 5) };
        let now = Bracket { before: netstat(20, 9), after: netstat(23, 11) };
        let expected = Bounds { drops_least: 8, drops_most: 13, overflows_least: 4, others_most: 9 };
        assert_eq!(Bounds::between(&checkpoint, &now), expected);
    }

    #[test]
    fn known_drops_are_overflows_as_far_as_other_drops_allow() {
        let check = |growths: &[u64], bounds: Bounds, expected: &[(u64, u64)]| {
            assert_eq!(pairs(growths, &bounds, EXACT), expected, "{growths:?} {bounds:?}");
        };
        check(&[7], quiet(7, 7), &[(7, 7)]);
        check(&[7], quiet(7, 4), &[(7, 4)]);
        check(&[7, 3], quiet(10, 10), &[(7, 7), (3, 3)]);
        check(&[7, 3], quiet(10, 8), &[(7, 5), (3, 1)]);
        check(&[7, 3], quiet(10, 5), &[(7, 2), (3, 0)]);
        check(&[7], quiet(10, 8), &[(7, 5)]);
    }

    #[test]
    fn growths_that_may_be_late_are_no_overflows_where_others_may_be_missing() {
        let check = |trust: Trust, growths: &[u64], expected: &[(u64, u64)]| {
            assert_eq!(pairs(growths, &quiet(10, 10), trust), expected);
        };
        let late = Trust { late: true, ..EXACT };
        check(late, &[7, 3], &[(7, 7), (3, 3)]);
        check(late, &[7, 4], &[(7, 0), (4, 0)]);
        check(Trust { blind: true, ..late }, &[7, 3], &[(7, 0), (3, 0)]);
        check(Trust { blind: true, ..EXACT }, &[7, 2], &[(7, 7), (2, 2)]);
    }

    #[test]
    fn growth_that_may_be_older_than_the_checkpoint_is_drops_but_no_overflows() {
        let growths = [Growth { certain: 9, least: 7, most: 9 }];
        let check = |trust: Trust, accept_queue_overflows: u64| {
            let expected = Attributed { listen_drops: 9, accept_queue_overflows };
            assert_eq!(certain(&growths, &quiet(7, 7), trust), [expected]);
        };
        check(EXACT, 7);
        check(Trust { late: true, ..EXACT }, 0);
        assert_eq!(balance(&growths, &quiet(7, 7)), Balance::Even);
    }

    #[test]
    fn upper_bounds_are_drops_as_far_as_what_was_discarded_allows() {
        let check = |growths: &[u64], bounds: Bounds, expected: &[(u64, u64)]| {
            assert_eq!(pairs(growths, &bounds, UPPER), expected, "{growths:?} {bounds:?}");
        };
        check(&[7], quiet(7, 7), &[(7, 7)]);
        // Each overflowed ACK counts twice in sk_drops.
        check(&[14], quiet(7, 7), &[(7, 7)]);
        check(&[14], quiet(7, 3), &[(7, 3)]);
        check(&[14, 3], quiet(10, 10), &[(7, 7), (0, 0)]);
        check(&[7, 3], quiet(10, 6), &[(7, 3), (3, 0)]);
        check(&[7, 3], quiet(8, 8), &[(5, 5), (1, 1)]);
        check(&[7], quiet(8, 8), &[(0, 0)]);
        check(&[5, 5], quiet(0, 0), &[(0, 0), (0, 0)]);
    }

    #[test]
    fn upper_bounds_say_nothing_where_drops_are_missing() {
        assert_eq!(pairs(&[9, 9], &quiet(10, 10), Trust { blind: true, ..UPPER }), [(0, 0), (0, 0)]);
    }

    #[test]
    fn the_balance_allows_for_what_happened_during_the_reads() {
        let bounds = Bounds { drops_least: 8, drops_most: 10, overflows_least: 0, others_most: 10 };
        let check =
            |growths: &[u64], expected: Balance| assert_eq!(balance(&in_time(growths), &bounds), expected);
        check(&[3, 4], Balance::Short);
        check(&[4, 4], Balance::Even);
        check(&[5, 5], Balance::Even);
        check(&[5, 6], Balance::Over);
    }
}
