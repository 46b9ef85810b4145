//! Validation against what Grafana publishes of its own types: @grafana/schema, made into JSON schemas.
//!
//! It finds misspelt keys and values that Grafana does not know. What a panel makes of its options is not in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::processes;
use crate::toolchain_layout::find_on_path;

/// The packages in the versions that the script was written for.
const PACKAGES: [&str; 3] = ["@grafana/schema@13.2.3", "ts-json-schema-generator@2.4.0", "ajv@8.20.0"];
/// Raised when the packages change: the cache keeps one folder for each.
const EDITION: &str = "13.2.3-1";
const SCRIPT: &str = include_str!("schema.mjs");

/// Validates dashboards; the script prints what is wrong, one line each.
pub(super) fn validate(files: &[PathBuf]) -> Result<()> {
    let (Some(node), Some(npm)) = (find_on_path("node"), find_on_path("npm")) else {
        bail!("dashboards: node and npm are not on the PATH; remedy: install Node.js 20 or later");
    };
    let folder = packages(&npm)?;
    let mut command = Command::new(node);
    // As an argument, so that its imports are looked for in the folder of the packages.
    command.args(["--input-type=module", "--eval", SCRIPT, "--"]).args(files).current_dir(folder);
    processes::run(&mut command).map_err(|_| crate::AlreadyReported.into())
}

fn packages(npm: &Path) -> Result<PathBuf> {
    let cache = Cache::open()?;
    cache.entry(&Path::new("grafana-schema").join(EDITION), |folder| {
        println!("setup: {}", PACKAGES.join(", "));
        let mut install = Command::new(npm);
        // No scripts of packages: types and two libraries need none.
        install.args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--prefix",
        ]);
        install.arg(folder).args(PACKAGES).current_dir(folder);
        processes::output_of(&mut install).map(drop).context("setup: no @grafana/schema")
    })
}
