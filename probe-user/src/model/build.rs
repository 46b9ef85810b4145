//! From a [`Sample`] to a [`Model`]: joins what the maps, the sockets and the ledger know of each port.
use std::{collections::BTreeSet, sync::Arc};

use probe_common::{handshake::HandshakeCounters, loss::Loss};

use super::{
    Backlog, Findings, Handshakes, Host, LastAckRefused, Listener, Model, Namespace, Overflows, Port,
    QueueCounts, Queues, SynDropped,
    attribution::{Attributed, Attribution},
    recent::Recent,
    series::Exposure,
    syn_queue,
};
use crate::{
    plan::outcome::{Accounting, Coverage, PlanOutcome},
    sample::{HookSample, Instants, NamespaceSample, PortId, QueueSample, QueueTotals, Sample, SocketTotals},
    sorted::Sorted,
};

impl Model {
    /// Says what the sample means under the plan that it was read with. `findings` is what the
    /// history knows after this sample.
    ///
    /// A port is shown when it has a listener or a row in the map. With a listener and no row,
    /// nothing has happened there yet: zeros for all that is measured, so that a counter is there
    /// before it first moves. But once the map has been full, no row may also mean no room: then
    /// nothing is known.
    #[must_use]
    pub fn new(sample: &Sample, plan: &PlanOutcome, findings: &Findings) -> Self {
        let hooks = sample.hooks.as_ref();
        let mut listeners = listeners(sample, &plan.coverage);
        let syn_queues: Sorted<PortId, u64> =
            sample.namespaces.iter().filter_map(syn_queue::lengths).flatten().collect();
        let mut ids: Vec<PortId> =
            listeners.keys().chain(hooks.into_iter().flat_map(|hooks| hooks.ports.keys())).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let port = |id: &PortId| Port {
            id: *id,
            process: findings.processes.get(id).cloned(),
            handshakes: port_handshakes(id, hooks, &plan.coverage, &findings.attribution),
            queues: port_queues(id, sample, &plan.coverage),
            rates: findings.rates.get(id).copied().unwrap_or_default(),
            listeners: listeners.get_mut(id).map(std::mem::take).unwrap_or_default(),
            syn_queue_length: syn_queues.get(id).copied(),
            backlog_recommended: None,
            series: Exposure::default(),
        };
        let ports: Vec<_> = ids.iter().map(port).collect();
        Self {
            taken: sample.taken.unix_seconds,
            plan: plan.clone(),
            ports,
            counted_since: findings.counted_since,
            other: hooks.map(|hooks| handshakes(&hooks.other, &plan.coverage, None)),
            other_queues: other_queues(sample, &plan.coverage),
            namespaces: namespaces(sample, findings),
            host: host(sample, findings),
            losses: hooks.map(|hooks| hooks.losses.clone()).unwrap_or_default(),
            read_errors: sample.read_errors.clone(),
            own_cost: sample.own_cost,
            series: None,
            episodes: Vec::new(),
            advice: None,
            recent: Recent::default(),
        }
    }
}

/// By their numbers.
fn namespaces(sample: &Sample, findings: &Findings) -> Vec<Namespace> {
    let found = sample.namespaces.iter().map(|namespace| build_namespace(namespace, findings));
    let mut namespaces: Vec<_> = found.chain(hidden_namespaces(sample)).collect();
    namespaces.sort_by_key(|namespace| namespace.netns);
    namespaces
}

/// The namespaces whose processes hide them, and of which the hooks have seen listeners all the same. Where no process
/// does, a namespace that is not found has ended.
fn hidden_namespaces(sample: &Sample) -> Vec<Namespace> {
    let seen = if sample.host.hidden_processes > 0 { not_found(sample) } else { BTreeSet::new() };
    let hidden = seen.into_iter().map(|netns| Namespace {
        netns,
        error: Some(HIDDEN.to_owned()),
        ..Namespace::default()
    });
    hidden.collect()
}

/// The namespaces that the hooks alone know.
fn not_found(sample: &Sample) -> BTreeSet<u32> {
    let found: BTreeSet<u32> = sample.namespaces.iter().map(|namespace| namespace.netns).collect();
    let sockets = sample.hooks.iter().flat_map(|hooks| &hooks.sockets);
    sockets.map(|socket| socket.port.netns).filter(|netns| !found.contains(netns)).collect()
}

/// What is said of such a one.
const HIDDEN: &str = "seen by the hooks alone: /proc/PID/ns/net of its processes is not readable (no CAP_SYS_PTRACE, or a security module)";

fn host(sample: &Sample, findings: &Findings) -> Host {
    Host {
        own_netns: sample.host.own_netns,
        namespaces_not_found: sample.host.all_namespaces_found.then(|| not_found(sample)),
        netdev_max_backlog: sample.host.netdev_max_backlog,
        softnet: findings.softnet.clone(),
    }
}

/// The sockets of each port, by inode: their order in a dump is the kernel's hash.
fn listeners(sample: &Sample, coverage: &Coverage) -> Sorted<PortId, Vec<Listener>> {
    let rows = sample.hooks.as_ref().map(rows_by_socket).unwrap_or_default();
    let own_parts = OwnParts::new(coverage, &sample.taken);
    let mut ports = Vec::new();
    for namespace in &sample.namespaces {
        for socket in namespace.listeners.iter().flatten() {
            let id = socket.port_in(namespace.netns);
            let own = rows.get(&(id, u64::from(socket.inode))).map(SocketRows::totals);
            let (handshakes, queues) = own_parts.of(own);
            let listener = Listener {
                accept_queue_length: socket.accept_queue_length,
                accept_queue_limit: socket.accept_queue_limit,
                backlog: Backlog::new(
                    own.and_then(|own| own.backlog_requested).filter(|_| coverage.backlog_requested),
                    socket.accept_queue_limit,
                    namespace.limits.somaxconn,
                ),
                inode: socket.inode,
                socket_drops: socket.drops,
                owner: sample.owners.get(&u64::from(socket.inode)).cloned(),
                handshakes,
                queues,
            };
            // Nearly every port has one only: a vector that was made to grow has room for four.
            ports.push((id, vec![listener]));
        }
    }
    ports.sort_by_key(|(_, sockets)| sockets.first().map(|socket| socket.inode));
    Sorted::joined(ports, |sockets, more| sockets.extend(more))
}

/// What listeners have of their own. There may be ten thousand, at most of which nothing has happened: these share it.
struct OwnParts<'a> {
    coverage: &'a Coverage,
    taken: &'a Instants,
    unknown: (Arc<Handshakes>, Arc<Queues>),
    nothing: (Arc<Handshakes>, Arc<Queues>),
}

impl<'a> OwnParts<'a> {
    fn new(coverage: &'a Coverage, taken: &'a Instants) -> Self {
        let nothing = (
            own_handshakes(&HandshakeCounters::default(), coverage).into(),
            Queues::new(&QueueSample::default(), coverage, taken).into(),
        );
        Self { coverage, taken, unknown: Default::default(), nothing }
    }

    fn of(&self, socket: Option<&SocketTotals>) -> (Arc<Handshakes>, Arc<Queues>) {
        let Some(socket) = socket else { return self.unknown.clone() };
        let (no_handshakes, no_queues) = &self.nothing;
        let handshakes = shared(no_handshakes, own_handshakes(&socket.counters, self.coverage));
        (handshakes, shared(no_queues, Queues::new(&socket.queues, self.coverage, self.taken)))
    }
}

/// The common value if this one is equal.
fn shared<T: PartialEq>(common: &Arc<T>, value: T) -> Arc<T> {
    if **common == value { Arc::clone(common) } else { Arc::new(value) }
}

fn own_handshakes(counters: &HandshakeCounters, coverage: &Coverage) -> Handshakes {
    let mut counted = handshakes(counters, coverage, None);
    counted.established = counted.established.filter(|_| coverage.established_by_socket);
    counted
}

/// The rows that a socket had: nearly always one.
enum SocketRows<'a> {
    One(&'a SocketTotals),
    /// The totals are their sums, the rest is the last row's.
    Several(Box<SocketTotals>),
}

impl SocketRows<'_> {
    fn totals(&self) -> &SocketTotals {
        match self {
            Self::One(row) => row,
            Self::Several(sum) => sum,
        }
    }

    fn with(&self, later: &SocketTotals) -> Self {
        let mut sum = Box::new(self.totals().clone());
        sum.counters.add(&later.counters);
        let mut queues = *sum.queues;
        queues.totals.add(&later.queues.totals);
        queues.state = later.queues.state;
        sum.queues = queues.into();
        sum.backlog_requested = later.backlog_requested.or(sum.backlog_requested);
        sum.opened_by = later.opened_by.or(sum.opened_by);
        Self::Several(sum)
    }
}

fn rows_by_socket(hooks: &HookSample) -> Sorted<(PortId, u64), SocketRows<'_>> {
    let own = |socket| SocketRows::One(socket);
    let sockets = hooks.sockets.iter().map(|socket| ((socket.port, socket.inode), own(socket))).collect();
    Sorted::joined(sockets, |rows: &mut SocketRows<'_>, row| *rows = rows.with(row.totals()))
}

/// Whether listeners may have been counted in the row for all that there is no room for.
fn map_was_full(hooks: &HookSample) -> bool {
    hooks.losses.get(Loss::ListenerMapFull.label()).is_some_and(|count| *count > 0)
}

/// The queues of one port; all unknown where they may be in the `other` row.
fn port_queues(id: &PortId, sample: &Sample, coverage: &Coverage) -> Queues {
    let Some(hooks) = sample.hooks.as_ref() else { return Queues::default() };
    match hooks.queues.get(id) {
        Some(queues) => Queues::new(queues, coverage, &sample.taken),
        None if map_was_full(hooks) => Queues::default(),
        None => Queues::new(&QueueSample::default(), coverage, &sample.taken),
    }
}

/// The totals of the queues in the `other` row.
fn other_queues(sample: &Sample, coverage: &Coverage) -> QueueCounts {
    let hooks = sample.hooks.as_ref();
    hooks.map(|hooks| QueueCounts::new(&hooks.other_queues, coverage)).unwrap_or_default()
}

/// The totals of one port; all unknown where they may be in the `other` row.
fn port_handshakes(
    id: &PortId,
    hooks: Option<&HookSample>,
    coverage: &Coverage,
    attribution: &Attribution,
) -> Handshakes {
    let Some(hooks) = hooks else { return Handshakes::default() };
    let attributed = attribution.ports.get(id).copied();
    match hooks.ports.get(id) {
        Some(totals) => handshakes(totals, coverage, attributed),
        None if map_was_full(hooks) => Handshakes::default(),
        None => handshakes(&HandshakeCounters::default(), coverage, attributed),
    }
}

/// The totals as far as the attached hooks mean them.
fn handshakes(totals: &HandshakeCounters, coverage: &Coverage, attributed: Option<Attributed>) -> Handshakes {
    let by_counters = coverage.accounting == Accounting::KernelCounters;
    Handshakes {
        syn_received: coverage.syn_received.then_some(totals.syn_received),
        syn_queued: coverage.syn_queued.then_some(totals.syn_queued),
        syn_dropped: syn_dropped(totals, coverage),
        syncookies_sent: coverage.syncookies_sent.then_some(totals.syncookies_sent),
        syncookies_received: coverage.syncookies_checked.then_some(totals.syncookies_received),
        syncookies_failed: coverage.syncookies_checked.then_some(totals.syncookies_failed),
        syn_queue_full_cookies: by_counters.then_some(totals.syn_queue_full_cookies),
        last_ack_received: coverage.last_ack_received.then_some(totals.last_ack_received),
        last_ack_refused: last_ack_refused(totals, coverage),
        established: coverage.established.then_some(totals.established),
        synack_retransmits: coverage.synack_retransmits.then_some(totals.synack_retransmits),
        request_errors: coverage.request_errors.then_some(totals.request_errors),
        requests_aborted: by_counters.then_some(totals.requests_aborted),
        requests_expired: coverage.requests_expired.then_some(totals.requests_expired),
        closed_unaccepted: coverage.closed_unaccepted.then_some(totals.closed_unaccepted),
        connections_refused: by_counters.then_some(totals.connections_refused),
        accept_queue_overflows: overflows(totals, coverage, attributed),
        listen_drops: listen_drops(totals, coverage, attributed),
    }
}

/// The totals of a port at which nothing has happened yet: zeros for all that is measured. `hooked`: the hooks'
/// counts were read.
pub(super) fn nothing_counted(hooked: bool, coverage: &Coverage) -> (Handshakes, QueueCounts) {
    if !hooked {
        return Default::default();
    }
    let handshakes = handshakes(&HandshakeCounters::default(), coverage, Some(Attributed::default()));
    (handshakes, QueueCounts::new(&QueueTotals::default(), coverage))
}

/// Whether refused packets are counted one by one, at the functions that refuse them.
const fn at_functions(coverage: &Coverage) -> bool {
    matches!(coverage.accounting, Accounting::KernelCounters | Accounting::Conditions)
}

fn syn_dropped(totals: &HandshakeCounters, coverage: &Coverage) -> SynDropped {
    if !at_functions(coverage) {
        return SynDropped::default();
    }
    // Without its hook the rule's share is among the others.
    let told_apart = coverage.syn_backlog_reserve;
    SynDropped {
        accept_queue_full: Some(totals.syn_dropped_accept_queue_full),
        syn_queue_full: Some(totals.syn_dropped_syn_queue_full),
        syn_backlog_reserve: told_apart.then_some(totals.syn_dropped_syn_backlog_reserve),
        other: told_apart.then_some(totals.syn_dropped_other),
    }
}

fn last_ack_refused(totals: &HandshakeCounters, coverage: &Coverage) -> LastAckRefused {
    let known = |count| coverage.last_ack_refused.then_some(count);
    if at_functions(coverage) {
        LastAckRefused {
            accept_queue_full: known(totals.last_ack_refused_accept_queue_full),
            other: known(totals.last_ack_refused_other),
            undivided: None,
        }
    } else {
        let undivided = known(totals.last_ack_refused_undivided);
        LastAckRefused { undivided, ..LastAckRefused::default() }
    }
}

/// Overflows, from where the accounting has them.
fn overflows(totals: &HandshakeCounters, coverage: &Coverage, attributed: Option<Attributed>) -> Overflows {
    if at_functions(coverage) {
        // By conditions the last ACK's part is counted where it is refused, and maybe nothing is attached there.
        let ack = coverage.last_ack_refused.then_some(totals.last_ack_refused_accept_queue_full);
        return Overflows { syn: Some(totals.syn_dropped_accept_queue_full), ack, undivided: None };
    }
    let attributed = attributed.filter(|_| coverage.accounting == Accounting::SocketDrops);
    Overflows { undivided: attributed.map(|port| port.accept_queue_overflows), ..Overflows::default() }
}

/// Drops, from where the accounting has them.
fn listen_drops(
    totals: &HandshakeCounters,
    coverage: &Coverage,
    attributed: Option<Attributed>,
) -> Option<u64> {
    if at_functions(coverage) {
        return coverage.last_ack_refused.then_some(totals.listen_drops);
    }
    let attributed = attributed.filter(|_| coverage.accounting == Accounting::SocketDrops);
    attributed.map(|port| port.listen_drops)
}

/// The later of the two reads of the counters, and what the ledger could charge nobody with.
fn build_namespace(sample: &NamespaceSample, findings: &Findings) -> Namespace {
    let counters = sample.netstat_after.or(sample.netstat_before);
    let rest = findings.attribution.namespaces.get(&sample.netns);
    Namespace {
        netns: sample.netns,
        listen_overflows: counters.map(|counters| counters.listen_overflows),
        listen_drops: counters.map(|counters| counters.listen_drops),
        unattributed_overflows: rest.map(|rest| rest.accept_queue_overflows),
        unattributed_drops: rest.map(|rest| rest.listen_drops),
        residuals: findings.residuals.get(&sample.netns).cloned().unwrap_or_default(),
        limits: sample.limits,
        syn_queues_age_milliseconds: sample.syn_queues.as_ref().map(|queues| queues.age_milliseconds),
        error: sample.error.clone(),
    }
}

#[cfg(test)]
mod tests;
