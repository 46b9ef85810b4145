//! The counters of a port that the proof compares.
use crate::model::{Histogram, Port};

/// A counter of a port, as the proof asks for it.
#[derive(Clone, Copy)]
pub(super) struct PortCounter {
    /// The metric, without its prefix.
    pub(super) name: &'static str,
    /// Where the model has it.
    pub(super) of: fn(&Port) -> Option<u64>,
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
    /// The same, and those that come with an ICMP error: no condition tells of them.
    DropsAndErrors,
    /// Events that met a program which was running already.
    Skipped,
}

const fn counter(name: &'static str, of: fn(&Port) -> Option<u64>) -> PortCounter {
    PortCounter { name, of, shortfall: Shortfall::None }
}

pub(super) const SYN_RECEIVED: PortCounter = counter("syn_received", |port| port.handshakes.syn_received);
pub(super) const SYN_QUEUED: PortCounter = counter("syn_queued", |port| port.handshakes.syn_queued);
pub(super) const SYN_QUEUE_FULL_COOKIES: PortCounter =
    counter("syn_queue_full_cookies", |port| port.handshakes.syn_queue_full_cookies);
pub(super) const SYNACK_RETRANSMITS: PortCounter = PortCounter {
    shortfall: Shortfall::Skipped,
    ..counter("synack_retransmits", |port| port.handshakes.synack_retransmits)
};
pub(super) const LAST_ACK_RECEIVED: PortCounter =
    counter("last_ack_received", |port| port.handshakes.last_ack_received);
pub(super) const ESTABLISHED: PortCounter = PortCounter {
    shortfall: Shortfall::Skipped,
    ..counter("established", |port| port.handshakes.established)
};
pub(super) const OVERFLOWS: PortCounter = PortCounter {
    shortfall: Shortfall::Overflows,
    ..counter("accept_queue_overflows", |port| port.handshakes.accept_queue_overflows.total())
};
pub(super) const DROPS: PortCounter = PortCounter {
    shortfall: Shortfall::Drops,
    ..counter("listen_drops", |port| port.handshakes.listen_drops)
};
/// Where ICMP errors are among them.
pub(super) const DROPS_AND_ERRORS: PortCounter =
    PortCounter { shortfall: Shortfall::DropsAndErrors, ..DROPS };
pub(super) const SYN_ACCEPT_QUEUE_FULL: PortCounter =
    counter("syn_dropped, accept queue full", |port| port.handshakes.syn_dropped.accept_queue_full);
pub(super) const SYN_QUEUE_FULL: PortCounter =
    counter("syn_dropped, SYN queue full", |port| port.handshakes.syn_dropped.syn_queue_full);
pub(super) const SYN_OTHER: PortCounter =
    counter("syn_dropped, other", |port| port.handshakes.syn_dropped.other);
pub(super) const SYN_BACKLOG_RESERVE: PortCounter =
    counter("syn_dropped, tcp_max_syn_backlog", |port| port.handshakes.syn_dropped.syn_backlog_reserve);
pub(super) const ACK_ACCEPT_QUEUE_FULL: PortCounter =
    counter("last_ack_refused, accept queue full", |port| port.handshakes.last_ack_refused.accept_queue_full);
pub(super) const ACK_OTHER: PortCounter =
    counter("last_ack_refused, other", |port| port.handshakes.last_ack_refused.other);
pub(super) const REQUEST_ERRORS: PortCounter =
    counter("request_errors", |port| port.handshakes.request_errors);
pub(super) const CONNECTIONS_REFUSED: PortCounter =
    counter("connections_refused", |port| port.handshakes.connections_refused);
pub(super) const COOKIES_SENT: PortCounter =
    counter("syncookies_sent", |port| port.handshakes.syncookies_sent);
pub(super) const COOKIES_RECEIVED: PortCounter =
    counter("syncookies_received", |port| port.handshakes.syncookies_received);
pub(super) const COOKIES_FAILED: PortCounter =
    counter("syncookies_failed", |port| port.handshakes.syncookies_failed);
pub(super) const ABORTED: PortCounter = counter("requests_aborted", |port| port.handshakes.requests_aborted);
pub(super) const EXPIRED: PortCounter = counter("requests_expired", |port| port.handshakes.requests_expired);
pub(super) const CLOSED_UNACCEPTED: PortCounter =
    counter("closed_unaccepted", |port| port.handshakes.closed_unaccepted);

/// Connections that accept() returned.
pub(super) const ACCEPTED: PortCounter = counter("accepted", |port| port.queues.counts.accepted);
/// Those whose wait was measured.
pub(super) const ACCEPT_WAITS: PortCounter =
    counter("accept_wait", |port| port.queues.counts.accept_wait.as_ref().map(Histogram::count));
/// How full the accept queue was at most.
pub(super) const ACCEPT_QUEUE_HIGHEST: PortCounter =
    counter("accept_queue_highest", |port| port.queues.accept_queue_peaks.map(|peaks| peaks.highest.into()));
/// What listen() was asked for.
pub(super) const BACKLOG_REQUESTED: PortCounter =
    counter("backlog_requested", |port| u64::try_from(port.listeners.first()?.backlog.requested?).ok());
