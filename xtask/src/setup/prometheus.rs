//! Prometheus and Alertmanager with their tools: what checks the rules, and what the alerts are played on.
//!
//! Those on PATH are used. Else Debian's are unpacked, of this machine's own suite: they need nothing but its libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::debian::Archive;
use crate::cache::Cache;
use crate::processes;
use crate::toolchain_layout::find_on_path;

const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];

/// The programs, each of which works.
pub(crate) struct Prometheus {
    pub(crate) promtool: PathBuf,
    pub(crate) prometheus: PathBuf,
    pub(crate) amtool: PathBuf,
    pub(crate) alertmanager: PathBuf,
    /// What has to be at `/usr/share` for them: unpacked programs look for their templates there.
    pub(crate) share: Option<PathBuf>,
}

/// All of them from PATH, or all of them from the cache: their versions go together.
pub(crate) fn provide(cache: &Cache) -> Result<Prometheus> {
    if let Some(installed) = programs(find_on_path).filter(all_work) {
        return Ok(installed);
    }
    let root = cache.entry(Path::new("prometheus"), |folder| unpack(cache, folder)).context(
        "setup: Prometheus is not on PATH and could not be unpacked (remedy: install the distribution's packages \
         prometheus and prometheus-alertmanager)",
    )?;
    let unpacked = |name: &str| Some(root.join("usr/bin").join(name)).filter(|path| path.is_file());
    let remove = || format!("setup: {} is not whole: remove the folder", root.display());
    let programs = programs(unpacked).with_context(remove)?;
    ensure!(all_work(&programs), "{}", remove());
    Ok(Prometheus { share: Some(root.join("usr/share")), ..programs })
}

fn programs(find: impl Fn(&str) -> Option<PathBuf>) -> Option<Prometheus> {
    Some(Prometheus {
        promtool: find("promtool")?,
        prometheus: find("prometheus")?,
        amtool: find("amtool")?,
        // Debian's name is the longer one.
        alertmanager: find("prometheus-alertmanager").or_else(|| find("alertmanager"))?,
        share: None,
    })
}

fn all_work(programs: &Prometheus) -> bool {
    let Prometheus { promtool, prometheus, amtool, alertmanager, .. } = programs;
    [promtool, prometheus, amtool, alertmanager].iter().all(|program| {
        processes::succeeds_within(Command::new(program).arg("--version"), Duration::from_secs(60))
    })
}

fn unpack(cache: &Cache, folder: &Path) -> Result<()> {
    let suite = Archive::of_this_machine(cache.temporary())?.own_suite()?;
    let mut packages = Vec::new();
    for name in PACKAGES {
        let versions = suite.versions(name)?;
        let newest = versions.first().with_context(|| format!("the suite has no package {name}"))?;
        println!("setup: prometheus: unpacking {newest} of this machine's suite");
        packages.push(newest.to_string());
    }
    suite.unpack(&packages, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alertmanager_has_two_names() {
        let debian = programs(|name| (name != "alertmanager").then(|| PathBuf::from(name))).unwrap();
        assert_eq!(debian.alertmanager, Path::new("prometheus-alertmanager"));
        let others =
            programs(|name| (name != "prometheus-alertmanager").then(|| PathBuf::from(name))).unwrap();
        assert_eq!(others.alertmanager, Path::new("alertmanager"));
        assert!(programs(|name| (name != "amtool").then(|| PathBuf::from(name))).is_none());
    }
}
