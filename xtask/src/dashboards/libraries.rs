//! Grafana's own libraries, as npm has them: what validates the dashboards, and what draws them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::processes;
use crate::setup::browser::Browser;

const PACKAGE: &str = include_str!("render/package.json");
/// Every package in its version with its checksum; no address, so that npm asks the registry that it is told to ask.
const LOCK: &str = include_str!("render/package-lock.json");

const TYPES: &str = include_str!("render/tsconfig.json");

/// The folder of the packages in the cache; they are installed if they are not there. Other files are another folder.
pub(super) fn provide(browser: &Browser) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let name = Path::new("grafana-libraries").join(format!("{:016x}", fingerprint(&[PACKAGE, LOCK, TYPES])));
    cache.entry(&name, |folder| {
        println!("setup: installing Grafana's libraries (550 MB)");
        fs::write(folder.join("package.json"), PACKAGE)?;
        fs::write(folder.join("package-lock.json"), LOCK)?;
        fs::write(folder.join("tsconfig.json"), TYPES)?;
        let downloads = folder.join("downloads");
        let mut install = browser.npm(folder);
        // No scripts of packages: none of these needs any.
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"]).arg(&downloads);
        processes::output_of(&mut install).context(
            "setup: Grafana's libraries could not be installed (remedy: a network that reaches the registry of npm, or \
             npm_config_registry that names another registry)",
        )?;
        fs::remove_dir_all(downloads)?;
        Ok(())
    })
}

/// FNV-1a: the same in every version of this program.
fn fingerprint(texts: &[&str]) -> u64 {
    texts.iter().flat_map(|text| text.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
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
        assert!(!LOCK.contains("\"resolved\"") && !LOCK.contains("://registry"));
        assert!(LOCK.contains("\"integrity\": \"sha512-"));
    }
}
