//! The daemon on the machine at hand, whatever its kernel allows.
//!
//! `cargo xtask test` runs it as root. What every kernel allows, the tracepoint plan, is tested by
//! every scenario; so is the plan that the daemon chooses here by itself. The plans that a
//! hardened kernel refuses are tested in virtual machines (`tests/in_vm`).
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../scenarios/mod.rs"]
mod scenarios;

mod command_line;
mod privileges;
mod raw_client;

use scenarios::{every_scenario_under, tests_under};

every_scenario_under!(tracepoint, "tracepoint");
every_scenario_under!(auto, "auto");
