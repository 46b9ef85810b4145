//! The model in Prometheus' text format, version 0.0.4.
//!
//! Families come sorted by name, as from every client library, and a family without a sample is
//! left out: what cannot be known is absent, never 0. Every number becomes a 64-bit float, which
//! is what Prometheus stores: integers up to 2^53 survive exactly, above that the nearest float is
//! written (the JSON renderer keeps all digits).
mod advice;
mod families;
mod histograms;
mod limits;

use std::{collections::BTreeSet, io};

use self::families::{Families, Identity};
use super::BuildInfo;
use crate::{
    metrics::{Metric, catalogue},
    model::{
        BacklogBound, Handshakes, Listener, Model, Namespace, Peaks, Port, QueueCounts, Queues,
        series::PortTotals,
    },
    sample::{OwnCostSample, OwnerSample},
};

/// The content type of what [`write()`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Identity of the row for ports past the budget of the kernel's map, and for those without series of their own.
const OTHER: [&str; 4] = ["other", "other", "other", "other"];

/// The loss that fills the row [`OTHER`].
const LISTENER_MAP_FULL: &str = "listener_map_full";

/// Writes every metric that is known.
///
/// # Errors
/// Those of the writer.
pub fn write(model: &Model, build: &BuildInfo, writer: &mut impl io::Write) -> io::Result<()> {
    let mut exposition = Exposition::default();
    for port in &model.ports {
        if let Some(totals) = model.exposed(port) {
            exposition.add_port(port, &totals, model.knows_sockets_of(port));
        }
    }
    if let Some(other) = model.exposed_other().filter(|other| other_is_used(model, &other.handshakes)) {
        let identity = exposition.families.name_port(OTHER);
        exposition.add_handshakes(identity, &other.handshakes);
        exposition.add_queue_counts(identity, &other.queues);
    }
    for namespace in &model.namespaces {
        exposition.add_namespace(namespace);
    }
    exposition.add_host(&model.host);
    exposition.add_advice(model);
    exposition.add_probe(model, build);
    exposition.add_process(&model.own_cost);
    exposition.families.write(writer)
}

/// Whether the row for ports without series of their own says anything. Most hosts never need it.
fn other_is_used(model: &Model, other: &Handshakes) -> bool {
    let without_series = model.series.as_ref().map(|series| series.ports_in_other);
    let past_the_budget = model.losses.get(LISTENER_MAP_FULL).copied();
    let counters = port_counters(other).map(|(_, count)| count);
    let divided = divided_counters(other).map(|(_, _, count)| count);
    counters
        .into_iter()
        .chain(divided)
        .chain([past_the_budget, without_series])
        .flatten()
        .any(|count| count > 0)
}

/// The counters of a port that have one number each.
fn port_counters(handshakes: &Handshakes) -> [(&'static Metric, Option<u64>); 15] {
    [
        (&catalogue::SYN_RECEIVED, handshakes.syn_received),
        (&catalogue::SYN_QUEUED, handshakes.syn_queued),
        (&catalogue::SYNCOOKIES_SENT, handshakes.syncookies_sent),
        (&catalogue::SYNCOOKIES_RECEIVED, handshakes.syncookies_received),
        (&catalogue::SYNCOOKIES_FAILED, handshakes.syncookies_failed),
        (&catalogue::SYN_QUEUE_FULL_COOKIES, handshakes.syn_queue_full_cookies),
        (&catalogue::LAST_ACK_RECEIVED, handshakes.last_ack_received),
        (&catalogue::ESTABLISHED, handshakes.established),
        (&catalogue::SYNACK_RETRANSMITS, handshakes.synack_retransmits),
        (&catalogue::REQUEST_ERRORS, handshakes.request_errors),
        (&catalogue::REQUESTS_ABORTED, handshakes.requests_aborted),
        (&catalogue::REQUESTS_EXPIRED, handshakes.requests_expired),
        (&catalogue::CLOSED_UNACCEPTED, handshakes.closed_unaccepted),
        (&catalogue::CONNECTIONS_REFUSED, handshakes.connections_refused),
        (&catalogue::LISTEN_DROPS, handshakes.listen_drops),
    ]
}

/// The counters of a port that have a number for each value of their last label.
fn divided_counters(handshakes: &Handshakes) -> [(&'static Metric, &'static str, Option<u64>); 10] {
    let Handshakes { syn_dropped, last_ack_refused, accept_queue_overflows, .. } = handshakes;
    let dropped = |cause, count| (&catalogue::SYN_DROPPED, cause, count);
    let refused = |cause, count| (&catalogue::LAST_ACK_REFUSED, cause, count);
    let overflows = |stage, count| (&catalogue::ACCEPT_QUEUE_OVERFLOWS, stage, count);
    [
        dropped("accept_queue_full", syn_dropped.accept_queue_full),
        dropped("syn_queue_full", syn_dropped.syn_queue_full),
        dropped("syn_backlog_reserve", syn_dropped.syn_backlog_reserve),
        dropped("other", syn_dropped.other),
        refused("accept_queue_full", last_ack_refused.accept_queue_full),
        refused("other", last_ack_refused.other),
        refused("undivided", last_ack_refused.undivided),
        overflows("syn", accept_queue_overflows.syn),
        overflows("ack", accept_queue_overflows.ack),
        overflows("undivided", accept_queue_overflows.undivided),
    ]
}

/// The families under construction.
#[derive(Default)]
struct Exposition {
    families: Families,
}

impl Exposition {
    fn add_port(&mut self, port: &Port, totals: &PortTotals, sockets_are_known: bool) {
        let netns = port.id.netns.to_string();
        let address = port.id.address.to_string();
        let number = port.id.port.to_string();
        // An empty label is none to Prometheus.
        let process = port.process.as_deref().unwrap_or_default();
        let identity = self.families.name_port([&netns, &address, &number, process]);
        self.add_handshakes(identity, &totals.handshakes);
        self.add_queue_counts(identity, &totals.queues);
        self.add_queues(identity, &port.queues);
        self.add_known_of(&catalogue::BACKLOG_RECOMMENDED, identity, port.backlog_recommended);
        if sockets_are_known {
            self.add_of(&catalogue::LISTENERS, identity, port.listeners.len() as f64);
        }
        self.add_backlogs(identity, &port.listeners);
        // A closed port has no queue, so it has no length and no limit either.
        if let Some((length, limit)) = port.accept_queue() {
            self.add_known_of(&catalogue::ACCEPT_QUEUE_LENGTH, identity, Some(length));
            self.add_known_of(&catalogue::ACCEPT_QUEUE_LIMIT, identity, Some(limit));
            self.add_known_of(&catalogue::SYN_QUEUE_LENGTH, identity, port.syn_queue_length);
            self.add_known_of(&catalogue::SYN_QUEUE_LIMIT, identity, Some(limit));
        }
        if let Some(owner) = port.owner() {
            self.add_owner([&netns, &address, &number], owner);
        }
    }

    fn add_owner(&mut self, [netns, address, port]: [&str; 3], owner: &OwnerSample) {
        let OwnerSample { pid: _, process, command, application, unit, container, pod, user } = owner;
        let facts = [command, application, unit, container, pod, user];
        let facts = facts.map(|fact| fact.as_deref().unwrap_or_default());
        let labels: Vec<&str> = [netns, address, port, process].into_iter().chain(facts).collect();
        self.add(&catalogue::PORT_OWNER_INFO, &labels, 1.0);
    }

    fn add_handshakes(&mut self, identity: Identity, handshakes: &Handshakes) {
        for (metric, count) in port_counters(handshakes) {
            self.add_known_of(metric, identity, count);
        }
        for (metric, part, count) in divided_counters(handshakes) {
            if let Some(count) = count {
                self.families.add_of_port(metric, identity, Some(part), count as f64);
            }
        }
    }

    /// Sums, like the limit; nothing where only some of the listeners' calls were seen.
    fn add_backlogs(&mut self, identity: Identity, listeners: &[Listener]) {
        let backlogs = || listeners.iter().map(|listener| listener.backlog);
        let requested: Option<Vec<i64>> =
            backlogs().map(|backlog| backlog.requested.map(i64::from)).collect();
        if let Some(requested) = requested.filter(|requested| !requested.is_empty()) {
            let maximum = requested.iter().any(|requested| *requested < 0);
            let sum = if maximum { -1 } else { requested.iter().sum() };
            self.add_of(&catalogue::BACKLOG_REQUESTED, identity, sum as f64);
        }
        let attainable: Option<Vec<u64>> =
            backlogs().map(|backlog| backlog.attainable.map(u64::from)).collect();
        if let Some(attainable) = attainable.filter(|attainable| !attainable.is_empty()) {
            self.add_known_of(&catalogue::BACKLOG_ATTAINABLE, identity, Some(attainable.iter().sum()));
        }
        let bounds: BTreeSet<BacklogBound> = backlogs().filter_map(|backlog| backlog.bound).collect();
        for bound in bounds {
            self.families.add_of_port(&catalogue::BACKLOG_BOUND_INFO, identity, Some(bound.label()), 1.0);
        }
    }

    fn add_queue_counts(&mut self, identity: Identity, counts: &QueueCounts) {
        self.add_known_of(&catalogue::ACCEPTED, identity, counts.accepted);
        for (metric, histogram) in [
            (&catalogue::ACCEPT_WAIT, &counts.accept_wait),
            (&catalogue::ACCEPT_QUEUE_FILL, &counts.accept_queue_fill),
        ] {
            if let Some(histogram) = histogram {
                self.add_histogram(metric, identity, histogram);
            }
        }
    }

    fn add_queues(&mut self, identity: Identity, queues: &Queues) {
        for (metric, peaks) in [
            (&catalogue::ACCEPT_QUEUE_PEAK, queues.accept_queue_peaks),
            (&catalogue::SYN_QUEUE_PEAK, queues.syn_queue_peaks),
        ] {
            let Some(peaks) = peaks else { continue };
            for (window, peak) in windows(&peaks) {
                self.families.add_of_port(metric, identity, Some(window), f64::from(peak));
            }
        }
        if let Some(peaks) = queues.accept_queue_peaks {
            self.add_of(&catalogue::ACCEPT_QUEUE_HIGHEST, identity, f64::from(peaks.highest));
            self.add_time(&catalogue::ACCEPT_QUEUE_HIGHEST_TIME, identity, peaks.highest_at);
        }
        self.add_time(&catalogue::LAST_ACCEPT_TIME, identity, queues.last_accept);
    }

    fn add_time(&mut self, metric: &'static Metric, identity: Identity, unix_seconds: Option<f64>) {
        if let Some(unix_seconds) = unix_seconds {
            self.add_of(metric, identity, unix_seconds);
        }
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let netns = namespace.netns.to_string();
        for (metric, count) in [
            (&catalogue::NETNS_LISTEN_OVERFLOWS, namespace.listen_overflows),
            (&catalogue::NETNS_LISTEN_DROPS, namespace.listen_drops),
            (&catalogue::NETNS_UNATTRIBUTED_OVERFLOWS, namespace.unattributed_overflows),
            (&catalogue::NETNS_UNATTRIBUTED_DROPS, namespace.unattributed_drops),
            (&catalogue::NETNS_READABLE, Some(u64::from(namespace.error.is_none()))),
        ] {
            self.add_known(metric, &[&netns], count);
        }
        for (metric, limit) in limits::of_namespace(&namespace.limits) {
            self.add_known(metric, &[&netns], limit);
        }
        for (counter, residual) in &namespace.residuals {
            let labels = [netns.as_str(), counter.name()];
            self.add(&catalogue::NETNS_AUDIT_RESIDUAL, &labels, *residual as f64);
        }
    }

    fn add_probe(&mut self, model: &Model, build: &BuildInfo) {
        for hook in &model.plan.hooks {
            let variant = hook.variant.map_or("skipped", |variant| variant.label());
            self.add(&catalogue::HOOK_INFO, &[&hook.hook, variant, &hook.reason], 1.0);
        }
        let method = model.plan.coverage.accounting.label();
        self.add(&catalogue::ACCOUNTING_INFO, &[method], 1.0);
        let source = if model.plan.coverage.accept_queue_depth { "events" } else { "polled" };
        self.add(&catalogue::ACCEPT_QUEUE_SOURCE_INFO, &[source], 1.0);
        self.add(&catalogue::BUILD_INFO, &[&build.version, &build.kernel], 1.0);
        if let Some(since) = model.counted_since {
            self.add(&catalogue::COUNTED_SINCE, &[], since);
        }
        for (reason, count) in &model.losses {
            self.add_known(&catalogue::LOST_EVENTS, &[reason], Some(*count));
        }
        let series = model.series.as_ref();
        self.add_known(&catalogue::PORTS, &[], series.map(|series| series.ports));
        self.add_known(&catalogue::PORTS_IN_OTHER, &[], series.map(|series| series.ports_in_other));
        let errors = u64::try_from(model.read_errors.len()).ok();
        self.add_known(&catalogue::READ_ERRORS, &[], errors);
        self.add_known(&catalogue::MAPS_MEMORY, &[], model.own_cost.map_bytes);
        let (used, limit) = model.own_cost.listener_rows.unzip();
        self.add_known(&catalogue::LISTENER_ROWS, &[], used);
        self.add_known(&catalogue::LISTENER_ROWS_LIMIT, &[], limit);
    }

    fn add_process(&mut self, cost: &OwnCostSample) {
        let seconds = [
            (&catalogue::PROCESS_CPU, cost.cpu_seconds),
            (&catalogue::PROCESS_START_TIME, cost.start_unix_seconds),
        ];
        for (metric, value) in seconds {
            if let Some(value) = value {
                self.add(metric, &[], value);
            }
        }
        self.add_known(&catalogue::PROCESS_RESIDENT_MEMORY, &[], cost.resident_bytes);
        self.add_known(&catalogue::PROCESS_OPEN_DESCRIPTORS, &[], cost.open_descriptors);
    }

    /// Adds a count, or nothing where it is not known.
    fn add_known(&mut self, metric: &'static Metric, labels: &[&str], count: Option<u64>) {
        if let Some(count) = count {
            self.add(metric, labels, count as f64);
        }
    }

    /// Adds a sample. The label values are in the order of the catalogue's labels.
    fn add(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.families.add(metric, labels, value);
    }

    /// Adds a count of a port, or nothing where it is not known.
    fn add_known_of(&mut self, metric: &'static Metric, port: Identity, count: Option<u64>) {
        if let Some(count) = count {
            self.add_of(metric, port, count as f64);
        }
    }

    /// Adds a sample of a port.
    fn add_of(&mut self, metric: &'static Metric, port: Identity, value: f64) {
        self.families.add_of_port(metric, port, None, value);
    }
}

/// The peaks by the name of their window.
const fn windows(peaks: &Peaks) -> [(&'static str, u32); 3] {
    [("1s", peaks.last_1_second), ("15s", peaks.last_15_seconds), ("60s", peaks.last_60_seconds)]
}
