//! `cargo xtask build`: the daemon, with the eBPF programs inside.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{processes, setup, workspace};

/// The only machine the lab and the static build are made for so far.
pub(crate) const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the daemon
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// With optimizations
    #[arg(long)]
    release: bool,
    /// Without shared libraries: runs on any x86-64 Linux
    #[arg(long = "static")]
    statically: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = daemon(arguments.release, arguments.statically)?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds the daemon and returns the binary.
pub(crate) fn daemon(release: bool, statically: bool) -> Result<PathBuf> {
    setup::build_tools()?;
    let mut cargo = workspace::cargo("build");
    cargo.args(["--package", "tcp-backlog-probe"]);
    if release {
        cargo.arg("--release");
    }
    let mut folder = workspace::target();
    if statically {
        link_statically(&mut cargo);
        folder.push(STATIC_TARGET);
    }
    processes::run(&mut cargo)?;
    Ok(folder.join(if release { "release" } else { "debug" }).join("tcp-backlog-probe"))
}

/// Builds these commands themselves, for a machine of the lab.
pub(crate) fn static_xtask() -> Result<PathBuf> {
    let mut cargo = workspace::cargo("build");
    cargo.args(["--package", "xtask", "--release"]);
    link_statically(&mut cargo);
    processes::run(&mut cargo)?;
    Ok(workspace::target().join(STATIC_TARGET).join("release/xtask"))
}

/// Naming the target keeps build scripts and procedural macros, which cannot be static, out of it.
pub(crate) fn link_statically(cargo: &mut Command) {
    cargo.args(["--target", STATIC_TARGET]).env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
}
