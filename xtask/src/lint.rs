//! `cargo xtask lint`: formatting, clippy on both sides, licences and sources of dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::toolchain_layout::{EbpfTarget, find_on_path};
use crate::{processes, setup, workspace};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Checks formatting, clippy, licences and sources
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build cargo-deny if it is not installed (always done under CI)
    #[arg(long)]
    pub(crate) install: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // The quickest first.
    processes::run(workspace::cargo("fmt").args(["--all", "--check"]))
        .context("lint: not formatted; remedy: cargo fmt")?;
    deny(arguments)?;
    clippy(&["--workspace", "--exclude", "probe-ebpf", "--all-targets"])?;
    // Not part of all targets, because a plain `cargo test` must not run them.
    clippy(&["--package", "tcp-backlog-probe", "--test", "on_host", "--test", "in_vm"])?;
    clippy_on_the_kernel_side()
}

fn clippy(arguments: &[&str]) -> Result<()> {
    setup::build_tools()?;
    processes::run(workspace::cargo("clippy").args(arguments).args(["--", "--deny", "warnings"]))
        .context("lint")
}

/// Without --all-targets: a program without std cannot be compiled as a test.
fn clippy_on_the_kernel_side() -> Result<()> {
    let (_, toolchain) = setup::build_tools()?;
    let target = EbpfTarget {
        package: &workspace::root().join("probe-ebpf"),
        output: &workspace::target().join("ebpf"),
        architecture: std::env::consts::ARCH,
        big_endian: cfg!(target_endian = "big"),
    };
    let mut clippy = toolchain.cargo(&workspace::cargo_program(), "clippy", &target);
    processes::run(clippy.args(["--", "--deny", "warnings"])).context("lint: probe-ebpf")
}

fn deny(arguments: &Arguments) -> Result<()> {
    let install = arguments.install || workspace::is_continuous_integration();
    let Some(program) = cargo_deny(install)? else {
        println!("lint: skipped: cargo-deny is not installed (--install builds it)");
        return Ok(());
    };
    // Building fetches what is for this platform, cargo-deny asks for the whole graph.
    processes::run(workspace::cargo("fetch").args(["--locked", "--quiet"])).context("lint")?;
    // Advisories are left out: they need a database from the network.
    let mut command = Command::new(program);
    command.args(["--log-level", "error", "--offline", "check", "--hide-inclusion-graph"]);
    processes::run(command.args(["licenses", "bans", "sources"]).current_dir(workspace::root()))
        .context("lint")
}

fn cargo_deny(install: bool) -> Result<Option<PathBuf>> {
    if let Some(program) = find_on_path("cargo-deny")
        && processes::succeeds_within(Command::new(&program).arg("--version"), Duration::from_secs(20))
    {
        return Ok(Some(program));
    }
    let cache = Cache::open()?;
    let name = Path::new("cargo-deny").join(CARGO_DENY_VERSION);
    let program = cache.root().join(&name).join("bin/cargo-deny");
    if !install || program.is_file() {
        return Ok(program.is_file().then_some(program));
    }
    cache.entry(&name, |folder| {
        println!("setup: cargo-deny {CARGO_DENY_VERSION}: building it, a few minutes");
        let mut cargo = workspace::cargo("install");
        // Not optimized: that takes a third of the time to build, and a check a second more.
        cargo.args([
            "cargo-deny",
            "--debug",
            "--locked",
            "--quiet",
            "--version",
            CARGO_DENY_VERSION,
            "--root",
        ]);
        cargo.arg(folder).arg("--target-dir").arg(cache.temporary().join("cargo-deny-build"));
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        processes::output_of(&mut cargo).map(drop).context("setup: no cargo-deny")
    })?;
    if !program.is_file() {
        bail!("setup: cargo install made no {}", program.display());
    }
    Ok(Some(program))
}
