//! What came of a machine: the lines that it told, as figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lines::{Line, Program};
use super::statistics::{Spread, median};
use super::watchers::NOTHING;

/// By the name of a workload.
pub(super) type Figures = BTreeMap<String, Spread>;

/// One kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The lab's name for it.
    pub(super) kernel: String,
    pub(super) release: String,
    /// Instructions without anybody.
    pub(super) bare: Figures,
    /// In the order in which they were measured.
    pub(super) watchers: Vec<Watched>,
    pub(super) hooks: Vec<Hook>,
}

/// What a watcher costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) name: String,
    /// Why it could not be measured.
    pub(super) failed: Option<String>,
    /// From its start until it was ready, in instructions and waits.
    pub(super) ready: Option<Spread>,
    /// The instructions of it that were its own.
    pub(super) busy: Option<Spread>,
    /// Instructions above those without anybody; of the workloads with many listeners those of its programs.
    pub(super) extra: Figures,
}

/// What one program of a watcher does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hook {
    #[serde(flatten)]
    pub(super) program: Program,
    /// By the name of a workload.
    pub(super) work: BTreeMap<String, Work>,
}

/// What it does for each connection or packet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) runs: f64,
    /// Of a run.
    pub(super) instructions: f64,
}

impl Report {
    /// Reads what a machine told.
    pub(super) fn of(kernel: &str, release: &str, lines: &[Line]) -> Self {
        let slots = Slots::of(lines);
        let mut report = Self {
            kernel: kernel.to_owned(),
            release: release.to_owned(),
            bare: slots.bare(),
            ..Self::default()
        };
        for name in names(lines) {
            report.watchers.push(watched(&name, lines, &slots));
        }
        report.hooks = hooks(lines);
        report
    }

    /// What a watcher adds to a workload.
    pub(super) fn extra(&self, watcher: &str, workload: &str) -> Option<f64> {
        Some(self.watched(watcher)?.extra.get(workload)?.median)
    }

    pub(super) fn watched(&self, name: &str) -> Option<&Watched> {
        self.watchers.iter().find(|watched| watched.name == name)
    }

    /// How often a watcher's kprobes and kretprobes are hit by a connection or packet of a workload. Its tracepoints, which
    /// are far cheaper, are not among them.
    pub(super) fn kprobe_hits(&self, watcher: &str, workload: &str) -> f64 {
        let is_kprobe = |name: &str| name.starts_with("kprobe") || name.starts_with("kretprobe");
        let hooks =
            self.hooks.iter().filter(|hook| hook.program.watcher == watcher && is_kprobe(&hook.program.name));
        hooks.filter_map(|hook| hook.work.get(workload)).map(|work| work.runs).sum::<f64>().abs()
    }
}

/// The name of a workload with so many listeners.
pub(super) fn growth_name(listeners: u16) -> String {
    format!("accepted, {listeners} listeners")
}

/// The watchers in the order in which they come.
fn names(lines: &[Line]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in lines {
        let (Line::Batches { watcher, .. } | Line::Failed { watcher, .. }) = line else { continue };
        if watcher != NOTHING && !names.contains(watcher) {
            names.push(watcher.clone());
        }
    }
    names
}

fn watched(name: &str, lines: &[Line], slots: &Slots<'_>) -> Watched {
    let (mut ready, mut on_processor) = (Vec::new(), Vec::new());
    let mut of_programs: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    let mut failed = None;
    for line in lines {
        match line {
            Line::Ready { watcher, instructions, busy } if watcher == name => {
                ready.push(*instructions);
                on_processor.push(*busy);
            }
            Line::Failed { watcher, reason } if watcher == name => failed = Some(reason.clone()),
            Line::OfPrograms { watcher, workload, instructions } if watcher == name => {
                of_programs.entry(workload).or_default().push(*instructions);
            }
            _ => {}
        }
    }
    let (ready, busy) = (Spread::of(&ready), Spread::of(&on_processor));
    // What it did before it failed may have been nothing.
    let mut extra = if failed.is_some() { Figures::new() } else { slots.extra(name) };
    extra.extend(
        of_programs.into_iter().filter_map(|(workload, all)| Some((workload.clone(), Spread::of(&all)?))),
    );
    Watched { name: name.to_owned(), failed, ready, busy, extra }
}

fn hooks(lines: &[Line]) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Program(program) => Some(Hook { program: program.clone(), work: BTreeMap::new() }),
            _ => None,
        })
        .collect();
    for line in lines {
        let Line::Runs { watcher, program, workload, runs, instructions } = line else { continue };
        let is_it = |hook: &&mut Hook| hook.program.id == *program && hook.program.watcher == *watcher;
        if let Some(hook) = hooks.iter_mut().find(is_it) {
            hook.work.insert(workload.clone(), Work { runs: *runs, instructions: *instructions });
        }
    }
    hooks
}

/// The medians of all slots, by workload and in their order in time.
struct Slots<'a>(BTreeMap<&'a str, BTreeMap<u32, (&'a str, f64)>>);

impl<'a> Slots<'a> {
    fn of(lines: &'a [Line]) -> Self {
        let mut slots: BTreeMap<&str, BTreeMap<u32, (&str, f64)>> = BTreeMap::new();
        for line in lines {
            if let Line::Batches { slot, watcher, workload, instructions } = line
                && let Some(cost) = median(instructions)
            {
                slots.entry(workload).or_default().insert(*slot, (watcher, cost));
            }
        }
        Self(slots)
    }

    fn bare(&self) -> Figures {
        self.each_workload(|slots| {
            slots.values().filter(|(watcher, _)| *watcher == NOTHING).map(|(_, cost)| *cost).collect()
        })
    }

    /// Each slot of a watcher against the two without anybody around it: what a connection costs drifts.
    fn extra(&self, name: &str) -> Figures {
        self.each_workload(|slots| {
            let its = slots.iter().filter(|(_, (watcher, _))| *watcher == name);
            its.filter_map(|(slot, (_, cost))| Some(cost - neighbours(slots, *slot)?)).collect()
        })
    }

    fn each_workload(&self, figures: impl Fn(&BTreeMap<u32, (&str, f64)>) -> Vec<f64>) -> Figures {
        let all = self.0.iter();
        all.filter_map(|(workload, slots)| Some(((*workload).to_owned(), Spread::of(&figures(slots))?)))
            .collect()
    }
}

/// The mean of the last slot before and the first after it that had nobody; of one, if there is one only.
fn neighbours(slots: &BTreeMap<u32, (&str, f64)>, slot: u32) -> Option<f64> {
    let bare = |(_, (watcher, cost)): (&u32, &(&str, f64))| (*watcher == NOTHING).then_some(*cost);
    let before = slots.range(..slot).rev().find_map(bare);
    let after = slots.range(slot + 1..).find_map(bare);
    match (before, after) {
        (Some(before), Some(after)) => Some(f64::midpoint(before, after)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(slot: u32, watcher: &str, instructions: &[f64]) -> Line {
        let (watcher, workload) = (watcher.to_owned(), "accepted".to_owned());
        Line::Batches { slot, watcher, workload, instructions: instructions.to_vec() }
    }

    #[test]
    fn a_drift_of_the_bare_cost_does_not_show() {
        let lines = [
            batches(0, NOTHING, &[1000.0]),
            batches(1, "a", &[1110.0]),
            batches(2, NOTHING, &[1020.0]),
            batches(3, "a", &[1130.0]),
            batches(4, NOTHING, &[1040.0]),
        ];
        let report = Report::of("6.1", "6.1.0", &lines);
        assert_eq!(report.extra("a", "accepted"), Some(100.0));
        assert_eq!(report.bare["accepted"].median, 1020.0);
        assert_eq!(report.watchers[0].extra["accepted"].upper_quartile, 100.0);
    }

    #[test]
    fn the_nearest_bare_slots_count_whoever_is_between() {
        let lines = [
            batches(0, NOTHING, &[1000.0]),
            batches(1, "a", &[1100.0]),
            batches(2, "b", &[1200.0]),
            batches(3, NOTHING, &[1000.0, 1000.0, 9000.0]),
        ];
        let report = Report::of("6.1", "6.1.0", &lines);
        assert_eq!(report.extra("a", "accepted"), Some(100.0));
        assert_eq!(report.extra("b", "accepted"), Some(200.0));
    }

    #[test]
    fn the_last_slot_has_one_neighbour() {
        let lines = [batches(0, NOTHING, &[1000.0]), batches(1, "a", &[1100.0])];
        assert_eq!(Report::of("6.1", "", &lines).extra("a", "accepted"), Some(100.0));
        assert_eq!(Report::of("6.1", "", &lines[1..]).extra("a", "accepted"), None);
    }

    #[test]
    fn who_failed_is_there_with_the_reason() {
        let failed = Line::Failed { watcher: "a".to_owned(), reason: "no".to_owned() };
        let report = Report::of("6.1", "", &[batches(0, NOTHING, &[1.0]), batches(1, "a", &[1.0]), failed]);
        assert_eq!(report.watchers[0].failed.as_deref(), Some("no"));
        assert!(report.watchers[0].extra.is_empty());
    }

    #[test]
    fn what_programs_do_while_many_listen_is_compared_with_nothing() {
        let of_programs = |watcher: &str, instructions| {
            let (watcher, workload) = (watcher.to_owned(), growth_name(100));
            Line::OfPrograms { watcher, workload, instructions }
        };
        let lines =
            [batches(0, "a", &[1.0]), of_programs("a", 30.0), of_programs("a", 20.0), of_programs("b", 1.0)];
        assert_eq!(Report::of("6.1", "", &lines).extra("a", "accepted, 100 listeners"), Some(25.0));
    }

    #[test]
    fn runs_are_put_to_their_program() {
        let program = |id, watcher: &str, name: &str| {
            let (watcher, name) = (watcher.to_owned(), name.to_owned());
            Line::Program(Program {
                watcher,
                id,
                name,
                verified: None,
                translated_bytes: None,
                jited_bytes: 1,
            })
        };
        let runs = |program, watcher: &str, runs| Line::Runs {
            watcher: watcher.to_owned(),
            program,
            workload: "accepted".to_owned(),
            runs,
            instructions: 50.0,
        };
        let lines = [
            program(1, "a", "kprobe_x"),
            program(2, "a", "kretprobe_x"),
            program(3, "a", "tp_btf_x"),
            program(1, "b", "kprobe_x"),
            runs(1, "a", 2.0),
            runs(2, "a", 1.0),
            runs(3, "a", 6.0),
        ];
        let report = Report::of("6.1", "", &lines);
        assert_eq!(report.hooks[2].work["accepted"].runs, 6.0);
        assert_eq!(report.kprobe_hits("a", "accepted"), 3.0);
        assert_eq!(report.kprobe_hits("b", "accepted"), 0.0);
    }
}
