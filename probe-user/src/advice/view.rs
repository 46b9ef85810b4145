//! What the rules see: the model, what happened of late, and for a port all that belongs to it.
use std::{collections::BTreeMap, sync::Arc};

use crate::model::{
    Listener, Model, Namespace, Port,
    advice::{Evidence, EvidenceUnit, Place, Rule, Severity, Step, Verdict},
    recent::{Lately, NamespaceCounts, RecentCounts},
};

/// Above this part of its limit a queue is nearly full.
const NEARLY: f64 = 0.8;
/// So few connections say nothing about a queue, however small it is.
const FEW: u32 = 4;

/// A host.
pub(super) struct View<'a> {
    pub(super) model: &'a Model,
    pub(super) lately: Lately,
    namespaces: BTreeMap<u32, &'a Namespace>,
}

impl<'a> View<'a> {
    pub(super) fn new(model: &'a Model, seconds: u64) -> Self {
        let namespaces = model.namespaces.iter().map(|namespace| (namespace.netns, namespace)).collect();
        Self { model, lately: model.recent.over(seconds), namespaces }
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = PortView<'_>> {
        self.model.ports.iter().map(|port| PortView {
            view: self,
            port,
            counts: self.lately.ports.get(&port.id).copied().unwrap_or_default(),
        })
    }

    /// The network namespace that the daemon runs in.
    pub(super) fn is_own(&self, netns: u32) -> bool {
        self.model.host.own_netns.is_none_or(|own| own == netns)
    }

    pub(super) fn namespace(&self, netns: u32) -> Option<&'a Namespace> {
        self.namespaces.get(&netns).copied()
    }

    pub(super) fn counts_of(&self, netns: u32) -> NamespaceCounts {
        self.lately.namespaces.get(&netns).copied().unwrap_or_default()
    }
}

/// A port.
pub(super) struct PortView<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) port: &'a Port,
    pub(super) counts: RecentCounts,
}

impl PortView<'_> {
    pub(super) fn place(&self) -> Place {
        let id = &self.port.id;
        let (netns, address, port) = (Some(id.netns), Some(id.address), Some(id.port));
        Place { netns, address, port, process: self.port.process.as_ref().map(Arc::clone) }
    }

    pub(super) fn verdict(&self, rule: Rule, severity: Severity, title: String) -> Verdict {
        verdict(rule, severity, self.place(), title)
    }

    /// The listener with the lowest limit: it is the first to be full.
    pub(super) fn tightest(&self) -> Option<&Listener> {
        self.port.listeners.iter().min_by_key(|listener| listener.accept_queue_limit)
    }

    /// The lowest limit; `None` for a closed port.
    pub(super) fn limit(&self) -> Option<u32> {
        self.tightest().map(|listener| listener.accept_queue_limit)
    }

    /// `net.core.somaxconn` of its network namespace, as it is now.
    pub(super) fn somaxconn(&self) -> Option<u64> {
        self.view.namespace(self.port.id.netns)?.limits.somaxconn
    }

    /// The longest that a queue of it was of late.
    pub(super) fn highest(&self) -> u32 {
        let now = self.port.listeners.iter().map(|listener| listener.accept_queue_length).max();
        self.counts.highest.max(now.unwrap_or(0))
    }

    /// Packets refused because the accept queue was full, where that is counted.
    pub(super) fn overflows(&self) -> Option<u64> {
        self.port.handshakes.accept_queue_overflows.total().map(|_| self.counts.overflows)
    }

    /// Whether connections were refused because an accept queue was full. Where that is not counted by port: whether
    /// its sockets dropped something while their network namespace counted overflows.
    pub(super) fn overflowed(&self) -> bool {
        match self.overflows() {
            Some(overflows) => overflows > 0,
            None => {
                let namespace = self.view.counts_of(self.port.id.netns);
                self.counts.socket_drops > 0 && namespace.listen_overflows > 0
            }
        }
    }

    /// Whether a queue was nearly full.
    pub(super) fn is_nearly_full(&self) -> bool {
        let highest = self.highest();
        let is_near = |limit: u32| f64::from(highest) > NEARLY * f64::from(limit);
        highest >= FEW && self.limit().is_some_and(is_near)
    }

    /// What 99 of 100 accepted connections did not wait longer than, in seconds; infinite past the last bucket.
    pub(super) fn wait_p99(&self) -> Option<f64> {
        self.counts.accept_wait(self.port)?.quantile(0.99)
    }

    /// For how long connections have waited without anybody accepting any, in seconds.
    pub(super) fn waiting_seconds(&self) -> f64 {
        self.view.lately.waiting.get(&self.port.id).copied().unwrap_or(0.0)
    }

    /// The numbers that tell a burst from an acceptor that is too slow.
    pub(super) fn queue_evidence(&self) -> Vec<Evidence> {
        let (handshakes, counts) = (&self.port.handshakes, &self.counts);
        let known = |total: Option<u64>, of_late: u64| total.map(|_| of_late);
        let mut evidence = Evidences::default();
        evidence
            .count("connections refused", known(handshakes.connections_refused, counts.connections_refused));
        evidence.count("packets refused, accept queue full", self.overflows());
        if self.overflows().is_none() {
            evidence.count("packets dropped by its sockets, whatever the reason", Some(counts.socket_drops));
            let overflows = self.view.counts_of(self.port.id.netns).listen_overflows;
            evidence.count("accept queue overflows of its network namespace", Some(overflows));
        }
        evidence.count("longest accept queue", Some(self.highest().into()));
        evidence.count("its limit", self.limit().map(u64::from));
        let demand = self.port.queues.demand.filter(|demand| *demand > self.highest());
        evidence.count("places wanted at once", demand.map(u64::from));
        evidence.count("connections accepted", known(self.port.queues.counts.accepted, counts.accepted));
        evidence.add("99 of 100 waited for accept() at most", self.wait_p99(), EvidenceUnit::Seconds);
        evidence.0
    }
}

/// Numbers, as far as they are known.
#[derive(Default)]
pub(super) struct Evidences(pub(super) Vec<Evidence>);

impl Evidences {
    /// Adds a number, or nothing where it is not known. JSON has no infinity: a number without bound is left out.
    pub(super) fn add(&mut self, what: &str, value: Option<f64>, unit: EvidenceUnit) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.0.push(Evidence { what: what.to_owned(), value, unit });
        }
    }

    /// Adds a count.
    #[expect(clippy::cast_precision_loss, reason = "a count that is shown needs no more digits")]
    pub(super) fn count(&mut self, what: &str, value: Option<u64>) {
        self.add(what, value.map(|value| value as f64), EvidenceUnit::Number);
    }
}

/// A verdict that says no more than its title yet.
pub(super) fn verdict(rule: Rule, severity: Severity, place: Place, title: String) -> Verdict {
    let (evidence, remedy): (Vec<Evidence>, Vec<Step>) = Default::default();
    Verdict { rule, severity, place, title, meaning: None, evidence, remedy }
}
