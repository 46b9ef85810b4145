//! Every number, and the hooks that it comes from.
use super::{Known, Method};
use crate::plan::{
    catalogue::name::{
        ACCEPTED, BACKLOG, CLOSED_UNACCEPTED, ESTABLISHED, LAST_ACK, PACKET_FREED, REQUEST_ERROR,
        REQUEST_EXPIRED, SYN_BACKLOG_RESERVE, SYN_QUEUED, SYN_RECEIVED, SYNACK_RETRANSMITS,
        SYNCOOKIE_CHECKED, SYNCOOKIE_SENT,
    },
    outcome::{HookOutcome, PlanOutcome, Variant},
};

/// What makes a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Programs that count an event.
    Hook,
    /// The method of accounting, whichever it is.
    Refusals,
    /// The kernel's counters; where they are not looked at, the hooks of [`Counter::instead`], if there are any.
    Counters,
    /// An interface or file of the kernel that is read.
    Read(Method, &'static [&'static str]),
}

/// Names of hooks.
type Hooks = &'static [&'static str];

/// One number.
pub(super) struct Counter {
    pub(super) name: &'static str,
    pub(super) origin: Origin,
    /// The hooks whose programs it takes.
    pub(super) hooks: Hooks,
    /// Those that it takes as well, by how others are attached.
    pub(super) more: fn(&PlanOutcome) -> Hooks,
    /// Those that count it where the kernel's counters are not looked at.
    pub(super) instead: Hooks,
    /// Whether it is measured.
    pub(super) is_known: fn(&Known) -> bool,
    /// Whether the same is told in another form.
    pub(super) is_elsewhere: fn(&Known) -> bool,
    /// Why it is not measured, where its hooks are attached.
    pub(super) otherwise: &'static str,
}

const fn counter(name: &'static str, origin: Origin, hooks: Hooks, is_known: fn(&Known) -> bool) -> Counter {
    Counter {
        name,
        origin,
        hooks,
        more: |_| &[],
        instead: &[],
        is_known,
        is_elsewhere: |_| false,
        otherwise: "the attached hooks do not tell it",
    }
}

const fn event(name: &'static str, hooks: Hooks, is_known: fn(&Known) -> bool) -> Counter {
    counter(name, Origin::Hook, hooks, is_known)
}

const fn refusals(name: &'static str, hooks: Hooks, is_known: fn(&Known) -> bool) -> Counter {
    counter(name, Origin::Refusals, hooks, is_known)
}

const fn counters(name: &'static str, hooks: Hooks, is_known: fn(&Known) -> bool) -> Counter {
    counter(name, Origin::Counters, hooks, is_known)
}

const fn read(name: &'static str, method: Method, sources: &'static [&'static str]) -> Counter {
    counter(name, Origin::Read(method, sources), &[], |_| true)
}

/// How full queues are.
const fn queue(name: &'static str, hooks: Hooks, is_known: fn(&Known) -> bool) -> Counter {
    Counter {
        otherwise: "queues are not looked at (--queues off), or children do not lead back to their listener (before 6.3)",
        ..event(name, hooks, is_known)
    }
}

/// What becomes of connections once they are established.
const fn accepted(name: &'static str, is_known: fn(&Known) -> bool) -> Counter {
    Counter {
        more: |plan| if connections_tell(plan) { &[] } else { &[ESTABLISHED] },
        otherwise: "tracepoints do not tell which connection was put in the queue",
        ..event(name, &[ACCEPTED], is_known)
    }
}

/// A hook that is attached.
pub(super) fn attached<'a>(plan: &'a PlanOutcome, name: &str) -> Option<&'a HookOutcome> {
    plan.hooks.iter().find(|hook| hook.hook == name && hook.variant.is_some())
}

fn is_attached_to(hook: &HookOutcome, function: &str) -> bool {
    hook.attached_to.iter().any(|target| target.contains(function))
}

/// Whether last ACKs are seen by the caller of the function that makes a child.
fn by_caller(plan: &PlanOutcome) -> Option<&HookOutcome> {
    attached(plan, LAST_ACK).filter(|hook| is_attached_to(hook, "tcp_check_req"))
}

/// Whether the end of that caller tells of children as well.
fn at_end(plan: &PlanOutcome) -> Hooks {
    let tells = by_caller(plan).is_some_and(|hook| hook.variant == Some(Variant::Trampoline));
    if tells { &[LAST_ACK] } else { &[] }
}

/// Whether connections tell since when they have waited.
fn connections_tell(plan: &PlanOutcome) -> bool {
    attached(plan, ACCEPTED).is_some_and(|hook| is_attached_to(hook, "inet_csk_accept"))
}

/// The hooks in whose brackets anything is refused.
const REFUSING: Hooks = &[SYN_RECEIVED, LAST_ACK, SYNCOOKIE_CHECKED, REQUEST_ERROR];
const LAST_ACKS: Hooks = &[LAST_ACK, SYNCOOKIE_CHECKED];
const NETSTAT: &[&str] = &["/proc/PID/net/netstat"];

/// Every number, in the order in which a reader wants them.
pub(super) const COUNTERS: &[Counter] = &[
    event("syn_received", &[SYN_RECEIVED], |known| known.handshakes.syn_received.is_some()),
    event("syn_queued", &[SYN_QUEUED], |known| known.handshakes.syn_queued.is_some()),
    refusals("syn_dropped.accept_queue_full", &[SYN_RECEIVED], |known| {
        known.handshakes.syn_dropped.accept_queue_full.is_some()
    }),
    refusals("syn_dropped.syn_queue_full", &[SYN_RECEIVED], |known| {
        known.handshakes.syn_dropped.syn_queue_full.is_some()
    }),
    refusals("syn_dropped.syn_backlog_reserve", &[SYN_RECEIVED, SYN_BACKLOG_RESERVE], |known| {
        known.handshakes.syn_dropped.syn_backlog_reserve.is_some()
    }),
    refusals("syn_dropped.other", &[SYN_RECEIVED, SYN_BACKLOG_RESERVE], |known| {
        known.handshakes.syn_dropped.other.is_some()
    }),
    Counter {
        instead: &[SYNCOOKIE_SENT],
        ..counters("syncookies_sent", &[SYN_RECEIVED], |known| known.handshakes.syncookies_sent.is_some())
    },
    counters("syncookies_received", &[SYNCOOKIE_CHECKED], |known| {
        known.handshakes.syncookies_received.is_some()
    }),
    counters("syncookies_failed", &[SYNCOOKIE_CHECKED], |known| known.handshakes.syncookies_failed.is_some()),
    counters("syn_queue_full_cookies", &[SYN_RECEIVED], |known| {
        known.handshakes.syn_queue_full_cookies.is_some()
    }),
    Counter {
        // Those with a cookie have another caller.
        more: |plan| if by_caller(plan).is_some() { &[SYNCOOKIE_CHECKED] } else { &[] },
        ..event("last_ack_received", &[LAST_ACK], |known| known.handshakes.last_ack_received.is_some())
    },
    refusals("last_ack_refused.accept_queue_full", LAST_ACKS, |known| {
        known.handshakes.last_ack_refused.accept_queue_full.is_some()
    }),
    refusals("last_ack_refused.other", LAST_ACKS, |known| known.handshakes.last_ack_refused.other.is_some()),
    Counter {
        is_elsewhere: |known| known.handshakes.last_ack_refused.accept_queue_full.is_some(),
        otherwise: "this kernel has no drop reason for it (before 6.15)",
        ..event("last_ack_refused.undivided", &[PACKET_FREED], |known| {
            known.handshakes.last_ack_refused.undivided.is_some()
        })
    },
    Counter {
        more: at_end,
        ..event("established", &[ESTABLISHED], |known| known.handshakes.established.is_some())
    },
    event("synack_retransmits", &[SYNACK_RETRANSMITS], |known| known.handshakes.synack_retransmits.is_some()),
    counters("request_errors", &[REQUEST_ERROR], |known| known.handshakes.request_errors.is_some()),
    counters("requests_aborted", &[LAST_ACK], |known| known.handshakes.requests_aborted.is_some()),
    event("requests_expired", &[REQUEST_EXPIRED], |known| known.handshakes.requests_expired.is_some()),
    event("closed_unaccepted", &[CLOSED_UNACCEPTED], |known| known.handshakes.closed_unaccepted.is_some()),
    counters("connections_refused", REFUSING, |known| known.handshakes.connections_refused.is_some()),
    refusals("accept_queue_overflows.syn", &[SYN_RECEIVED], |known| {
        known.handshakes.accept_queue_overflows.syn.is_some()
    }),
    refusals("accept_queue_overflows.ack", LAST_ACKS, |known| {
        known.handshakes.accept_queue_overflows.ack.is_some()
    }),
    Counter {
        is_elsewhere: |known| known.handshakes.accept_queue_overflows.syn.is_some(),
        ..refusals("accept_queue_overflows.undivided", &[], |known| {
            known.handshakes.accept_queue_overflows.undivided.is_some()
        })
    },
    refusals("listen_drops", REFUSING, |known| known.handshakes.listen_drops.is_some()),
    accepted("accepted", |known| known.queues.counts.accepted.is_some()),
    accepted("accept_wait", |known| known.queues.counts.accept_wait.is_some()),
    accepted("last_accept", |known| known.queues.counts.accepted.is_some()),
    accepted("accepted_by", |known| known.queues.counts.accepted.is_some()),
    Counter {
        more: at_end,
        ..queue("accept_queue_fill", &[ESTABLISHED], |known| known.queues.counts.accept_queue_fill.is_some())
    },
    Counter {
        more: at_end,
        ..queue("accept_queue_peaks", &[ESTABLISHED], |known| known.queues.accept_queue_peaks.is_some())
    },
    queue("syn_queue_peaks", &[SYN_QUEUED], |known| known.queues.syn_queue_peaks.is_some()),
    counters("demand", &[ESTABLISHED, SYN_RECEIVED, LAST_ACK, SYNCOOKIE_CHECKED], |known| {
        known.queues.demand.is_some()
    }),
    event("listeners.backlog.requested", &[BACKLOG], |known| known.backlog_requested),
    read("listeners.accept_queue_length", Method::SockDiag, &["idiag_rqueue"]),
    read("listeners.accept_queue_limit", Method::SockDiag, &["idiag_wqueue"]),
    read("listeners.socket_drops", Method::SockDiag, &["sk_drops"]),
    read("syn_queue_length", Method::SockDiag, &["sockets in TCP_SYN_RECV"]),
    read("namespaces.listen_overflows", Method::Proc, NETSTAT),
    read("namespaces.listen_drops", Method::Proc, NETSTAT),
    read("namespaces.limits", Method::Proc, &["/proc/sys/net"]),
];
