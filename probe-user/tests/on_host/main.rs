//! The daemon on the machine at hand, whatever its kernel allows.
//!
//! `cargo xtask test` runs it as root. What every kernel allows, the tracepoint plan, is tested by
//! every scenario; so is the plan that the daemon chooses here by itself. The plans that a
//! hardened kernel refuses are tested in virtual machines (`tests/in_vm`).
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

#[path = "../scenarios/mod.rs"]
mod scenarios;

/// What `cargo xtask abuse` does to a daemon.
#[path = "../../../xtask/src/abuse/attack/mod.rs"]
mod attack;

mod check;
mod command_line;
mod configured;
mod doctor;
mod http;
mod jar;
mod owners;
mod privileges;
mod raw_client;
mod servers;
mod terminal;
mod top;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use scenarios::{
    EVERY_SCENARIO,
    support::trials::{print_told, report_panics},
    trials_under, without_bpf,
};

fn main() -> ExitCode {
    if let Some(code) = servers::live() {
        return code;
    }
    let arguments = Arguments::from_args();
    report_panics();
    let mut trials = command_line::trials();
    trials.extend(check::trials());
    trials.extend(configured::trials());
    trials.extend(doctor::trials());
    trials.extend(http::trials());
    trials.extend(owners::trials());
    trials.extend(privileges::trials());
    trials.extend(raw_client::trials());
    trials.extend(top::trials());
    trials.extend(without_bpf::trials());
    for plan in ["tracepoint", "auto"] {
        trials.extend(trials_under(plan, plan, "auto", EVERY_SCENARIO));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_told();
    conclusion.exit_code()
}
