//! The dashboards as pictures: Grafana's own components draw them in Chromium, with what a real Prometheus answers.
//!
//! A panel that shows neither its data nor the words that it has for none is a failure, and so is whatever the page complains of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::libraries;
use crate::{AlreadyReported, processes, setup, workspace};

const SCRIPT: &str = include_str!("render/draw.mjs");
const PAGE: &str = "xtask/src/dashboards/render/page";

/// What of a Prometheus is drawn.
pub(super) struct Scene<'a> {
    /// Where it listens.
    pub(super) prometheus: &'a str,
    /// Seconds since 1970.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Seconds between two scrapes.
    pub(super) scrape: u64,
    /// What is chosen as the port, an expression that has to match all of it.
    pub(super) port: &'a str,
}

/// Installs what drawing takes: it may take a while.
pub(super) fn prepare() -> Result<()> {
    libraries::GRAFANA.provide(&setup::browser()?).map(drop)
}

/// Draws the dashboards; `NAME.png` in the folder is the picture of each.
pub(super) fn draw(boards: &[PathBuf], scene: &Scene<'_>, pictures: &Path) -> Result<()> {
    let browser = setup::browser()?;
    let folder = libraries::GRAFANA.provide(&browser)?;
    let advice = || format!("dashboards: cannot write {}", pictures.display());
    fs::create_dir_all(pictures).with_context(advice)?;
    let pictures = pictures.canonicalize().with_context(advice)?;
    let repository = workspace::root();
    // As Grafana chooses it: no more points than there are pixels, and no finer than what is scraped.
    let step = scene.scrape.max(scene.to.saturating_sub(scene.from).div_ceil(800));
    let milliseconds = |seconds: u64| seconds * 1000;
    let order = json!({
        "page": repository.join(PAGE), "boards": boards, "output": pictures, "chromium": browser.chromium,
        "stage": {
            "prometheus": format!("http://{}", scene.prometheus), "port": scene.port, "scrape": scene.scrape,
            "from": milliseconds(scene.from), "to": milliseconds(scene.to), "step": step,
        },
    });
    let mut command = browser.node(&folder, &[&repository, &pictures]);
    command.args(["--input-type=module", "--eval", SCRIPT, "--"]).arg(order.to_string());
    processes::run(&mut processes::tied_to_this_process(command)).map_err(|_| AlreadyReported.into())
}
