//! `cargo xtask bench kernel`: what a connection costs while it is watched, in instructions.
//!
//! A kernel of the lab runs on one emulated processor whose clock counts instructions, so the figures do not depend
//! on what else this machine does. This daemon and its peers watch by turns, in one boot.

mod budgets;
mod document;
mod inside;
mod lab;
mod lines;
mod plot;
mod programs;
mod report;
mod running;
mod statistics;
mod stopwatch;
mod tables;
mod watchers;
mod workloads;

use std::path::PathBuf;

use anyhow::Result;

use self::lab::Contents;
use self::report::Report;
use crate::bench::stage;
use crate::bench::table::Style;
use crate::setup::kernels::TESTED_LINES;
use crate::vm::boot::Shown;
use crate::{AlreadyReported, build, setup};

/// What the kernel's work on a connection costs while it is watched, against a bare kernel and other tools
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A kernel of the lab (5.10, 6.1, 6.12, 7.2); may be repeated
    #[arg(long = "kernel", value_name = "LINE", default_values = TESTED_LINES)]
    kernels: Vec<String>,
    /// How often each watcher has its turn
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    rounds: u32,
    /// Write the tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// Use this tcp-backlog-probe, which has to be static, instead of building one
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// Do not measure: use the last figures of each kernel
    #[arg(long)]
    last: bool,
    /// Fail where something is dearer than budgets.toml allows
    #[arg(long)]
    check: bool,
    /// Put the figures into budgets.toml and docs/PERFORMANCE.md
    #[arg(long)]
    record: bool,
    /// Show everything the machine says
    #[arg(long)]
    verbose: bool,
    /// Everything is where the lab puts it: this is the inside of one of its machines
    #[arg(long, hide = true)]
    inside: bool,
}

/// The command itself.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.inside {
        return inside::run(arguments.rounds);
    }
    let style = Style::of(arguments.markdown);
    let mut reports = if arguments.last { last()? } else { measure(arguments)? };
    reports.retain(|report| arguments.kernels.contains(&report.kernel));
    for table in reports.iter().flat_map(tables::of) {
        print!("{}", table.render(style));
    }
    if arguments.record {
        budgets::record(&reports)?;
        document::write(&reports)?;
        plot::write(&last()?)?;
    }
    if arguments.check { check(&reports) } else { Ok(()) }
}

fn check(reports: &[Report]) -> Result<()> {
    let budgets = budgets::read()?;
    let complaints: Vec<String> = reports.iter().flat_map(|report| budgets.complaints(report)).collect();
    let known = reports.iter().flat_map(|report| budgets.known(report));
    for line in known.chain(complaints.iter().cloned()) {
        println!("bench: {line}");
    }
    if complaints.is_empty() { Ok(()) } else { Err(AlreadyReported.into()) }
}

fn measure(arguments: &Arguments) -> Result<Vec<Report>> {
    let labels: Vec<&str> = arguments.kernels.iter().map(String::as_str).collect();
    let lab = setup::lab(&labels)?;
    let contents = Contents {
        peers: setup::peers()?,
        peers_of_debian_12: setup::peers_of_debian_12()?,
        daemon: arguments.probe.clone().map_or_else(|| build::daemon(true, true), Ok)?,
        xtask: build::static_xtask()?,
    };
    let shown = if arguments.verbose { Shown::Everything } else { Shown::Nothing };
    let mut reports = Vec::new();
    for kernel in &lab.kernels {
        reports.push(lab::measure(&lab, kernel, &contents, arguments.rounds, shown)?);
        // After each: a boot takes long.
        keep(&reports)?;
    }
    Ok(reports)
}

/// The name of the file with the figures.
const FIGURES: &str = "kernel";

/// Writes the figures, in place of the same kernels' former ones.
fn keep(reports: &[Report]) -> Result<()> {
    // What cannot be read is of no use to anybody.
    stage::write_figures(FIGURES, &merged(last().unwrap_or_default(), reports))
}

/// In the lab's order.
fn merged(mut former: Vec<Report>, reports: &[Report]) -> Vec<Report> {
    former.retain(|old| !reports.iter().any(|new| new.kernel == old.kernel));
    former.extend_from_slice(reports);
    former.sort_by_key(|report| TESTED_LINES.iter().position(|label| *label == report.kernel));
    former
}

fn last() -> Result<Vec<Report>> {
    stage::last_figures(FIGURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_figures_replace_its_former_ones_only() {
        let report = |kernel: &str, release: &str| Report {
            kernel: kernel.to_owned(),
            release: release.to_owned(),
            ..Report::default()
        };
        let all = merged(
            vec![report("6.1", "old"), report("7.2", "old")],
            &[report("5.10", "new"), report("6.1", "new")],
        );
        let all: Vec<_> =
            all.iter().map(|report| (report.kernel.as_str(), report.release.as_str())).collect();
        assert_eq!(all, [("5.10", "new"), ("6.1", "new"), ("7.2", "old")]);
    }
}
