//! qemu and busybox: the lab's machine and its tools.
//!
//! A qemu on PATH is used. Else Debian's is unpacked with everything it depends on, down to the C
//! library and its loader: that runs on any machine, whatever is installed there, and changes
//! nothing outside the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::Archive;
use crate::cache::Cache;
use crate::processes;
use crate::toolchain_layout::find_on_path;

/// A release whose qemu boots all kernels of the table reliably. It is not the machine's own
/// release: bookworm's qemu 7.2 makes one boot in ten of a 6.12 panic.
const SUITE: &str = "trixie";
const PROGRAM: &str = "qemu-system-x86_64";

/// A qemu that can be started.
pub(crate) enum Emulator {
    Installed(PathBuf),
    Unpacked(PathBuf),
}

impl Emulator {
    /// The command that starts it, without a machine.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Installed(program) => Command::new(program),
            Self::Unpacked(root) => unpacked_command(root),
        }
    }

    /// Where it is, for the user.
    pub(crate) fn location(&self) -> &Path {
        match self {
            Self::Installed(path) | Self::Unpacked(path) => path,
        }
    }

    fn works(&self) -> bool {
        processes::succeeds_within(self.command().arg("--version"), Duration::from_secs(20))
    }
}

/// Its own loader with its own libraries, its own firmware and modules.
fn unpacked_command(root: &Path) -> Command {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).arg(root.join("usr/bin").join(PROGRAM));
    for firmware in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(root.join(firmware));
    }
    command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
    command
}

/// The emulator on PATH or in the cache; else unpacks Debian's.
pub(crate) fn provide(cache: &Cache) -> Result<Emulator> {
    if let Some(installed) = find_on_path(PROGRAM).map(Emulator::Installed)
        && installed.works()
    {
        return Ok(installed);
    }
    let name = Path::new("qemu").join(SUITE);
    let root = cache.entry(&name, |folder| unpack(PROGRAM, "qemu-system-x86", cache, folder)).context(
        "setup: no qemu-system-x86_64 on PATH and none could be unpacked (remedy: install the \
         distribution's package of it)",
    )?;
    let emulator = Emulator::Unpacked(root);
    ensure!(emulator.works(), "setup: the unpacked qemu in {} does not start", emulator.location().display());
    Ok(emulator)
}

/// A busybox without shared libraries, for the inside of the lab.
pub(crate) fn provide_busybox(cache: &Cache) -> Result<PathBuf> {
    let name = Path::new("busybox").join(SUITE);
    let root = cache
        .entry(&name, |folder| unpack("busybox", "busybox-static", cache, folder))
        .context("setup: no static busybox could be unpacked (remedy: a network, once)")?;
    ["usr/bin/busybox", "bin/busybox"]
        .map(|path| root.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("setup: no busybox in {}: remove the folder", root.display()))
}

fn unpack(label: &str, package: &str, cache: &Cache, folder: &Path) -> Result<()> {
    let suite = Archive::of_this_machine(cache.temporary())?.suite(SUITE)?;
    let mut packages = suite.closure(&[package])?;
    if package == "busybox-static" {
        // Without shared libraries it needs nothing of what it "depends" on.
        packages.retain(|dependency| dependency.name == package);
    }
    let Some(main) = packages.iter().find(|candidate| candidate.name == package) else {
        bail!("Debian {SUITE} has no package {package}");
    };
    println!("setup: {label}: unpacking {package} {} of {SUITE} ({} packages)", main.version, packages.len());
    let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
    suite.unpack(&names, folder)
}
