//! Every scenario under every plan, on the kernels of the matrix.
//!
//! A static binary that runs as root and needs nothing but `/proc`, `/sys` and the daemon that
//! `TCP_BACKLOG_PROBE_BINARY` names. `cargo xtask vm` boots each kernel with it.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../scenarios/mod.rs"]
mod scenarios;

use scenarios::{every_scenario_under, tests_under};

every_scenario_under!(trampoline, "trampoline");
every_scenario_under!(kprobe, "kprobe");
every_scenario_under!(tracepoint, "tracepoint");

// The fall-back where the kernel's counters cannot be addressed. Nobody accepts while these
// listeners overflow, so it has to be exact as well. Not under the forced trampoline plan: where that
// cannot take the arguments of tcp_v4_syn_recv_sock() (6.1), there is no bracket to count for it.
tests_under!(
    auto_by_conditions,
    "auto",
    "conditions",
    overflow::an_ipv4_listener_that_overflows,
    overflow::a_dual_stack_listener_that_overflows_is_counted_once,
    refused_last_ack::last_acks_that_meet_a_full_accept_queue,
    syn_queue::syns_that_a_full_syn_queue_drops_are_no_overflows,
    syn_queue::cookies_of_a_full_syn_queue_are_no_drops,
);
tests_under!(
    kprobe_by_conditions,
    "kprobe",
    "conditions",
    overflow::an_ipv4_listener_that_overflows,
    overflow::a_dual_stack_listener_that_overflows_is_counted_once,
    refused_last_ack::last_acks_that_meet_a_full_accept_queue,
    syn_queue::syns_that_a_full_syn_queue_drops_are_no_overflows,
    syn_queue::cookies_of_a_full_syn_queue_are_no_drops,
);

mod no_hooks {
    use crate::scenarios::without_bpf;

    #[test]
    fn the_plan_without_hooks() {
        without_bpf::the_plan_without_hooks();
    }

    #[test]
    fn root_without_the_capabilities_for_bpf() {
        without_bpf::root_without_the_capabilities_for_bpf();
    }
}
