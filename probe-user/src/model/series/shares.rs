//! Which part of each port's totals its own series show, and what `other` shows.
//!
//! A count belongs to one series: to the port's own if the port had one when it happened, else to `other`.
//! Series come and go, but no count moves from one to another, so that what Prometheus makes of their increases
//! is right: it never sees a count twice, and no series that exists goes back.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{model::totals::Totals, sample::PortId, sorted::Sorted};

/// The parts of all ports, and the sum that `other` shows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shares<T> {
    ports: Sorted<PortId, Share<T>>,
    /// Everything that was counted in no port's own series.
    other: T,
    /// The kernel side's row for listeners past its budget, when it was read last.
    kernel_other: T,
    /// What went from ports to that row since then.
    moved: T,
}

impl<T: Totals> Default for Shares<T> {
    fn default() -> Self {
        let (other, kernel_other, moved) = Default::default();
        Self { ports: Sorted::default(), other, kernel_other, moved }
    }
}

/// One port's totals in two parts. Most ports never change sides: a part that is nothing takes no memory.
#[derive(Debug, Serialize, Deserialize)]
struct Share<T> {
    own: bool,
    shown: Option<Box<T>>,
    hidden: Option<Box<T>>,
    /// What the port was counted for and is in the kernel side's row for others by now: totals of closed listeners
    /// past a budget go there. It stays in the two parts, and is taken off that row.
    moved: Option<Box<T>>,
}

impl<T> Share<T> {
    const fn new(own: bool) -> Self {
        Self { own, shown: None, hidden: None, moved: None }
    }
}

impl<T: Totals + PartialEq> Share<T> {
    /// Whether nothing was counted since the last look, as far as that is quick to tell: most ports are idle, and most
    /// have but one part.
    fn is_idle(&self, totals: &T) -> bool {
        match (&self.shown, &self.hidden, &self.moved) {
            (None, None, None) => totals.is_nothing(),
            (Some(part), None, None) | (None, Some(part), None) => **part == *totals,
            _ => false,
        }
    }

    /// The totals at the last look, as they were read.
    fn last(&self) -> T {
        let mut sum = T::default();
        for part in [&self.shown, &self.hidden].into_iter().flatten() {
            sum.add(part);
        }
        self.moved.as_ref().map_or_else(|| sum.clone(), |moved| sum.minus(moved))
    }
}

impl<T: Totals + PartialEq> Shares<T> {
    /// What was counted at the port since the last look.
    pub(super) fn gain(&self, id: &PortId, totals: &T) -> T {
        if self.ports.get(id).is_some_and(|share| share.is_idle(totals)) {
            return T::default();
        }
        let last = self.ports.get(id).map(Share::last).unwrap_or_default();
        totals.minus(&last)
    }

    /// Takes in a port's totals. `own`: it has series of its own from now on. What was counted since the last look is
    /// in them if they exist already; a new series that began with it would hide it, and one that ends
    /// may not be looked at any more.
    pub(super) fn take_in(&mut self, id: PortId, totals: &T, own: bool) {
        if !self.ports.contains_key(&id) {
            self.ports.insert(id, Share::new(own));
        }
        let Some(share) = self.ports.get_mut(&id) else { return };
        let stays = share.own == own && share.is_idle(totals);
        if stays && (own || self.other.knows_all_of(totals)) {
            return;
        }
        let last = share.last();
        let now = totals.or(&last);
        let (gain, missing) = (now.minus(&last), last.minus(&now));
        if !missing.is_nothing() {
            share.moved.get_or_insert_default().add(&missing);
            self.moved.add(&missing);
        }
        let shown = share.own && own;
        if !shown {
            self.other.add(&gain);
        }
        if !gain.is_nothing() {
            let part = if shown { &mut share.shown } else { &mut share.hidden };
            part.get_or_insert_default().add(&gain);
        }
        share.own = own;
    }

    /// How many ports there are.
    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Drops the ports that are no more. Their totals are in the kernel side's row for others now.
    pub(super) fn keep_only(&mut self, ids: &BTreeSet<PortId>) {
        let moved = &mut self.moved;
        self.ports.retain(|id, share| {
            let stays = ids.contains(id);
            if !stays {
                moved.add(&share.last());
            }
            stays
        });
    }

    /// What the port's own series show, if that is not all that is known of it.
    pub(super) fn shown(&self, id: &PortId, totals: &T) -> Option<T> {
        let share = self.ports.get(id)?;
        if share.hidden.is_none() && share.moved.is_none() {
            return None;
        }
        let nothing = T::default();
        let part = |part: &Option<Box<T>>| part.as_deref().unwrap_or(&nothing).clone();
        Some(totals.plus(&part(&share.moved)).minus(&part(&share.hidden)))
    }

    /// What `other` shows, after every port was taken in; nothing where the kernel side's row cannot be read.
    pub(super) fn other(&mut self, kernel: Option<&T>) -> Option<T> {
        let now = kernel?.or(&self.kernel_other);
        let gain = now.minus(&self.kernel_other).minus(&self.moved);
        self.other.add(&gain);
        self.kernel_other = now;
        self.moved = T::default();
        Some(self.other.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PORTS: usize = 4;

    fn id(port: usize) -> PortId {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        PortId { netns: 1, address, port: u16::try_from(port).unwrap() }
    }

    /// What happens to one port before a look, and what the look finds.
    #[derive(Clone, Debug)]
    struct Step {
        gain: u64,
        own: bool,
        known: bool,
        /// How much of its total goes to the kernel side's row for others.
        moved: u64,
    }

    fn step() -> impl Strategy<Value = Step> {
        let moved = prop_oneof![4 => Just(0), 1 => 1..9_u64, 1 => Just(u64::MAX)];
        (0..9_u64, any::<bool>(), prop::bool::weighted(0.8), moved)
            .prop_map(|(gain, own, known, moved)| Step { gain, own, known, moved })
    }

    /// The truth, and what was shown of it.
    #[derive(Default)]
    struct Host {
        shares: Shares<Option<u64>>,
        totals: [u64; PORTS],
        kernel_other: u64,
        /// What each port's series showed when they were there last, and what `other` showed.
        shown: [u64; PORTS],
        shown_other: u64,
    }

    impl Host {
        fn look(&mut self, steps: &[Step], kernel_gain: u64) -> Result<(), TestCaseError> {
            self.kernel_other += kernel_gain;
            for (port, step) in steps.iter().enumerate() {
                let moved = step.moved.min(self.totals[port]);
                self.totals[port] = self.totals[port] - moved + step.gain;
                self.kernel_other += moved;
            }
            // A port is known or it is not, as a whole look is: what was moved is never unknown at the same time.
            for (port, step) in steps.iter().enumerate() {
                let known = step.known || step.moved > 0;
                self.shares.take_in(id(port), &known.then_some(self.totals[port]), step.own);
            }
            let other = self.shares.other(Some(&Some(self.kernel_other))).flatten().unwrap();
            prop_assert!(other >= self.shown_other, "other went back");
            self.shown_other = other;
            for (port, step) in steps.iter().enumerate() {
                let total = Some(self.totals[port]).filter(|_| step.known || step.moved > 0);
                let shown = self.shares.shown(&id(port), &total).unwrap_or(total);
                prop_assert_eq!(shown.is_some(), total.is_some());
                if let Some(shown) = shown.filter(|_| step.own) {
                    prop_assert!(shown >= self.shown[port], "the series of {} went back", port);
                    self.shown[port] = shown;
                }
            }
            Ok(())
        }

        /// What all series say together, those that were taken away included, and what there is.
        fn sums(&self) -> (u64, u64) {
            let truth = self.totals.iter().sum::<u64>() + self.kernel_other;
            (self.shown.iter().sum::<u64>() + self.shown_other, truth)
        }
    }

    proptest! {
        #[test]
        fn no_series_goes_back_and_no_count_is_lost_or_shown_twice(
            looks in vec((vec(step(), PORTS), 0..5_u64), 1..40),
        ) {
            let mut host = Host::default();
            for (steps, kernel_gain) in &looks {
                host.look(steps, *kernel_gain)?;
                let (shown, truth) = host.sums();
                if steps.iter().all(|step| step.known || step.moved > 0) {
                    prop_assert_eq!(shown, truth);
                }
            }
        }
    }

    #[test]
    fn a_port_that_has_gone_leaves_what_others_showed_of_it() {
        let mut shares = Shares::<Option<u64>>::default();
        shares.take_in(id(0), &Some(5), true);
        shares.take_in(id(1), &Some(3), false);
        assert_eq!(shares.other(Some(&Some(0))), Some(Some(3)));
        // Their totals go to the kernel side's row for others, where one more is counted.
        shares.keep_only(&BTreeSet::new());
        assert_eq!(shares.other(Some(&Some(9))), Some(Some(4)));
        assert!(shares.ports.is_empty());
    }

    #[test]
    fn only_what_changes_sides_takes_memory_for_both() {
        let mut shares = Shares::<Option<u64>>::default();
        let parts = |shares: &Shares<Option<u64>>| {
            let share = shares.ports.get(&id(0)).unwrap();
            [share.shown.as_deref().copied().flatten(), share.hidden.as_deref().copied().flatten()]
        };
        shares.take_in(id(0), &Some(5), true);
        assert_eq!((parts(&shares), shares.shown(&id(0), &Some(5))), ([Some(5), None], None));
        shares.take_in(id(0), &Some(8), false);
        assert_eq!((parts(&shares), shares.shown(&id(0), &Some(8))), ([Some(5), Some(3)], Some(Some(5))));
        shares.take_in(id(0), &Some(9), true);
        shares.take_in(id(0), &Some(11), true);
        assert_eq!((parts(&shares), shares.shown(&id(0), &Some(11))), ([Some(7), Some(4)], Some(Some(7))));
    }
}
