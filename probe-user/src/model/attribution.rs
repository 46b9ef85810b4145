//! Per-port drops and overflows where no hook counts them: from the sockets' own drop counters and
//! the namespace's TcpExt counters, with the history that this takes.
//!
//! The kernel keeps `sk_drops` per socket (32 bits) and ListenDrops and ListenOverflows per
//! namespace. Every listen drop raises `sk_drops` and ListenDrops together (`tcp_listendrop()` of
//! include/net/tcp.h, unchanged from 5.4 to 7.3), and an overflow is a listen drop that raised
//! ListenOverflows first. But `sk_drops` also counts segments that are no listen drops, and goes
//! away with its socket. So per port:
//!
//! * `drops::DropHistory` follows a port's sockets over openings, closings and wraps, and takes off
//!   what the hooks saw discarded. On kernels where kfree_skb names the listener (6.11) the rest is
//!   the port's ListenDrops; on others it is an upper bound.
//! * `interval` concludes from what the ports and the namespace counted since a checkpoint which
//!   drops and which overflows are certainly whose. What is not certain stays unattributed: never a
//!   guess.
//! * `namespace` owns both for one namespace, and moves the checkpoint.
//!
//! # What is assumed
//! 1. The increments of one packet follow each other in less time than passes between two of the
//!    reads of a sample (nanoseconds against a system call).
//! 2. ListenDrops counts nothing but the drops of TCP listeners that are in the table or in the
//!    map. Not so: DCCP (until 6.16), an ICMP error for a request whose listener was closed
//!    meanwhile. On kernels with exact drops these stay unattributed; on others they can be charged
//!    to a port that discarded as many segments in the same interval.
//! 3. No overflow is without its drop. Not so: `bpf_tcp_gen_syncookie()` with a full accept queue.
//! 4. A namespace that is seen for the first time, and whose listeners were all seen to open, was
//!    made since the hooks were attached, unless more was dropped in it than its ports show.
//!
//! It is *not* assumed that an inode number stands for the same namespace in the next sample: the
//! kernel gives the lowest free number out again, so a container that is restarted often has the
//! number it had before. Its cookie tells (5.14); where there is none, counters that went back do,
//! and growth may be of the one that was there before.
mod drops;
mod interval;
mod namespace;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use serde::{Deserialize, Serialize};

use probe_common::{handshake::HandshakeCounters, loss::Loss};

use self::{drops::PortReading, namespace::NamespaceLedger};
use crate::{
    plan::outcome::{Accounting, Coverage},
    sample::{HookSample, NamespaceSample, PortId, Sample},
    sorted::Sorted,
};

/// The most ports that are followed: the budget of the `HANDSHAKE` map. The drops of further ports are
/// unattributed.
pub const PORT_BUDGET: usize = 16_384;

/// The most namespaces that are followed, as many as a sample can hold
/// ([`crate::netns::NAMESPACE_BUDGET`]). Past it, those that are not in the sample are forgotten, with
/// their ports.
pub const NAMESPACE_BUDGET: usize = 4096;

/// What is certain of one port. Totals since the hooks were attached; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributed {
    /// Packets that the kernel counted as ListenDrops on behalf of the port.
    pub listen_drops: u64,
    /// Packets among them that were refused because the accept queue was full.
    pub accept_queue_overflows: u64,
}

/// What no port of a namespace could be charged with, as of the last checkpoint. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattributed {
    /// ListenDrops that are no port's.
    pub listen_drops: u64,
    /// ListenOverflows that are no port's.
    pub accept_queue_overflows: u64,
}

/// What is known after a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Every port that is followed, closed ones too. A port that is missing is not known.
    pub ports: Sorted<PortId, Attributed>,
    /// Every namespace whose counters are followed.
    pub namespaces: BTreeMap<u32, Unattributed>,
}

/// The history behind an [`Attribution`]: one for as long as the hooks are attached, fed with every
/// sample.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    namespaces: BTreeMap<u32, NamespaceLedger>,
    /// The namespaces of the first sample: what they had counted by then was not watched. `None`
    /// before the first sample.
    at_start: Option<BTreeSet<u32>>,
}

impl Ledger {
    /// An empty history: the first sample that is observed is where the counts begin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a sample and says what is known now. Without hook totals in the sample, or with another
    /// accounting than by socket drops, nothing is taken in. A namespace that was not read completely
    /// keeps its state.
    pub fn observe(&mut self, sample: &Sample, coverage: &Coverage) -> Attribution {
        if let (Some(hooks), Accounting::SocketDrops) = (&sample.hooks, coverage.accounting) {
            self.forget(sample);
            let everyone = || sample.namespaces.iter().map(|namespace| namespace.netns).collect();
            let at_start = self.at_start.get_or_insert_with(everyone);
            let mut ports = self.namespaces.values().map(NamespaceLedger::port_count).sum();
            for namespace in &sample.namespaces {
                let ledger = self.namespaces.entry(namespace.netns).or_default();
                let readings = readings(namespace, hooks, ledger.port_ids());
                let Some(readings) = readings else { continue };
                ports -= ledger.port_count();
                ledger.observe(&namespace::Observation {
                    namespace,
                    readings: &readings,
                    watched_from_birth: !at_start.contains(&namespace.netns),
                    discards_known: coverage.discards_known,
                    port_budget: PORT_BUDGET.saturating_sub(ports),
                });
                ports += ledger.port_count();
            }
        }
        self.attribution()
    }

    /// Keeps within the budget of namespaces.
    fn forget(&mut self, sample: &Sample) {
        let present: BTreeSet<_> = sample.namespaces.iter().map(|namespace| namespace.netns).collect();
        let new = present.iter().filter(|netns| !self.namespaces.contains_key(netns)).count();
        if self.namespaces.len().saturating_add(new) > NAMESPACE_BUDGET {
            self.namespaces.retain(|netns, _| present.contains(netns));
        }
    }

    fn attribution(&self) -> Attribution {
        let ports = self.namespaces.values().flat_map(NamespaceLedger::attributed).collect();
        let unattributed = |(netns, ledger): (&u32, &NamespaceLedger)| Some((*netns, ledger.unattributed()?));
        Attribution { ports, namespaces: self.namespaces.iter().filter_map(unattributed).collect() }
    }
}

/// What the sample says of every port of the namespace: those with a listener, those in the map and
/// those that were `known` before. `None` when the listeners are not known.
fn readings(
    namespace: &NamespaceSample,
    hooks: &HookSample,
    known: impl Iterator<Item = PortId>,
) -> Option<Sorted<PortId, PortReading>> {
    let netns = namespace.netns;
    let drops = namespace.listeners.as_ref()?.iter();
    let drops = drops.map(|listener| (listener.port_in(netns), listener.drops)).collect();
    let live: Sorted<PortId, u32> = Sorted::joined(drops, |sum, more| *sum = sum.wrapping_add(more));
    let first = PortId { netns, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
    let mapped = hooks.ports.iter_from(first).map(|(id, _)| *id).take_while(|id| id.netns == netns);
    let mut ids: Vec<_> = live.keys().copied().chain(mapped).chain(known).collect();
    ids.sort();
    ids.dedup();
    let reading = |id: PortId| (id, reading(&id, live.get(&id).copied().unwrap_or_default(), hooks));
    Some(ids.into_iter().map(reading).collect())
}

/// What the sample says of one port whose listeners show `live` drops together.
fn reading(id: &PortId, live: u32, hooks: &HookSample) -> PortReading {
    let map_full = hooks.losses.get(Loss::ListenerMapFull.label()).is_some_and(|count| *count > 0);
    let (before, totals) = (hooks.ports_before.get(id), hooks.ports.get(id));
    let closed = match (before, totals) {
        (Some(before), Some(after)) if same_listeners(before, after) => Some(before.closed_listener_drops),
        (None, None) => Some(0),
        _ => None,
    };
    PortReading {
        socket_drops: closed.map(|closed| low_half(closed).wrapping_add(live)),
        discarded: totals.map_or(0, |totals| totals.discarded_segments),
        discarded_before: before.map_or(0, |before| before.discarded_segments),
        opened_while_watched: totals.is_some_and(|totals| totals.listeners_opened > 0),
        in_map: totals.is_some() || !map_full,
    }
}

/// Whether no listener that matters was opened or closed between the two reads, so that the sockets
/// and what closed ones took along belong together. A closing adds the listener's drops; only an
/// opening takes some off, and each opening is counted: two equal sums with as many openings are the
/// same listeners, but for those that came and went without any drop.
const fn same_listeners(before: &HandshakeCounters, after: &HandshakeCounters) -> bool {
    before.closed_listener_drops == after.closed_listener_drops
        && before.listeners_opened == after.listeners_opened
}

/// `sk_drops` has 32 bits and a sum of differences of it has no more that mean anything.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low_half(wide: u64) -> u32 {
    wide as u32
}
