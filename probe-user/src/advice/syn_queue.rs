//! Handshakes that fail before they reach the accept queue.
use super::{
    remedy::{ask_for, raise_sysctl, step, sufficient_backlog},
    view::{Evidences, PortView},
};
use crate::model::advice::{Evidence, EvidenceUnit, Rule, Severity, Step, StepKind, Verdict};

/// More than one SYN-ACK sent again for so many handshakes is no accident.
const RETRANSMITS: u64 = 20;
/// So few say nothing.
const FEW_RETRANSMITS: u64 = 20;
/// When fewer of those who begin a handshake finish it, most of them never meant to.
const FINISHED_IN_A_FLOOD: f64 = 0.1;

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The SYN queue was full: SYNs were dropped, or answered with cookies.
pub(super) fn full(port: &PortView<'_>) -> Option<Verdict> {
    let counts = &port.counts;
    let dropped = counts.syn_queue_full.saturating_add(counts.syn_backlog_reserve);
    if dropped == 0 && counts.syn_queue_full_cookies == 0 {
        return None;
    }
    let (severity, title) = if dropped > 0 {
        (Severity::Losing, format!("{dropped} SYNs were dropped because the SYN queue was full"))
    } else {
        let count = counts.syn_queue_full_cookies;
        (Severity::Warning, format!("{count} SYNs met a full SYN queue and were answered with SYN cookies"))
    };
    let finished = ratio(counts.established, counts.syn_received);
    let is_flood = finished.is_some_and(|finished| finished < FINISHED_IN_A_FLOOD);
    let meaning = if is_flood {
        "Hardly anybody who sent a SYN finished the handshake: it looks like a SYN flood, or the answers are lost."
    } else {
        "Clients finish their handshakes, but slowly, or too many begin at once."
    };
    let evidence = evidence(port, finished);
    let remedy = remedy(port, is_flood);
    Some(Verdict {
        meaning: Some(meaning.to_owned()),
        evidence,
        remedy,
        ..port.verdict(Rule::SynQueueFull, severity, title)
    })
}

fn evidence(port: &PortView<'_>, finished: Option<f64>) -> Vec<Evidence> {
    let (counts, totals) = (&port.counts, &port.port.handshakes);
    let mut evidence = Evidences::default();
    evidence.count("SYNs received", Some(counts.syn_received));
    evidence.count("SYNs dropped, SYN queue full", Some(counts.syn_queue_full));
    evidence.count("SYNs dropped, rest kept for known clients", Some(counts.syn_backlog_reserve));
    evidence.count("SYN cookies sent", totals.syncookies_sent.map(|_| counts.syncookies_sent));
    evidence.count("good SYN cookies", totals.syncookies_received.map(|_| counts.syncookies_received));
    evidence.add("handshakes finished", finished, EvidenceUnit::Ratio);
    evidence.0
}

fn remedy(port: &PortView<'_>, is_flood: bool) -> Vec<Step> {
    let counts = &port.counts;
    let mut remedy = Vec::new();
    if counts.syn_queue_full > 0 || counts.syn_backlog_reserve > 0 {
        remedy.extend(raise_sysctl(port, "net.ipv4.tcp_syncookies", 1));
    }
    if counts.syn_backlog_reserve > 0 {
        let enough = sufficient_backlog(port).saturating_mul(2);
        remedy.extend(raise_sysctl(port, "net.ipv4.tcp_max_syn_backlog", enough));
    }
    if !is_flood {
        // The SYN queue's limit is the backlog as well.
        remedy.extend(ask_for(port, sufficient_backlog(port)));
    }
    remedy
}

/// SYN-ACKs are sent again although no queue is full: packets are lost on the way.
pub(super) fn synacks_retransmitted(port: &PortView<'_>) -> Option<Verdict> {
    let counts = &port.counts;
    // Every handshake that was begun, or where that is not counted those that were finished.
    let begun = port.port.handshakes.syn_queued.map_or(counts.established, |_| counts.syn_queued);
    let again = counts.synack_retransmits;
    let is_much = again >= FEW_RETRANSMITS && again.saturating_mul(RETRANSMITS) > begun;
    (is_much && !port.overflowed() && counts.syn_queue_full == 0).then(|| {
        let mut evidence = Evidences::default();
        evidence.count("SYN-ACKs sent again", Some(again));
        evidence.count("handshakes begun", port.port.handshakes.syn_queued.map(|_| counts.syn_queued));
        evidence.count("handshakes finished", port.port.handshakes.established.map(|_| counts.established));
        let expired = port.port.handshakes.requests_expired.map(|_| counts.requests_expired);
        evidence.count("given up after the last one", expired);
        let text = "see where packets are lost between here and the clients";
        let command =
            format!("tcpdump -ni any 'tcp port {} and tcp[tcpflags] & tcp-syn != 0'", port.port.id.port);
        let title = format!("{again} SYN-ACKs had to be sent again, while no queue was full");
        Verdict {
            meaning: Some(
                "SYN-ACKs or the clients' answers are lost, or the clients are no real ones.".to_owned(),
            ),
            evidence: evidence.0,
            remedy: vec![step(StepKind::Look, text, Some(command))],
            ..port.verdict(Rule::SynacksRetransmitted, Severity::Warning, title)
        }
    })
}

/// Handshakes were dropped, and no queue was full.
pub(super) fn other_drops(port: &PortView<'_>) -> Option<Verdict> {
    let dropped = port.counts.syn_other.saturating_add(port.counts.last_ack_other);
    (dropped > 0).then(|| {
        let mut evidence = Evidences::default();
        evidence.count("SYNs dropped", Some(port.counts.syn_other));
        evidence.count("last ACKs dropped", Some(port.counts.last_ack_other));
        let text = "look for memory that was short, a missing route back, or a security module's messages";
        let title = format!("{dropped} packets of handshakes were dropped, and no queue was full");
        Verdict {
            evidence: evidence.0,
            remedy: vec![step(StepKind::Look, text, Some("dmesg --level=err,warn".to_owned()))],
            ..port.verdict(Rule::OtherDrops, Severity::Losing, title)
        }
    })
}

/// Packets of handshakes were dropped, and the causes are not counted.
pub(super) fn packets_dropped(port: &PortView<'_>) -> Option<Verdict> {
    let handshakes = &port.port.handshakes;
    let causes_are_counted = handshakes.syn_dropped.syn_queue_full.is_some();
    let namespace = port.view.counts_of(port.port.id.netns);
    let dropped = match handshakes.listen_drops {
        Some(_) => port.counts.listen_drops.saturating_sub(port.counts.overflows),
        // What sockets drop is more than handshakes: the kernel has to agree that some were.
        None if namespace.listen_drops > 0 && !port.overflowed() => port.counts.socket_drops,
        None => 0,
    };
    // Overflows that could not be charged to this port may be among them.
    let dropped = dropped.saturating_sub(namespace.unattributed_overflows);
    (!causes_are_counted && dropped > 0).then(|| {
        let mut evidence = Evidences::default();
        evidence.count("listen drops", handshakes.listen_drops.map(|_| port.counts.listen_drops));
        evidence.count("packets refused, accept queue full", port.overflows());
        if handshakes.listen_drops.is_none() {
            evidence.count("packets dropped by its sockets, whatever the reason", Some(dropped));
        }
        evidence.count("listen drops of its network namespace", Some(namespace.listen_drops));
        let title = format!("{dropped} packets of handshakes were dropped, and not for a full accept queue");
        let text = "see which hooks would tell why, and what keeps them from being attached";
        Verdict {
            meaning: Some("A full SYN queue without SYN cookies, no memory or no route.".to_owned()),
            evidence: evidence.0,
            remedy: vec![step(StepKind::Look, text, Some("tcp-backlog-probe check".to_owned()))],
            ..port.verdict(Rule::PacketsDropped, Severity::Losing, title)
        }
    })
}
