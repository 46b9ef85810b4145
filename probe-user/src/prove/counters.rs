//! The counters of a port that the proof compares.
use crate::model::Handshakes;

/// A counter of a port, as the proof asks for it.
#[derive(Clone, Copy)]
pub(super) struct PortCounter {
    /// The metric, without its prefix.
    pub(super) name: &'static str,
    /// Where the model has it.
    pub(super) of: fn(&Handshakes) -> Option<u64>,
    /// Why it may be less than the truth, if the probe says so itself.
    pub(super) shortfall: Shortfall,
}

/// What the probe may declare as missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortfall {
    /// Nothing.
    None,
    /// Overflows that no port could be charged with.
    Overflows,
    /// Drops that no port could be charged with.
    Drops,
    /// Events that met a program which was running already.
    Skipped,
}

const fn counter(name: &'static str, of: fn(&Handshakes) -> Option<u64>) -> PortCounter {
    PortCounter { name, of, shortfall: Shortfall::None }
}

pub(super) const SYN_RECEIVED: PortCounter = counter("syn_received", |port| port.syn_received);
pub(super) const SYN_QUEUED: PortCounter = counter("syn_queued", |port| port.syn_queued);
pub(super) const ESTABLISHED: PortCounter =
    PortCounter { shortfall: Shortfall::Skipped, ..counter("established", |port| port.established) };
pub(super) const OVERFLOWS: PortCounter = PortCounter {
    shortfall: Shortfall::Overflows,
    ..counter("accept_queue_overflows", |port| port.accept_queue_overflows.total())
};
pub(super) const DROPS: PortCounter =
    PortCounter { shortfall: Shortfall::Drops, ..counter("listen_drops", |port| port.listen_drops) };
pub(super) const SYN_ACCEPT_QUEUE_FULL: PortCounter =
    counter("syn_dropped, accept queue full", |port| port.syn_dropped.accept_queue_full);
pub(super) const SYN_QUEUE_FULL: PortCounter =
    counter("syn_dropped, SYN queue full", |port| port.syn_dropped.syn_queue_full);
pub(super) const SYN_OTHER: PortCounter = counter("syn_dropped, other", |port| port.syn_dropped.other);
pub(super) const SYN_BACKLOG_RESERVE: PortCounter =
    counter("syn_dropped, tcp_max_syn_backlog", |port| port.syn_dropped.syn_backlog_reserve);
pub(super) const ACK_ACCEPT_QUEUE_FULL: PortCounter =
    counter("last_ack_refused, accept queue full", |port| port.last_ack_refused.accept_queue_full);
pub(super) const CONNECTIONS_REFUSED: PortCounter =
    counter("connections_refused", |port| port.connections_refused);
pub(super) const COOKIES_SENT: PortCounter = counter("syncookies_sent", |port| port.syncookies_sent);
pub(super) const COOKIES_RECEIVED: PortCounter =
    counter("syncookies_received", |port| port.syncookies_received);
pub(super) const COOKIES_FAILED: PortCounter = counter("syncookies_failed", |port| port.syncookies_failed);
pub(super) const ABORTED: PortCounter = counter("requests_aborted", |port| port.requests_aborted);
pub(super) const EXPIRED: PortCounter = counter("requests_expired", |port| port.requests_expired);
pub(super) const CLOSED_UNACCEPTED: PortCounter = counter("closed_unaccepted", |port| port.closed_unaccepted);
