//! Prometheus' own exporter of a host's figures, which `cargo xtask bench user` measures beside the daemon: that of PATH,
//! else Debian's, unpacked and never installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::debian::Archive;
use crate::cache::Cache;
use crate::toolchain_layout::find_on_path;

const PACKAGE: &str = "prometheus-node-exporter";

pub(crate) fn provide(cache: &Cache) -> Result<PathBuf> {
    if let Some(installed) = find_on_path(PACKAGE).or_else(|| find_on_path("node_exporter")) {
        return Ok(installed);
    }
    let root = cache
        .entry(Path::new("node-exporter"), |folder| {
            let suite = Archive::of_this_machine(cache.temporary())?.own_suite()?;
            let versions = suite.versions(PACKAGE)?;
            let newest = versions.first().with_context(|| format!("the suite has no package {PACKAGE}"))?;
            println!("setup: unpacking {newest} of this machine's suite");
            suite.unpack(&[newest.to_string()], folder)
        })
        .with_context(|| {
            format!("setup: {PACKAGE} is not on PATH and could not be unpacked (remedy: install the package)")
        })?;
    let program = root.join("usr/bin").join(PACKAGE);
    ensure!(program.is_file(), "setup: {} is not whole: remove the folder", root.display());
    Ok(program)
}
