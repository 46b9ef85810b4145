//! Validation against what Grafana publishes of its own types: @grafana/schema, made into JSON schemas.
//!
//! It finds misspelt keys and values that Grafana does not know. What a panel makes of its options is not in it.

use std::path::PathBuf;

use anyhow::Result;

use super::libraries;
use crate::{AlreadyReported, processes, setup, workspace};

const SCRIPT: &str = include_str!("render/schema.mjs");

/// Validates dashboards; the script prints what is wrong, one line each.
pub(super) fn validate(files: &[PathBuf]) -> Result<()> {
    let browser = setup::browser()?;
    let folder = libraries::GRAFANA.provide(&browser)?;
    let repository = workspace::root();
    let mut command = browser.node(&folder, &[&repository]);
    // As an argument, so that its imports are looked for in the folder of the packages.
    command.args(["--input-type=module", "--eval", SCRIPT, "--"]).args(files);
    processes::run(&mut command).map_err(|_| AlreadyReported.into())
}
