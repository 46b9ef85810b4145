//! The figures as tables, and as JSON in `target/bench/user.json`.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{flood, others, probe, simulated};
use crate::bench::spread::median;
use crate::bench::stage;
use crate::bench::table::{self, Style};

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) probe: Vec<probe::Figures>,
    pub(super) others: Vec<others::Figures>,
    pub(super) flood: Vec<flood::Figures>,
    pub(super) simulated: simulated::Figures,
}

/// The name of the file with the figures.
const FIGURES: &str = "user";

/// Those of the last run.
pub(super) fn last() -> Result<Figures> {
    stage::last_figures(FIGURES)
}

/// Writes them, with what they were measured on.
pub(super) fn keep(figures: &Figures) -> Result<()> {
    let mut document = serde_json::to_value(figures)?;
    if let Some(fields) = document.as_object_mut() {
        fields.insert("machine".to_owned(), stage::machine());
    }
    stage::write_figures(FIGURES, &document)
}

pub(super) fn tell(figures: &Figures, style: Style) {
    let titles = [
        ("the daemon", of_the_probe(&figures.probe)),
        ("others, each time that they are asked", of_others(&figures.others)),
        ("the daemon, what comes and what of a CPU it takes", of_floods(&figures.flood)),
        ("rendering (simulated hosts, everything is measured)", of_rendering(&figures.simulated.rendering)),
        ("other numbers of CPUs (simulated)", of_processors(&figures.simulated.processors)),
    ];
    for (title, rows) in titles.into_iter().filter(|(_, rows)| rows.len() > 1) {
        println!("\n{title}\n\n{}", table::text(&rows, style));
    }
}

fn row<const COLUMNS: usize>(cells: [String; COLUMNS]) -> Vec<String> {
    cells.to_vec()
}

fn headings<const COLUMNS: usize>(names: [&str; COLUMNS]) -> Vec<String> {
    row(names.map(str::to_owned))
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{:.1}", kibibytes as f64 / 1024.0)
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// What is told of the daemon.
const COLUMNS: [&str; 19] = [
    "listeners",
    "ready s",
    "resident MiB",
    "of it maps",
    "highest MiB",
    "maps MiB",
    "rows",
    "idle CPU %",
    "load CPU %",
    "scrape ms",
    "p99 ms",
    "CPU ms",
    "KiB",
    "gzip ms",
    "CPU ms",
    "gzip KiB",
    "all ports ms",
    "CPU ms",
    "KiB",
];

fn of_the_probe(figures: &[probe::Figures]) -> Vec<Vec<String>> {
    let line = |one: &probe::Figures| {
        row([
            one.listeners.to_string(),
            format!("{:.2}", one.seconds_to_ready),
            mebibytes(one.resident_kibibytes),
            mebibytes(one.mapped_kibibytes),
            mebibytes(one.highest_kibibytes),
            mebibytes(one.map_bytes / 1024),
            one.rows.to_string(),
            format!("{:.3}", 100.0 * one.cpu_idle),
            percent(one.cpu_under_load),
            format!("{:.1}", one.scrape.median_milliseconds),
            format!("{:.1}", one.scrape.slow_milliseconds),
            format!("{:.1}", one.scrape.cpu_milliseconds),
            (one.scrape.bytes / 1024).to_string(),
            format!("{:.1}", one.gzip_scrape.median_milliseconds),
            format!("{:.1}", one.gzip_scrape.cpu_milliseconds),
            (one.gzip_scrape.bytes / 1024).to_string(),
            format!("{:.1}", one.whole_scrape.median_milliseconds),
            format!("{:.1}", one.whole_scrape.cpu_milliseconds),
            (one.whole_scrape.bytes / 1024).to_string(),
        ])
    };
    std::iter::once(headings(COLUMNS)).chain(figures.iter().map(line)).collect()
}

fn of_others(figures: &[others::Figures]) -> Vec<Vec<String>> {
    let names = ["what", "listeners", "ms", "p99 ms", "CPU ms", "KiB", "resident MiB", "idle CPU %"];
    let line = |one: &others::Figures| {
        row([
            one.what.clone(),
            one.listeners.to_string(),
            format!("{:.1}", one.median_milliseconds),
            format!("{:.1}", one.slow_milliseconds),
            format!("{:.1}", one.cpu_milliseconds),
            (one.bytes / 1024).to_string(),
            one.resident_kibibytes.map_or_else(String::new, mebibytes),
            one.cpu_idle.map_or_else(String::new, percent),
        ])
    };
    std::iter::once(headings(names)).chain(figures.iter().map(line)).collect()
}

fn of_floods(figures: &[flood::Figures]) -> Vec<Vec<String>> {
    let trickle = figures.iter().find(|one| one.is_trickle());
    let line = |one: &flood::Figures| {
        let least = one.cpu.iter().copied().fold(f64::INFINITY, f64::min);
        let most = one.cpu.iter().copied().fold(0.0, f64::max);
        let per_second = table::whole(one.per_second);
        let more = trickle.filter(|_| one.is_flood()).and_then(|trickle| one.above(trickle));
        let more = more.map_or_else(String::new, |more| {
            let [lower, middle, upper] = [more.lower, more.middle, more.upper].map(percent);
            format!("{middle} ({lower}..{upper})")
        });
        let what = one.kind.words().to_owned();
        row([what, per_second, percent(median(&one.cpu)), percent(least), percent(most), more])
    };
    let names =
        ["what comes", "a second", "CPU %, median", "least", "most", "more than by a connection (95 %)"];
    std::iter::once(headings(names)).chain(figures.iter().map(line)).collect()
}

fn of_rendering(figures: &[simulated::Rendering]) -> Vec<Vec<String>> {
    let names = ["ports", "allocations", "allocated KiB", "body KiB", "ms"];
    let line = |one: &simulated::Rendering| {
        row([
            one.ports.to_string(),
            one.allocations.to_string(),
            (one.allocated_bytes / 1024).to_string(),
            (one.body_bytes / 1024).to_string(),
            format!("{:.1}", one.milliseconds),
        ])
    };
    std::iter::once(headings(names)).chain(figures.iter().map(line)).collect()
}

fn of_processors(figures: &[simulated::Processors]) -> Vec<Vec<String>> {
    let names = ["CPUs", "listeners", "rows", "maps MiB", "reading the rows ms"];
    let line = |one: &simulated::Processors| {
        row([
            one.cpus.to_string(),
            one.listeners.to_string(),
            one.rows.to_string(),
            mebibytes(one.map_bytes / 1024),
            format!("{:.2}", one.reading_milliseconds),
        ])
    };
    std::iter::once(headings(names)).chain(figures.iter().map(line)).collect()
}
