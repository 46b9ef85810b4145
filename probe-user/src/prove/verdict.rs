//! What was expected and what was seen, counter by counter: the pure part of the proof.
use serde::Serialize;

use super::{
    counters::{REQUEST_ERRORS, Shortfall},
    exercise::Expectation,
};
use crate::{
    model::{Model, Port, audit::AuditedCounter},
    plan::outcome::{Accounting, Variant},
    sample::{LOSS_PROGRAM_SKIPPED, NetstatSample},
};

/// Whether a counter agrees with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// It is the expected number.
    Exact,
    /// It is less, and the rest is declared as what no port could be charged with.
    Declared,
    /// It is not measured under this plan.
    NotMeasured,
    /// It is another number.
    Wrong,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was done.
    pub step: &'static str,
    /// The counter.
    pub counter: &'static str,
    /// The truth, by the kernel's counters and the client's ledger.
    pub expected: u64,
    /// What the probe counted.
    pub seen: Option<u64>,
    /// Whether the two agree.
    pub agreement: Agreement,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// How long it took, from the making of the network to the last comparison.
    pub seconds: f64,
    /// Line by line, in the order of the steps.
    pub rows: Vec<Row>,
}

impl Proof {
    /// Whether no counter is wrong, and at least one was measured.
    #[must_use]
    pub fn holds(&self) -> bool {
        let measured = |row: &Row| row.agreement != Agreement::NotMeasured;
        self.rows.iter().any(measured) && self.rows.iter().all(|row| row.agreement != Agreement::Wrong)
    }

    /// Compares what is expected of each listener, and of their namespace, with the model.
    pub(super) fn new(
        expectations: &[Expectation],
        kernel: &NetstatSample,
        model: &Model,
        netns: u32,
    ) -> Self {
        let declared = Declared::of(expectations, model, netns);
        let of_ports = expectations.iter().map(|expectation| of_port(expectation, model, netns, &declared));
        let of_kernel = AuditedCounter::ALL.into_iter().map(|counter| {
            let shortfall = match counter {
                AuditedCounter::ListenOverflows => Shortfall::Overflows,
                AuditedCounter::ListenDrops => Shortfall::DropsAndErrors,
                _ => Shortfall::None,
            };
            let seen = sum_of_ports(counter, model, netns);
            let expected = counter.of_kernel(kernel);
            row("the whole namespace", counter.name(), expected, seen, declared.most(shortfall))
        });
        Self { seconds: 0.0, rows: of_ports.chain(of_kernel).collect() }
    }
}

/// What the probe itself says is missing.
struct Declared {
    overflows: u64,
    drops: u64,
    /// Requests that ICMP errors ended, where the accounting does not see them (docs/COMPATIBILITY.md).
    errors: u64,
    skipped: u64,
    /// A skipped program may have been any one: the plan stands on kprobes.
    of_kprobes: bool,
}

impl Declared {
    fn of(expectations: &[Expectation], model: &Model, netns: u32) -> Self {
        let is_of_errors = |expectation: &&Expectation| expectation.counter.name == REQUEST_ERRORS.name;
        let errors = expectations.iter().filter(is_of_errors).map(|expectation| expectation.count).sum();
        let by_conditions = model.plan.coverage.accounting == Accounting::Conditions;
        let namespace = model.namespace(netns);
        Self {
            overflows: namespace.and_then(|namespace| namespace.unattributed_overflows).unwrap_or(0),
            drops: namespace.and_then(|namespace| namespace.unattributed_drops).unwrap_or(0),
            errors: if by_conditions { errors } else { 0 },
            skipped: model.losses.get(LOSS_PROGRAM_SKIPPED).copied().unwrap_or(0),
            of_kprobes: model.plan.hooks.iter().any(|hook| hook.variant == Some(Variant::Kprobe)),
        }
    }

    const fn most(&self, shortfall: Shortfall) -> u64 {
        match shortfall {
            Shortfall::DropsAndErrors if self.of_kprobes => self.skipped + self.errors,
            _ if self.of_kprobes => self.skipped,
            Shortfall::None => 0,
            Shortfall::Overflows => self.overflows,
            Shortfall::Drops => self.drops,
            Shortfall::DropsAndErrors => self.drops + self.errors,
            Shortfall::Skipped => self.skipped,
        }
    }
}

fn of_port(expectation: &Expectation, model: &Model, netns: u32, declared: &Declared) -> Row {
    let is_it = |port: &&Port| {
        let id = &port.id;
        id.netns == netns && id.address == expectation.listener.ip() && id.port == expectation.listener.port()
    };
    let port = model.ports.iter().find(is_it);
    let seen = port.and_then(expectation.counter.of);
    let rest = declared.most(expectation.counter.shortfall);
    row(expectation.step, expectation.counter.name, expectation.count, seen, rest)
}

fn row(step: &'static str, counter: &'static str, expected: u64, seen: Option<u64>, rest: u64) -> Row {
    let agreement = match seen {
        None => Agreement::NotMeasured,
        Some(seen) if seen == expected => Agreement::Exact,
        Some(seen) if seen < expected && seen.saturating_add(rest) >= expected => Agreement::Declared,
        Some(_) => Agreement::Wrong,
    };
    Row { step, counter, expected, seen, agreement }
}

/// The sum over the namespace's ports; `None` where none of them knows.
fn sum_of_ports(counter: AuditedCounter, model: &Model, netns: u32) -> Option<u64> {
    let ports = model.ports.iter().filter(|port| port.id.netns == netns);
    ports.filter_map(|port| counter.of_handshakes(&port.handshakes)).reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_truth_is_right_only_where_the_rest_is_declared() {
        let check = |seen: Option<u64>, rest: u64, expected: Agreement| {
            assert_eq!(row("step", "counter", 7, seen, rest).agreement, expected, "{seen:?} {rest}");
        };
        check(Some(7), 0, Agreement::Exact);
        check(Some(6), 1, Agreement::Declared);
        check(Some(6), 0, Agreement::Wrong);
        check(Some(8), 5, Agreement::Wrong);
        check(None, 0, Agreement::NotMeasured);
    }

    #[test]
    fn a_proof_without_a_single_measured_counter_proves_nothing() {
        let proof = |seen: &[Option<u64>]| Proof {
            seconds: 0.0,
            rows: seen.iter().map(|seen| row("step", "counter", 7, *seen, 0)).collect(),
        };
        assert!(proof(&[Some(7), None]).holds());
        assert!(!proof(&[None]).holds());
        assert!(!proof(&[]).holds());
        assert!(!proof(&[Some(7), Some(1)]).holds());
    }
}
