//! Plans for kernels and wishes of all kinds.
use std::collections::BTreeSet;

use super::*;
use crate::plan::{hook::ProgramKind, test_btf::Kernel};

fn facts(kernel: Kernel) -> KernelFacts {
    let types = kernel.types();
    let resolved = ResolvedOffsets::resolve(&types);
    let missing: Vec<OffsetGroup> = resolved.missing.iter().map(|(group, _)| *group).collect();
    assert_eq!(missing, if kernel.old { vec![OffsetGroup::OtherCpus] } else { vec![] });
    let site = AddressRange { start: 1, end: 2 };
    KernelFacts { types, resolved, discard_sites: Ok(vec![site]), possible_cpus: 4, listeners: 3_000 }
}

fn wish(plan: PlanWish) -> Wishes {
    Wishes { plan, ..Wishes::default() }
}

fn hook<'a>(plan: &'a Plan, name: &str) -> &'a HookPlan {
    plan.hooks.iter().find(|hook| hook.hook.name == name).unwrap()
}

/// The names of the programs that would be tried first.
fn programs(plan: &Plan, name: &str) -> Vec<&'static str> {
    let first = hook(plan, name).candidates.first();
    first.map(|first| first.programs.iter().map(|program| program.name).collect()).unwrap_or_default()
}

/// Ways of seeing last ACKs, by their place in the catalogue.
const AT_END: usize = 0;
const BY_CHILD: usize = 1;

fn failing(ways: &[usize]) -> Failures {
    ways.iter().map(|way| ((name::LAST_ACK, *way), "errno 524".to_owned())).collect()
}

fn fail_all(failures: &mut Failures, variants: &[Variant]) {
    for hook in CATALOGUE {
        for (index, way) in hook.ways.iter().enumerate() {
            if variants.contains(&way.variant) {
                failures.insert((hook.name, index), "not today".to_owned());
            }
        }
    }
}

#[test]
fn the_accounting_is_the_most_exact_that_the_wishes_and_the_kernel_allow() {
    let check = |kernel: Kernel, wishes: Wishes, failed: &[Variant], expected: Accounting| {
        let mut failures = Failures::new();
        fail_all(&mut failures, failed);
        let plan = decide(&facts(kernel), wishes, &failures);
        assert_eq!(plan.accounting, expected, "{wishes:?} without {failed:?}");
    };
    let all = Kernel::default();
    let functions = [Variant::Trampoline, Variant::Kprobe];
    let by_conditions = Wishes { accounting: AccountingWish::Conditions, ..Wishes::default() };
    check(all, wish(PlanWish::Auto), &[], Accounting::KernelCounters);
    check(all, wish(PlanWish::Auto), &[Variant::Trampoline], Accounting::KernelCounters);
    check(all, wish(PlanWish::Auto), &functions, Accounting::SocketDrops);
    check(all, wish(PlanWish::Trampoline), &[Variant::Trampoline], Accounting::None);
    check(all, wish(PlanWish::Kprobe), &[], Accounting::KernelCounters);
    check(all, wish(PlanWish::Tracepoint), &[], Accounting::SocketDrops);
    check(all, wish(PlanWish::None), &[], Accounting::None);
    check(all, by_conditions, &[], Accounting::Conditions);
    check(all, by_conditions, &functions, Accounting::SocketDrops);
    let no_bracket = Kernel { lacks: &["tcp_check_req", "tcp_v4_syn_recv_sock"], ..all };
    check(no_bracket, wish(PlanWish::Auto), &[], Accounting::Conditions);
    let nothing =
        Kernel { lacks: &["tcp_v4_conn_request", "tcp_conn_request", "inet_sock_set_state"], ..all };
    check(nothing, wish(PlanWish::Auto), &[], Accounting::None);
}

#[test]
fn the_program_fits_the_number_of_arguments_of_the_kernel() {
    let check = |kernel: Kernel, name: &str, expected: &[&str]| {
        let plan = decide(&facts(kernel), wish(PlanWish::Trampoline), &failing(&[AT_END]));
        assert_eq!(programs(&plan, name), expected);
    };
    let (new, old) = (Kernel::default(), Kernel { old: true, ..Kernel::default() });
    check(new, name::LAST_ACK, &["fexit_tcp_v4_syn_recv_sock_7", "fexit_tcp_v6_syn_recv_sock_7"]);
    check(old, name::LAST_ACK, &["fexit_tcp_v4_syn_recv_sock_6", "fexit_tcp_v6_syn_recv_sock_6"]);
    check(new, name::SYN_QUEUED, &["fexit_inet_csk_reqsk_queue_hash_add_3"]);
    check(old, name::SYN_QUEUED, &["fentry_inet_csk_reqsk_queue_hash_add"]);
}

#[test]
fn a_last_ack_without_a_hook_of_its_own_is_counted_by_its_caller() {
    let kernel = Kernel { old: true, ..Kernel::default() };
    let before = decide(&facts(kernel), wish(PlanWish::Auto), &Failures::new());
    assert_eq!(before.settings.last_ack_from_caller, 0);
    let failures = failing(&[BY_CHILD]);
    let after = decide(&facts(kernel), wish(PlanWish::Auto), &failures);
    assert_eq!((after.settings.last_ack_from_caller, after.settings.known_at_end), (1, 0));
    assert_eq!(hook(&after, name::LAST_ACK).rejected[1].1, "errno 524");
    // The caller does not see the child before it is in the queue.
    let entry = "fentry_inet_csk_complete_hashdance";
    assert!(!programs(&before, name::ESTABLISHED).contains(&entry));
    assert!(programs(&after, name::ESTABLISHED).contains(&entry));
    assert!(!programs(&after, name::ESTABLISHED).contains(&"fexit_inet_csk_complete_hashdance"));
    // Without brackets there is no caller that could count it.
    let wishes = Wishes { accounting: AccountingWish::Conditions, ..Wishes::default() };
    let by_conditions = decide(&facts(kernel), wishes, &failures);
    assert_eq!(by_conditions.settings.last_ack_from_caller, 0);
    assert_eq!(hook(&by_conditions, name::LAST_ACK).candidates[0].variant, Variant::Kprobe);
}

#[test]
fn where_all_cpus_can_be_told_the_ends_of_two_functions_are_enough() {
    let check = |kernel: Kernel, wishes: Wishes, failures: &Failures, known_at_end: u32, queued: &[&str]| {
        let plan = decide(&facts(kernel), wishes, failures);
        assert_eq!(plan.settings.known_at_end, known_at_end);
        assert_eq!(programs(&plan, name::SYN_QUEUED), queued);
        assert!(!hook(&plan, name::SYN_QUEUED).candidates.is_empty());
        let joins = programs(&plan, name::ESTABLISHED).contains(&"fentry_mptcp_finish_join");
        assert_eq!(u32::from(joins), known_at_end);
        plan
    };
    let (new, old) = (Kernel::default(), Kernel { old: true, ..Kernel::default() });
    let none = Failures::new();
    let by_exit = ["fexit_inet_csk_reqsk_queue_hash_add_3"];
    let plan = check(new, wish(PlanWish::Auto), &none, 1, &[]);
    assert_eq!(programs(&plan, name::LAST_ACK), ["fexit_tcp_check_req_5"]);
    // Connections tell themselves how long they waited: nobody has to know them before they are in the queue.
    let entry = "fentry_inet_csk_complete_hashdance";
    assert!(!programs(&plan, name::ESTABLISHED).contains(&entry));
    let mut failures = Failures::new();
    failures.insert((name::ACCEPTED, 0), "not today".to_owned());
    let plan = check(new, wish(PlanWish::Auto), &failures, 1, &[]);
    assert!(programs(&plan, name::ESTABLISHED).contains(&entry));
    check(new, wish(PlanWish::Auto), &failing(&[AT_END]), 0, &by_exit);
    check(old, wish(PlanWish::Auto), &none, 0, &["fentry_inet_csk_reqsk_queue_hash_add"]);
    let by_conditions = Wishes { accounting: AccountingWish::Conditions, ..Wishes::default() };
    check(new, by_conditions, &none, 0, &["fentry_inet_csk_reqsk_queue_hash_add", by_exit[0]]);
    let kernel = Kernel { lacks: &["mptcp_finish_join"], ..new };
    let plan = decide(&facts(kernel), wish(PlanWish::Auto), &none);
    assert_eq!(plan.settings.known_at_end, 1);
    // A SYN that is seen by kprobes is not trusted to have been seen.
    let mut failures = Failures::new();
    failures.insert((name::SYN_RECEIVED, 0), "not today".to_owned());
    failures.insert((name::SYN_RECEIVED, 1), "not today".to_owned());
    let plan = decide(&facts(new), wish(PlanWish::Auto), &failures);
    assert_eq!(programs(&plan, name::SYN_QUEUED), by_exit);
}

#[test]
fn cookies_are_seen_where_syns_are_known_at_their_end_and_by_nothing_that_may_be_missed() {
    let check = |wishes: Wishes, failed: &[usize], seen: u32, expected: &[&str]| {
        let failures =
            failed.iter().map(|way| ((name::SYNCOOKIE_SENT, *way), "not today".to_owned())).collect();
        let plan = decide(&facts(Kernel::default()), wishes, &failures);
        assert_eq!(plan.settings.cookies_are_seen, seen, "{wishes:?} {failed:?}");
        assert_eq!(programs(&plan, name::SYNCOOKIE_SENT), expected, "{wishes:?} {failed:?}");
    };
    let by_trampoline = ["fentry_cookie_v4_init_sequence", "fentry_cookie_v6_init_sequence"];
    let by_kprobe = ["kprobe_cookie_v4_init_sequence", "kprobe_cookie_v6_init_sequence"];
    let by_conditions = Wishes { accounting: AccountingWish::Conditions, ..Wishes::default() };
    check(wish(PlanWish::Auto), &[], 1, &by_trampoline);
    check(wish(PlanWish::Auto), &[0], 0, &[]);
    check(wish(PlanWish::Kprobe), &[], 0, &[]);
    check(wish(PlanWish::Tracepoint), &[], 0, &[]);
    check(by_conditions, &[], 0, &by_trampoline);
    check(by_conditions, &[0], 0, &by_kprobe);
}

#[test]
fn room_for_waits_is_made_only_where_connections_do_not_tell_them() {
    let check = |wishes: Wishes, sets: u32| {
        let plan = decide(&facts(Kernel::default()), wishes, &Failures::new());
        assert_eq!(plan.settings.queued_sets, sets, "{wishes:?}");
    };
    let wishes = |plan, queues| Wishes { plan, queues, queued_connections: 4_096, ..Wishes::default() };
    check(wishes(PlanWish::Kprobe, QueuesWish::Full), 512);
    check(wishes(PlanWish::Kprobe, QueuesWish::Off), 0);
    check(wishes(PlanWish::Trampoline, QueuesWish::Full), 0);
    check(wishes(PlanWish::Tracepoint, QueuesWish::Full), 0);
}

#[test]
fn a_forced_plan_has_no_program_of_another_kind_but_where_there_is_only_one() {
    let check = |wished: PlanWish, kinds: &[ProgramKind]| {
        let plan = decide(&facts(Kernel::default()), wish(wished), &Failures::new());
        // There is no other way to see these, or none by kprobes.
        let exceptions: &[&str] = match wished {
            PlanWish::Kprobe => &[name::SYNACK_RETRANSMITS, name::LISTENER],
            _ => &[name::SYNACK_RETRANSMITS],
        };
        for hook in plan.hooks.iter().filter(|hook| !exceptions.contains(&hook.hook.name)) {
            for program in hook.candidates.iter().flat_map(|candidate| &candidate.programs) {
                assert!(kinds.contains(&program.kind), "{wished:?}: {}", program.name);
            }
        }
        assert!(!hook(&plan, name::SYNACK_RETRANSMITS).candidates.is_empty());
    };
    check(PlanWish::Trampoline, &[ProgramKind::Fentry, ProgramKind::Fexit]);
    check(PlanWish::Kprobe, &[ProgramKind::Kprobe, ProgramKind::Kretprobe]);
    check(PlanWish::Tracepoint, &[ProgramKind::Tracepoint]);
}

#[test]
fn where_nothing_may_be_cast_the_programs_are_tried_again_without() {
    let mut failures = Failures::new();
    let before = decide(&facts(Kernel::default()), wish(PlanWish::Auto), &failures);
    assert!(before.offsets.function_rdonly_cast != 0 && before.offsets.type_linux_mib != 0);
    let refusal = "calling kernel function bpf_rdonly_cast is not allowed";
    failures.insert((name::SYN_RECEIVED, 0), refusal.to_owned());
    let after = decide(&facts(Kernel::default()), wish(PlanWish::Auto), &failures);
    assert_eq!((after.offsets.function_rdonly_cast, after.offsets.type_linux_mib), (0, 0));
    assert_eq!(programs(&after, name::SYN_RECEIVED), programs(&before, name::SYN_RECEIVED));
    assert_eq!(after.offsets, without_casts(before.offsets));
}

#[test]
fn queues_that_nobody_asks_for_cost_no_hook() {
    let wishes = Wishes { queues: QueuesWish::Off, ..Wishes::default() };
    let plan = decide(&facts(Kernel::default()), wishes, &Failures::new());
    assert_eq!((plan.settings.queues, plan.accounting), (0, Accounting::KernelCounters));
    let accepted = hook(&plan, name::ACCEPTED);
    assert_eq!(accepted.candidates, vec![]);
    assert_eq!(accepted.unwanted.as_deref(), Some("not asked for: --queues off"));
}

#[test]
fn without_the_tracepoint_of_6_3_children_are_followed_by_their_state() {
    let kernel = Kernel { lacks: &["sk_data_ready"], old: true };
    let plan = decide(&facts(kernel), wish(PlanWish::Tracepoint), &Failures::new());
    assert_eq!(programs(&plan, name::ESTABLISHED), ["tp_btf_inet_sock_set_state_child"]);
    let freed = hook(&plan, name::PACKET_FREED);
    assert_eq!(freed.candidates, vec![]);
    assert!(freed.rejected[0].1.contains("kfree_skb has 2 arguments"), "{:?}", freed.rejected);
}

#[test]
fn hidden_symbols_cost_the_freed_packets_and_nothing_else() {
    let mut facts = facts(Kernel::default());
    facts.discard_sites = Err("hidden".to_owned());
    let plan = decide(&facts, wish(PlanWish::Tracepoint), &Failures::new());
    assert_eq!(plan.accounting, Accounting::SocketDrops);
    assert_eq!(hook(&plan, name::PACKET_FREED).rejected[0].1, "hidden");
}

#[test]
fn every_hook_that_is_not_tried_says_why() {
    let wishes =
        [PlanWish::Auto, PlanWish::Trampoline, PlanWish::Kprobe, PlanWish::Tracepoint, PlanWish::None];
    for wished in wishes {
        let plan = decide(&facts(Kernel::default()), wish(wished), &Failures::new());
        for hook in &plan.hooks {
            let reasons = hook.unwanted.is_some() || !hook.rejected.is_empty();
            assert!(!hook.candidates.is_empty() || reasons, "{wished:?}: {}", hook.hook.name);
        }
    }
}

#[test]
fn the_rows_are_of_the_host_or_as_many_as_were_asked_for() {
    let check = |listeners: Option<u32>, rows: u32| {
        let plan =
            decide(&facts(Kernel::default()), Wishes { listeners, ..Wishes::default() }, &Failures::new());
        assert_eq!((plan.settings.rows, plan.total_entries), (rows, 4 * rows), "{listeners:?}");
    };
    check(None, 8_192);
    check(Some(9_999), 10_000);
}

#[test]
fn names_of_programs_and_hooks_are_unique_and_every_way_has_its_places() {
    let mut hooks: Vec<&str> = CATALOGUE.iter().map(|hook| hook.name).collect();
    hooks.sort_unstable();
    hooks.dedup();
    assert_eq!(hooks.len(), CATALOGUE.len());
    // A program may serve two hooks, if they are never wanted together.
    for accounting in [Accounting::KernelCounters, Accounting::Conditions, Accounting::SocketDrops] {
        let (facts, none) = (facts(Kernel::default()), Failures::new());
        let circumstances = Circumstances::find(&facts, Wishes::default(), &none, accounting);
        let wanted = CATALOGUE.iter().filter(|hook| is_wanted(hook.wanted, circumstances));
        let of_hook = |hook: &'static Hook| {
            let programs = hook.ways.iter().flat_map(|way| way.places).copied().flatten();
            // Two ways of one hook may share one.
            programs.map(|program| program.name).collect::<BTreeSet<&str>>()
        };
        let mut names: Vec<&str> = wanted.flat_map(of_hook).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{accounting:?}");
    }
}

#[test]
fn syns_are_seen_by_every_protocols_function_that_the_kernel_has_else_by_the_one_they_share() {
    let check = |lacks: &'static [&'static str], expected: &[&str]| {
        let kernel = Kernel { lacks, ..Kernel::default() };
        let plan = decide(&facts(kernel), wish(PlanWish::Trampoline), &Failures::new());
        assert_eq!(programs(&plan, name::SYN_RECEIVED), expected);
    };
    let without_mptcp = ["fexit_tcp_v4_conn_request", "fexit_tcp_v6_conn_request"];
    check(&["subflow_v4_conn_request", "subflow_v6_conn_request"], &without_mptcp);
    check(&["tcp_v6_conn_request"], &["fexit_tcp_conn_request"]);
}

#[test]
fn where_probing_is_refused_what_can_do_without_is_tried_again_without() {
    let mut failures = Failures::new();
    let before = decide(&facts(Kernel::default()), wish(PlanWish::Auto), &failures);
    assert_eq!(before.settings.may_probe, 1);
    let refusal = "unknown func bpf_probe_read_kernel#113";
    failures.insert((name::LISTENER, 0), refusal.to_owned());
    failures.insert((name::ESTABLISHED, 2), refusal.to_owned());
    let after = decide(&facts(Kernel::default()), wish(PlanWish::Auto), &failures);
    assert_eq!((after.settings.may_probe, after.accounting), (0, Accounting::SocketDrops));
    let variants = |name: &str| -> Vec<Variant> {
        hook(&after, name).candidates.iter().map(|candidate| candidate.variant).collect()
    };
    assert_eq!(variants(name::ESTABLISHED), [Variant::Trampoline, Variant::Tracepoint, Variant::Tracepoint]);
    assert_eq!(variants(name::LISTENER_DROPS), [Variant::Tracepoint]);
    assert_eq!(hook(&after, name::PACKET_FREED).rejected[0].1, PROBING_REFUSED);
}
