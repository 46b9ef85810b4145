//! What being watched may cost: limits that are meant, and figures that were recorded.
//!
//! budgets.toml is in two parts. The first is written by hand and says what is wanted; the second, below a line of its
//! own, is what `--record` wrote, so that a rise is noticed long before a limit is reached.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::lines::Program;
use super::report::{Report, Watched, growth_name};
use super::statistics::Spread;
use super::watchers::{ONE_LINER, WATCHERS};
use crate::workspace;

/// What is below this line is not written by hand.
const RECORDED_FROM_HERE: &str = "# Below here: recorded by `cargo xtask bench kernel --record`.";
const ACCEPTED: &str = "accepted";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budgets {
    tolerance: Tolerance,
    #[serde(default, rename = "limit")]
    limits: Vec<Limit>,
    /// By kernel.
    #[serde(default)]
    recorded: BTreeMap<String, Recorded>,
}

/// How far above a recorded figure is not yet a rise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tolerance {
    percent: f64,
    /// Instructions of a connection or packet by which two runs of the same code differ.
    instructions: f64,
    /// Of the time until a watcher is ready.
    start_percent: f64,
}

/// A budget that holds on every kernel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    watcher: String,
    workload: String,
    at_most: f64,
    of: Measure,
    /// Kernels on which it is known to be broken.
    #[serde(default)]
    not_met_on: Vec<String>,
}

/// What a limit is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Measure {
    /// Instructions above those of a bare kernel.
    Instructions,
    /// Times what bpftrace's one-liner adds to an accepted connection in the same boot.
    OneLiners,
    /// The same, of what the watcher adds divided by how many of its kprobes and kretprobes are hit.
    OneLinersPerKprobe,
    /// Times what its programs do where one listens.
    OneListeners,
}

/// What a kernel's figures were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// Instructions above those of a bare kernel, by watcher and workload.
    extra: BTreeMap<String, BTreeMap<String, i64>>,
    /// Millions of instructions of its own until it was ready, by watcher.
    start: BTreeMap<String, i64>,
    /// Milliseconds of the machine's clock until it was ready, waits included.
    ready: BTreeMap<String, i64>,
    /// Instructions that the verifier walked through, by watcher and program.
    verified: BTreeMap<String, BTreeMap<String, u32>>,
}

/// Next to the code that reads it: it is data of this command and nobody else's.
fn path() -> PathBuf {
    workspace::root().join("xtask/src/bench/kernel/budgets.toml")
}

/// Reads the file.
pub(super) fn read() -> Result<Budgets> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not what it should be", path.display()))
}

/// Puts the figures into the file, in place of the same kernels' former ones.
pub(super) fn record(reports: &[Report]) -> Result<()> {
    let path = path();
    let ours: Vec<&str> =
        WATCHERS.iter().filter(|watcher| watcher.is_daemon()).map(|watcher| watcher.name).collect();
    let mut recorded = read()?.recorded;
    recorded.extend(reports.iter().map(|report| (report.kernel.clone(), recorded_of(report, &ours))));
    let text = fs::read_to_string(&path)?;
    fs::write(&path, with_recorded(&text, &recorded)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn with_recorded(text: &str, recorded: &BTreeMap<String, Recorded>) -> Result<String> {
    let by_hand = text.split(RECORDED_FROM_HERE).next().unwrap_or_default().trim_end();
    let tables = toml::to_string(&BTreeMap::from([("recorded", recorded)]))?;
    Ok(format!("{by_hand}\n\n{RECORDED_FROM_HERE}\n\n{tables}"))
}

fn recorded_of(report: &Report, ours: &[&str]) -> Recorded {
    let mut recorded = Recorded::default();
    for watched in report.watchers.iter().filter(|watched| ours.contains(&watched.name.as_str())) {
        for (into, spread) in [(&mut recorded.start, &watched.busy), (&mut recorded.ready, &watched.ready)] {
            into.extend(spread.map(|spread| (watched.name.clone(), rounded(spread.median / 1e6))));
        }
        let figures =
            watched.extra.iter().map(|(workload, spread)| (workload.clone(), rounded(spread.median)));
        recorded.extra.insert(watched.name.clone(), figures.collect());
    }
    for hook in &report.hooks {
        if let Some(verified) = hook.program.verified {
            let programs = recorded.verified.entry(hook.program.watcher.clone()).or_default();
            programs.insert(hook.program.name.clone(), verified);
        }
    }
    recorded
}

#[expect(clippy::cast_possible_truncation, reason = "instructions of a connection, or millions of a start")]
fn rounded(figure: f64) -> i64 {
    figure.round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "figures that were rounded from floats")]
const fn exact(figure: i64) -> f64 {
    figure as f64
}

impl Budgets {
    /// What is dearer than it may be, a line each.
    pub(super) fn complaints(&self, report: &Report) -> Vec<String> {
        let mut complaints: Vec<String> =
            self.limits.iter().filter_map(|limit| limit.complaint(report)).collect();
        match self.recorded.get(&report.kernel) {
            Some(recorded) => complaints.extend(self.rises(recorded, report)),
            None => complaints.push("no figures are recorded (remedy: --record)".to_owned()),
        }
        complaints.iter().map(|complaint| format!("{}: {complaint}", report.kernel)).collect()
    }

    /// The limits that are known to be broken, and are, a line each.
    pub(super) fn known(&self, report: &Report) -> Vec<String> {
        let known = self.limits.iter().filter(|limit| limit.not_met_on.contains(&report.kernel));
        let broken = known.filter_map(|limit| broken(limit, report));
        broken.map(|line| format!("{}: not met yet: {line}", report.kernel)).collect()
    }

    fn rises(&self, recorded: &Recorded, report: &Report) -> Vec<String> {
        let mut rises = Vec::new();
        for (watcher, workloads) in &recorded.extra {
            for (workload, old) in workloads {
                let Some(new) = report.extra(watcher, workload) else {
                    rises.push(format!("{watcher}, {workload}: was not measured"));
                    continue;
                };
                let allowed = above(exact(*old), self.tolerance.percent) + self.tolerance.instructions;
                if new > allowed {
                    rises.push(format!("{watcher}, {workload}: {new:.0} instructions, {old} were recorded"));
                }
            }
        }
        rises.extend(self.start_rises(
            &recorded.start,
            report,
            |watched| watched.busy,
            "million instructions",
        ));
        rises.extend(self.start_rises(&recorded.ready, report, |watched| watched.ready, "ms"));
        rises.extend(self.verifier_rises(recorded, report));
        rises
    }

    fn start_rises(
        &self,
        recorded: &BTreeMap<String, i64>,
        report: &Report,
        measure: impl Fn(&Watched) -> Option<Spread>,
        unit: &str,
    ) -> Vec<String> {
        let rise = |(watcher, old): (&String, &i64)| {
            let new = measure(report.watched(watcher)?)?.median / 1e6;
            let rises = new > above(exact(*old), self.tolerance.start_percent);
            rises.then(|| format!("{watcher}: a start takes {new:.0} {unit}, not {old}"))
        };
        recorded.iter().filter_map(rise).collect()
    }

    fn verifier_rises(&self, recorded: &Recorded, report: &Report) -> Vec<String> {
        let programs = report.hooks.iter().map(|hook| &hook.program);
        programs
            .filter_map(|program| {
                let old = *recorded.verified.get(&program.watcher)?.get(&program.name)?;
                let new = program.verified?;
                let rises = f64::from(new) > above(old.into(), self.tolerance.percent);
                let Program { watcher, name, .. } = program;
                rises.then(|| {
                    format!("{watcher}, {name}: the verifier walks through {new} instructions, not {old}")
                })
            })
            .collect()
    }
}

impl Limit {
    /// What is wrong with it: it is broken, or it is met where that was not expected any more.
    fn complaint(&self, report: &Report) -> Option<String> {
        let Self { watcher, workload, at_most, .. } = self;
        match (broken(self, report), self.not_met_on.contains(&report.kernel)) {
            (Some(broken), false) => Some(broken),
            (None, true) if report.extra(watcher, workload).is_some() => Some(format!(
                "{watcher}, {workload}: the limit {at_most} is met by now (remedy: take {} out of not_met_on)",
                report.kernel
            )),
            _ => None,
        }
    }
}

fn above(figure: f64, percent: f64) -> f64 {
    (figure.max(0.0) * percent).mul_add(0.01, figure)
}

/// What a limit says of a report that breaks it. What was not measured breaks nothing: who is missing is told otherwise.
fn broken(limit: &Limit, report: &Report) -> Option<String> {
    let Limit { watcher, workload, at_most, of, .. } = limit;
    let extra = report.extra(watcher, workload)?;
    let measure = || report.extra(ONE_LINER, ACCEPTED);
    let (figure, unit) = match of {
        Measure::Instructions => (extra, "instructions"),
        Measure::OneLiners => (extra / measure()?, "times the one-liner"),
        Measure::OneLinersPerKprobe => {
            let hits = report.kprobe_hits(watcher, workload);
            (extra / hits / measure()?, "times the one-liner for each kprobe")
        }
        Measure::OneListeners => (extra / report.extra(watcher, &growth_name(1))?, "times that of one"),
    };
    (figure > *at_most).then(|| format!("{watcher}, {workload}: {figure:.2} {unit}, {at_most} is the limit"))
}

#[cfg(test)]
mod tests;
