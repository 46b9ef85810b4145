//! When a row of totals may be given to another listener, and what becomes of its totals: the pure part.
//!
//! A row ends in three steps, so that no count is lost and none comes twice:
//! 1. its listener is closed: the hooks say so, or it has been in no list of sockets for a while. Late
//!    events (a request's timer, an ICMP error) still find the row;
//! 2. the way from the socket to the row is cut. An event that comes later makes a new row for the
//!    same port. Programs that found the way before are at work for another instant only;
//! 3. the totals are kept here, under the port, and the row is free.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use probe_common::{
    handshake::{HandshakeCounters, PortKey},
    listener::ListenerIdentity,
};

/// How long a closed listener keeps its row: most of its late events come by then.
const LINGER: Duration = Duration::from_secs(10);
/// How long a listener has to be missing from the lists of sockets when the hooks saw no end of it.
const MISSING: Duration = Duration::from_secs(30);
/// How long a row is left alone after its way was cut: programs run for microseconds.
const SETTLE: Duration = Duration::from_secs(2);
/// The most ports whose totals are kept when they have no listener any more.
const PORT_BUDGET: usize = 16_384;

/// What is to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Cut the way from the socket to it.
    Unlink,
    /// Keep its totals and free it.
    Collect,
}

/// How far a row is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its listener is closed.
    Closed,
    /// Its listener is in no list of sockets.
    Missing,
    /// Nothing leads to it.
    Unlinked,
}

/// Rows on their way out, and the totals of those that have gone.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    leaving: BTreeMap<u32, (Stage, Duration)>,
    retired: BTreeMap<PortKey, HandshakeCounters>,
    past_budget: HandshakeCounters,
    /// Rows that were given back.
    given_back: u64,
    /// The most rows that were in use at once.
    most_in_use: std::cell::Cell<u64>,
}

impl Retirement {
    /// Decides about one row. `leads_here`: the row's socket still leads to it.
    pub(super) fn step(
        &mut self,
        row: u32,
        identity: &ListenerIdentity,
        leads_here: bool,
        listening: Option<&BTreeSet<u64>>,
        now: Duration,
    ) -> Step {
        let Some(stage) = stage(identity, leads_here, listening) else {
            self.leaving.remove(&row);
            return Step::Keep;
        };
        let since = match self.leaving.get(&row) {
            Some((known, since)) if *known == stage => *since,
            _ => {
                self.leaving.insert(row, (stage, now));
                now
            }
        };
        let (patience, step) = match stage {
            Stage::Closed => (LINGER, Step::Unlink),
            Stage::Missing => (MISSING, Step::Unlink),
            Stage::Unlinked => (SETTLE, Step::Collect),
        };
        if now.saturating_sub(since) >= patience { step } else { Step::Keep }
    }

    /// Keeps the totals of a row that is given back.
    pub(super) fn collect(&mut self, row: u32, port: &PortKey, counters: &HandshakeCounters) {
        self.leaving.remove(&row);
        self.given_back = self.given_back.saturating_add(1);
        if *counters == HandshakeCounters::default() {
            return;
        }
        let room = self.retired.len() < PORT_BUDGET || self.retired.contains_key(port);
        let kept = if room { self.retired.entry(*port).or_default() } else { &mut self.past_budget };
        kept.add(counters);
    }

    /// The totals of rows that were given back, by port.
    pub(super) fn retired(&self) -> impl Iterator<Item = (&PortKey, &HandshakeCounters)> {
        self.retired.iter()
    }

    /// The totals of ports past the budget.
    pub(super) const fn past_budget(&self) -> &HandshakeCounters {
        &self.past_budget
    }

    /// The most rows that were ever in use at once, when the hooks have taken so many in all. They give
    /// some back themselves: then it is a little more than the truth.
    pub(super) fn most_in_use(&self, taken: u64) -> u64 {
        let most = self.most_in_use.get().max(taken.saturating_sub(self.given_back));
        self.most_in_use.set(most);
        most
    }
}

/// Where a row is on its way out; `None` while its listener listens.
fn stage(identity: &ListenerIdentity, leads_here: bool, listening: Option<&BTreeSet<u64>>) -> Option<Stage> {
    if identity.socket == 0 {
        // It stands for a port, whose listeners may come again.
        return None;
    }
    if !leads_here {
        return Some(Stage::Unlinked);
    }
    if identity.closed_at != 0 {
        return Some(Stage::Closed);
    }
    let missing = listening.is_some_and(|inodes| identity.inode != 0 && !inodes.contains(&identity.inode));
    missing.then_some(Stage::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: u32 = 3;

    fn listener() -> ListenerIdentity {
        let port = PortKey { port: 80, family: 2, ..PortKey::default() };
        ListenerIdentity { socket: 1, inode: 7, opened_at: 1, closed_at: 0, port }
    }

    fn closed() -> ListenerIdentity {
        ListenerIdentity { closed_at: 9, ..listener() }
    }

    /// What is done with the row at each of these seconds.
    fn steps(identity: &ListenerIdentity, leads_here: bool, inodes: &[u64], seconds: &[u64]) -> Vec<Step> {
        let mut retirement = Retirement::default();
        let inodes = inodes.iter().copied().collect();
        let step =
            |now: &u64| retirement.step(ROW, identity, leads_here, Some(&inodes), Duration::from_secs(*now));
        seconds.iter().map(step).collect()
    }

    #[test]
    fn a_row_is_kept_while_its_listener_listens_and_for_a_while_after() {
        use Step::{Collect, Keep, Unlink};
        let check = |identity: ListenerIdentity, leads_here: bool, inodes: &[u64], expected: [Step; 4]| {
            let seconds = [100, 101, 115, 140];
            assert_eq!(steps(&identity, leads_here, inodes, &seconds), expected, "{identity:?}");
        };
        check(listener(), true, &[7], [Keep, Keep, Keep, Keep]);
        check(closed(), true, &[], [Keep, Keep, Unlink, Unlink]);
        check(listener(), true, &[8], [Keep, Keep, Keep, Unlink]);
        check(closed(), false, &[], [Keep, Keep, Collect, Collect]);
        check(ListenerIdentity { inode: 0, ..listener() }, true, &[], [Keep, Keep, Keep, Keep]);
        check(ListenerIdentity { socket: 0, ..listener() }, false, &[], [Keep, Keep, Keep, Keep]);
    }

    #[test]
    fn a_way_that_was_being_laid_when_it_was_looked_for_keeps_the_row() {
        let mut retirement = Retirement::default();
        let mut step =
            |leads_here, now| retirement.step(ROW, &listener(), leads_here, None, Duration::from_secs(now));
        assert_eq!(step(false, 100), Step::Keep);
        assert_eq!(step(true, 110), Step::Keep);
        assert_eq!(step(false, 120), Step::Keep);
        assert_eq!(step(false, 122), Step::Collect);
    }

    #[test]
    fn what_a_row_counted_stays_with_its_port_and_nothing_stays_of_a_row_that_counted_nothing() {
        let mut retirement = Retirement::default();
        let counters = HandshakeCounters { established: 2, ..HandshakeCounters::default() };
        let port = listener().port;
        retirement.collect(ROW, &port, &counters);
        retirement.collect(ROW, &port, &counters);
        retirement.collect(4, &PortKey { port: 81, ..port }, &HandshakeCounters::default());
        let expected = HandshakeCounters { established: 4, ..HandshakeCounters::default() };
        assert_eq!(retirement.retired().collect::<Vec<_>>(), [(&port, &expected)]);
    }

    #[test]
    fn past_the_budget_of_ports_the_totals_are_kept_together() {
        let mut retirement = Retirement::default();
        let counters = HandshakeCounters { established: 1, ..HandshakeCounters::default() };
        for netns in 0..u32::try_from(PORT_BUDGET).unwrap() + 3 {
            retirement.collect(ROW, &PortKey { netns, ..PortKey::default() }, &counters);
        }
        assert_eq!(retirement.retired().count(), PORT_BUDGET);
        assert_eq!(retirement.past_budget().established, 3);
    }

    #[test]
    fn the_most_rows_in_use_are_remembered_when_rows_come_back() {
        let mut retirement = Retirement::default();
        assert_eq!(retirement.most_in_use(5), 5);
        retirement.collect(ROW, &PortKey::default(), &HandshakeCounters::default());
        assert_eq!(retirement.most_in_use(5), 5);
        assert_eq!(retirement.most_in_use(7), 6);
    }
}
