//! A report as tables.

use super::inside::GROWTH;
use super::report::{Figures, Hook, Report, Watched, growth_name};
use super::statistics::Spread;
use super::watchers::{NOTHING, ONE_LINER};
use super::workloads::{WORKLOADS, Workload};
use crate::bench::table::{Table, whole};

const BY_HOOK: [Workload; 3] = [Workload::Accepted, Workload::SynDropped, Workload::SynCookie];

/// All tables of a kernel.
pub(super) fn of(report: &Report) -> Vec<Table> {
    let mut tables = in_brief(report);
    let mut names: Vec<&str> = report.hooks.iter().map(|hook| hook.program.watcher.as_str()).collect();
    names.dedup();
    tables.extend(names.into_iter().map(|name| hooks(report, name)));
    tables
}

/// Those for a document: not program by program.
pub(super) fn in_brief(report: &Report) -> Vec<Table> {
    vec![costs(report), growth(report), starts(report)]
}

fn title(report: &Report, rest: &str) -> String {
    format!("{} ({}): {rest}", report.kernel, report.release)
}

fn costs(report: &Report) -> Table {
    let names = WORKLOADS.map(Workload::name);
    let mut head = vec!["watched by".to_owned()];
    head.extend(names.map(str::to_owned));
    head.push("against the one-liner".to_owned());
    let mut bare = vec![NOTHING.to_owned()];
    bare.extend(names.map(|name| cell(&report.bare, name, "")));
    bare.push(String::new());
    let mut rows = vec![bare];
    for watched in &report.watchers {
        let mut row = vec![watched.name.clone()];
        row.extend(names.map(|name| cell(&watched.extra, name, "+")));
        row.push(ratio(report, &watched.name));
        explain(watched, &mut row);
        rows.push(row);
    }
    Table { title: title(report, "instructions per connection or packet, median (quartiles)"), head, rows }
}

/// The reason stands in place of the figures.
fn explain(watched: &Watched, row: &mut Vec<String>) {
    if let Some(reason) = &watched.failed {
        row.truncate(1);
        row.push(reason.clone());
    }
}

fn ratio(report: &Report, name: &str) -> String {
    let accepted = Workload::Accepted.name();
    match (report.extra(name, accepted), report.extra(ONE_LINER, accepted)) {
        (Some(extra), Some(measure)) => format!("{:.2}", extra / measure),
        _ => String::new(),
    }
}

fn cell(figures: &Figures, name: &str, sign: &str) -> String {
    figures.get(name).map_or_else(|| "-".to_owned(), |spread| with_quartiles(spread, sign))
}

fn with_quartiles(spread: &Spread, sign: &str) -> String {
    let sign = if spread.median < 0.0 { "" } else { sign };
    let (lower, upper) = (whole(spread.lower_quartile), whole(spread.upper_quartile));
    format!("{sign}{} ({lower}..{upper})", whole(spread.median))
}

fn growth(report: &Report) -> Table {
    let mut head = vec!["watched by".to_owned()];
    head.extend(GROWTH.map(|count| format!("{} listeners", whole(f64::from(count)))));
    let measured = report.watchers.iter().filter(|watched| watched.extra.contains_key(&growth_name(1)));
    let row = |watched: &Watched| {
        let mut row = vec![watched.name.clone()];
        row.extend(GROWTH.map(|count| cell(&watched.extra, &growth_name(count), "")));
        row
    };
    let rows = measured.map(row).collect();
    Table {
        title: title(report, "instructions of its programs per accepted connection while many listen"),
        head,
        rows,
    }
}

fn starts(report: &Report) -> Table {
    let head =
        ["started", "ms until ready", "millions of instructions of its own"].map(str::to_owned).to_vec();
    let millions = |spread: &Spread| whole(spread.median / 1e6);
    let rows = report
        .watchers
        .iter()
        .filter_map(|watched| {
            let (ready, busy) = (watched.ready.as_ref()?, watched.busy.as_ref()?);
            Some(vec![watched.name.clone(), millions(ready), millions(busy)])
        })
        .collect();
    Table {
        title: title(report, "from the start until ready, where a million instructions take a millisecond"),
        head,
        rows,
    }
}

fn hooks(report: &Report, watcher: &str) -> Table {
    let mut head: Vec<String> = ["program", "verified", "translated", "jited"].map(str::to_owned).to_vec();
    for workload in BY_HOOK {
        head.push(format!("{}: runs", workload.name()));
        head.push("each".to_owned());
    }
    let of_it: Vec<&Hook> = report.hooks.iter().filter(|hook| hook.program.watcher == watcher).collect();
    let mut rows: Vec<Vec<String>> = of_it.iter().map(|hook| hook_row(hook)).collect();
    rows.push(sum(&of_it));
    Table { title: title(report, &format!("programs of {watcher}, instructions of a run")), head, rows }
}

fn hook_row(hook: &Hook) -> Vec<String> {
    let or_not = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| whole(number.into()));
    let program = &hook.program;
    let mut row = vec![program.name.clone(), or_not(program.verified), or_not(program.translated_bytes)];
    row.push(whole(program.jited_bytes.into()));
    for workload in BY_HOOK {
        let work = hook.work.get(workload.name());
        row.push(work.map_or_else(String::new, |work| format!("{:.2}", work.runs)));
        row.push(work.map_or_else(String::new, |work| whole(work.instructions)));
    }
    row
}

/// All of a watcher's programs together, and what they do for one connection or packet.
fn sum(hooks: &[&Hook]) -> Vec<String> {
    let verified: u32 = hooks.iter().filter_map(|hook| hook.program.verified).sum();
    let translated: u32 = hooks.iter().filter_map(|hook| hook.program.translated_bytes).sum();
    let jited: u32 = hooks.iter().map(|hook| hook.program.jited_bytes).sum();
    let mut row = vec!["all of them".to_owned()];
    row.extend([verified, translated, jited].map(|number| whole(number.into())));
    for workload in BY_HOOK {
        let work = || hooks.iter().filter_map(|hook| hook.work.get(workload.name()));
        // A sum of nothing is -0.
        row.push(format!("{:.2}", work().map(|work| work.runs).sum::<f64>().abs()));
        row.push(whole(work().map(|work| work.runs * work.instructions).sum()));
    }
    row
}
