//! `cargo xtask dashboards check`: everything, in an order that fails early.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use super::{catalogue, check_boards, files, live, manifests, rules, schema, texts};
use crate::{AlreadyReported, workspace};

/// Compares the files with their source; checks each panel, expression, rule, alert and page of a runbook; validates the
/// dashboards by Grafana's own types; then plays an overflow, asks every expression meanwhile and draws the dashboards
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// This daemon instead of one that is built
    #[arg(long)]
    daemon: Option<PathBuf>,
}

/// Every check of dashboards, rules, alerts and runbooks.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let catalogue = catalogue()?;
    step("dashboards, and every metric in one of them", || check_boards(&catalogue))?;
    step("metrics in texts", || texts::check(&catalogue))?;
    step("rules, alerts, runbooks, by promtool and amtool", || rules::check(&catalogue))?;
    if !workspace::is_root() {
        println!("dashboards: not done, because it needs root: published schemas, the play, the pictures");
        return if workspace::is_continuous_integration() { Err(AlreadyReported.into()) } else { Ok(()) };
    }
    step("dashboards by Grafana's types", || schema::validate(&files()))?;
    step("ready-made files by their published schemas", manifests::validate)?;
    let play = live::Arguments::fast(arguments.daemon.clone());
    step("an overflow, from the packet to the page and the pictures", || live::run(&play))
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("dashboards: {name}");
    let began = Instant::now();
    run()?;
    println!("dashboards: {name}: right ({:.0} s)", began.elapsed().as_secs_f64());
    Ok(())
}
