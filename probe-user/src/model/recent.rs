//! What happened of late: how much the totals have grown over a while, port by port.
//!
//! Totals never forget. To say what is wrong *now*, and that a cure has worked, it takes what was counted within the last
//! minutes. [`Recorder`] keeps that in stretches of a quarter of a minute, after five minutes of a minute, for an hour.
//! A stretch holds only ports at which something was counted, so an idle host costs nothing; a very busy one
//! reaches back less far than an hour ([`STRETCH_ENTRIES`]), and [`Lately::seconds`] says how far.
//!
//! A port whose listeners got another limit begins anew: what was lost under the old one is cured or was not the
//! new one's fault.
mod counts;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use self::counts::RecentCounts;
use super::{Model, Namespace, Port, attribution::PORT_BUDGET};
use crate::{sample::PortId, sorted::Sorted};

/// How long a stretch is that has just ended, in nanoseconds.
const SHORT: u64 = 15_000_000_000;
/// How long the stretches are that are joined once they are older than [`KEPT_SHORT`].
const LONG: u64 = 60_000_000_000;
/// How long short stretches are kept apart.
const KEPT_SHORT: u64 = 300_000_000_000;
/// How far back is remembered.
const REACH: u64 = 3_600_000_000_000;
/// The most entries of ports and namespaces in all stretches: a quarter of a kilobyte each.
pub const STRETCH_ENTRIES: usize = 16_384;

/// What was counted in a network namespace by the kernel itself, whichever the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceCounts {
    /// `TcpExt: ListenOverflows`.
    pub listen_overflows: u64,
    /// `TcpExt: ListenDrops`.
    pub listen_drops: u64,
    /// Overflows that no port could be charged with.
    pub unattributed_overflows: u64,
}

/// What was counted on the host as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// Packets dropped because the CPU's backlog was full, of all CPUs.
    pub softnet_dropped: u64,
    /// Packets processed, of all CPUs.
    pub softnet_processed: u64,
}

/// What was counted between two instants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stretch {
    /// Nanoseconds of the monotonic clock.
    begun: u64,
    ended: u64,
    ports: BTreeMap<PortId, RecentCounts>,
    namespaces: BTreeMap<u32, NamespaceCounts>,
    host: HostCounts,
}

/// What is remembered, at one instant. Cheap to copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// The oldest first.
    stretches: Vec<Arc<Stretch>>,
    /// When the limits of a port's listeners were changed last, where they were.
    changed: Arc<BTreeMap<PortId, u64>>,
    /// Since when connections wait at a port and nobody is seen to accept any.
    waiting: Arc<BTreeMap<PortId, u64>>,
}

/// The sums over a while that ends now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lately {
    /// How long that is, in seconds: a little more than what was asked for, but no longer than is remembered.
    pub seconds: f64,
    /// What was counted at each port; one without an entry had nothing to count.
    pub ports: Sorted<PortId, RecentCounts>,
    /// What was counted in each network namespace.
    pub namespaces: BTreeMap<u32, NamespaceCounts>,
    /// What was counted on the host.
    pub host: HostCounts,
    /// For how long connections have waited at a port now without anybody accepting any, in seconds; whatever the while.
    /// Where accepted connections are not counted it is for how long the queue was full whenever somebody looked.
    pub waiting: BTreeMap<PortId, f64>,
}

impl Recent {
    /// The sums over the last seconds. Whole stretches: one that began a little before is in them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a second more or less")]
    pub fn over(&self, seconds: u64) -> Lately {
        let Some(now) = self.stretches.last().map(|last| last.ended) else { return Lately::default() };
        let first = now.saturating_sub(seconds.saturating_mul(1_000_000_000));
        let (mut sums, mut begun) = (Lately::default(), now);
        for stretch in self.stretches.iter().filter(|stretch| stretch.ended > first) {
            begun = begun.min(stretch.begun);
            self.add(&mut sums, stretch);
        }
        let seconds_since = |instant: u64| now.saturating_sub(instant) as f64 / 1e9;
        sums.seconds = seconds_since(begun);
        sums.waiting = self.waiting.iter().map(|(id, since)| (*id, seconds_since(*since))).collect();
        sums
    }

    fn add(&self, sums: &mut Lately, stretch: &Stretch) {
        let begins_anew = |id: &PortId| self.changed.get(id).is_some_and(|changed| stretch.begun < *changed);
        let counted = || stretch.ports.iter().filter(|(id, _)| !begins_anew(id));
        sums.ports.make_room_for(counted().map(|(id, _)| *id), RecentCounts::default);
        for (id, counts) in counted() {
            if let Some(sum) = sums.ports.get_mut(id) {
                sum.add(counts);
            }
        }
        for (netns, counts) in &stretch.namespaces {
            sums.namespaces.entry(*netns).or_default().add(counts);
        }
        sums.host.add(&stretch.host);
    }
}

/// What is known of a port from the last look.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Known {
    totals: RecentCounts,
    /// The lowest and the highest limit of its listeners, when it last had any.
    limits: Option<(u32, u32)>,
    /// Since when connections wait, and nobody is seen to accept any.
    waiting_since: Option<u64>,
}

/// Remembers what was counted.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Recorder {
    /// Those that have ended, the oldest first.
    ended: VecDeque<Arc<Stretch>>,
    current: Option<Stretch>,
    ports: Sorted<PortId, Known>,
    namespaces: BTreeMap<u32, NamespaceCounts>,
    host: HostCounts,
    changed: Arc<BTreeMap<PortId, u64>>,
}

impl Recorder {
    /// Takes in a model that was read at `now` (nanoseconds of the monotonic clock), and says what it remembers.
    pub(super) fn observe(&mut self, model: &Model, now: u64) -> Recent {
        let first = self.current.is_none();
        let mut current = self.current.take().unwrap_or_else(|| Stretch::from(now));
        let changed = self.take_in_ports(&mut current, model, now, first);
        self.gain(&mut current, model, first);
        current.ended = now;
        if !changed.is_empty() || now.saturating_sub(current.begun) >= SHORT {
            // What was counted since the last look may still be the old limit's.
            Arc::make_mut(&mut self.changed).extend(changed.into_iter().map(|id| (id, now)));
            current = self.end(current, now);
        }
        let stretches = self.ended.iter().cloned().chain([Arc::new(current.clone())]).collect();
        self.current = Some(current);
        let waiting = self.ports.iter().filter_map(|(id, known)| Some((*id, known.waiting_since?)));
        Recent { stretches, changed: Arc::clone(&self.changed), waiting: Arc::new(waiting.collect()) }
    }

    /// Adds what was counted at the ports since the last look; returns those of them whose limits are not what they were.
    fn take_in_ports(&mut self, current: &mut Stretch, model: &Model, now: u64, first: bool) -> Vec<PortId> {
        let mut changed = Vec::new();
        self.ports.make_room_for(model.ports.iter().map(|port| port.id), Known::default);
        for port in &model.ports {
            let Some(known) = self.ports.get_mut(&port.id) else { continue };
            let before = *known;
            let limits = limits(port);
            if before.limits.is_some() && limits.is_some() && before.limits != limits {
                changed.push(port.id);
            }
            let mut totals = RecentCounts::at(port);
            if port.listeners.is_empty() && !model.knows_sockets_of(port) {
                // They were not lost because nobody could look.
                totals.socket_drops = before.totals.socket_drops;
            }
            let waiting_since = waits_in_vain(port, totals.accepted, &before).then_some(now);
            let waiting_since = waiting_since.and(before.waiting_since).or(waiting_since);
            *known = Known { totals, limits: limits.or(before.limits), waiting_since };
            let gained = totals.since(&before.totals);
            if !first && !gained.is_nothing() {
                current.ports.entry(port.id).or_default().add(&gained);
            }
        }
        // All ports of the model are in it: are there more, some are no more.
        if self.ports.len() > model.ports.len() {
            let present: BTreeSet<_> = model.ports.iter().map(|port| port.id).collect();
            let unread = model.namespaces.iter().filter(|namespace| namespace.error.is_some());
            let unread: BTreeSet<_> = unread.map(|namespace| namespace.netns).collect();
            // Where something can never be read, ports that come and go would pile up.
            let has_room = self.ports.len() <= PORT_BUDGET;
            self.ports.retain(|id, _| present.contains(id) || has_room && unread.contains(&id.netns));
        }
        changed
    }

    /// Adds what was counted elsewhere since the last look. What sockets and the kernel had counted before the first one
    /// is not of late.
    fn gain(&mut self, current: &mut Stretch, model: &Model, first: bool) {
        let counts = |one: &Namespace| {
            // One that could not be read has the counts of before.
            let unread = one.listen_overflows.is_none();
            let counts = if unread { *self.namespaces.get(&one.netns)? } else { NamespaceCounts::of(one) };
            Some((one.netns, counts))
        };
        let namespaces: BTreeMap<_, _> = model.namespaces.iter().filter_map(counts).collect();
        for (netns, counts) in &namespaces {
            // One that is seen for the first time may be old.
            let gained = counts.since(self.namespaces.get(netns).unwrap_or(counts));
            if !first && gained != NamespaceCounts::default() {
                current.namespaces.entry(*netns).or_default().add(&gained);
            }
        }
        self.namespaces = namespaces;
        let host = HostCounts::of(model);
        if !first {
            current.host.add(&host.since(&self.host));
        }
        self.host = host;
    }

    /// Ends a stretch and begins the next.
    fn end(&mut self, mut stretch: Stretch, now: u64) -> Stretch {
        stretch.ended = now;
        self.ended.push_back(Arc::new(stretch));
        self.join_old(now);
        self.forget(now);
        Stretch::from(now)
    }

    /// Joins the youngest of those that are old enough with the one before it, up to the length of a long one.
    fn join_old(&mut self, now: u64) {
        let is_old = |stretch: &Stretch| now.saturating_sub(stretch.ended) > KEPT_SHORT;
        let old = self.ended.iter().take_while(|stretch| is_old(stretch)).count();
        let Some(index) = old.checked_sub(1).filter(|index| *index > 0) else { return };
        let (Some(before), Some(last)) = (self.ended.get(index - 1), self.ended.get(index)) else { return };
        // A port that begins anew between the two needs them apart.
        let apart = self.changed.values().any(|changed| *changed == last.begun);
        if !apart && last.ended.saturating_sub(before.begun) <= LONG {
            let joined = Arc::new(before.joined(last));
            self.ended.remove(index);
            if let Some(place) = self.ended.get_mut(index - 1) {
                *place = joined;
            }
        }
    }

    /// Drops what is too old, and what there is no room for.
    fn forget(&mut self, now: u64) {
        let mut entries: usize = self.ended.iter().map(|stretch| stretch.entries()).sum();
        while let Some(oldest) = self.ended.front()
            && (entries > STRETCH_ENTRIES || now.saturating_sub(oldest.begun) > REACH)
        {
            entries = entries.saturating_sub(oldest.entries());
            self.ended.pop_front();
        }
        let begun = self.ended.front().map_or(now, |oldest| oldest.begun);
        if self.changed.values().any(|changed| *changed < begun) {
            Arc::make_mut(&mut self.changed).retain(|_, changed| *changed >= begun);
        }
    }
}

/// Whether somebody waits to be accepted, and nobody was since the last look.
fn waits_in_vain(port: &Port, accepted: u64, before: &Known) -> bool {
    let waits = port.listeners.iter().any(|one| one.accept_queue_length > 0);
    let is_full = port.listeners.iter().any(|one| one.accept_queue_length > one.accept_queue_limit);
    match port.queues.counts.accepted {
        Some(_) => waits && accepted == before.totals.accepted,
        None => is_full,
    }
}

/// The lowest and the highest limit of a port's listeners.
fn limits(port: &Port) -> Option<(u32, u32)> {
    let limits = || port.listeners.iter().map(|listener| listener.accept_queue_limit);
    limits().min().zip(limits().max())
}

impl Stretch {
    fn from(now: u64) -> Self {
        Self { begun: now, ended: now, ..Self::default() }
    }

    fn entries(&self) -> usize {
        self.ports.len().saturating_add(self.namespaces.len()).saturating_add(1)
    }

    /// This one and the next.
    fn joined(&self, next: &Self) -> Self {
        let mut joined = self.clone();
        joined.ended = next.ended;
        for (id, counts) in &next.ports {
            joined.ports.entry(*id).or_default().add(counts);
        }
        for (netns, counts) in &next.namespaces {
            joined.namespaces.entry(*netns).or_default().add(counts);
        }
        joined.host.add(&next.host);
        joined
    }
}
