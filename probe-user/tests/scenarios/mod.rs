//! Real connections against the daemon: every number must equal the kernel's own, to the unit.
//!
//! A scenario is a function of a [`Setup`]: the same traffic is counted under every plan. Each
//! runs in a network namespace of its own with a daemon of its own, so all of them may run at
//! once. [`tests_under!`] makes tests of them.
pub(crate) mod bench;
pub(crate) mod expected;
pub(crate) mod support;

pub(crate) mod cycles;
pub(crate) mod lifetimes;
pub(crate) mod namespaces;
pub(crate) mod overflow;
pub(crate) mod process;
pub(crate) mod refused_last_ack;
pub(crate) mod several_listeners;
pub(crate) mod syn_queue;
pub(crate) mod synack_retransmits;
pub(crate) mod without_bpf;

use self::support::daemon::Daemon;

/// How the daemon of a scenario is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// The value of `--plan`.
    pub(crate) plan: &'static str,
    /// The value of `--accounting`.
    pub(crate) accounting: &'static str,
}

impl Setup {
    /// Starts a daemon, and waits until it is ready.
    pub(crate) fn start_daemon(self) -> Daemon {
        Daemon::start(&["--plan", self.plan, "--accounting", self.accounting])
    }
}

/// A module of tests: these scenarios under one plan.
macro_rules! tests_under {
    ($module:ident, $plan:literal, $accounting:literal, $($file:ident::$scenario:ident,)+) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    let setup = crate::scenarios::Setup { plan: $plan, accounting: $accounting };
                    crate::scenarios::$file::$scenario(setup);
                }
            )+
        }
    };
}

/// A module of tests: every scenario under one plan.
macro_rules! every_scenario_under {
    ($module:ident, $plan:literal) => {
        tests_under!(
            $module,
            $plan,
            "auto",
            overflow::an_ipv4_listener_that_overflows,
            overflow::an_ipv6_listener_that_overflows,
            overflow::a_dual_stack_listener_that_overflows_is_counted_once,
            cycles::two_thousand_connections_are_counted_one_by_one,
            several_listeners::two_ports_that_overflow_at_once,
            several_listeners::four_listeners_that_share_a_port,
            refused_last_ack::last_acks_that_meet_a_full_accept_queue,
            lifetimes::counts_outlive_a_listener,
            lifetimes::counts_outlive_a_listener_on_a_port_of_the_kernels_choice,
            lifetimes::a_listener_that_is_older_than_the_daemon,
            namespaces::a_namespace_that_is_younger_than_the_daemon,
            namespaces::a_namespace_with_the_inode_number_of_a_dead_one,
            syn_queue::syns_that_a_full_syn_queue_drops_are_no_overflows,
            syn_queue::syns_that_the_syn_queue_keeps_for_known_peers_are_no_overflows,
            syn_queue::cookies_of_a_full_syn_queue_are_no_drops,
            synack_retransmits::every_synack_that_is_sent_again,
            process::sigterm_and_sigint_are_the_ordinary_end,
            process::two_daemons_at_once,
        );
    };
}

pub(crate) use {every_scenario_under, tests_under};
