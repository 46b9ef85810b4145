//! What concerns no single port.
use super::{
    remedy::{lasting_on_host, set_sysctl, step},
    view::{Evidences, View, verdict},
};
use crate::model::{
    Namespace, Port,
    advice::{Place, Rule, Severity, StepKind, Verdict},
};

const ABORT_ON_OVERFLOW: &str = "net.ipv4.tcp_abort_on_overflow";
const NETDEV_MAX_BACKLOG: &str = "net.core.netdev_max_backlog";

/// The verdicts on the host and on its network namespaces.
pub(super) fn of_host<'a>(view: &'a View<'_>) -> impl Iterator<Item = Verdict> + 'a {
    let abort = view.model.namespaces.iter().filter_map(|namespace| abort_on_overflow(view, namespace));
    abort.chain(softnet_drops(view))
}

/// A process that listens in a network namespace, if it is known; `None` where nobody listens. Of several the last.
fn resident(view: &View<'_>, netns: u32) -> Option<Option<u32>> {
    let is_there = |port: &&Port| port.id.netns == netns && !port.listeners.is_empty();
    let last = view.model.ports.iter().rfind(is_there)?;
    Some(last.owner().map(|owner| owner.pid))
}

/// Who finishes his handshake at a full queue is reset instead of let in a little later.
fn abort_on_overflow(view: &View<'_>, namespace: &Namespace) -> Option<Verdict> {
    if namespace.limits.tcp_abort_on_overflow != Some(1) {
        return None;
    }
    let resident = resident(view, namespace.netns)?;
    let ports = view.ports().filter(|port| port.port.id.netns == namespace.netns);
    let aborted: u64 = ports.map(|port| port.counts.requests_aborted).sum();
    let severity = if aborted > 0 { Severity::Losing } else { Severity::Notice };
    let title = if aborted > 0 {
        format!("{aborted} clients were reset because {ABORT_ON_OVERFLOW} is 1")
    } else {
        format!(
            "{ABORT_ON_OVERFLOW} is 1: a full accept queue resets clients that a moment later could be let in"
        )
    };
    let place = Place { netns: Some(namespace.netns), ..Place::default() };
    let command = set_sysctl(view, namespace.netns, resident, ABORT_ON_OVERFLOW, 0);
    let mut evidence = Evidences::default();
    evidence.count("requests reset", Some(aborted));
    Some(Verdict {
        evidence: evidence.0,
        remedy: vec![step(StepKind::Now, "let them try again", command)],
        ..verdict(Rule::AbortOnOverflow, severity, place, title)
    })
}

/// The queue before the network stack was full.
fn softnet_drops(view: &View<'_>) -> Option<Verdict> {
    let dropped = view.lately.host.softnet_dropped;
    (dropped > 0).then(|| {
        let limit = view.model.host.netdev_max_backlog;
        let title = format!("{dropped} packets were dropped before the network stack: {NETDEV_MAX_BACKLOG}");
        let mut evidence = Evidences::default();
        evidence.count("packets dropped (softnet)", Some(dropped));
        evidence.count("packets processed", Some(view.lately.host.softnet_processed));
        evidence.count(NETDEV_MAX_BACKLOG, limit);
        let more = limit.unwrap_or(1_000).saturating_mul(4).max(4_000);
        let command = format!("sysctl -w {NETDEV_MAX_BACKLOG}={more}");
        Verdict {
            meaning: Some(
                "SYNs and last ACKs among them are lost without a trace at any listener.".to_owned(),
            ),
            evidence: evidence.0,
            remedy: vec![
                step(StepKind::Now, format!("raise {NETDEV_MAX_BACKLOG}"), Some(command)),
                lasting_on_host(NETDEV_MAX_BACKLOG, more),
                step(
                    StepKind::Look,
                    "see whether one CPU takes all packets",
                    Some("cat /proc/net/softnet_stat".to_owned()),
                ),
            ],
            ..verdict(Rule::SoftnetDrops, Severity::Warning, Place::default(), title)
        }
    })
}

/// Overflows of a network namespace that no port is known to have had.
pub(super) fn overflows_of_nobody<'a>(
    view: &'a View<'_>,
    verdicts: &'a [Verdict],
) -> impl Iterator<Item = Verdict> + 'a {
    let by_sockets = view.model.namespaces.iter().any(|namespace| namespace.unattributed_overflows.is_some());
    let is_counted = view.model.plan.any_attached();
    let explained = |netns: u32| {
        let mut losing = verdicts.iter().filter(|verdict| verdict.severity == Severity::Losing);
        losing.any(|verdict| verdict.place.netns == Some(netns))
    };
    view.lately.namespaces.iter().filter_map(move |(netns, counts)| {
        let overflows = match (by_sockets, is_counted) {
            (true, _) => counts.unattributed_overflows,
            (false, true) => 0,
            (false, false) => counts.listen_overflows,
        };
        (overflows > 0 && !explained(*netns)).then(|| {
            let title =
                format!("{overflows} accept queue overflows in network namespace {netns} are nobody's");
            let mut evidence = Evidences::default();
            evidence.count("accept queue overflows that no port could be charged with", Some(overflows));
            evidence.count("accept queue overflows of the network namespace", Some(counts.listen_overflows));
            let place = Place { netns: Some(*netns), ..Place::default() };
            let text = "see which listeners there have a small limit (Send-Q)";
            Verdict {
                evidence: evidence.0,
                remedy: vec![step(StepKind::Look, text, Some("ss -ltn".to_owned()))],
                ..verdict(Rule::OverflowsOfNobody, Severity::Losing, place, title)
            }
        })
    })
}
