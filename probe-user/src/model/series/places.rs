//! Which ports have series of their own: at most so many, and those that matter.
use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    model::{Handshakes, totals::Totals},
    sample::PortId,
    sorted::Sorted,
};

/// A port that had nothing to count for so long gives way.
const IDLE: Duration = Duration::from_secs(600);
/// A closed port gives way sooner, but not before its last counts have been scraped.
const CLOSED: Duration = Duration::from_secs(120);

/// What happened at a port since the last look, the worst first: that is how ports are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Activity {
    losses: u64,
    established: u64,
    anything_else: bool,
}

impl Activity {
    /// From what was counted.
    pub(super) fn of(gain: &Handshakes) -> Self {
        let overflows = gain.accept_queue_overflows.total();
        Self {
            losses: gain.listen_drops.max(overflows).unwrap_or(0),
            established: gain.established.unwrap_or(0),
            anything_else: !gain.is_nothing(),
        }
    }

    fn is_any(self) -> bool {
        self.anything_else
    }
}

/// Of ports that are alike in all else the first by address has its place first.
const fn by_address(id: &PortId) -> (u32, IpAddr, u16) {
    (id.netns, id.address, id.port)
}

/// A port that wants a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: PortId,
    pub(super) activity: Activity,
    /// Nobody listens there. `false` also where nobody could look.
    pub(super) closed: bool,
}

/// The ports that have series of their own, each with the time of its last activity.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Places {
    taken: Sorted<PortId, Duration>,
}

impl Places {
    pub(super) fn has(&self, id: &PortId) -> bool {
        self.taken.contains_key(id)
    }

    /// Gives away the places that are free, and those of closed and idle ports to active ones. Ports that are not among the
    /// candidates lose theirs, unless `complete` says that some candidates are missing.
    pub(super) fn assign(&mut self, candidates: &[Candidate], limit: usize, now: Duration, complete: bool) {
        let still_there = candidates.iter().filter(|candidate| self.has(&candidate.id)).count();
        if complete && still_there < self.taken.len() {
            let ids: BTreeSet<_> = candidates.iter().map(|candidate| candidate.id).collect();
            self.taken.retain(|id, _| ids.contains(id));
        }
        for candidate in candidates.iter().filter(|candidate| candidate.activity.is_any()) {
            if let Some(active) = self.taken.get_mut(&candidate.id) {
                *active = now;
            }
        }
        self.keep_within(limit, candidates);
        // Nobody gives way to a port at which nothing happens.
        let is_full = self.taken.len() >= limit;
        let may_wait = |candidate: &&Candidate| candidate.activity.is_any() || !is_full;
        let mut waiting: Vec<_> =
            candidates.iter().filter(may_wait).filter(|candidate| !self.has(&candidate.id)).collect();
        waiting.sort_by_key(|candidate| (Reverse(candidate.activity), by_address(&candidate.id)));
        let mut leaving = self.leaving(candidates, now).into_iter();
        let mut come = Vec::new();
        for candidate in waiting {
            if self.taken.len().saturating_add(come.len()) >= limit {
                let Some(leaver) = leaving.next().filter(|_| candidate.activity.is_any()) else { break };
                self.taken.remove(&leaver);
            }
            come.push(candidate.id);
        }
        self.taken.make_room_for(come, || now);
    }

    /// Where the limit is lower than it was the closed and the longest idle go at once.
    fn keep_within(&mut self, limit: usize, candidates: &[Candidate]) {
        let surplus = self.taken.len().saturating_sub(limit);
        if surplus == 0 {
            return;
        }
        let closed = candidates.iter().filter(|candidate| candidate.closed).map(|candidate| candidate.id);
        let closed: BTreeSet<_> = closed.collect();
        let worth = |(id, active): (&PortId, &Duration)| {
            (!closed.contains(id), *active, Reverse(by_address(id)), *id)
        };
        let mut taken: Vec<_> = self.taken.iter().map(worth).collect();
        taken.sort_unstable();
        for (.., id) in taken.into_iter().take(surplus) {
            self.taken.remove(&id);
        }
    }

    /// Takes a place away, whoever waits for it.
    pub(super) fn take_away(&mut self, id: &PortId) {
        self.taken.remove(id);
    }

    /// Those who give way, the closed and the longest idle first.
    fn leaving(&self, candidates: &[Candidate], now: Duration) -> Vec<PortId> {
        let idle_since = |candidate: &Candidate| {
            let active = *self.taken.get(&candidate.id)?;
            let patience = if candidate.closed { CLOSED } else { IDLE };
            (now.saturating_sub(active) >= patience).then_some((
                !candidate.closed,
                active,
                by_address(&candidate.id),
                candidate.id,
            ))
        };
        let mut leaving: Vec<_> = candidates.iter().filter_map(idle_since).collect();
        leaving.sort_unstable();
        leaving.into_iter().map(|(.., id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const fn id(port: u16) -> PortId {
        PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
    }

    /// A port, its losses, its finished handshakes, and whether it is closed.
    type Seen = (u16, u64, u64, bool);

    /// Who has a place after looks at these seconds, of two places.
    #[track_caller]
    fn check(looks: &[(u64, &[Seen])], expected: &[u16]) {
        let mut places = Places::default();
        for (seconds, seen) in looks {
            let candidate = |(port, losses, established, closed): &Seen| {
                let anything_else = *losses > 0 || *established > 0;
                let activity = Activity { losses: *losses, established: *established, anything_else };
                Candidate { id: id(*port), activity, closed: *closed }
            };
            let candidates: Vec<_> = seen.iter().map(candidate).collect();
            places.assign(&candidates, 2, Duration::from_secs(*seconds), true);
        }
        assert_eq!(places.taken.keys().map(|id| id.port).collect::<Vec<_>>(), expected, "{looks:?}");
    }

    #[test]
    fn free_places_go_to_those_that_lose_most_and_then_to_the_busiest() {
        check(&[(0, &[(1, 0, 0, false), (2, 0, 0, false)])], &[1, 2]);
        check(&[(0, &[(1, 0, 9, false), (2, 0, 0, false), (3, 1, 0, false)])], &[1, 3]);
        check(&[(0, &[(1, 0, 9, false), (2, 0, 10, false), (3, 0, 11, false)])], &[2, 3]);
        check(&[(0, &[(1, 5, 0, false), (2, 6, 0, false), (3, 4, 900, false)])], &[1, 2]);
    }

    #[test]
    fn of_ports_that_are_alike_the_first_by_address_has_a_place() {
        let at = |last, port| PortId { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), ..id(port) };
        let idle = |id| Candidate { id, activity: Activity::default(), closed: false };
        let mut places = Places::default();
        places.assign(&[idle(at(2, 80)), idle(at(1, 81))], 1, Duration::ZERO, true);
        assert!(places.has(&at(1, 81)) && !places.has(&at(2, 80)));
    }

    #[test]
    fn a_limit_that_is_lowered_leaves_the_open_and_the_busy() {
        let look = |places: &mut Places, limit: usize, seconds: u64, established: [u64; 4]| {
            let candidate = |(port, established)| {
                let anything_else = established > 0;
                let activity = Activity { losses: 0, established, anything_else };
                Candidate { id: id(port), activity, closed: port == 2 && seconds > 0 }
            };
            let candidates: Vec<_> = (1..).zip(established).map(candidate).collect();
            places.assign(&candidates, limit, Duration::from_secs(seconds), true);
            places.taken.keys().map(|id| id.port).collect::<Vec<_>>()
        };
        let mut places = Places::default();
        assert_eq!(look(&mut places, 4, 0, [1, 1, 1, 1]), [1, 2, 3, 4]);
        assert_eq!(look(&mut places, 3, 1, [0, 0, 0, 0]), [1, 3, 4]);
        assert_eq!(look(&mut places, 2, 2, [0, 0, 5, 0]), [1, 3]);
        assert_eq!(look(&mut places, 1, 3, [0, 0, 0, 0]), [3]);
        assert_eq!(look(&mut places, 0, 4, [0, 0, 9, 0]), [0; 0]);
    }

    #[test]
    fn a_port_keeps_its_place_while_it_is_open_and_active() {
        let busy: &[Seen] = &[(1, 0, 1, false), (2, 0, 1, false), (3, 900, 0, false)];
        check(&[(0, &[(1, 0, 1, false), (2, 0, 1, false)]), (1, busy), (5_000, busy)], &[1, 2]);
    }

    #[test]
    fn closed_and_idle_ports_give_way_to_active_ones_only() {
        let start: &[Seen] = &[(1, 0, 1, false), (2, 0, 1, false)];
        let closed: &[Seen] = &[(1, 0, 0, true), (2, 0, 0, false), (3, 0, 1, false), (4, 0, 1, false)];
        check(&[(0, start), (119, closed)], &[1, 2]);
        check(&[(0, start), (120, closed)], &[2, 3]);
        check(&[(0, start), (600, closed)], &[3, 4]);
        check(&[(0, start), (600, &[(1, 0, 0, true), (2, 0, 0, false), (3, 0, 0, false)])], &[1, 2]);
        check(&[(0, start), (600, &[(2, 0, 0, false), (3, 0, 0, false)])], &[2, 3]);
    }
}
