//! Applications that do not accept, or too slowly: a larger backlog only hides it.
use super::{
    remedy::{listen_again, step},
    view::{Evidences, PortView},
};
use crate::{
    model::{
        Listener,
        advice::{EvidenceUnit, Rule, Severity, Step, StepKind, Verdict},
    },
    sample::OwnerSample,
};

/// After so many seconds nobody is just busy.
const STALLED_SECONDS: f64 = 5.0;
/// Whoever waits for longer than this, in seconds, waits for something else than the processor.
const SLOW_SECONDS: f64 = 1.0;

/// Connections wait, and nobody has called accept() for seconds.
pub(super) fn stalled(port: &PortView<'_>) -> Option<Verdict> {
    let seconds = port.waiting_seconds();
    (seconds >= STALLED_SECONDS).then(|| {
        let length: u32 = port.port.listeners.iter().map(|listener| listener.accept_queue_length).sum();
        let severity = if port.overflowed() { Severity::Losing } else { Severity::Warning };
        let title = format!("{length} connections wait, and nobody has accepted any for {seconds:.0} seconds");
        let mut evidence = port.queue_evidence();
        let mut more = Evidences::default();
        more.add("without an accept() since", Some(seconds), EvidenceUnit::Seconds);
        evidence.splice(0..0, more.0);
        Verdict {
            meaning: Some(
                "The application hangs, or has as many connections as it allows itself. A larger backlog would only \
                 hide that."
                    .to_owned(),
            ),
            evidence,
            remedy: look_at(port),
            ..port.verdict(Rule::AcceptorStalled, severity, title)
        }
    })
}

/// Others found no room while those in the queue waited for long.
pub(super) fn slow(port: &PortView<'_>) -> Option<Verdict> {
    let wait = port.wait_p99().filter(|wait| *wait >= SLOW_SECONDS)?;
    (port.overflowed() && port.waiting_seconds() < STALLED_SECONDS).then(|| {
        let wait = if wait.is_finite() { format!("{wait:.1} s") } else { "more than a minute".to_owned() };
        let title = format!("connections waited up to {wait} for accept(), while others were refused");
        Verdict {
            meaning: Some(
                "It accepts more slowly than connections come. A larger backlog takes a burst, but not a load that \
                 lasts: it makes everybody wait longer."
                    .to_owned(),
            ),
            evidence: port.queue_evidence(),
            remedy: look_at(port),
            ..port.verdict(Rule::AcceptorSlow, Severity::Losing, title)
        }
    })
}

/// What shows why an application does not accept.
fn look_at(port: &PortView<'_>) -> Vec<Step> {
    let owner = port.port.owner();
    let what = "see what it waits for: its limit of connections or threads, a lock, a slow backend";
    vec![step(StepKind::Look, what, owner.map(stacks))]
}

fn stacks(owner: &OwnerSample) -> String {
    match owner.process.as_str() {
        "java" => format!("jcmd {} Thread.print", owner.pid),
        "python" | "python3" => format!("py-spy dump --pid {}", owner.pid),
        _ => format!("cat /proc/{0}/wchan /proc/{0}/status", owner.pid),
    }
}

/// Of several listeners that share a port, one is full while others have room.
pub(super) fn imbalance(port: &PortView<'_>) -> Option<Verdict> {
    let listeners = &port.port.listeners;
    if listeners.len() < 2 || !port.overflowed() {
        return None;
    }
    let overflows = |one: &Listener| one.handshakes.accept_queue_overflows.total().unwrap_or(0);
    let highest = |one: &Listener| {
        let highest = one.queues.accept_queue_peaks.map_or(0, |peaks| peaks.highest);
        highest.max(one.accept_queue_length)
    };
    // More than half of the room was never used.
    let is_idle = |one: &&Listener| overflows(one) == 0 && highest(one) < one.accept_queue_limit.div_ceil(2);
    let idle = listeners.iter().filter(is_idle).count();
    let full: Vec<_> = listeners.iter().filter(|one| overflows(one) > 0).collect();
    (idle > 0 && !full.is_empty()).then(|| {
        let (members, count) = (listeners.len(), full.len());
        let title = format!("{count} of {members} listeners of the port overflow while {idle} have room");
        let mut evidence = Evidences::default();
        for one in listeners {
            let owner = one.owner.as_ref().map_or_else(String::new, |owner| format!(", process {}", owner.pid));
            let what = format!("packets refused by socket {}{owner}, in its life", one.inode);
            evidence.count(&what, Some(overflows(one)));
        }
        let text = "see why that member does not accept: the kernel gives each its share of the connections, by a hash of \
                    their addresses, whether it is busy or not";
        let busiest = full.iter().max_by_key(|one| overflows(one)).and_then(|one| one.owner.as_deref());
        Verdict {
            evidence: evidence.0,
            remedy: vec![step(StepKind::Look, text, busiest.map(stacks)), listen_again(port)],
            ..port.verdict(Rule::ReuseportImbalance, Severity::Losing, title)
        }
    })
}
