//! bpf-linker: turns rustc's bitcode into a BPF object.
//!
//! It is built against the LLVM inside rustc, which no distribution's LLVM has to match.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::cache::Cache;
use crate::toolchain_layout::{self, BPF_LINKER_VERSION, Compiler};
use crate::{processes, workspace};

/// The smallest program that needs everything the linker has to do: read this rustc's bitcode and
/// make BTF.
const TRIAL: &str = "
#![allow(internal_features)]
#![feature(no_core, lang_items)]
#![no_core]
#![no_main]
#[lang = \"pointee_sized\"] trait PointeeSized {}
#[lang = \"meta_sized\"] trait MetaSized: PointeeSized {}
#[lang = \"sized\"] trait Sized: MetaSized {}
#[unsafe(no_mangle)] extern \"C\" fn trial() {}
";

/// The one in the cache or on PATH, if it works with this rustc; else builds one.
pub(crate) fn provide(compiler: &Compiler, cache: &Cache) -> Result<()> {
    let cached = toolchain_layout::cached_bpf_linker(compiler, cache.root());
    let found = toolchain_layout::find_bpf_linker(compiler, cache.root());
    match found.map(|linker| try_out(&linker)) {
        Some(Ok(())) => return Ok(()),
        // It worked once: the compiler it was made for is gone.
        Some(Err(_)) if cached.is_dir() => fs::remove_dir_all(&cached)?,
        Some(Err(reason)) => println!("setup: the bpf-linker on PATH does not work ({reason:#})"),
        None => {}
    }
    println!("setup: bpf-linker {BPF_LINKER_VERSION}: building it, about a minute");
    install(compiler, cache, &cached).map_err(|error| {
        anyhow!(
            "setup: no bpf-linker: {error:#}. Remedy: a network that reaches crates.io and a C compiler, \
             or `cargo install bpf-linker`"
        )
    })
}

fn try_out(linker: &Path) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let mut linker_flag = std::ffi::OsString::from("-Clinker=");
    linker_flag.push(linker);
    rustc
        .args(["--edition", "2024", "--crate-name", "trial", "--target", "bpfel-unknown-none"])
        .args(["-Cdebuginfo=2", "-Clink-arg=--btf", "-o", "/dev/null", "-"])
        .arg(linker_flag)
        .env("RUSTC_BOOTSTRAP", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = rustc.spawn().context("cannot run rustc")?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, TRIAL.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().find(|line| line.starts_with("error")).unwrap_or("rustc failed"));
    }
    Ok(())
}

fn install(compiler: &Compiler, cache: &Cache, cached: &Path) -> Result<()> {
    let library = llvm_library(&compiler.sysroot.join("lib"))?;
    let major = llvm_major(&library).context("rustc's LLVM library has a name without a version")?;
    let llvm = cache.entry(&Path::new("llvm").join(compiler.key()), |folder| link_llvm(&library, folder))?;
    let build = cache.temporary().join("bpf-linker-build");
    cache.entry(cached, |folder| {
        let mut cargo = workspace::cargo("install");
        cargo
            .args(["bpf-linker", "--locked", "--quiet", "--version", BPF_LINKER_VERSION])
            .args(["--no-default-features", "--features"])
            .arg(format!("llvm-{major}"))
            .arg("--root")
            .arg(folder)
            .arg("--target-dir")
            .arg(&build)
            .env("LLVM_PREFIX", &llvm)
            .current_dir(cache.root());
        processes::output_of(&mut cargo).map(drop)
    })?;
    try_out(&cached.join("bin/bpf-linker")).context("it was built and does not work")
}

/// A folder that looks like an installed LLVM. It stays: the linker that is built looks for its
/// libraries there, under their real names.
fn link_llvm(library: &Path, folder: &Path) -> Result<()> {
    let links = folder.join("lib");
    fs::create_dir_all(&links)?;
    symlink(library, links.join("libLLVM.so"))?;
    symlink(library, links.join(library.file_name().unwrap_or_default()))?;
    Ok(())
}

fn llvm_library(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| llvm_major(path).is_some())
        .ok_or_else(|| anyhow!("rustc's own libLLVM.so.* is not in {}", folder.display()))
}

/// `libLLVM.so.22.1-rust-1.95.0-stable` is LLVM 22.
fn llvm_major(library: &Path) -> Option<u32> {
    let version = library.file_name()?.to_str()?.strip_prefix("libLLVM.so.")?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_in_the_librarys_name() {
        assert_eq!(llvm_major(Path::new("/lib/libLLVM.so.22.1-rust-1.95.0-stable")), Some(22));
        assert_eq!(llvm_major(Path::new("/lib/libLLVM-22-rust-1.95.0-stable.so")), None);
    }
}
