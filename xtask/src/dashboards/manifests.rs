//! Validation against what is published of the schemas of Kubernetes, the Prometheus operator and Compose, as npm packages.
//!
//! It finds misspelt keys and values of the wrong type. What a cluster or Docker makes of the files is not in it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::libraries::Libraries;
use crate::{AlreadyReported, processes, setup, workspace};

const FOLDERS: [&str; 3] = ["dashboards/kubernetes", "dashboards/compose", "packaging/kubernetes"];

const LIBRARIES: Libraries = Libraries {
    name: "manifest-schemas",
    what: "published schemas of manifests (130 MB)",
    package: include_str!("manifests/package.json"),
    lock: include_str!("manifests/package-lock.json"),
    types: include_str!("manifests/tsconfig.json"),
};
const SCRIPT: &str = include_str!("manifests/manifests.mjs");

/// Validates all manifests; the script prints what is wrong, one line each.
pub(super) fn validate() -> Result<()> {
    let browser = setup::browser()?;
    let folder = LIBRARIES.provide(&browser)?;
    let repository = workspace::root();
    let mut command = browser.node(&folder, &[&repository]);
    // As an argument, so that its imports are looked for in the folder of the packages.
    command.args(["--input-type=module", "--eval", SCRIPT, "--"]).args(files()?);
    processes::run(&mut command).map_err(|_| AlreadyReported.into())
}

fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let folder = workspace::root().join(folder);
        let advice = || format!("dashboards: cannot read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(advice)? {
            files.push(entry.with_context(advice)?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_no_registry() {
        LIBRARIES.check_lock_file();
    }
}
