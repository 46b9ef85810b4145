//! When the SYN queues of a network namespace are worth being read again: the pure half.
use std::{collections::BTreeMap, time::Duration};

use crate::sample::SynQueueSample;

/// After a dump the next one of the namespace waits until this many times as long has passed as dumps took
/// meanwhile, so that they take 2 % of the time at most, however many namespaces there are.
const REST: u32 = 50;

/// How many SYNs had been queued before a dump: as long as a namespace's mark stays, no request is new.
pub(super) type Mark = (u64, u64);

/// What is to be done for one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read its SYN queues.
    Dump,
    /// Nothing has been queued since they were empty.
    StillEmpty,
    /// What the last dump found has to do.
    Wait,
}

/// What is remembered of the dumps.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What all dumps together have taken.
    spent: Duration,
    namespaces: BTreeMap<u32, Last>,
}

/// The last dump of a namespace.
#[derive(Debug)]
pub(super) struct Last {
    /// When it ended, after the first use of the clock.
    pub(super) ended: Duration,
    /// What it gave, or why it gave nothing.
    pub(super) outcome: Result<Vec<SynQueueSample>, String>,
    spent_before: Duration,
    mark: Option<Mark>,
    /// Two dumps with this mark found nothing. One is not enough: a SYN may have been counted before the
    /// mark was read, and put into the queue after the dump had passed its place.
    settled: bool,
}

impl Pace {
    /// What to do at `now`. `mark` was read before; `None` where queued SYNs are not counted.
    pub(super) fn next_step(&self, netns: u32, now: Duration, mark: Option<Mark>) -> Step {
        let Some(last) = self.namespaces.get(&netns) else { return Step::Dump };
        if last.settled && mark.is_some() && mark == last.mark {
            return Step::StillEmpty;
        }
        let cost = self.spent.saturating_sub(last.spent_before);
        let rested = now.saturating_sub(last.ended) >= cost.saturating_mul(REST);
        if rested { Step::Dump } else { Step::Wait }
    }

    /// Notes a dump.
    pub(super) fn note(
        &mut self,
        netns: u32,
        (began, ended): (Duration, Duration),
        mark: Option<Mark>,
        outcome: Result<Vec<SynQueueSample>, String>,
    ) {
        let empty = outcome.as_ref().is_ok_and(Vec::is_empty);
        let settled = empty && self.namespaces.get(&netns).is_some_and(|last| last.is_empty_with(mark));
        let last = Last { ended, outcome, spent_before: self.spent, mark, settled };
        self.spent = self.spent.saturating_add(ended.saturating_sub(began));
        self.namespaces.insert(netns, last);
    }

    /// The last dump.
    pub(super) fn last(&self, netns: u32) -> Option<&Last> {
        self.namespaces.get(&netns)
    }

    /// Forgets the namespaces that are not there any more.
    pub(super) fn retain(&mut self, exists: impl Fn(u32) -> bool) {
        self.namespaces.retain(|netns, _| exists(*netns));
    }
}

impl Last {
    fn is_empty_with(&self, mark: Option<Mark>) -> bool {
        self.mark == mark && self.outcome.as_ref().is_ok_and(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NETNS: u32 = 1;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn requests(length: u64) -> Result<Vec<SynQueueSample>, String> {
        let queue = SynQueueSample { address: Ipv4Addr::LOCALHOST.into(), port: 80, length };
        Ok((length > 0).then_some(queue).into_iter().collect())
    }

    /// A namespace after dumps of 2 ms, each of which ended at its time, with its mark and requests.
    fn after(dumps: &[(u64, Option<u64>, u64)]) -> Pace {
        let mut pace = Pace::default();
        for (ended, mark, length) in dumps {
            pace.note(NETNS, (ms(ended - 2), ms(*ended)), mark.map(|mark| (mark, 0)), requests(*length));
        }
        pace
    }

    #[test]
    fn a_namespace_is_read_again_while_it_may_have_requests() {
        let check = |dumps: &[(u64, Option<u64>, u64)], mark: Option<u64>, expected: Step| {
            let step = after(dumps).next_step(NETNS, ms(10_000), mark.map(|mark| (mark, 0)));
            assert_eq!(step, expected, "{dumps:?} {mark:?}");
        };
        check(&[], Some(5), Step::Dump);
        // Once empty is not yet sure, twice is.
        check(&[(10, Some(5), 0)], Some(5), Step::Dump);
        check(&[(10, Some(5), 0), (20, Some(5), 0)], Some(5), Step::StillEmpty);
        check(&[(10, Some(5), 0), (20, Some(5), 0)], Some(6), Step::Dump);
        check(&[(10, Some(4), 0), (20, Some(5), 0)], Some(5), Step::Dump);
        check(&[(10, Some(5), 0), (20, Some(5), 3)], Some(5), Step::Dump);
        check(&[(10, Some(5), 3), (20, Some(5), 0)], Some(5), Step::Dump);
        check(&[(10, Some(5), 3), (20, Some(5), 0), (30, Some(5), 0)], Some(5), Step::StillEmpty);
        // Where queued SYNs are not counted nothing is sure.
        check(&[(10, None, 0), (20, None, 0)], None, Step::Dump);
        check(&[(10, Some(5), 0), (20, Some(5), 0)], None, Step::Dump);
    }

    #[test]
    fn what_is_counted_for_no_namespace_moves_every_mark() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            pace.note(NETNS, (ms(0), ms(2)), Some((5, 1)), requests(0));
        }
        assert_eq!(pace.next_step(NETNS, ms(1_000), Some((5, 1))), Step::StillEmpty);
        assert_eq!(pace.next_step(NETNS, ms(1_000), Some((5, 2))), Step::Dump);
    }

    #[test]
    fn a_dump_rests_for_fifty_times_of_what_it_took() {
        let check = |now: u64, expected: Step| {
            let pace = after(&[(10, Some(5), 3)]);
            assert_eq!(pace.next_step(NETNS, ms(now), Some((9, 0))), expected, "{now}");
        };
        check(10, Step::Wait);
        check(109, Step::Wait);
        check(110, Step::Dump);
    }

    #[test]
    fn a_dump_rests_for_the_dumps_of_other_namespaces_too() {
        let mut pace = after(&[(10, None, 0)]);
        pace.note(2, (ms(10), ms(14)), None, requests(0));
        assert_eq!(pace.next_step(NETNS, ms(309), None), Step::Wait);
        assert_eq!(pace.next_step(NETNS, ms(310), None), Step::Dump);
        // The other one came after it: 50 times its own 4 ms.
        assert_eq!(pace.next_step(2, ms(213), None), Step::Wait);
        assert_eq!(pace.next_step(2, ms(214), None), Step::Dump);
    }

    #[test]
    fn a_dump_that_failed_rests_and_is_tried_again() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            pace.note(NETNS, (ms(0), ms(2)), Some((5, 0)), Err("refused".to_owned()));
        }
        assert_eq!(pace.next_step(NETNS, ms(3), Some((5, 0))), Step::Wait);
        assert_eq!(pace.next_step(NETNS, ms(1_000), Some((5, 0))), Step::Dump);
    }

    #[test]
    fn many_namespaces_together_cost_two_percent_of_the_time() {
        let (mut pace, mut now, mut spent) = (Pace::default(), ms(0), ms(0));
        let first = 100;
        for netns in 0..100 {
            pace.note(netns, (now, now + ms(2)), None, requests(0));
            now += ms(2);
        }
        let began = now;
        while now < began + Duration::from_secs(100) {
            for netns in 0..first {
                if pace.next_step(netns, now, None) == Step::Dump {
                    pace.note(netns, (now, now + ms(2)), None, requests(0));
                    (now, spent) = (now + ms(2), spent + ms(2));
                }
            }
            now += ms(500);
        }
        let share = spent.as_secs_f64() / (now - began).as_secs_f64();
        assert!((0.015..=0.0205).contains(&share), "{share}");
    }

    #[test]
    fn a_namespace_that_has_gone_is_forgotten() {
        let mut pace = after(&[(10, Some(5), 3)]);
        pace.retain(|netns| netns == NETNS);
        assert!(pace.last(NETNS).is_some());
        pace.retain(|netns| netns != NETNS);
        assert!(pace.last(NETNS).is_none());
    }
}
