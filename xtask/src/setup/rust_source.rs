//! The standard library's source: rustc brings no compiled core for the BPF target.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::debian::{self, PackageVersion};
use crate::cache::Cache;
use crate::processes;
use crate::toolchain_layout::{self, Compiler};

/// Without a network rustup would try for minutes.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(60);

/// The compiler's own folder first, then rustup, then Debian's package of the same version.
pub(crate) fn provide(compiler: &Compiler, cache: &Cache) -> Result<()> {
    let cached = toolchain_layout::cached_rust_source(compiler, cache.root());
    if toolchain_layout::rust_source_in_sysroot(compiler) || cached.is_dir() {
        return Ok(());
    }
    if add_by_rustup(compiler) {
        println!("setup: rust-src {}: added by rustup", compiler.release);
        return Ok(());
    }
    let release = &compiler.release;
    cache
        .entry(&cached, |folder| unpack_from_debian(release, cache, folder))
        .map_err(|error| {
            anyhow::anyhow!(
                "setup: no rust-src of rustc {release}: not in {}, rustup could not add it, and {error:#}. \
                 Remedy: `rustup component add rust-src` on a machine with a network",
                compiler.sysroot.display()
            )
        })
        .map(drop)
}

fn add_by_rustup(compiler: &Compiler) -> bool {
    // A toolchain of rustup is known by the folder it is in; a distribution's rustc is not its.
    let toolchains = compiler.sysroot.parent().and_then(Path::file_name);
    let Some(name) =
        compiler.sysroot.file_name().filter(|_| toolchains.is_some_and(|name| name == "toolchains"))
    else {
        return false;
    };
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rust-src", "--toolchain"]).arg(name).env("RUSTUP_MAX_RETRIES", "1");
    processes::succeeds_within(&mut rustup, RUSTUP_DEADLINE)
        && toolchain_layout::rust_source_in_sysroot(compiler)
}

fn unpack_from_debian(release: &str, cache: &Cache, folder: &Path) -> Result<()> {
    let archive = debian::Archive::of_this_machine(cache.temporary())?;
    archive.own_suite()?;
    let mut tried = Vec::new();
    for suite in archive.suites_from_this_machines_on() {
        // A release that is not out yet has no backports, for example.
        let candidates =
            archive.suite(&suite).and_then(|suite| suite.versions("rust-src")).unwrap_or_default();
        let Some(package) = candidates.iter().find(|package| has_upstream_version(package, release)) else {
            tried.push(suite);
            continue;
        };
        println!("setup: rust-src {release}: unpacking Debian's package {} of {suite}", package.version);
        let unpacked = cache.temporary().join("rust-src");
        archive.suite(&suite)?.unpack(&[package.to_string()], &unpacked)?;
        let source = unpacked.join("usr/src").join(format!("rustc-{release}"));
        std::fs::rename(source.join("library"), folder.join("library"))?;
        return Ok(());
    }
    bail!("Debian has no package rust-src of this version in {}", tried.join(", "))
}

/// Whether a Debian version is a packaging of exactly this release: `1.95.0+dfsg1-2` is 1.95.0.
fn has_upstream_version(package: &PackageVersion, release: &str) -> bool {
    let upstream = package.version.split(['+', '-', '~']).next();
    upstream == Some(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_release_matches() {
        let matches = |version: &str, release: &str| {
            let package = PackageVersion { name: "rust-src".to_owned(), version: version.to_owned() };
            has_upstream_version(&package, release)
        };
        assert!(matches("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(matches("1.95.0-1", "1.95.0"));
        assert!(!matches("1.95.01-1", "1.95.0"));
        assert!(!matches("1.96.0+dfsg1-2", "1.95.0"));
        assert!(!matches("1.95.0+dfsg1-2", "1.95.0-nightly"));
    }
}
