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
mod lines;
mod ports;

use std::io;

use self::{families::Families, ports::Ports};
use super::BuildInfo;
use crate::{
    metrics::{Metric, catalogue},
    model::{Model, Namespace},
    sample::OwnCostSample,
};

/// The content type of what [`write()`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Identity of the row for ports past the budget of the kernel's map, and for those without series of their own.
const OTHER: [&str; 4] = ["other", "other", "other", "other"];

/// Writes every metric that is known.
///
/// # Errors
/// Those of the writer.
pub fn write(model: &Model, build: &BuildInfo, writer: &mut impl io::Write) -> io::Result<()> {
    let mut exposition = Exposition::default();
    for namespace in &model.namespaces {
        exposition.add_namespace(namespace);
    }
    exposition.add_host(&model.host);
    exposition.add_advice(model);
    exposition.add_probe(model, build);
    exposition.add_process(&model.own_cost);
    exposition.families.write(&Ports::of(model), writer)
}

/// The families under construction that are not of ports.
#[derive(Default)]
struct Exposition {
    families: Families,
}

impl Exposition {
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
}

#[cfg(test)]
mod tests;
