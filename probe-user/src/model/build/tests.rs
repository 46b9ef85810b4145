//! Samples made by hand, and what the model makes of them.
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::*;
use crate::{
    model::{History, attribution::Unattributed},
    sample::{
        HostSample, ListenerSample, NetstatSample, OwnerSample, SocketTotals, SoftnetSample, SynQueueSample,
        SynQueuesSample,
    },
};

/// All different.
const TOTALS: HandshakeCounters = HandshakeCounters {
    syn_received: 1,
    syn_queued: 2,
    established: 3,
    last_ack_received: 4,
    last_ack_refused_undivided: 5,
    synack_retransmits: 6,
    syn_dropped_accept_queue_full: 7,
    last_ack_refused_accept_queue_full: 8,
    listen_drops: 9,
    discarded_segments: 10,
    listeners_opened: 11,
    closed_listener_drops: 12,
    syn_dropped_syn_queue_full: 13,
    syn_dropped_syn_backlog_reserve: 14,
    syn_dropped_other: 15,
    last_ack_refused_other: 16,
    syncookies_sent: 17,
    syncookies_received: 18,
    syncookies_failed: 19,
    syn_queue_full_cookies: 20,
    request_errors: 21,
    requests_aborted: 22,
    requests_expired: 23,
    closed_unaccepted: 24,
    connections_refused: 25,
};

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::from([127, 0, 0, 1]), port }
}

fn plan(accounting: Accounting, everything: bool) -> PlanOutcome {
    let base = if everything { Coverage::EVERYTHING } else { Coverage::NOTHING };
    PlanOutcome { hooks: Vec::new(), coverage: Coverage { accounting, ..base } }
}

fn listener(id: PortId, inode: u32) -> ListenerSample {
    let PortId { address, port, .. } = id;
    ListenerSample { address, port, accept_queue_length: 2, accept_queue_limit: 128, drops: 0, inode }
}

/// A namespace with listeners on ports 80 and 81, and rows of ports 80 and 82.
fn sample() -> Sample {
    let namespace = NamespaceSample {
        netns: 1,
        listeners: Some(vec![listener(id(81), 9), listener(id(80), 6), listener(id(80), 5)]),
        netstat_before: Some(NetstatSample::default()),
        netstat_after: Some(NetstatSample {
            listen_overflows: 3,
            listen_drops: 4,
            ..NetstatSample::default()
        }),
        ..NamespaceSample::default()
    };
    let hooks = HookSample {
        ports: Sorted::from([(id(80), TOTALS), (id(82), TOTALS)]),
        sockets: vec![own_part(5, 1), own_part(5, 2), own_part(7, 4)],
        other: TOTALS,
        losses: BTreeMap::from([("listener_map_full".to_owned(), 0)]),
        ..HookSample::default()
    };
    Sample { hooks: Some(hooks), namespaces: vec![namespace], ..Sample::default() }
}

fn own_part(inode: u64, established: u64) -> SocketTotals {
    let counters = HandshakeCounters { established, ..HandshakeCounters::default() };
    let queues = QueueSample::default().into();
    SocketTotals { port: id(80), inode, counters, queues, backlog_requested: None, opened_by: None }
}

fn findings() -> Findings {
    Findings { attribution: attribution(), ..Findings::default() }
}

fn attribution() -> Attribution {
    let port = Attributed { listen_drops: 20, accept_queue_overflows: 10 };
    let rest = Unattributed { listen_drops: 2, accept_queue_overflows: 1 };
    Attribution { ports: Sorted::from([(id(80), port)]), namespaces: BTreeMap::from([(1, rest)]) }
}

fn port(model: &Model, port: u16) -> &Port {
    model.ports.iter().find(|found| found.id.port == port).unwrap()
}

/// What the hooks count in every plan, as numbers; overflows and drops are the accounting's.
fn counts(handshakes: &Handshakes) -> [Option<u64>; 5] {
    let Handshakes { syn_received, syn_queued, established, last_ack_received, synack_retransmits, .. } =
        *handshakes;
    [syn_received, syn_queued, established, last_ack_received, synack_retransmits]
}

/// What the hooks count by the kernel's counters only, or by none of them.
fn causes(handshakes: &Handshakes) -> [Option<u64>; 15] {
    let SynDropped { accept_queue_full, syn_queue_full, syn_backlog_reserve, other } = handshakes.syn_dropped;
    let refused = handshakes.last_ack_refused;
    [
        accept_queue_full,
        syn_queue_full,
        syn_backlog_reserve,
        other,
        refused.accept_queue_full,
        refused.other,
        handshakes.syncookies_sent,
        handshakes.syncookies_received,
        handshakes.syncookies_failed,
        handshakes.syn_queue_full_cookies,
        handshakes.request_errors,
        handshakes.requests_aborted,
        handshakes.requests_expired,
        handshakes.closed_unaccepted,
        handshakes.connections_refused,
    ]
}

fn overflows(handshakes: &Handshakes) -> [Option<u64>; 4] {
    let Overflows { syn, ack, undivided } = handshakes.accept_queue_overflows;
    [syn, ack, undivided, handshakes.listen_drops]
}

#[test]
fn a_port_is_shown_with_its_totals_and_its_listeners() {
    let model = Model::new(&sample(), &plan(Accounting::KernelCounters, true), &Findings::default());
    let check = |number: u16, expected: [u64; 5], inodes: &[u32]| {
        let port = port(&model, number);
        assert_eq!(counts(&port.handshakes), expected.map(Some), "{number}");
        let found: Vec<_> = port.listeners.iter().map(|listener| listener.inode).collect();
        assert_eq!(found, inodes, "{number}");
    };
    check(80, [1, 2, 3, 4, 6], &[5, 6]);
    check(81, [0; 5], &[9]);
    check(82, [1, 2, 3, 4, 6], &[]);
    assert_eq!(model.ports.len(), 3);
}

#[test]
fn what_is_not_measured_is_unknown_and_never_zero() {
    let model = Model::new(&sample(), &plan(Accounting::None, false), &Findings::default());
    for number in [80, 81, 82] {
        assert_eq!(counts(&port(&model, number).handshakes), [None; 5]);
        assert_eq!(overflows(&port(&model, number).handshakes), [None; 4]);
    }
}

#[test]
fn causes_are_known_where_refused_packets_are_counted_one_by_one() {
    let model = |accounting| Model::new(&sample(), &plan(accounting, true), &Findings::default());
    let by_counters = causes(&port(&model(Accounting::KernelCounters), 80).handshakes);
    assert_eq!(by_counters, [7, 13, 14, 15, 8, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25].map(Some));
    let by_drops = port(&model(Accounting::SocketDrops), 80).handshakes;
    assert_eq!(causes(&by_drops)[..6], [None; 6]);
    assert_eq!(by_drops.last_ack_refused.undivided, Some(5));
    let mut plan = plan(Accounting::KernelCounters, true);
    plan.coverage.syn_backlog_reserve = false;
    let mixed = Model::new(&sample(), &plan, &Findings::default());
    assert_eq!(causes(&port(&mixed, 80).handshakes)[..4], [Some(7), Some(13), None, None]);
}

#[test]
fn a_listener_has_its_own_part_in_its_ports_totals() {
    let model = Model::new(&sample(), &plan(Accounting::KernelCounters, true), &Findings::default());
    let parts: Vec<_> = port(&model, 80).listeners.iter().map(|one| one.handshakes.established).collect();
    // Inodes 5 and 6: the one has had two rows, the other none.
    assert_eq!(parts, [Some(3), None]);
}

#[test]
fn a_listener_has_its_owner_and_a_port_the_name_that_is_remembered() {
    let mut sample = sample();
    let owner = |pid, process: &str| {
        Arc::new(OwnerSample { pid, process: process.to_owned(), ..OwnerSample::default() })
    };
    sample.owners = Sorted::from([(5, owner(12, "b")), (6, owner(11, "a"))]);
    let findings = Findings { processes: Sorted::from([(id(82), "closed".into())]), ..Findings::default() };
    let model = Model::new(&sample, &plan(Accounting::None, true), &findings);
    let pids: Vec<_> =
        port(&model, 80).listeners.iter().map(|one| one.owner.as_ref().map(|owner| owner.pid)).collect();
    assert_eq!(pids, [Some(12), Some(11)]);
    assert_eq!(port(&model, 80).owner().map(|owner| owner.pid), Some(11));
    assert_eq!((port(&model, 81).owner(), port(&model, 81).process.as_deref()), (None, None));
    assert_eq!(port(&model, 82).process.as_deref(), Some("closed"));
}

#[test]
fn overflows_and_drops_come_from_where_the_accounting_has_them() {
    let check = |accounting: Accounting, number: u16, expected: [Option<u64>; 4]| {
        let model = Model::new(&sample(), &plan(accounting, true), &findings());
        assert_eq!(overflows(&port(&model, number).handshakes), expected, "{accounting:?} {number}");
    };
    for accounting in [Accounting::KernelCounters, Accounting::Conditions] {
        check(accounting, 80, [Some(7), Some(8), None, Some(9)]);
        check(accounting, 81, [Some(0), Some(0), None, Some(0)]);
    }
    check(Accounting::SocketDrops, 80, [None, None, Some(10), Some(20)]);
    check(Accounting::SocketDrops, 81, [None; 4]);
    check(Accounting::None, 80, [None; 4]);
}

#[test]
fn by_conditions_the_last_acks_part_is_unknown_where_nothing_is_attached_there() {
    let mut plan = plan(Accounting::Conditions, true);
    plan.coverage.last_ack_refused = false;
    let model = Model::new(&sample(), &plan, &Findings::default());
    assert_eq!(overflows(&port(&model, 80).handshakes), [Some(7), None, None, None]);
    assert_eq!(overflows(&model.other.unwrap()), [Some(7), None, None, None]);
}

#[test]
fn the_other_row_has_what_the_hooks_count_and_nothing_of_the_ledger() {
    let check = |accounting: Accounting, expected: [Option<u64>; 4]| {
        let model = Model::new(&sample(), &plan(accounting, true), &findings());
        let other = model.other.unwrap();
        assert_eq!(counts(&other), [1, 2, 3, 4, 6].map(Some));
        assert_eq!(overflows(&other), expected, "{accounting:?}");
    };
    check(Accounting::KernelCounters, [Some(7), Some(8), None, Some(9)]);
    check(Accounting::SocketDrops, [None; 4]);
}

#[test]
fn a_port_without_a_row_is_unknown_once_the_map_was_full() {
    let mut sample = sample();
    sample.hooks.as_mut().unwrap().losses.insert("listener_map_full".to_owned(), 1);
    let model = Model::new(&sample, &plan(Accounting::KernelCounters, true), &Findings::default());
    assert_eq!(counts(&port(&model, 81).handshakes), [None; 5]);
    assert_eq!(counts(&port(&model, 80).handshakes), [1, 2, 3, 4, 6].map(Some));
}

#[test]
fn without_hooks_there_are_listeners_and_nothing_else() {
    let sample = Sample { hooks: None, ..sample() };
    let model = Model::new(&sample, &plan(Accounting::KernelCounters, true), &Findings::default());
    let numbers: Vec<_> = model.ports.iter().map(|port| port.id.port).collect();
    assert_eq!(numbers, [80, 81]);
    assert!(model.ports.iter().all(|port| port.handshakes == Handshakes::default()));
    assert_eq!((model.other, model.losses.len()), (None, 0));
}

#[test]
fn a_namespace_has_its_latest_counters_and_what_nobody_was_charged_with() {
    let check = |sample: &Sample, findings: &Findings, expected: [Option<u64>; 4]| {
        let model = Model::new(sample, &plan(Accounting::SocketDrops, true), findings);
        let namespace = &model.namespaces[0];
        let found = [
            namespace.listen_overflows,
            namespace.listen_drops,
            namespace.unattributed_overflows,
            namespace.unattributed_drops,
        ];
        assert_eq!(found, expected);
    };
    let whole = sample();
    check(&whole, &findings(), [Some(3), Some(4), Some(1), Some(2)]);
    check(&whole, &Findings::default(), [Some(3), Some(4), None, None]);
    let mut half = whole.clone();
    half.namespaces[0].netstat_after = None;
    check(&half, &Findings::default(), [Some(0), Some(0), None, None]);
    half.namespaces[0].netstat_before = None;
    check(&half, &Findings::default(), [None; 4]);
}

#[test]
fn ports_are_sorted_by_namespace_port_and_address() {
    let ids = [
        (2, "127.0.0.1", 1),
        (1, "::", 80),
        (1, "127.0.0.2", 80),
        (1, "127.0.0.1", 443),
        (1, "127.0.0.1", 80),
    ];
    let ids = ids.map(|(netns, address, port)| PortId { netns, address: address.parse().unwrap(), port });
    let hooks = HookSample { ports: ids.map(|id| (id, TOTALS)).into(), ..HookSample::default() };
    let sample = Sample { hooks: Some(hooks), ..Sample::default() };
    let model = Model::new(&sample, &plan(Accounting::KernelCounters, true), &Findings::default());
    let shown: Vec<_> =
        model.ports.iter().map(|port| (port.id.netns, port.id.port, port.id.address.to_string())).collect();
    let expected = [
        (1, 80, "127.0.0.1"),
        (1, 80, "127.0.0.2"),
        (1, 80, "::"),
        (1, 443, "127.0.0.1"),
        (2, 1, "127.0.0.1"),
    ];
    assert_eq!(shown, expected.map(|(netns, port, address)| (netns, port, address.to_owned())));
}

#[test]
fn a_namespace_has_its_limits_and_an_open_port_the_length_of_its_syn_queue() {
    let mut sample = sample();
    let queue = SynQueueSample { address: IpAddr::from([127, 0, 0, 1]), port: 80, length: 3 };
    let namespace = &mut sample.namespaces[0];
    namespace.limits.somaxconn = Some(4_096);
    namespace.syn_queues = Some(SynQueuesSample { age_milliseconds: 20, queues: vec![queue] });
    let build =
        |sample: &Sample| Model::new(sample, &plan(Accounting::KernelCounters, true), &Findings::default());
    let model = build(&sample);
    let lengths = [80, 81, 82].map(|number| port(&model, number).syn_queue_length);
    assert_eq!(lengths, [Some(3), Some(0), None]);
    let found = &model.namespaces[0];
    assert_eq!((found.limits.somaxconn, found.limits.tcp_migrate_req), (Some(4_096), None));
    assert_eq!(found.syn_queues_age_milliseconds, Some(20));
    sample.namespaces[0].syn_queues = None;
    let model = build(&sample);
    assert_eq!([80, 81].map(|number| port(&model, number).syn_queue_length), [None; 2]);
    assert_eq!(model.namespaces[0].syn_queues_age_milliseconds, None);
}

#[test]
fn the_host_has_what_it_shows_and_what_the_history_made_of_it() {
    let softnet = |processed| SoftnetSample { cpu: 1, processed, dropped: 0, time_squeeze: 0 };
    let mut sample = sample();
    let mut history = History::default();
    let mut read = |processed: Option<u32>| {
        let softnet = processed.map(|processed| vec![softnet(processed)]);
        sample.host = HostSample {
            own_netns: Some(7),
            netdev_max_backlog: Some(1_000),
            softnet,
            ..HostSample::default()
        };
        let findings = history.observe(&sample, &Coverage::EVERYTHING);
        Model::new(&sample, &plan(Accounting::KernelCounters, true), &findings).host
    };
    let processed = |host: Host| host.softnet.map(|cpus| cpus[0].processed);
    let host = read(Some(u32::MAX));
    assert_eq!((host.own_netns, host.netdev_max_backlog), (Some(7), Some(1_000)));
    assert_eq!(processed(read(None)), None);
    assert_eq!(processed(read(Some(4))), Some(4_294_967_300));
}

#[test]
fn a_namespace_that_its_processes_hide_is_unreadable_once_the_hooks_have_seen_a_listener_in_it() {
    let check = |hidden_processes: usize, expected: usize| {
        let mut sample = sample();
        let known = sample.namespaces.len();
        sample.host.hidden_processes = hidden_processes;
        let hooks = sample.hooks.as_mut().unwrap();
        hooks.sockets.iter_mut().for_each(|socket| socket.port.netns = 77);
        let model = Model::new(&sample, &plan(Accounting::SocketDrops, false), &findings());
        let hidden: Vec<_> = model.namespaces.iter().filter(|one| one.netns == 77).collect();
        assert_eq!((model.namespaces.len(), hidden.len()), (known + expected, expected));
        assert!(hidden.iter().all(|one| one.error.is_some() && one.listen_drops.is_none()));
    };
    check(0, 0);
    check(3, 1);
}

#[test]
fn namespaces_that_the_hooks_alone_know_are_told_where_none_is_hidden() {
    let read = |all_namespaces_found: bool| {
        let mut sample = sample();
        sample.host.all_namespaces_found = all_namespaces_found;
        sample.hooks.as_mut().unwrap().sockets[0].port.netns = 77;
        Model::new(&sample, &plan(Accounting::SocketDrops, false), &findings()).host.namespaces_not_found
    };
    assert_eq!(read(true), Some([77].into()));
    assert_eq!(read(false), None);
}
