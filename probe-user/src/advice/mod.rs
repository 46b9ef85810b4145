//! What is wrong and what cures it: rules that read the [`Model`] and make an [`Advice`] of it.
//!
//! Pure. Each file has the rules of one kind; `view` is what they see, `remedy` the steps that they share, and
//! `application` what is known of servers by name. A rule looks at what happened within a while that ends now:
//! what was lost before that, or before the listener got another limit, is over.
mod accept_queue;
mod acceptor;
pub mod application;
mod host;
mod remedy;
mod syn_queue;
#[cfg(test)]
mod tests;
mod view;

use self::view::{PortView, View};
use std::sync::Arc;

use crate::model::{
    Episode, Model,
    advice::{ADVICE_VERSION, Advice, Diagnosis, Headroom, Health, Question, Severity, Verdict},
};

/// Says what is wrong, and what happened meanwhile.
#[must_use]
pub fn diagnose(model: &Model, question: Question) -> Diagnosis {
    let advice = advise(model, question);
    let begun = model.taken - advice.window_seconds;
    let is_of_it = |episode: &&Arc<Episode>| {
        question.port.is_none_or(|port| port == episode.id.port)
            && episode.ended.is_none_or(|ended| ended >= begun)
    };
    let episodes = model.episodes.iter().filter(is_of_it).map(Arc::clone).collect();
    Diagnosis { advice, taken: model.taken, episodes }
}

/// Says what is wrong, by what happened within the last seconds.
#[must_use]
pub fn advise(model: &Model, question: Question) -> Advice {
    let view = View::new(model, question.seconds);
    let is_asked_for = |port: &PortView<'_>| question.port.is_none_or(|number| number == port.port.id.port);
    let ports: Vec<_> = view.ports().filter(is_asked_for).collect();
    let mut verdicts: Vec<Verdict> = ports.iter().flat_map(of_port).collect();
    let of_nobody: Vec<_> = host::overflows_of_nobody(&view, &verdicts).collect();
    // Of other network namespaces than the port's nothing was asked.
    let is_near = |verdict: &Verdict| {
        let mut near = ports.iter().map(|port| port.port.id.netns);
        question.port.is_none() || verdict.place.netns.is_none_or(|netns| near.any(|one| one == netns))
    };
    verdicts.extend(of_nobody.into_iter().chain(host::of_host(&view)).filter(is_near));
    verdicts.sort_by(|one, other| order(one).cmp(&order(other)));
    let open = ports.iter().filter(|port| !port.port.listeners.is_empty()).count();
    let mut not_judged = not_judged(model);
    let nothing_there = question.port.filter(|_| ports.is_empty());
    not_judged.extend(nothing_there.map(|port| format!("nobody is known to listen on port {port}")));
    Advice {
        version: ADVICE_VERSION,
        health: if nothing_there.is_some() { Health::Unknown } else { health(&view, &verdicts) },
        window_seconds: view.lately.seconds,
        verdicts,
        fullest: fullest(&ports),
        ports: u64::try_from(open).unwrap_or(u64::MAX),
        not_judged,
    }
}

/// The verdicts on one port. What was lost at one that is closed by now is history: its episodes tell.
fn of_port(port: &PortView<'_>) -> Vec<Verdict> {
    if port.port.listeners.is_empty() && port.view.model.knows_sockets_of(port.port) {
        return Vec::new();
    }
    [
        accept_queue::full(port),
        accept_queue::nearly_full(port),
        accept_queue::clamped_in_peace(port),
        accept_queue::limit_of_another_namespace(port),
        acceptor::stalled(port),
        acceptor::slow(port),
        acceptor::imbalance(port),
        syn_queue::full(port),
        syn_queue::synacks_retransmitted(port),
        syn_queue::other_drops(port),
        syn_queue::packets_dropped(port),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The worst first, causes before consequences.
fn order(verdict: &Verdict) -> impl Ord + '_ {
    (std::cmp::Reverse(verdict.severity), verdict.rule, &verdict.place)
}

fn health(view: &View<'_>, verdicts: &[Verdict]) -> Health {
    let worst = verdicts.iter().map(|verdict| verdict.severity).max();
    match worst {
        Some(Severity::Losing) => Health::Losing,
        Some(_) => Health::Advice,
        None if view.model.namespaces.iter().all(|namespace| namespace.error.is_some()) => Health::Unknown,
        None => Health::Healthy,
    }
}

/// The queue that was the fullest, in parts of its limit.
fn fullest(ports: &[PortView<'_>]) -> Option<Headroom> {
    let queues = ports.iter().filter_map(|port| {
        let (highest, limit) = (port.highest(), port.limit()?);
        Some(Headroom { place: port.place(), highest, limit })
    });
    queues.max_by(|one, other| {
        let fill = |queue: &Headroom| f64::from(queue.highest) / f64::from(queue.limit.max(1));
        fill(one).total_cmp(&fill(other)).then_with(|| other.place.cmp(&one.place))
    })
}

/// What is hidden from the rules.
fn not_judged(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let coverage = &model.plan.coverage;
    if !model.plan.any_attached() {
        let reason = model.plan.hooks.first().map_or("", |hook| hook.reason.as_str());
        lines.push(format!(
            "no BPF program is attached, so packets are counted by the sockets only: {reason}"
        ));
    }
    if !coverage.backlog_requested {
        lines.push("what listen() was asked for is not seen on this host: see check".to_owned());
    }
    if !coverage.accept_queue_depth {
        lines.push("how full queues get between two looks is not seen on this host: see check".to_owned());
    }
    let unreadable = model.namespaces.iter().filter_map(|namespace| {
        Some(format!("network namespace {}: {}", namespace.netns, namespace.error.as_deref()?))
    });
    lines.extend(unreadable);
    lines
}
