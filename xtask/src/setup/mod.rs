//! `cargo xtask setup`: provides what a plain rustc lacks, in the cache folder.
//!
//! The other commands call it by themselves. Where everything is there it only looks.

mod bpf_linker;
pub(crate) mod browser;
mod debian;
pub(crate) mod debian_system;
pub(crate) mod emulator;
mod java;
pub(crate) mod kernels;
mod node_exporter;
pub(crate) mod package_checkers;
mod peers;
pub(crate) mod prometheus;
mod rust_source;
pub(crate) mod servers;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use self::emulator::Emulator;
use self::kernels::{KERNEL_LINES, Kernel, TESTED_LINES};
use crate::cache::Cache;
use crate::toolchain_layout::{Compiler, Toolchain};

/// Provides the tools that building and the lab need
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Only what this needs (default: everything)
    #[arg(long = "for", value_name = "PURPOSE")]
    purpose: Option<Purpose>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Purpose {
    /// rust-src and bpf-linker
    Build,
    /// A machine emulator, busybox and kernels
    Lab,
}

/// The command itself: like the other commands' call, but says what it found, too.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.purpose != Some(Purpose::Lab) {
        let (compiler, toolchain) = build_tools()?;
        let library = toolchain.library.as_deref().unwrap_or(Path::new("in the compiler's own folder"));
        println!("setup: rust-src {}: {}", compiler.release, library.display());
        println!("setup: bpf-linker: {}", toolchain.bpf_linker.display());
    }
    if arguments.purpose != Some(Purpose::Build) {
        provide_lab()?;
    }
    if arguments.purpose.is_none() {
        println!("setup: java: {}", java()?.display());
    }
    Ok(())
}

/// Everything the lab can use. A kernel that only `vm --kernel` asks for may be out of reach: its
/// suite moves on or is archived one day.
fn provide_lab() -> Result<()> {
    let lab = lab(&TESTED_LINES)?;
    println!("setup: qemu: {}", lab.emulator.location().display());
    println!("setup: busybox: {}", lab.busybox.display());
    let cache = Cache::open()?;
    for line in &KERNEL_LINES {
        match kernels::provide(line, &cache) {
            Ok(kernel) => println!("setup: kernel {}: {}", kernel.label, kernel.origin),
            Err(error) => eprintln!("{error:#}"),
        }
    }
    Ok(())
}

/// What compiling the eBPF crate needs; provides what is missing.
pub(crate) fn build_tools() -> Result<(Compiler, Toolchain)> {
    let compiler = compiler()?;
    let cache = Cache::open()?;
    rust_source::provide(&compiler, &cache)?;
    bpf_linker::provide(&compiler, &cache)?;
    let toolchain = Toolchain::find(&compiler, cache.root())
        .map_err(|missing| anyhow!("setup: {missing} is still missing"))?;
    Ok((compiler, toolchain))
}

/// A `java` for the tests on this machine's kernel.
pub(crate) fn java() -> Result<PathBuf> {
    java::provide(&Cache::open()?)
}

/// Prometheus, Alertmanager and their tools.
pub(crate) fn prometheus() -> Result<prometheus::Prometheus> {
    prometheus::provide(&Cache::open()?)
}

/// Prometheus' exporter of a host's figures.
pub(crate) fn node_exporter() -> Result<PathBuf> {
    node_exporter::provide(&Cache::open()?)
}

/// The root file system of a server for the demonstrations.
pub(crate) fn server(server: &servers::Server) -> Result<PathBuf> {
    servers::provide(server, &Cache::open()?)
}

/// The root file system of bpftrace and its like.
pub(crate) fn peers() -> Result<PathBuf> {
    servers::provide(&peers::PEERS, &Cache::open()?)
}

/// The root file system of the bpftrace of Debian 12.
pub(crate) fn peers_of_debian_12() -> Result<PathBuf> {
    servers::provide(&peers::PEERS_OF_DEBIAN_12, &Cache::open()?)
}

/// Node.js, npm and Chromium.
pub(crate) fn browser() -> Result<browser::Browser> {
    browser::provide(&Cache::open()?, busybox()?)
}

/// The static busybox alone, whose tools the demonstrations use on this machine, too.
pub(crate) fn busybox() -> Result<PathBuf> {
    emulator::provide_busybox(&Cache::open()?)
}

/// What booting kernels needs.
pub(crate) struct Lab {
    pub(crate) emulator: Emulator,
    pub(crate) busybox: PathBuf,
    pub(crate) kernels: Vec<Kernel>,
}

/// What the lab needs, with the kernels of these labels; provides what is missing.
pub(crate) fn lab(labels: &[&str]) -> Result<Lab> {
    let lines = labels.iter().map(|label| kernels::line(label)).collect::<Result<Vec<_>>>()?;
    let cache = Cache::open()?;
    Ok(Lab {
        emulator: emulator::provide(&cache)?,
        busybox: emulator::provide_busybox(&cache)?,
        kernels: lines.iter().map(|line| kernels::provide(line, &cache)).collect::<Result<_>>()?,
    })
}

fn compiler() -> Result<Compiler> {
    Compiler::query(OsStr::new("rustc")).map_err(|message| anyhow!("setup: {message}: is rustc installed?"))
}
