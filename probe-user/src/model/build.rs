//! From a [`Sample`] to a [`Model`]: joins what the maps, the sockets and the ledger know of each port.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_common::loss::Loss;

use super::{
    Handshakes, Listener, Model, Namespace, Overflows, Port,
    attribution::{Attributed, Attribution},
};
use crate::{
    plan::outcome::{Accounting, Coverage, PlanOutcome},
    sample::{HandshakeTotals, HookSample, NamespaceSample, PortId, Sample},
};

impl Model {
    /// Says what the sample means under the plan that it was read with. `attributed` is what the
    /// ledger knows after this sample; `None` unless accounting is by socket drops.
    ///
    /// A port is shown when it has a listener or a row in the map. With a listener and no row,
    /// nothing has happened there yet: zeros for all that is measured, so that a counter is there
    /// before it first moves. But once the map has been full, no row may also mean no room: then
    /// nothing is known.
    #[must_use]
    pub fn new(sample: &Sample, plan: &PlanOutcome, attributed: Option<&Attribution>) -> Self {
        let hooks = sample.hooks.as_ref();
        let listeners = listeners(&sample.namespaces);
        let ids: BTreeSet<_> =
            listeners.keys().chain(hooks.into_iter().flat_map(|hooks| hooks.ports.keys())).collect();
        let port = |id: &PortId| Port {
            id: *id,
            handshakes: port_handshakes(id, hooks, &plan.coverage, attributed),
            listeners: listeners.get(id).cloned().unwrap_or_default(),
        };
        let mut ports: Vec<_> = ids.into_iter().map(port).collect();
        ports.sort_by_key(|port| order(&port.id));
        let mut namespaces: Vec<_> =
            sample.namespaces.iter().map(|namespace| build_namespace(namespace, attributed)).collect();
        namespaces.sort_by_key(|namespace| namespace.netns);
        Self {
            plan: plan.clone(),
            ports,
            other: hooks.map(|hooks| handshakes(&hooks.other, &plan.coverage, None)),
            namespaces,
            losses: hooks.map(|hooks| hooks.losses.clone()).unwrap_or_default(),
            read_errors: sample.read_errors.clone(),
            own_cost: sample.own_cost,
        }
    }
}

/// Ports are shown by namespace, port and address.
const fn order(id: &PortId) -> (u32, u16, IpAddr) {
    (id.netns, id.port, id.address)
}

/// The sockets of each port, by inode: their order in a dump is the kernel's hash.
fn listeners(namespaces: &[NamespaceSample]) -> BTreeMap<PortId, Vec<Listener>> {
    let mut ports: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for namespace in namespaces {
        for socket in namespace.listeners.iter().flatten() {
            let id = PortId { netns: namespace.netns, address: socket.address, port: socket.port };
            ports.entry(id).or_default().push(Listener {
                accept_queue_length: socket.accept_queue_length,
                accept_queue_limit: socket.accept_queue_limit,
                inode: socket.inode,
            });
        }
    }
    ports.values_mut().for_each(|sockets| sockets.sort_by_key(|socket| socket.inode));
    ports
}

/// The totals of one port; all unknown where they may be in the `other` row.
fn port_handshakes(
    id: &PortId,
    hooks: Option<&HookSample>,
    coverage: &Coverage,
    attributed: Option<&Attribution>,
) -> Handshakes {
    let Some(hooks) = hooks else { return Handshakes::default() };
    let map_full = hooks.losses.get(Loss::PortMapFull.label()).is_some_and(|count| *count > 0);
    let attributed = attributed.and_then(|attribution| attribution.ports.get(id)).copied();
    match hooks.ports.get(id) {
        Some(totals) => handshakes(totals, coverage, attributed),
        None if map_full => Handshakes::default(),
        None => handshakes(&HandshakeTotals::default(), coverage, attributed),
    }
}

/// The totals as far as the attached hooks mean them.
fn handshakes(totals: &HandshakeTotals, coverage: &Coverage, attributed: Option<Attributed>) -> Handshakes {
    let (accept_queue_overflows, listen_drops) = refusals(totals, coverage, attributed);
    Handshakes {
        syn_received: coverage.syn_received.then_some(totals.syn_received),
        syn_queued: coverage.syn_queued.then_some(totals.syn_queued),
        established: coverage.established.then_some(totals.established),
        last_ack_received: coverage.last_ack_received.then_some(totals.last_ack_received),
        last_ack_refused: coverage.last_ack_refused.then_some(totals.last_ack_refused),
        synack_retransmits: coverage.synack_retransmits.then_some(totals.synack_retransmits),
        accept_queue_overflows,
        listen_drops,
    }
}

/// Overflows and drops, from where the accounting has them.
fn refusals(
    totals: &HandshakeTotals,
    coverage: &Coverage,
    attributed: Option<Attributed>,
) -> (Overflows, Option<u64>) {
    let by_stage = Overflows {
        syn: Some(totals.accept_queue_overflows_syn),
        ack: Some(totals.accept_queue_overflows_ack),
        undivided: None,
    };
    match coverage.accounting {
        // The last ACK's part is counted where it is refused, and nothing is attached there.
        Accounting::Conditions if !coverage.last_ack_refused => (Overflows { ack: None, ..by_stage }, None),
        Accounting::KernelCounters | Accounting::Conditions => (by_stage, Some(totals.listen_drops)),
        Accounting::SocketDrops => {
            let undivided = attributed.map(|port| port.accept_queue_overflows);
            (Overflows { undivided, ..Overflows::default() }, attributed.map(|port| port.listen_drops))
        }
        Accounting::None => (Overflows::default(), None),
    }
}

/// The later of the two reads of the counters, and what the ledger could charge nobody with.
fn build_namespace(sample: &NamespaceSample, attributed: Option<&Attribution>) -> Namespace {
    let counters = sample.netstat_after.or(sample.netstat_before);
    let rest = attributed.and_then(|attribution| attribution.namespaces.get(&sample.netns));
    Namespace {
        netns: sample.netns,
        listen_overflows: counters.map(|counters| counters.listen_overflows),
        listen_drops: counters.map(|counters| counters.listen_drops),
        unattributed_overflows: rest.map(|rest| rest.accept_queue_overflows),
        unattributed_drops: rest.map(|rest| rest.listen_drops),
        error: sample.error.clone(),
    }
}

#[cfg(test)]
mod tests;
