//! Sentences that more than one renderer says.
use crate::{
    model::{Model, Namespace},
    plan::outcome::{Accounting, Coverage},
};

/// What a method of accounting does, in one plain sentence.
pub(super) const fn meaning(accounting: Accounting) -> &'static str {
    match accounting {
        Accounting::KernelCounters => {
            "exact: the kernel's own counters are read before and after each packet"
        }
        Accounting::Conditions => {
            "exact but for races with accept(): the kernel's own comparisons are made again after \
             each packet"
        }
        Accounting::SocketDrops => {
            "the drops of each socket, and of them those that the namespace's counters prove to be \
             overflows; the rest is shown as unattributed"
        }
        Accounting::None => "nothing is counted per port, only per network namespace",
    }
}

/// What the attached hooks do not give, in the words of the report; empty when they give all.
pub(super) fn not_measured(coverage: &Coverage) -> Vec<&'static str> {
    let exact = matches!(coverage.accounting, Accounting::KernelCounters | Accounting::Conditions);
    let divided = exact || coverage.accounting == Accounting::None;
    let clean = coverage.accounting != Accounting::SocketDrops || coverage.discards_known;
    [
        (coverage.syn_received, "SYNs received"),
        (coverage.syn_queued, "SYNs queued"),
        (coverage.last_ack_received, "last ACKs received"),
        (coverage.last_ack_refused, "last ACKs refused"),
        (coverage.established, "established connections"),
        (coverage.accept_queue_depth, "how full accept queues get"),
        (coverage.accepted, "connections accepted and their waits"),
        (coverage.backlog_requested, "the backlog that listen() is asked for"),
        (coverage.synack_retransmits, "SYN-ACK retransmits"),
        (!exact || coverage.syn_backlog_reserve, "SYNs refused for tcp_max_syn_backlog"),
        (coverage.syncookies_sent, "SYN cookies sent"),
        (coverage.syncookies_checked, "SYN cookies received and failed"),
        (coverage.request_errors, "requests ended by ICMP errors"),
        (coverage.requests_expired, "requests expired"),
        (coverage.closed_unaccepted, "connections closed unaccepted"),
        (coverage.accounting == Accounting::KernelCounters, "connections refused"),
        (coverage.accounting != Accounting::None, "overflows and drops per port"),
        (divided, "the stage of an overflow"),
        (clean, "drops without other discarded segments"),
    ]
    .into_iter()
    .filter_map(|(given, what)| (!given).then_some(what))
    .collect()
}

/// The namespaces that could not be read whole.
pub(super) fn unreadable(model: &Model) -> impl Iterator<Item = (&Namespace, &str)> {
    model.namespaces.iter().filter_map(|namespace| Some((namespace, namespace.error.as_deref()?)))
}

/// A length of time in the unit that suits it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 0.001 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// The text on one line, whatever it was: control characters become spaces.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(coverage: Coverage, expected: &[&str]) {
        assert_eq!(not_measured(&coverage), expected);
    }

    /// Everything attached, but accounting by other means.
    fn everything_but(accounting: Accounting) -> Coverage {
        Coverage { accounting, discards_known: false, ..Coverage::EVERYTHING }
    }

    #[test]
    fn exact_accounting_needs_no_knowledge_of_discards() {
        check(everything_but(Accounting::KernelCounters), &[]);
        check(everything_but(Accounting::Conditions), &["connections refused"]);
    }

    #[test]
    fn socket_drops_lose_the_stage_and_perhaps_the_cleanness() {
        let socket_drops = everything_but(Accounting::SocketDrops);
        let (refused, stage) = ("connections refused", "the stage of an overflow");
        check(socket_drops, &[refused, stage, "drops without other discarded segments"]);
        check(Coverage { discards_known: true, ..socket_drops }, &[refused, stage]);
    }

    #[test]
    fn without_accounting_its_details_are_not_complained_about() {
        let none = Coverage { established: false, ..everything_but(Accounting::None) };
        check(none, &["established connections", "connections refused", "overflows and drops per port"]);
    }

    #[test]
    fn line_breaks_become_spaces() {
        assert_eq!(one_line("a\nb\tc"), "a b c");
    }
}
