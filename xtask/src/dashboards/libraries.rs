//! Packages of npm: Grafana's own libraries, which validate and draw the dashboards, and schemas of manifests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::processes;
use crate::setup::browser::Browser;

/// Some packages and what depends on how they are used.
pub(super) struct Libraries {
    /// Their folder in the cache.
    pub(super) name: &'static str,
    /// What they are, for whoever waits for them.
    pub(super) what: &'static str,
    /// package.json
    pub(super) package: &'static str,
    /// Every package in its version with its checksum; no address, so that npm asks the registry that it is told to ask.
    pub(super) lock: &'static str,
    /// tsconfig.json
    pub(super) types: &'static str,
}

pub(super) const GRAFANA: Libraries = Libraries {
    name: "grafana-libraries",
    what: "Grafana's libraries (550 MB)",
    package: include_str!("render/package.json"),
    lock: include_str!("render/package-lock.json"),
    types: include_str!("render/tsconfig.json"),
};

impl Libraries {
    /// The folder of the packages in the cache; they are installed if they are not there. Other files are another folder.
    pub(super) fn provide(&self, browser: &Browser) -> Result<PathBuf> {
        let cache = Cache::open()?;
        let edition = fingerprint(&[self.package, self.lock, self.types]);
        cache.entry(&Path::new(self.name).join(format!("{edition:016x}")), |folder| {
            println!("setup: installing {}", self.what);
            fs::write(folder.join("package.json"), self.package)?;
            fs::write(folder.join("package-lock.json"), self.lock)?;
            fs::write(folder.join("tsconfig.json"), self.types)?;
            let downloads = folder.join("downloads");
            let mut install = browser.npm(folder);
            // No scripts of packages: none of these needs any.
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"]).arg(&downloads);
            processes::output_of(&mut install).with_context(|| {
                format!(
                    "setup: {} could not be installed (remedy: a network that reaches the registry of npm, or \
                     npm_config_registry that names another registry)",
                    self.what
                )
            })?;
            fs::remove_dir_all(downloads)?;
            Ok(())
        })
    }
}

/// FNV-1a: the same in every version of this program.
fn fingerprint(texts: &[&str]) -> u64 {
    texts.iter().flat_map(|text| text.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
impl Libraries {
    pub(super) fn check_lock_file(&self) {
        assert!(!self.lock.contains("\"resolved\"") && !self.lock.contains("://registry"), "{}", self.name);
        assert!(self.lock.contains("\"integrity\": \"sha512-"), "{}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_another_folder() {
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&["a"]), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn the_lock_file_names_no_registry() {
        GRAFANA.check_lock_file();
    }
}
