//! `cargo xtask package test`.

use anyhow::Result;

/// Installs, runs, upgrades and removes the package for Debian
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> Result<()> {
    Ok(())
}
