//! The lab's kernels: Debian's own, for the kernel lines the daemon is tested on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use super::debian::{Archive, Suite};
use crate::cache::Cache;

/// A kernel line and where Debian has it. The cloud flavour boots fastest and has all that counts:
/// BTF, kprobes, trampolines, a serial console.
pub(crate) struct KernelLine {
    pub(crate) label: &'static str,
    /// The first suite that has a package is taken.
    suites: &'static [&'static str],
    /// What the name of the package with the kernel image begins with; a version follows.
    prefix: &'static str,
    /// The same for the modules, where they have a package of their own.
    modules_prefix: Option<&'static str>,
}

/// Modules that the tests need, in the order in which they are loaded: the dump of listening sockets.
const MODULES: [&str; 2] = ["inet_diag", "tcp_diag"];

const SUFFIX: &str = "-cloud-amd64";

/// Every kernel the lab knows.
pub(crate) const KERNEL_LINES: [KernelLine; 4] = [
    KernelLine {
        label: "5.10",
        suites: &["bullseye-security", "bullseye"],
        prefix: "linux-image-5.10.0-",
        modules_prefix: None,
    },
    KernelLine {
        label: "6.1",
        suites: &["bookworm-security", "bookworm"],
        prefix: "linux-image-6.1.0-",
        modules_prefix: None,
    },
    KernelLine {
        label: "6.12",
        suites: &["trixie-security", "trixie"],
        prefix: "linux-image-6.12.",
        modules_prefix: None,
    },
    // From 7.2 on the image and the modules are in packages of their own.
    KernelLine {
        label: "7.2",
        suites: &["sid", "trixie-backports"],
        prefix: "linux-binary-7.2.",
        modules_prefix: Some("linux-modules-7.2."),
    },
];

/// The lines `cargo xtask test` boots.
pub(crate) const TESTED_LINES: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

/// A kernel that is ready to boot.
pub(crate) struct Kernel {
    pub(crate) label: &'static str,
    pub(crate) image: PathBuf,
    /// [`MODULES`], in their order, compressed or not.
    pub(crate) modules: Vec<PathBuf>,
    /// The package and suite it was taken from.
    pub(crate) origin: String,
}

/// The table's line of that name.
pub(crate) fn line(label: &str) -> Result<&'static KernelLine> {
    KERNEL_LINES.iter().find(|line| line.label == label).ok_or_else(|| {
        let known: Vec<_> = KERNEL_LINES.iter().map(|line| line.label).collect();
        anyhow!("no lab kernel {label}; there are {}", known.join(", "))
    })
}

/// The kernel in the cache, else the newest of its line. Removing the folder gets a newer one.
pub(crate) fn provide(line: &KernelLine, cache: &Cache) -> Result<Kernel> {
    let folder = cache
        .entry(&Path::new("lab-kernels").join(line.label), |folder| fetch(line, cache, folder))
        .with_context(|| format!("setup: no kernel {}", line.label))?;
    let origin = fs::read_to_string(folder.join("origin"))?.trim().to_owned();
    let modules = MODULES.iter().map(|name| find_module(&folder, name)).collect::<Result<_>>()?;
    Ok(Kernel { label: line.label, image: folder.join("vmlinuz"), modules, origin })
}

fn fetch(line: &KernelLine, cache: &Cache, folder: &Path) -> Result<()> {
    let archive = Archive::of_this_machine(cache.temporary())?;
    let mut tried = Vec::new();
    for suite in line.suites {
        match fetch_from(suite, line, &archive, &cache.temporary().join("kernel"), folder) {
            Ok(()) => return Ok(()),
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    bail!("{}. Remedy: a network, or another --kernel", tried.join("; "))
}

fn fetch_from(
    suite_name: &str,
    line: &KernelLine,
    archive: &Archive,
    scratch: &Path,
    folder: &Path,
) -> Result<()> {
    let suite = archive.suite(suite_name)?;
    let package = newest_package(&suite, suite_name, line.prefix)?;
    println!("setup: kernel {}: unpacking {package} of {suite_name}", line.label);
    suite.unpack(std::slice::from_ref(&package), scratch)?;
    if let Some(prefix) = line.modules_prefix {
        let modules = newest_package(&suite, suite_name, prefix)?;
        suite.unpack(&[modules], scratch)?;
    }
    let image = find(scratch, &|name| name.starts_with("vmlinuz"))?
        .ok_or_else(|| anyhow!("no vmlinuz in {package}"))?;
    fs::rename(image, folder.join("vmlinuz"))?;
    for name in MODULES {
        let module = find_module(scratch, name)?;
        let file_name = module.file_name().context("a module without a name")?;
        fs::rename(&module, folder.join(file_name))?;
    }
    fs::write(folder.join("origin"), format!("{package} {suite_name}\n"))?;
    fs::remove_dir_all(scratch)?;
    Ok(())
}

/// The newest package whose name begins with `prefix`, as `name=version`.
fn newest_package(suite: &Suite, suite_name: &str, prefix: &str) -> Result<String> {
    let names = suite.names(prefix)?;
    let newest = newest(&names, prefix)
        .ok_or_else(|| anyhow!("Debian {suite_name} has no package {prefix}*{SUFFIX}"))?;
    let versions = suite.versions(newest)?;
    let package =
        versions.first().ok_or_else(|| anyhow!("Debian {suite_name} has no version of {newest}"))?;
    Ok(package.to_string())
}

/// A module somewhere below `folder`, compressed or not.
fn find_module(folder: &Path, name: &str) -> Result<PathBuf> {
    let names = [format!("{name}.ko"), format!("{name}.ko.xz")];
    find(folder, &|found| names.iter().any(|name| name == found))?
        .ok_or_else(|| anyhow!("no module {name} in {}: remove the folder", folder.display()))
}

/// The name with the highest version, compared number by number: 5.10.0-100 is newer than -46.
fn newest<'a>(names: &'a [String], prefix: &str) -> Option<&'a str> {
    names
        .iter()
        .filter_map(|name| Some((version_of(name, prefix)?, name.as_str())))
        .max()
        .map(|(_, name)| name)
}

/// The numbers between prefix and suffix. Packages of debug symbols and unsigned images have other
/// suffixes; kernels rebuilt for another release have other letters than `+deb`.
fn version_of(name: &str, prefix: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix(prefix)?.strip_suffix(SUFFIX)?;
    version.replace("+deb", ".").split('.').map(|part| part.parse().ok()).collect()
}

/// The first file below `folder` with a name that is wanted.
fn find(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&path, is_wanted)? {
                return Ok(Some(found));
            }
        } else if is_wanted(&entry.file_name().to_string_lossy()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest_of(prefix: &str, names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        newest(&names, prefix).map(str::to_owned)
    }

    #[test]
    fn the_newest_is_found_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-dbg",
            "linux-image-6.1.0-58-cloud-amd64-unsigned",
            "linux-image-6.1.0-0.deb11.99-cloud-amd64",
        ];
        let newest = newest_of("linux-image-6.1.0-", &names);
        assert_eq!(newest.as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
    }

    #[test]
    fn versions_with_a_release_are_read() {
        let names = [
            "linux-binary-7.2.9+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13.1-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
        ];
        let newest = newest_of("linux-binary-7.2.", &names);
        assert_eq!(newest.as_deref(), Some("linux-binary-7.2.12+deb13.1-cloud-amd64"));
        assert_eq!(newest_of("linux-binary-7.2.", &["linux-binary-7.3.1+deb13-cloud-amd64"]), None);
    }

    #[test]
    fn every_tested_line_is_in_the_table() {
        for label in TESTED_LINES {
            assert!(line(label).is_ok());
        }
        assert!(line("2.4").is_err());
    }
}
