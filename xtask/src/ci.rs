//! `cargo xtask ci`: all checks, in an order that fails early.

use anyhow::Result;

use crate::{dashboards, lint, metrics_docs, setup, test, tidy};

pub(crate) fn run() -> Result<()> {
    step("tidy", tidy::run)?;
    step("setup", || setup::run(&setup::Arguments::default()))?;
    step("lint", || lint::run(&lint::Arguments { install: true }))?;
    step("metrics-docs", || metrics_docs::run(&metrics_docs::Arguments { check: true }))?;
    step("dashboards check", || dashboards::check::run(&dashboards::check::Arguments::default()))?;
    // Last: it ends with the summary line.
    step("test", || test::run(&test::Arguments::default()))
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> cargo xtask {name}");
    run()
}
