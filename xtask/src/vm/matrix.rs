//! What a run of the lab shows besides passed and failed: each plan's scenarios on each kernel, and by
//! which variant each hook is attached there.

use std::collections::BTreeMap;

use crate::libtest::{Counts, Outcome, outcome_in};

/// The plans, as `--plan` and the names of the tests have them.
const PLANS: [&str; 3] = ["trampoline", "kprobe", "tracepoint"];

/// Lines of the test binary that are not for people begin so.
const MARK: &str = "MATRIX: ";

/// What a skipped hook has instead of a variant.
const SKIPPED: &str = "-";

/// Of the table of scenarios.
const HEADER: &str = "kernel (passed/failed)";
const HEADER_WITH_UNSUPPORTED: &str = "kernel (passed/failed +not there)";

/// What the tests on one kernel said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// By the module of the tests: a plan, or something else.
    counts: BTreeMap<String, Counts>,
    /// Plan, hook and variant, in the daemon's order.
    hooks: Vec<[String; 3]>,
    /// By what the kernel lacks and the name of the scenario: its modules.
    unsupported: BTreeMap<(String, String), Vec<String>>,
}

impl Findings {
    /// Takes the next line of the test binary.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(fact) = line.strip_prefix(MARK) {
            let words: Vec<&str> = fact.split(' ').collect();
            if let ["hook", plan, hook, variant] = *words.as_slice() {
                self.hooks.push([plan, hook, variant].map(str::to_owned));
            }
        } else if let Some((name, outcome)) = outcome_in(line)
            && let Some((module, scenario)) = name.split_once("::")
        {
            let counts = self.counts.entry(module.to_owned()).or_default();
            match outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Unsupported(reason) => {
                    counts.unsupported += 1;
                    let key = (reason.to_owned(), scenario.to_owned());
                    self.unsupported.entry(key).or_default().push(module.to_owned());
                }
            }
        }
    }

    fn variant(&self, plan: &str, hook: &str) -> Option<&str> {
        let row = self.hooks.iter().find(|[its_plan, its_hook, _]| its_plan == plan && its_hook == hook)?;
        Some(if row[2] == "skipped" { SKIPPED } else { &row[2] })
    }

    /// `passed/failed` of a plan, or of everything that is no plan's; and behind a `+` what the kernel lacks.
    fn scenarios(&self, plan: Option<&str>) -> String {
        let mut sum = Counts::default();
        for (module, counts) in &self.counts {
            let is_asked_for = match plan {
                Some(plan) => module == plan,
                None => !PLANS.contains(&module.as_str()),
            };
            if is_asked_for {
                sum += *counts;
            }
        }
        match sum {
            _ if sum == Counts::default() => SKIPPED.to_owned(),
            Counts { passed, failed, unsupported: 0, .. } => format!("{passed}/{failed}"),
            Counts { passed, failed, unsupported, .. } => format!("{passed}/{failed} +{unsupported}"),
        }
    }

    /// A line for each scenario of something that the kernel lacks.
    fn unsupported(&self, label: &str) -> String {
        let line = |((reason, scenario), modules): (&(String, String), &Vec<String>)| {
            format!("not on {label}: {scenario} ({}): {reason}\n", modules.join(", "))
        };
        self.unsupported.iter().map(line).collect()
    }
}

/// A kernel that was booted.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Its line, as `vm --kernel` names it.
    pub(crate) label: &'static str,
    pub(crate) release: String,
    pub(crate) findings: Findings,
}

/// All kernels of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix(pub(crate) Vec<Kernel>);

impl Matrix {
    /// Passed and failed scenarios: a row per kernel, a column per plan. Then those that a kernel cannot have.
    pub(crate) fn scenarios(&self) -> String {
        let unsupported = self.0.iter().map(|kernel| kernel.findings.unsupported(kernel.label));
        let unsupported: String = unsupported.collect();
        let header = if unsupported.is_empty() { HEADER } else { HEADER_WITH_UNSUPPORTED };
        let header = [header].into_iter().chain(PLANS).chain(["other"]);
        let row = |kernel: &Kernel| {
            let plans = PLANS.iter().map(|plan| kernel.findings.scenarios(Some(plan)));
            let cells = [kernel.release.clone()].into_iter().chain(plans);
            cells.chain([kernel.findings.scenarios(None)]).collect()
        };
        table(header.map(str::to_owned).collect(), self.0.iter().map(row).collect()) + &unsupported
    }

    /// Variants: a row per hook and plan, a column per kernel. Empty when no test told any.
    pub(crate) fn hooks(&self) -> String {
        let rows = self.rows();
        if rows.is_empty() {
            return String::new();
        }
        let labels = self.0.iter().map(|kernel| kernel.label);
        let header = ["hook", "plan"].into_iter().chain(labels).map(str::to_owned).collect();
        let cells = |(hook, plan): &(String, &str)| {
            let variants = self.0.iter().map(|kernel| kernel.findings.variant(plan, hook).unwrap_or("?"));
            [hook.as_str(), plan].into_iter().chain(variants).map(str::to_owned).collect()
        };
        table(header, rows.iter().map(cells).collect())
    }

    /// Whether each kernel has told about each plan.
    pub(crate) fn is_complete(&self) -> bool {
        let told =
            |kernel: &Kernel, plan| kernel.findings.hooks.iter().any(|[its_plan, ..]| its_plan == plan);
        !self.0.is_empty() && self.0.iter().all(|kernel| PLANS.iter().all(|plan| told(kernel, plan)))
    }

    /// Every hook under every plan, in the order in which the daemon has them.
    fn rows(&self) -> Vec<(String, &'static str)> {
        let mut hooks: Vec<&String> = Vec::new();
        for [_, hook, _] in self.0.iter().flat_map(|kernel| &kernel.findings.hooks) {
            if !hooks.contains(&hook) {
                hooks.push(hook);
            }
        }
        hooks.into_iter().flat_map(|hook| PLANS.map(|plan| (hook.clone(), plan))).collect()
    }
}

/// Text that is a table on a terminal as well as in Markdown.
fn table(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let cells = [&header].into_iter().chain(&rows).filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(&header) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn matrix(lines: &str) -> Matrix {
        let mut findings = Findings::default();
        lines.lines().for_each(|line| findings.line(line));
        Matrix(vec![Kernel { label: "6.1", release: "6.1.0-56".to_owned(), findings }])
    }

    #[test]
    fn scenarios_are_counted_by_plan() {
        let matrix = matrix(
            "running 4 tests\ntest kprobe::a     ... ok\ntest kprobe::long ... FAILED\ntest no_hooks::b ... ok\n\
             test result: FAILED. 3 passed; 1 failed; 0 ignored\n",
        );
        let expected = "\
| kernel (passed/failed) | trampoline | kprobe | tracepoint | other |
| ---------------------- | ---------- | ------ | ---------- | ----- |
| 6.1.0-56               | -          | 1/1    | -          | 1/0   |
";
        assert_eq!(matrix.scenarios(), expected);
        assert_eq!(matrix.hooks(), "");
    }

    #[test]
    fn what_a_kernel_lacks_is_told_with_its_reason() {
        let matrix = matrix(
            "test kprobe::a ... ok\ntest kprobe::moves ... ignored (no tcp_migrate_req)\n\
             test tracepoint::moves    ... ignored (no tcp_migrate_req)\ntest other::b ... ignored\n",
        );
        let expected = "\
| kernel (passed/failed +not there) | trampoline | kprobe | tracepoint | other |
| --------------------------------- | ---------- | ------ | ---------- | ----- |
| 6.1.0-56                          | -          | 1/0 +1 | 0/0 +1     | -     |
not on 6.1: moves (kprobe, tracepoint): no tcp_migrate_req
";
        assert_eq!(matrix.scenarios(), expected);
    }

    #[test]
    fn hooks_have_a_row_for_each_plan() {
        let matrix =
            matrix("MATRIX: hook kprobe last_ack kprobe\nMATRIX: hook tracepoint last_ack skipped\n");
        let expected = "\
| hook     | plan       | 6.1    |
| -------- | ---------- | ------ |
| last_ack | trampoline | ?      |
| last_ack | kprobe     | kprobe |
| last_ack | tracepoint | -      |
";
        assert_eq!(matrix.hooks(), expected);
        assert!(!matrix.is_complete());
    }
}
