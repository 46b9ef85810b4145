//! What is put into a Debian system to try a package out there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::processes;

/// The tests.
pub(super) const SCRIPT: &str = include_str!("guest.sh");
const TOOLS: &str = include_str!("net.pl");
const UNIT: &str = include_str!("lab.service");

/// Where all of it is inside: nowhere that belongs to Debian.
pub(super) const FOLDER: &str = "lab";

/// What is tried out on what.
pub(super) struct System<'a> {
    /// The system as it was installed.
    pub(super) source: &'a Path,
    pub(super) first: &'a Path,
    pub(super) second: &'a Path,
}

/// Where it runs.
pub(super) struct Surroundings<'a> {
    /// Seconds until a condition must hold.
    pub(super) patience: u32,
    /// Whether cgroups have controllers.
    pub(super) has_limits: bool,
    /// Whether nobody else uses the kernel.
    pub(super) has_kernel: bool,
    /// Where the tests write, as `StandardOutput=` of systemd takes it.
    pub(super) output: &'a str,
}

impl System<'_> {
    /// Copies it to a folder, with the tests and the packages inside.
    pub(super) fn prepare(&self, root: &Path, surroundings: &Surroundings<'_>) -> Result<()> {
        remove(root)?;
        let mut copy = Command::new("cp");
        processes::output_of(copy.arg("--archive").arg(self.source).arg(root))?;
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join("guest.sh"), SCRIPT)?;
        fs::write(folder.join("net.pl"), TOOLS)?;
        fs::copy(self.first, folder.join("first.deb"))?;
        fs::copy(self.second, folder.join("second.deb"))?;
        fs::write(root.join("etc/hostname"), "lab\n")?;
        let units = root.join("etc/systemd/system");
        fs::write(units.join("lab.service"), surroundings.unit(&self.first_version()?))?;
        let wanted = units.join("multi-user.target.wants");
        fs::create_dir_all(&wanted)?;
        symlink("/etc/systemd/system/lab.service", wanted.join("lab.service"))?;
        Ok(())
    }

    fn first_version(&self) -> Result<String> {
        let mut dpkg_deb = Command::new("dpkg-deb");
        let version = processes::output_of(dpkg_deb.arg("--field").arg(self.first).arg("Version"))?;
        Ok(version.trim().to_owned())
    }
}

impl Surroundings<'_> {
    fn unit(&self, first_version: &str) -> String {
        let word = |yes| if yes { "yes" } else { "no" };
        let environment = format!(
            "PATIENCE={} HAS_LIMITS={} HAS_KERNEL={} FIRST_VERSION={first_version} LC_ALL=C DEBIAN_FRONTEND=noninteractive",
            self.patience,
            word(self.has_limits),
            word(self.has_kernel)
        );
        UNIT.replace("@ENVIRONMENT@", &environment).replace("@OUTPUT@", self.output)
    }
}

/// Removes a system; nothing is mounted in it, because its mounts were those of namespaces that are gone.
pub(super) fn remove(root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    Ok(())
}
