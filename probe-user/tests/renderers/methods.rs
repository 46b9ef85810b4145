//! The method behind each number, under every plan as the catalogue of hooks would have it.
use std::{collections::BTreeSet, net::Ipv4Addr};

use serde_json::Value;
pub(crate) use tcp_backlog_probe::model::methods::methods;
use tcp_backlog_probe::{
    model::{
        Findings, Model,
        attribution::{Attributed, Attribution},
        audit::report::{AskedDaemon, AuditReport, AuditedModel},
        methods::{CounterMethod, Exactness, Method},
    },
    plan::{
        catalogue::CATALOGUE,
        hook::{Hook, ProgramKind, Way},
        offsets::OffsetGroup,
        outcome::{Accounting, HookOutcome, PlanOutcome, Variant, coverage},
    },
    render::{BuildInfo, check, json},
    sample::{HookSample, ListenerSample, NamespaceSample, Sample},
};

use super::{
    check_golden, check_schema,
    models::{self, HOST},
    text,
};

/// What a plan allows of a hook's ways.
type Allows = fn(&Way) -> bool;

/// Every hook by the first of its ways that is allowed.
fn plan(accounting: Accounting, allows: Allows) -> PlanOutcome {
    let outcome = |hook: &Hook| {
        let way = hook.ways.iter().find(|way| allows(way));
        let programs = way.into_iter().flat_map(|way| way.places).filter_map(|place| place.first());
        let mut attached_to: Vec<String> = programs
            .map(|program| match program.kind {
                ProgramKind::Tracepoint => format!("tracepoint {}", program.target),
                _ => format!("{}()", program.target),
            })
            .collect();
        attached_to.dedup();
        HookOutcome {
            hook: hook.name.to_owned(),
            measures: hook.measures.to_owned(),
            attached_to,
            variant: way.map(|way| way.variant),
            reason: if way.is_some() { String::new() } else { "not asked for".to_owned() },
        }
    };
    let hooks: Vec<_> = CATALOGUE.iter().map(outcome).collect();
    let coverage = coverage(&hooks, accounting, true, true);
    PlanOutcome { hooks, coverage }
}

fn is_derived_or_trampoline(way: &Way) -> bool {
    let is_of_drops =
        way.places.iter().flat_map(|place| place.iter()).any(|program| program.target == "kfree_skb");
    way.variant != Variant::Kprobe && !is_of_drops
}

fn is_older_trampoline(way: &Way) -> bool {
    is_derived_or_trampoline(way) && !way.needs.contains(&OffsetGroup::OtherCpus)
}

fn is_kprobe(way: &Way) -> bool {
    let has =
        |target| way.places.iter().flat_map(|place| place.iter()).any(|program| program.target == target);
    way.variant == Variant::Kprobe || has("tcp_retransmit_synack")
}

/// Nothing is there for a cookie that comes back, as accounting by conditions has it.
fn is_kprobe_by_conditions(way: &Way) -> bool {
    is_kprobe(way) && !way.needs.contains(&OffsetGroup::Counters)
}

fn is_tracepoint(way: &Way) -> bool {
    way.variant == Variant::Tracepoint
}

/// Before 6.3.
fn is_older_tracepoint(way: &Way) -> bool {
    let newer = ["sk_data_ready", "kfree_skb"];
    let has_newer = way.places.iter().flat_map(|place| place.iter()).any(|one| newer.contains(&one.target));
    is_tracepoint(way) && !has_newer
}

/// A host with one listener at which nothing has happened, under every plan.
pub(crate) fn plans() -> Vec<(&'static str, Model)> {
    let (exact, inferred) = (Accounting::KernelCounters, Accounting::SocketDrops);
    let plans = [
        ("trampoline", plan(exact, is_derived_or_trampoline)),
        ("trampoline_before_5.19", plan(exact, is_older_trampoline)),
        ("kprobe", plan(exact, is_kprobe)),
        ("conditions", plan(Accounting::Conditions, is_kprobe_by_conditions)),
        ("tracepoint", plan(inferred, is_tracepoint)),
        ("tracepoint_before_6.3", plan(inferred, is_older_tracepoint)),
        ("none", PlanOutcome::nothing("--plan none: no BPF program is loaded")),
    ];
    plans.map(|(name, plan)| (name, model(&plan))).into()
}

fn model(plan: &PlanOutcome) -> Model {
    let listener = ListenerSample {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 80,
        accept_queue_length: 0,
        accept_queue_limit: 128,
        drops: 0,
        inode: 7080,
    };
    let id = listener.port_in(HOST);
    let namespace =
        NamespaceSample { netns: HOST, listeners: Some(vec![listener]), ..NamespaceSample::default() };
    let hooks = plan.any_attached().then(HookSample::default);
    let sample = Sample { hooks, namespaces: vec![namespace], ..Sample::default() };
    let ports = [(id, Attributed::default())].into();
    let attribution = Attribution { ports, ..Attribution::default() };
    Model::new(&sample, plan, &Findings { attribution, ..Findings::default() })
}

fn plan_named(name: &str) -> PlanOutcome {
    plans().into_iter().find_map(|(known, model)| (known == name).then_some(model.plan)).unwrap()
}

fn find(plan: &str, counter: &str) -> CounterMethod {
    let table = methods(&plan_named(plan));
    table.into_iter().find(|found| found.counter == counter).unwrap()
}

#[test]
fn each_number_names_its_method_its_functions_and_its_limits() {
    use Method::{Conditions, Hook, KernelCounters, Proc, SockDiag, SocketDrops};
    let check = |plan: &str, counter: &str, method: Method, source: &str, limits: usize| {
        let found = find(plan, counter);
        assert_eq!((found.method, found.limits.len()), (method, limits), "{plan}: {found:?}");
        assert!(found.sources.iter().any(|known| known.contains(source)), "{plan}: {found:?}");
        let exactness = match (method, limits) {
            (SocketDrops, _) => Exactness::Inferred,
            (_, 0) => Exactness::Exact,
            _ => Exactness::ExactBut,
        };
        assert_eq!(found.exactness, Some(exactness), "{plan}: {found:?}");
    };
    check("trampoline", "syn_received", Hook, "tcp_v4_conn_request", 0);
    check("trampoline", "syn_queued", Hook, "tcp_v4_conn_request", 2);
    check("trampoline_before_5.19", "syn_queued", Hook, "inet_csk_reqsk_queue_hash_add", 0);
    check("trampoline", "established", Hook, "tcp_check_req", 0);
    check("trampoline", "syn_dropped.other", KernelCounters, "tcp_peer_is_proven", 2);
    check("trampoline", "listen_drops", KernelCounters, "tcp_req_err", 2);
    check("trampoline", "request_errors", KernelCounters, "tcp_req_err", 0);
    check("trampoline", "syncookies_sent", KernelCounters, "tcp_v4_conn_request", 1);
    check("trampoline", "connections_refused", KernelCounters, "cookie_v4_check", 3);
    check("kprobe", "listen_drops", KernelCounters, "tcp_v4_syn_recv_sock", 1);
    check("kprobe", "accepted", Hook, "security_sock_graft", 2);
    check("conditions", "listen_drops", Conditions, "tcp_v4_syn_recv_sock", 2);
    check("conditions", "syncookies_sent", Hook, "cookie_v4_init_sequence", 1);
    check("tracepoint", "listen_drops", SocketDrops, "sk_drops", 1);
    check("tracepoint", "accept_queue_overflows.undivided", SocketDrops, "kfree_skb", 1);
    check("tracepoint", "last_ack_refused.undivided", Hook, "kfree_skb", 2);
    check("tracepoint", "established", Hook, "sk_data_ready", 2);
    check("tracepoint_before_6.3", "established", Hook, "inet_sock_set_state", 2);
    for (plan, _) in plans() {
        check(plan, "namespaces.listen_drops", Proc, "/proc/PID/net/netstat", 0);
        check(plan, "listeners.accept_queue_length", SockDiag, "idiag_rqueue", 0);
    }
}

#[test]
fn what_is_not_measured_says_why() {
    let check = |plan: &str, counter: &str, reason: &str| {
        let found = find(plan, counter);
        assert_eq!((found.method, found.exactness, found.sources.len()), (Method::NotMeasured, None, 0));
        assert!(found.reason.contains(reason), "{found:?}");
    };
    check("tracepoint", "syn_received", "syn_received: not asked for");
    check("tracepoint", "connections_refused", "takes accounting by kernel-counters");
    check("tracepoint", "syn_dropped.accept_queue_full", "syn_received: not asked for");
    check("tracepoint_before_6.3", "accept_queue_peaks", "before 6.3");
    check("conditions", "requests_aborted", "takes accounting by kernel-counters");
    check("none", "established", "--plan none");
    check("none", "accept_queue_overflows.undivided", "no hook is attached");
}

#[test]
fn a_number_that_is_told_in_another_form_is_left_out() {
    let has =
        |plan: &str, counter: &str| methods(&plan_named(plan)).iter().any(|found| found.counter == counter);
    assert!(!has("trampoline", "last_ack_refused.undivided"));
    assert!(has("tracepoint", "last_ack_refused.undivided"));
    assert!(has("tracepoint", "last_ack_refused.other"));
}

/// The numbers of a port in its JSON are those of the table, and it says of them that they are measured where they
/// are not null.
#[test]
fn the_table_has_every_number_of_a_port_and_knows_which_are_there() {
    for (plan, model) in plans() {
        let table = methods(&model.plan);
        for (name, is_there) in numbers(&serde_json::to_value(&model.ports[0]).unwrap()) {
            let found = table.iter().find(|found| found.counter == name);
            assert!(found.is_some() || name.ends_with(".undivided") && !is_there, "{plan}: {name}");
            let is_told = found.is_some_and(|found| found.method != Method::NotMeasured);
            // Nobody has called accept() yet.
            let comes_later = ["last_accept", "accepted_by"].contains(&name.as_str());
            assert!(is_told == is_there || comes_later, "{plan}: {name} {found:?}");
        }
        let names: BTreeSet<_> = table.iter().map(|found| &found.counter).collect();
        assert_eq!(names.len(), table.len());
    }
}

/// The totals and peaks in a port's JSON, and whether they are there.
fn numbers(port: &Value) -> Vec<(String, bool)> {
    /// What identifies a port, is read of its listeners, or is concluded from the rest.
    const OTHERS: [&str; 8] = [
        "netns",
        "address",
        "port",
        "process",
        "listeners",
        "syn_queue_length",
        "backlog_recommended",
        "series",
    ];
    let parts = |name: &String, value: &Value| match value.as_object() {
        Some(parts) if !name.ends_with("_peaks") && !parts.contains_key("upper_bounds") => {
            parts.iter().map(|(part, value)| (format!("{name}.{part}"), !value.is_null())).collect()
        }
        _ => vec![(name.clone(), !value.is_null())],
    };
    let fields = port.as_object().unwrap().iter();
    let fields =
        fields.filter(|(name, _)| !OTHERS.contains(&name.as_str()) && !name.ends_with("_per_second"));
    fields.flat_map(|(name, value)| parts(name, value)).collect()
}

#[test]
fn every_plan_names_the_method_behind_each_number() {
    for (name, model) in plans() {
        let audit = models::own_audit(&model);
        let check = json::Check { methods: methods(&model.plan), audit };
        let document = text(|writer| json::write_check(&model, &models::build(), check.clone(), writer));
        check_schema(&document).unwrap();
        let back: json::Snapshot<Model, BuildInfo> = serde_json::from_str(&document).unwrap();
        assert_eq!(back.check.as_ref(), Some(&check));
        let part = serde_json::to_string_pretty(&check).unwrap();
        check_golden(&format!("plan_{name}.check.json"), &format!("{part}\n"));
        let report = text(|writer| check::write(&model, &check.audit, &models::build(), name, writer));
        check_golden(&format!("plan_{name}.check.txt"), &report);
    }
}

/// By a daemon with each method of accounting.
#[test]
fn the_audit_is_told_with_whose_it_is_and_over_which_time() {
    let mut model = models::tracepoint();
    model.namespaces.extend(models::trampoline().namespaces);
    model.counted_since = Some(1_789_990_000.25);
    for (name, accounting) in [
        ("kernel_counters", Accounting::KernelCounters),
        ("conditions", Accounting::Conditions),
        ("socket_drops", Accounting::SocketDrops),
        ("none", Accounting::None),
    ] {
        model.plan.coverage.accounting = accounting;
        let snapshot = text(|writer| json::write(&model, &models::build(), writer));
        let asked: json::Snapshot<AuditedModel> = serde_json::from_str(&snapshot).unwrap();
        let daemon = AskedDaemon { address: "/run/probe.sock".to_owned(), version: asked.build.version };
        let audit = AuditReport::of_daemon(daemon, &asked.model);
        let report = text(|writer| check::write(&model, &audit, &models::build(), "auto", writer));
        let lines =
            report.lines().skip_while(|line| !line.starts_with("audit")).take_while(|line| !line.is_empty());
        check_golden(
            &format!("audit_{name}.txt"),
            &lines.map(|line| format!("{line}\n")).collect::<String>(),
        );
    }
}
