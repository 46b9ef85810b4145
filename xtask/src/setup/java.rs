//! A Java runtime: the owners of Java servers are told from each other by a JVM's command line, and the test of it
//! starts a real one.
//!
//! A `java` on PATH is used. Else Debian's is unpacked. It needs libc, libz, libstdc++ and libgcc_s of what it
//! depends on as long as it shows nothing, and every Debian with apt has those in the suite's own versions.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::{Archive, Suite};
use crate::cache::Cache;
use crate::processes;
use crate::toolchain_layout::find_on_path;

/// The newest that the suite has is taken: each Debian release has one or two of them.
const VERSIONS: [u32; 4] = [25, 21, 17, 11];
const FOLDER_OF_JVMS: &str = "usr/lib/jvm";

/// The runtime's `java`: on PATH, or in the cache.
pub(crate) fn provide(cache: &Cache) -> Result<PathBuf> {
    if let Some(installed) = find_on_path("java").filter(|java| works(java)) {
        return Ok(installed);
    }
    let root = cache.entry(Path::new("java"), |folder| unpack(cache, folder)).context(
        "setup: no java on PATH and none could be unpacked (remedy: install the distribution's headless JRE)",
    )?;
    let java = java_in(&root)?;
    ensure!(works(&java), "setup: the unpacked {} does not start", java.display());
    Ok(java)
}

fn works(java: &Path) -> bool {
    processes::succeeds_within(Command::new(java).arg("-version"), Duration::from_secs(60))
}

fn unpack(cache: &Cache, folder: &Path) -> Result<()> {
    let suite = Archive::of_this_machine(cache.temporary())?.own_suite()?;
    let package = newest(&suite)?;
    println!("setup: java: unpacking {package} of this machine's suite");
    suite.unpack(&[package], folder)?;
    let jvms = folder.join(FOLDER_OF_JVMS);
    // usr/lib/jvm/NAME/conf/FILE: what an installed one has in /etc is below the folder here.
    lead_back(&jvms, folder)
}

fn newest(suite: &Suite) -> Result<String> {
    for version in VERSIONS {
        let package = format!("openjdk-{version}-jre-headless");
        if let Some(newest) = suite.versions(&package)?.first() {
            return Ok(newest.to_string());
        }
    }
    bail!("the suite has no openjdk-VERSION-jre-headless of {VERSIONS:?}")
}

/// Makes links to `/etc` below a folder lead to the same file below `root`. They are made relative, because the
/// entry of the cache is moved when it is complete.
fn lead_back(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            lead_back(&path, root)?;
        } else if kind.is_symlink()
            && let Ok(target) = fs::read_link(&path)?.strip_prefix("/")
        {
            let depth = path.strip_prefix(root)?.components().count().saturating_sub(1);
            fs::remove_file(&path)?;
            symlink(Path::new(&"../".repeat(depth)).join(target), &path)?;
        }
    }
    Ok(())
}

fn java_in(root: &Path) -> Result<PathBuf> {
    let jvms = root.join(FOLDER_OF_JVMS);
    let mut candidates = fs::read_dir(&jvms)
        .with_context(|| format!("cannot read {}", jvms.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/java")));
    candidates
        .find(|java| java.is_file())
        .with_context(|| format!("setup: no bin/java in {}: remove the folder", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_etc_lead_to_the_unpacked_files() {
        let root = std::env::temp_dir().join(format!("xtask-java-{}", std::process::id()));
        let folder = root.join("usr/lib/jvm/java/conf");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("etc/java")).unwrap();
        fs::write(root.join("etc/java/net.properties"), "x").unwrap();
        symlink("/etc/java/net.properties", folder.join("net.properties")).unwrap();
        symlink("net.properties", folder.join("alias")).unwrap();
        lead_back(&root.join(FOLDER_OF_JVMS), &root).unwrap();
        assert_eq!(fs::read_to_string(folder.join("net.properties")).unwrap(), "x");
        assert_eq!(fs::read_link(folder.join("alias")).unwrap(), Path::new("net.properties"));
        fs::remove_dir_all(root).unwrap();
    }
}
