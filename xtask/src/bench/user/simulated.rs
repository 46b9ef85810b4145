//! What this machine cannot show: other numbers of CPUs, and allocations. `probe-user/benches/user_side.rs` finds it out.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{processes, workspace};

/// What it says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) rendering: Vec<Rendering>,
    pub(super) processors: Vec<Processors>,
    pub(super) here: Vec<Here>,
}

/// What the plan's formula says of this machine with so many listeners.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Here {
    pub(super) listeners: usize,
    pub(super) rows: u64,
    pub(super) map_bytes: u64,
}

/// Of a model with so many ports, in the plan that measures everything.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rendering {
    pub(super) ports: usize,
    pub(super) allocations: usize,
    pub(super) allocated_bytes: usize,
    pub(super) body_bytes: usize,
    pub(super) milliseconds: f64,
}

/// On a host with so many possible CPUs and listeners: the kernel's memory by the plan's formula, the reading on memory
/// of the same layout.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Processors {
    pub(super) cpus: usize,
    pub(super) listeners: usize,
    pub(super) rows: u32,
    pub(super) map_bytes: u64,
    pub(super) reading_milliseconds: f64,
}

fn command() -> std::process::Command {
    let mut command = workspace::cargo("bench");
    command.args(["--quiet", "--package", "tcp-backlog-probe", "--bench", "user_side"]);
    command
}

/// Builds it, with whatever that needs.
pub(super) fn build() -> Result<()> {
    processes::run(command().arg("--no-run"))
}

pub(super) fn measure(listeners: &[usize]) -> Result<Figures> {
    let mut command = command();
    command.arg("--").args(listeners.iter().map(usize::to_string));
    let text = processes::output_of(&mut command)?;
    serde_json::from_str(&text).context("bench: probe-user/benches/user_side.rs says what is not understood")
}
