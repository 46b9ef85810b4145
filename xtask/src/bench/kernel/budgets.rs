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
use super::report::{Report, Watched};
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
    };
    (figure > *at_most).then(|| format!("{watcher}, {workload}: {figure:.2} {unit}, {at_most} is the limit"))
}

#[cfg(test)]
mod tests {
    use super::super::report::{Hook, Work};
    use super::*;

    const BY_HAND: &str = "# Why.\n\
        [tolerance]\npercent = 5\ninstructions = 30\nstart_percent = 10\n\n\
        [[limit]]\nwatcher = \"ours\"\nworkload = \"accepted\"\nat_most = 1.5\nof = \"one-liners\"\n\n\
        [[limit]]\nwatcher = \"ours\"\nworkload = \"accepted\"\nat_most = 0.5\nof = \"one-liners-per-kprobe\"\n\n\
        [[limit]]\nwatcher = \"ours\"\nworkload = \"syn_dropped\"\nat_most = 400\nof = \"instructions\"\n";

    fn exactly(figure: f64) -> Spread {
        Spread { median: figure, lower_quartile: figure, upper_quartile: figure }
    }

    fn watched(name: &str, accepted: f64, dropped: f64) -> Watched {
        let extra = [("accepted", accepted), ("syn_dropped", dropped)];
        Watched {
            name: name.to_owned(),
            failed: None,
            ready: Some(exactly(2e9)),
            busy: Some(exactly(1e9)),
            extra: extra.map(|(workload, figure)| (workload.to_owned(), exactly(figure))).into(),
        }
    }

    /// The one-liner costs 1,000; our one program is verified in so many instructions and runs four times.
    fn report(accepted: f64, dropped: f64, verified: u32) -> Report {
        let program = Program {
            watcher: "ours".to_owned(),
            id: 1,
            name: "kprobe_a".to_owned(),
            verified: Some(verified),
            translated_bytes: None,
            jited_bytes: 1,
        };
        let work = BTreeMap::from([(ACCEPTED.to_owned(), Work { runs: 4.0, instructions: 1.0 })]);
        Report {
            kernel: "6.1".to_owned(),
            watchers: vec![watched(ONE_LINER, 1000.0, 0.0), watched("ours", accepted, dropped)],
            hooks: vec![Hook { program, work }],
            ..Report::default()
        }
    }

    /// Those that were recorded of the first report.
    fn budgets() -> Budgets {
        let recorded =
            BTreeMap::from([("6.1".to_owned(), recorded_of(&report(1000.0, 100.0, 200), &["ours"]))]);
        toml::from_str(&with_recorded(BY_HAND, &recorded).unwrap()).unwrap()
    }

    #[test]
    fn what_is_recorded_keeps_what_is_written_by_hand() {
        let recorded =
            BTreeMap::from([("6.1".to_owned(), recorded_of(&report(1000.4, 100.0, 200), &["ours"]))]);
        let once = with_recorded(BY_HAND, &recorded).unwrap();
        assert!(once.starts_with(BY_HAND), "{once}");
        assert_eq!(with_recorded(&once, &recorded).unwrap(), once);
        let budgets: Budgets = toml::from_str(&once).unwrap();
        assert_eq!(budgets.recorded, recorded);
        assert_eq!(budgets.recorded["6.1"].extra["ours"]["accepted"], 1000);
        assert!(!budgets.recorded["6.1"].extra.contains_key(ONE_LINER));
    }

    #[test]
    fn the_same_figures_are_within_the_budget() {
        assert_eq!(budgets().complaints(&report(1000.0, 100.0, 200)), [""; 0]);
        // 5 % and 30 instructions more.
        assert_eq!(budgets().complaints(&report(1079.0, 134.0, 209)), [""; 0]);
    }

    #[test]
    fn a_limit_that_is_known_to_be_broken_is_told_until_it_is_met() {
        let known = BY_HAND.replace("at_most = 400\n", "at_most = 400\nnot_met_on = [\"6.1\"]\n");
        let recorded = BTreeMap::from([("6.1".to_owned(), Recorded::default())]);
        let check = |dropped: f64, expected_known: &[&str], expected: &[&str]| {
            let budgets: Budgets = toml::from_str(&with_recorded(&known, &recorded).unwrap()).unwrap();
            assert_eq!(budgets.known(&report(1000.0, dropped, 200)), expected_known);
            assert_eq!(budgets.complaints(&report(1000.0, dropped, 200)), expected);
        };
        check(450.0, &["6.1: not met yet: ours, syn_dropped: 450.00 instructions, 400 is the limit"], &[]);
        let met = "6.1: ours, syn_dropped: the limit 400 is met by now (remedy: take 6.1 out of not_met_on)";
        check(400.0, &[], &[met]);
    }

    #[test]
    fn a_rise_names_kernel_watcher_and_workload() {
        let complaints = budgets().complaints(&report(1081.0, 100.0, 200));
        assert_eq!(complaints, ["6.1: ours, accepted: 1081 instructions, 1000 were recorded"]);
        let complaints = budgets().complaints(&report(1000.0, 100.0, 300));
        assert_eq!(complaints, ["6.1: ours, kprobe_a: the verifier walks through 300 instructions, not 200"]);
    }

    #[test]
    fn a_slower_start_is_a_rise() {
        let complaints = |ready, busy| {
            let mut slow = report(1000.0, 100.0, 200);
            slow.watchers[1].ready = Some(exactly(ready));
            slow.watchers[1].busy = Some(exactly(busy));
            budgets().complaints(&slow)
        };
        assert_eq!(complaints(2e9, 1.2e9), ["6.1: ours: a start takes 1200 million instructions, not 1000"]);
        assert_eq!(complaints(2.5e9, 1e9), ["6.1: ours: a start takes 2500 ms, not 2000"]);
        assert_eq!(complaints(2.1e9, 1.05e9), [""; 0]);
    }

    #[test]
    fn limits_hold_against_the_one_liner_of_the_same_boot() {
        let complaints = budgets().complaints(&report(2100.0, 500.0, 200)).join("\n");
        assert!(
            complaints.contains("ours, accepted: 2.10 times the one-liner, 1.5 is the limit"),
            "{complaints}"
        );
        assert!(complaints.contains("0.53 times the one-liner for each kprobe, 0.5"), "{complaints}");
        assert!(
            complaints.contains("ours, syn_dropped: 500.00 instructions, 400 is the limit"),
            "{complaints}"
        );
    }

    #[test]
    fn what_was_recorded_has_to_be_measured() {
        let mut missing = report(1000.0, 100.0, 200);
        missing.watchers.pop();
        let complaints = budgets().complaints(&missing);
        assert!(complaints.contains(&"6.1: ours, accepted: was not measured".to_owned()), "{complaints:?}");
        missing.kernel = "7.9".to_owned();
        assert_eq!(budgets().complaints(&missing), ["7.9: no figures are recorded (remedy: --record)"]);
    }

    #[test]
    fn the_real_file_can_be_read() {
        let budgets = read().unwrap();
        assert_eq!(budgets.limits.len(), 4);
        assert!(budgets.tolerance.percent > 0.0);
    }
}
