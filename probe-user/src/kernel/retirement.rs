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

use serde::{Deserialize, Serialize};

use crate::readers::accept_queue::QueueRow;

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

/// All that a row holds.
pub(super) type RowTotals = (HandshakeCounters, QueueRow);

/// Rows on their way out, and the totals of those that have gone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Retirement {
    /// Begins anew if another process goes on: the way out is the longer for it.
    #[serde(skip)]
    leaving: BTreeMap<u32, (Stage, Duration)>,
    retired: BTreeMap<PortKey, RowTotals>,
    past_budget: RowTotals,
    /// Rows whose totals are kept here and that are not free yet, and whose they were.
    collected: Vec<(u32, ListenerIdentity)>,
}

impl Retirement {
    /// Decides about one row. `replaced`: its socket's memory leads to another row by now.
    pub(super) fn step(
        &mut self,
        row: u32,
        identity: &ListenerIdentity,
        replaced: bool,
        listening: Option<&BTreeSet<u64>>,
        now: Duration,
    ) -> Step {
        let cut = matches!(self.leaving.get(&row), Some((Stage::Unlinked, _)));
        let Some(stage) = stage(identity, cut || replaced, listening) else {
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

    /// Takes note that the way to a row was cut.
    pub(super) fn unlinked(&mut self, row: u32, now: Duration) {
        self.leaving.insert(row, (Stage::Unlinked, now));
    }

    /// Keeps the totals of a row that is given back.
    pub(super) fn collect(&mut self, row: u32, identity: &ListenerIdentity, totals: &RowTotals) {
        self.leaving.remove(&row);
        self.collected.push((row, *identity));
        let port = &identity.port;
        if *totals == RowTotals::default() {
            return;
        }
        let room = self.retired.len() < PORT_BUDGET || self.retired.contains_key(port);
        let kept = if room { self.retired.entry(*port).or_default() } else { &mut self.past_budget };
        kept.0.add(&totals.0);
        kept.1.absorb(&totals.1);
    }

    /// The rows that have to be freed now.
    pub(super) fn take_collected(&mut self) -> Vec<(u32, ListenerIdentity)> {
        std::mem::take(&mut self.collected)
    }

    /// The totals of rows that were given back, by port.
    pub(super) fn retired(&self) -> impl Iterator<Item = (&PortKey, &RowTotals)> {
        self.retired.iter()
    }

    /// The totals of ports past the budget.
    pub(super) const fn past_budget(&self) -> &RowTotals {
        &self.past_budget
    }
}

/// Where a row is on its way out; `None` while its listener listens.
fn stage(
    identity: &ListenerIdentity,
    nothing_leads_here: bool,
    listening: Option<&BTreeSet<u64>>,
) -> Option<Stage> {
    if identity.socket == 0 {
        // It stands for a port, whose listeners may come again.
        return None;
    }
    if nothing_leads_here {
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
        ListenerIdentity { socket: 1, inode: 7, opened_at: 1, port, ..ListenerIdentity::default() }
    }

    fn closed() -> ListenerIdentity {
        ListenerIdentity { closed_at: 9, ..listener() }
    }

    /// What is done with the row at each of these seconds.
    fn steps(identity: &ListenerIdentity, replaced: bool, inodes: &[u64], seconds: &[u64]) -> Vec<Step> {
        let mut retirement = Retirement::default();
        let inodes = inodes.iter().copied().collect();
        let step = |now: &u64| {
            let now = Duration::from_secs(*now);
            let step = retirement.step(ROW, identity, replaced, Some(&inodes), now);
            if step == Step::Unlink {
                retirement.unlinked(ROW, now);
            }
            step
        };
        seconds.iter().map(step).collect()
    }

    #[test]
    fn a_row_is_kept_while_its_listener_listens_and_for_a_while_after() {
        use Step::{Collect, Keep, Unlink};
        let check = |identity: ListenerIdentity, replaced: bool, inodes: &[u64], expected: [Step; 5]| {
            let seconds = [100, 101, 115, 116, 140];
            assert_eq!(steps(&identity, replaced, inodes, &seconds), expected, "{identity:?}");
        };
        check(listener(), false, &[7], [Keep, Keep, Keep, Keep, Keep]);
        check(closed(), false, &[], [Keep, Keep, Unlink, Keep, Collect]);
        check(listener(), false, &[8], [Keep, Keep, Keep, Keep, Unlink]);
        check(closed(), true, &[], [Keep, Keep, Collect, Collect, Collect]);
        check(listener(), true, &[7], [Keep, Keep, Collect, Collect, Collect]);
        check(ListenerIdentity { inode: 0, ..listener() }, false, &[], [Keep; 5]);
        check(ListenerIdentity { socket: 0, ..listener() }, true, &[], [Keep; 5]);
    }

    #[test]
    fn what_a_row_counted_stays_with_its_port_and_nothing_stays_of_a_row_that_counted_nothing() {
        let mut retirement = Retirement::default();
        let totals = |established| {
            let counters = HandshakeCounters { established, ..HandshakeCounters::default() };
            (counters, QueueRow::default())
        };
        let port = listener().port;
        retirement.collect(ROW, &listener(), &totals(2));
        retirement.collect(ROW, &listener(), &totals(2));
        let other = ListenerIdentity { port: PortKey { port: 81, ..port }, ..listener() };
        retirement.collect(4, &other, &RowTotals::default());
        assert_eq!(retirement.retired().collect::<Vec<_>>(), [(&port, &totals(4))]);
        assert_eq!(retirement.take_collected(), [(ROW, listener()), (ROW, listener()), (4, other)]);
    }

    #[test]
    fn past_the_budget_of_ports_the_totals_are_kept_together() {
        let mut retirement = Retirement::default();
        let counters = HandshakeCounters { established: 1, ..HandshakeCounters::default() };
        let totals = (counters, QueueRow::default());
        for netns in 0..u32::try_from(PORT_BUDGET).unwrap() + 3 {
            let port = PortKey { netns, ..PortKey::default() };
            retirement.collect(ROW, &ListenerIdentity { port, ..listener() }, &totals);
        }
        assert_eq!(retirement.retired().count(), PORT_BUDGET);
        assert_eq!(retirement.past_budget().0.established, 3);
    }
}
