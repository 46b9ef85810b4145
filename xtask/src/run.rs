//! `cargo xtask run`: the daemon in the foreground, freshly built.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{build, workspace};

/// Builds the daemon and becomes it
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for `tcp-backlog-probe run`
    #[arg(last = true)]
    daemon_arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(workspace::is_root(), "run: loading BPF programs takes root: sudo -E cargo xtask run");
    let daemon = build::daemon(true, false)?;
    // Replaces this process, so that a signal reaches the daemon and its exit code the caller.
    let error = Command::new(&daemon).arg("run").args(&arguments.daemon_arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", daemon.display()))
}
