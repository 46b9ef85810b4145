//! What numbers are exact but for. docs/COMPATIBILITY.md says more of each.
use super::{CounterMethod, Exactness, Method, counters::Counter};
use crate::plan::{
    catalogue::name::{ESTABLISHED, LAST_ACK, SYN_RECEIVED},
    outcome::{Coverage, Variant},
};

const KPROBES_LEFT_OUT: &str = "runs of a kprobe that the kernel leaves out, because bpf(2) or another kprobe is at work \
                                on the CPU (from 6.7 on counted as program_skipped)";
const PROGRAMS_LEFT_OUT: &str =
    "runs that the kernel leaves out because they interrupt the same program (counted as program_skipped)";
const FIRST_PACKETS: &str = "the first packet that a CPU sees of a namespace (from 5.19 on: of one whose listeners are \
                             all older than the hooks)";
const COUNTED_ELSEWHERE: &str = "drops that others count in between: SMC, DCCP, somebody's XDP or TC program";
const RACES: &str = "races with accept() on another CPU";
const SAME_INSTANT: &str =
    "two SYNs of one connection in the same instant, and Fast Open in the instant of an overflow";
const FORGOTTEN: &str = "a later try that counts again: of one among more than 65,536 connections that are refused at the \
                         same time, or on another member of an SO_REUSEPORT group";
const CERTAIN: &str = "only what is certain to be the port's; the rest is told as unattributed, by namespace";
const OTHER_REASONS: &str = "those that the kernel frees for another reason than TCP_LISTEN_OVERFLOW";
const QUEUED_BEFORE: &str =
    "connections that were queued before the hooks were attached, or that accept_wait_map_full counts";
const READ_FROM: &str = "a connection from which something in the kernel reads before accept() has it";
const MOVED: &str = "connections that move to another listener, which count again, and those that accept() has before \
                     the listener is told";
const PORT_ONLY: &str = "which listener of the port it is: it is known by the port alone";
const TAKEN_MEANWHILE: &str =
    "a length that accept() on another CPU shortens in the instant before it is read";
const UNSENT: &str = "requests whose SYN-ACK cannot be sent again, which count as well";
const CLOSING: &str = "connections that finish their handshake in the instant in which their listener closes, which count as well";
const OLDER_LISTENERS: &str = "listeners that are older than the hooks, of which it is not known";
const A_MOMENT_OLD: &str = "what came since it was read last, which may be a moment ago";

/// What a number is exact but for, and what that leaves of its exactness.
pub(super) fn limits_of(
    found: &CounterMethod,
    counter: &Counter,
    coverage: &Coverage,
) -> (Exactness, Vec<&'static str>) {
    if found.method == Method::SocketDrops {
        return (Exactness::Inferred, vec![CERTAIN]);
    }
    let mut limits = of_method(found, counter);
    limits.extend(of_counter(found, coverage));
    (if limits.is_empty() { Exactness::Exact } else { Exactness::ExactBut }, limits)
}

/// The limits of whatever is counted like this.
fn of_method(found: &CounterMethod, counter: &Counter) -> Vec<&'static str> {
    let by = |variant| found.variants.contains(&variant);
    // Trampolines see these at their end only: a packet is told by what was counted since the one before.
    let at_end = [SYN_RECEIVED, LAST_ACK].iter().any(|hook| counter.hooks.contains(hook));
    let since_the_last = found.method == Method::KernelCounters && at_end && by(Variant::Trampoline);
    let is_of_cookies = found.counter.contains("cookies");
    let limits = [
        (by(Variant::Kprobe), KPROBES_LEFT_OUT),
        (by(Variant::Tracepoint), PROGRAMS_LEFT_OUT),
        (since_the_last || by(Variant::Derived), FIRST_PACKETS),
        (since_the_last && !is_of_cookies, COUNTED_ELSEWHERE),
        (found.method == Method::Conditions, RACES),
        (by(Variant::Derived), SAME_INSTANT),
    ];
    limits.into_iter().filter_map(|(applies, limit)| applies.then_some(limit)).collect()
}

/// The limits of this one.
fn of_counter(found: &CounterMethod, coverage: &Coverage) -> Option<&'static str> {
    let by_tracepoint = found.variants.contains(&Variant::Tracepoint);
    // Of those that are refused the kernel's counters tell.
    let at_end = found.variants.contains(&Variant::Trampoline)
        && found.sources.iter().any(|source| source.contains("tcp_check_req"));
    let by_socket = coverage.established_by_socket;
    let waits_are_kept = found.sources.iter().any(|source| source.contains("security_sock_graft"));
    match found.counter.as_str() {
        "connections_refused" => Some(FORGOTTEN),
        "last_ack_received" if at_end => Some(FIRST_PACKETS),
        "last_ack_refused.undivided" => Some(OTHER_REASONS),
        ESTABLISHED if by_tracepoint => Some(if by_socket { MOVED } else { PORT_ONLY }),
        "accepted" | "accept_wait" | "last_accept" | "accepted_by" if waits_are_kept => Some(QUEUED_BEFORE),
        "accept_wait" => Some(READ_FROM),
        "accept_queue_fill" | "accept_queue_peaks" | "demand" => Some(TAKEN_MEANWHILE),
        "requests_expired" => Some(UNSENT),
        "closed_unaccepted" => Some(CLOSING),
        "listeners.backlog.requested" => Some(OLDER_LISTENERS),
        "syn_queue_length" => Some(A_MOMENT_OLD),
        _ => None,
    }
}
