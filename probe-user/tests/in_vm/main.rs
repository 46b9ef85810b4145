//! Every scenario under every plan, on the kernels of the matrix.
//!
//! A static binary that runs as root and needs nothing but `/proc`, `/sys` and the daemon that
//! `TCP_BACKLOG_PROBE_BINARY` names. `cargo xtask vm` boots each kernel with it.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[macro_use]
#[path = "../scenarios/mod.rs"]
mod scenarios;

#[path = "../scenarios/degraded.rs"]
mod degraded;

#[path = "../scenarios/kernel_memory.rs"]
mod kernel_memory;

#[path = "../scenarios/reused_memory.rs"]
mod reused_memory;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use scenarios::{
    EVERY_SCENARIO, Scenario,
    support::trials::{print_told, report_panics},
    trials_under, without_bpf,
};

/// The fall-back where the kernel's counters cannot be addressed. Nobody accepts while these
/// listeners overflow, so it has to be exact as well.
const BY_CONDITIONS: &[Scenario] = scenarios![
    proof::check_proves_every_counter,
    overflow::an_ipv4_listener_that_overflows,
    overflow::a_dual_stack_listener_that_overflows_is_counted_once,
    refused_last_ack::last_acks_that_meet_a_full_accept_queue,
    syn_queue::syns_that_a_full_syn_queue_drops_are_no_overflows,
    syn_queue::cookies_of_a_full_syn_queue_are_no_drops,
];

/// Those that no other may disturb.
const OF_ITS_OWN: &[Scenario] = &[
    ("a_namespace_in_the_memory_of_a_dead_one", reused_memory::a_namespace_in_the_memory_of_a_dead_one),
    (
        "listeners_that_come_and_go_leave_no_kernel_memory",
        kernel_memory::listeners_that_come_and_go_leave_no_kernel_memory,
    ),
];

const PLANS: [&str; 3] = ["trampoline", "kprobe", "tracepoint"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    report_panics();
    let together = libtest_mimic::run(&arguments, trials());
    print_told();
    // One after the other, and when nobody else is there to be disturbed.
    arguments.test_threads = Some(1);
    let in_turn = libtest_mimic::run(&arguments, trials_in_turn());
    print_told();
    if together.has_failed() { together.exit_code() } else { in_turn.exit_code() }
}

fn trials_in_turn() -> Vec<Trial> {
    let mut trials = Vec::new();
    for plan in PLANS {
        trials.extend(trials_under(plan, plan, "auto", OF_ITS_OWN));
    }
    trials.extend(degraded::trials_that_change_the_machine());
    trials
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for plan in PLANS {
        trials.extend(trials_under(plan, plan, "auto", EVERY_SCENARIO));
    }
    // Not under the forced trampoline plan: where that cannot take the arguments of
    // tcp_v4_syn_recv_sock() (6.1), there is no bracket to count for it.
    trials.extend(trials_under("auto_by_conditions", "auto", "conditions", BY_CONDITIONS));
    trials.extend(trials_under("kprobe_by_conditions", "kprobe", "conditions", BY_CONDITIONS));
    trials.extend(without_bpf::trials());
    trials.extend(degraded::trials());
    trials
}
