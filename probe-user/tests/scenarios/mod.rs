//! Real connections against the daemon: every number must equal the kernel's own, to the unit.
//!
//! A scenario is a function of a [`Setup`]: the same traffic is counted under every plan. Each
//! runs in a network namespace of its own, so all of them may run at once. The scenarios of one
//! set-up share a daemon, because its start takes longer than most of them; those that need one
//! which nobody else looks at, or end it, start their own. [`trials_under`] makes trials of them.
pub(crate) mod bench;
pub(crate) mod expected;
pub(crate) mod support;

pub(crate) mod accept_waits;
pub(crate) mod advice;
pub(crate) mod attached;
pub(crate) mod backlogs;
pub(crate) mod coming_and_going;
pub(crate) mod cycles;
pub(crate) mod episodes;
pub(crate) mod identity;
pub(crate) mod lifetimes;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod migration;
pub(crate) mod multipath;
pub(crate) mod namespaces;
pub(crate) mod overflow;
pub(crate) mod owners;
pub(crate) mod process;
pub(crate) mod proof;
pub(crate) mod queues;
pub(crate) mod refused_last_ack;
pub(crate) mod restart;
pub(crate) mod several_listeners;
pub(crate) mod syn_queue;
pub(crate) mod syn_queue_length;
pub(crate) mod synack_retransmits;
pub(crate) mod without_bpf;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use libtest_mimic::Trial;

use self::support::{
    daemon::Daemon,
    trials::{message_of, report_log_on_failure, trial},
};

/// Its name, and what it does.
pub(crate) type Scenario = (&'static str, fn(&Setup));

/// How the daemon of a scenario is started.
pub(crate) struct Setup {
    /// The value of `--plan`.
    pub(crate) plan: &'static str,
    /// The value of `--accounting`.
    pub(crate) accounting: &'static str,
    /// Started by the first scenario that needs it; or why it could not be, which one attempt tells.
    shared: OnceLock<Result<Arc<Daemon>, String>>,
}

/// The listeners that a daemon has room for in a scenario.
const LISTENERS: &str = "16383";
/// As good as these, but for other maps.
const OTHER_LISTENERS: &str = "16382";

impl Setup {
    /// Starts a daemon, and waits until it is ready.
    pub(crate) fn start_daemon(&self) -> Daemon {
        Daemon::start(&self.arguments())
    }

    /// Its arguments.
    pub(crate) fn arguments(&self) -> Vec<&'static str> {
        // Scenarios look at series of single ports: each has some, however many others there are.
        let of_plan = ["--plan", self.plan, "--accounting", self.accounting];
        // The host has few listeners when it starts, and thousands come and go within the time in which a row is kept.
        [&of_plan[..], &["--ports-limit", "100000", "--listeners", LISTENERS]].concat()
    }

    /// The daemon that all scenarios of this set-up share.
    pub(crate) fn shared_daemon(&self) -> Arc<Daemon> {
        let start = || catch_unwind(AssertUnwindSafe(|| Arc::new(self.start_daemon())));
        match self.shared.get_or_init(|| start().map_err(|payload| message_of(&*payload))) {
            Ok(daemon) => {
                report_log_on_failure(daemon.log());
                Arc::clone(daemon)
            }
            Err(failure) => panic!("{self:?}: no daemon: {failure}"),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "--plan {} --accounting {}", self.plan, self.accounting)
    }
}

/// Trials of these scenarios with one set-up, named `module::scenario`. The shared daemon ends with
/// the last of them, however that ends.
pub(crate) fn trials_under(
    module: &str,
    plan: &'static str,
    accounting: &'static str,
    scenarios: &[Scenario],
) -> Vec<Trial> {
    let setup = Arc::new(Setup { plan, accounting, shared: OnceLock::new() });
    let trial_of = |(name, scenario): &Scenario| {
        let (setup, scenario) = (Arc::clone(&setup), *scenario);
        trial(format!("{module}::{name}"), move || scenario(&setup))
    };
    scenarios.iter().map(trial_of).collect()
}

/// A table of scenarios, by the names of their files and functions.
macro_rules! scenarios {
    ($($file:ident::$scenario:ident,)+) => {
        &[$((stringify!($scenario), $crate::scenarios::$file::$scenario)),+]
    };
}

/// Every scenario that can be carried out under every plan. Those that take longest come first.
pub(crate) const EVERY_SCENARIO: &[Scenario] = scenarios![
    attached::every_hook_says_how_it_is_attached,
    coming_and_going::ten_thousand_listeners_that_come_and_go,
    load::many_handshakes_of_several_listeners_with_pauses,
    restart::a_daemon_that_is_killed_in_a_flood_has_lost_no_count,
    restart::totals_go_on_with_other_hooks,
    restart::a_service_manager_is_told_what_goes_on,
    queues::a_burst_between_two_scrapes_is_seen_at_its_full_height,
    episodes::each_burst_is_an_episode_with_the_kernels_numbers,
    advice::synacks_that_nobody_answers_are_told,
    advice::traffic_that_is_well_is_no_matter,
    advice::a_program_that_hangs_is_told_from_one_that_accepts,
    advice::a_clamp_is_told_and_then_that_it_takes_a_restart_and_then_nothing,
    advice::a_program_that_asks_for_too_little_is_told_from_one_that_does_not,
    advice::a_burst_that_is_too_big_for_the_maximum_is_one,
    advice::a_program_that_accepts_too_slowly_is_told,
    advice::a_queue_that_is_nearly_full_is_told_before_it_overflows,
    advice::one_member_that_is_full_is_told_from_a_group_that_is,
    advice::a_syn_queue_that_is_full_is_told,
    advice::drops_for_no_queue_are_told,
    advice::resets_on_overflow_are_told_where_somebody_listens,
    proof::check_proves_every_counter,
    backlogs::the_limit_that_cuts_a_backlog_is_named,
    backlogs::the_backlog_of_an_older_listener_is_not_guessed,
    backlogs::a_backlog_that_io_uring_asked_for,
    queues::every_connection_is_in_the_histogram_of_fills,
    accept_waits::waits_are_measured_connection_by_connection,
    accept_waits::more_connections_wait_than_there_is_room_for,
    queues::the_highest_syn_queue_is_told,
    accept_waits::connections_of_every_kind_are_accepted,
    accept_waits::connections_to_a_multipath_listener_are_accepted,
    accept_waits::connections_that_move_keep_their_wait,
    queues::a_spike_recommends_what_it_would_have_needed,
    cycles::two_thousand_connections_are_counted_one_by_one,
    overflow::an_ipv4_listener_that_overflows,
    overflow::an_ipv6_listener_that_overflows,
    overflow::a_dual_stack_listener_that_overflows_is_counted_once,
    overflow::a_listener_at_a_mapped_address_that_overflows,
    several_listeners::two_ports_that_overflow_at_once,
    several_listeners::four_listeners_that_share_a_port,
    identity::members_of_a_group_are_told_apart,
    identity::connections_that_move_to_another_listener_are_counted_once,
    identity::connections_that_cannot_move_are_reset_and_counted,
    migration::a_half_open_handshake_is_finished_by_another_member,
    migration::a_half_open_handshake_moves_when_its_synack_is_sent_again,
    migration::a_half_open_handshake_is_refused_by_another_member,
    multipath::a_multipath_listener_that_overflows,
    multipath::a_multipath_listener_that_overflows_by_ipv6,
    multipath::last_acks_that_meet_a_full_multipath_listener,
    multipath::last_acks_that_meet_a_full_multipath_listener_by_ipv6,
    multipath::subflows_that_join_a_connection_come_into_no_queue,
    identity::fast_open_connections_are_established_by_their_syn,
    refused_last_ack::last_acks_that_meet_a_full_accept_queue,
    lifetimes::counts_outlive_a_listener,
    lifetimes::counts_outlive_a_listener_on_a_port_of_the_kernels_choice,
    lifetimes::counts_go_on_where_a_port_is_opened_again_with_another_backlog,
    lifetimes::a_listener_that_is_older_than_the_daemon,
    namespaces::a_namespace_that_is_younger_than_the_daemon,
    namespaces::a_namespace_with_the_inode_number_of_a_dead_one,
    namespaces::what_was_lost_in_a_namespace_that_has_ended_is_over,
    syn_queue::syns_that_a_full_syn_queue_drops_are_no_overflows,
    syn_queue::syns_that_the_syn_queue_keeps_for_known_peers_are_no_overflows,
    syn_queue::cookies_of_a_full_syn_queue_are_no_drops,
    syn_queue_length::every_port_has_as_many_requests_as_the_kernel_lists,
    syn_queue_length::a_closed_port_has_no_syn_queue,
    syn_queue_length::a_connection_by_fast_open_is_not_in_the_syn_queue,
    limits::every_limit_of_a_namespace_is_what_was_set,
    limits::the_counters_of_the_network_softirq_only_grow,
    limits::the_limit_of_the_queue_before_all_sockets,
    synack_retransmits::every_synack_that_is_sent_again,
    owners::a_port_that_closes_keeps_its_name_and_its_totals,
    process::sigterm_and_sigint_are_the_ordinary_end,
    process::two_daemons_at_once,
];
