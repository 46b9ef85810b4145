//! What a scrape has to say of a port.
use super::support::{metrics::PortNumbers, wait::ensure};

/// The numbers of one port since the daemon was started, by the knowledge of who sent which packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    /// SYNs that were sent to the port while it had no request from the same client.
    pub(crate) syn_received: u64,
    /// SYNs that made a request in the SYN queue.
    pub(crate) syn_queued: u64,
    /// Handshakes that reached the accept queue.
    pub(crate) established: u64,
    /// SYN-ACKs that were sent again.
    pub(crate) synack_retransmits: u64,
    /// SYNs that met a full accept queue.
    pub(crate) overflows_syn: u64,
    /// Last ACKs that met a full accept queue.
    pub(crate) overflows_ack: u64,
    /// Drops for any other reason.
    pub(crate) other_drops: u64,
}

/// SYN-ACKs that a scenario may see sent again for no reason but that the machine was held up.
const MOST_HELD_UP: u64 = 3;

impl Expected {
    /// Allows for a machine that was held up for a second while handshakes were under way: SYN-ACKs are sent again then which
    /// nobody has lost. The kernel has them among its `syn_retransmits`, which scenarios take for SYNs; their clients
    /// may have sent a SYN again as well, which found its request, and acknowledge twice.
    pub(crate) fn unless_held_up(mut self, seen: &PortNumbers, syn_retransmits: u64) -> Self {
        let synacks = seen.synack_retransmits.unwrap_or_default().saturating_sub(self.synack_retransmits);
        if synacks <= syn_retransmits.min(MOST_HELD_UP) {
            self.synack_retransmits += synacks;
            self.syn_received -= fewer(self.syn_received, seen.syn_received, 2 * synacks);
            self.syn_queued -= fewer(self.syn_queued, seen.syn_queued, synacks);
        }
        self
    }

    /// Compares with a scrape. `full` is whether the plan has hooks on the kernel's functions;
    /// `skipped` is what the kernel left out, by the daemon's own account, and `unattributed` what the
    /// tracepoint plan declares as nobody's.
    pub(crate) fn compare(
        &self,
        seen: &PortNumbers,
        full: bool,
        skipped: Skipped,
        unattributed: Unattributed,
    ) -> Result<(), String> {
        let mut expected = if full { self.under_a_full_plan() } else { self.under_the_tracepoint_plan() };
        // What sock_diag says is not expected here.
        expected.queue_length = seen.queue_length;
        expected.queue_limit = seen.queue_limit;
        expected.listeners = seen.listeners;
        if !full && seen.last_ack_refused.is_none() {
            // Kernels before 6.15 have no drop reason for it.
            expected.last_ack_refused = None;
        }
        allow_for_skipped(&mut expected, seen, full, skipped);
        if !full {
            unattributed.allow_for(&mut expected, seen);
        }
        ensure(*seen == expected, || format!("expected {expected:?}\nseen {seen:?}"))
    }

    pub(crate) fn under_a_full_plan(&self) -> PortNumbers {
        PortNumbers {
            syn_received: Some(self.syn_received),
            syn_queued: Some(self.syn_queued),
            last_ack_received: Some(self.established + self.overflows_ack),
            overflows_syn: Some(self.overflows_syn),
            overflows_ack: Some(self.overflows_ack),
            ..self.under_every_plan()
        }
    }

    pub(crate) fn under_the_tracepoint_plan(&self) -> PortNumbers {
        PortNumbers {
            overflows_undivided: Some(self.overflows_syn + self.overflows_ack),
            ..self.under_every_plan()
        }
    }

    fn under_every_plan(&self) -> PortNumbers {
        PortNumbers {
            established: Some(self.established),
            last_ack_refused: Some(self.overflows_ack),
            synack_retransmits: Some(self.synack_retransmits),
            listen_drops: Some(self.overflows_syn + self.overflows_ack + self.other_drops),
            ..PortNumbers::default()
        }
    }
}

/// How often the kernel left out one of the daemon's programs: a bound for what may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) runs: u64,
    /// The plan stands on kprobes.
    pub(crate) of_kprobes: bool,
}

impl Skipped {
    /// What may be missing of a number that the full plans count.
    pub(crate) const fn of_functions(self) -> u64 {
        if self.of_kprobes { self.runs } else { 0 }
    }

    /// What may be missing of the finished handshakes; `full`: the plan has hooks on functions.
    pub(crate) const fn of_connections(self, full: bool) -> u64 {
        if full { self.of_functions() } else { self.runs }
    }
}

/// Programs on tracepoints are left out when they meet themselves, and those on kprobes while bpf(2) is at
/// work on the CPU (`bpf_prog_active`). They can only count too little: what is missing of their numbers
/// has to be within the number of runs that the daemon says it missed.
fn allow_for_skipped(expected: &mut PortNumbers, seen: &PortNumbers, full: bool, skipped: Skipped) {
    allow(&mut expected.synack_retransmits, seen.synack_retransmits, skipped.runs);
    let events = skipped.of_connections(full);
    allow(&mut expected.established, seen.established, events);
    allow(&mut expected.last_ack_refused, seen.last_ack_refused, events);
    let functions = skipped.of_functions();
    allow(&mut expected.syn_received, seen.syn_received, functions);
    allow(&mut expected.syn_queued, seen.syn_queued, functions);
    allow(&mut expected.last_ack_received, seen.last_ack_received, functions);
    allow(&mut expected.overflows_syn, seen.overflows_syn, functions);
    allow(&mut expected.overflows_ack, seen.overflows_ack, functions);
    allow(&mut expected.listen_drops, seen.listen_drops, functions);
}

/// Overflows and drops that the tracepoint plan could charge to no port, and said so: a reading came between a
/// packet's two increments. The sum over all ports and these is compared with the kernel's elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unattributed {
    pub(crate) overflows: u64,
    pub(crate) drops: u64,
}

impl Unattributed {
    /// They may be this port's; but it takes a coincidence, so most packets have to be somebody's.
    fn allow_for(self, expected: &mut PortNumbers, seen: &PortNumbers) {
        let most = |of: Option<u64>, unattributed: u64| unattributed.min(2 + of.unwrap_or_default() / 4);
        let overflows = most(expected.overflows_undivided, self.overflows);
        allow(&mut expected.overflows_undivided, seen.overflows_undivided, overflows);
        let drops = most(expected.listen_drops, self.drops);
        allow(&mut expected.listen_drops, seen.listen_drops, drops);
    }
}

/// Up to so many may be missing of a number, and none too many.
fn allow(expected: &mut Option<u64>, seen: Option<u64>, most: u64) {
    if let Some(expected) = expected {
        *expected -= fewer(*expected, seen, most);
    }
}

/// How many are missing of a number; 0 where it is more than may be missing.
fn fewer(expected: u64, seen: Option<u64>, most: u64) -> u64 {
    let missing = seen.and_then(|seen| expected.checked_sub(seen));
    missing.filter(|missing| *missing <= most).unwrap_or_default()
}
