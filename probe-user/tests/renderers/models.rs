//! Three hosts, as the golden files show them.
use std::{collections::BTreeMap, net::IpAddr};

use tcp_backlog_probe::{
    model::{
        Handshakes, LastAckRefused, Listener, Model, Namespace, Overflows, Port, SynDropped,
        audit::AuditedCounter,
        series::{Exposure, PortTotals, Series},
    },
    plan::outcome::{Accounting, Coverage, HookOutcome, PlanOutcome, Variant},
    prove::{Agreement, Proof, Row},
    render::BuildInfo,
    sample::{OwnCostSample, PortId},
};

const HOST: u32 = 4_026_531_840;
const CONTAINER: u32 = 4_026_532_199;

/// What the golden files say they were made by.
pub(crate) fn build() -> BuildInfo {
    BuildInfo { version: "0.1.0".to_owned(), kernel: "6.12.107+deb13-cloud-amd64".to_owned() }
}

fn hook(hook: &str, measures: &str, attached_to: &[&str], variant: Variant) -> HookOutcome {
    HookOutcome {
        hook: hook.to_owned(),
        measures: measures.to_owned(),
        attached_to: attached_to.iter().map(|&name| name.to_owned()).collect(),
        variant: Some(variant),
        reason: String::new(),
    }
}

fn skipped(hook: &str, measures: &str, reason: &str) -> HookOutcome {
    HookOutcome {
        hook: hook.to_owned(),
        measures: measures.to_owned(),
        attached_to: Vec::new(),
        variant: None,
        reason: reason.to_owned(),
    }
}

fn port(netns: u32, address: &str, port: u16, handshakes: Handshakes, queues: &[(u32, u32)]) -> Port {
    let address: IpAddr = address.parse().unwrap();
    let listener = |(index, &(accept_queue_length, accept_queue_limit)): (usize, &(u32, u32))| {
        let inode = 7000 + u32::from(port) + u32::try_from(index).unwrap();
        Listener { accept_queue_length, accept_queue_limit, inode, handshakes: Handshakes::default() }
    };
    Port {
        id: PortId { netns, address, port },
        handshakes,
        listeners: queues.iter().enumerate().map(listener).collect(),
        backlog_recommended: None,
        series: Exposure::default(),
    }
}

fn namespace(netns: u32, listen_overflows: u64, listen_drops: u64) -> Namespace {
    Namespace {
        netns,
        listen_overflows: Some(listen_overflows),
        listen_drops: Some(listen_drops),
        unattributed_overflows: None,
        unattributed_drops: None,
        residuals: BTreeMap::new(),
        error: None,
    }
}

fn own_cost(map_bytes: Option<u64>) -> OwnCostSample {
    OwnCostSample {
        cpu_seconds: Some(0.37),
        resident_bytes: Some(9_437_184),
        start_unix_seconds: Some(1_790_000_000.25),
        open_descriptors: Some(31),
        map_bytes,
        listener_rows: map_bytes.map(|_| (12, 16_384)),
    }
}

/// All counters of a port, from what happened on it.
fn all(syn: u64, queued: u64, refused: u64) -> Handshakes {
    let dropped = syn - queued;
    Handshakes {
        syn_received: Some(syn),
        syn_queued: Some(queued),
        syn_dropped: SynDropped {
            accept_queue_full: Some(dropped),
            syn_queue_full: Some(0),
            syn_backlog_reserve: Some(0),
            other: Some(0),
        },
        syncookies_sent: Some(0),
        syncookies_received: Some(0),
        syncookies_failed: Some(0),
        syn_queue_full_cookies: Some(0),
        last_ack_received: Some(queued),
        last_ack_refused: LastAckRefused {
            accept_queue_full: Some(refused),
            other: Some(0),
            undivided: None,
        },
        established: Some(queued - refused),
        synack_retransmits: Some(refused),
        request_errors: Some(0),
        requests_aborted: Some(0),
        requests_expired: Some(refused / 2),
        closed_unaccepted: Some(0),
        connections_refused: Some(dropped / 2 + refused),
        accept_queue_overflows: Overflows { syn: Some(dropped), ack: Some(refused), undivided: None },
        listen_drops: Some(dropped + refused),
    }
}

/// What the audit says of a namespace in which one cookie is missing.
fn residuals() -> BTreeMap<AuditedCounter, i64> {
    let residual = |counter| (counter, i64::from(counter == AuditedCounter::SyncookiesSent));
    AuditedCounter::ALL.into_iter().map(residual).collect()
}

/// Everything attached as fentry and fexit; a Java server that overflows.
pub(crate) fn trampoline() -> Model {
    let (busy, calm) = (all(3_000, 1_420, 381), all(52, 52, 0));
    let requests = hook(
        "syn_received",
        "SYNs that reach a listener, and those that it refuses",
        &["tcp_v4_conn_request", "tcp_v6_conn_request"],
        Variant::Trampoline,
    );
    let mut children = hook(
        "last_ack",
        "last ACKs, and whether a child socket was made",
        &["tcp_check_req"],
        Variant::Caller,
    );
    children.reason = "tcp_v4_syn_recv_sock has 7 arguments, trampolines of this kernel take 6".to_owned();
    Model {
        plan: PlanOutcome {
            hooks: vec![requests, children],
            coverage: coverage(true, Accounting::KernelCounters),
        },
        ports: vec![
            port(HOST, "0.0.0.0", 22, calm, &[(0, 128)]),
            port(HOST, "::", 8080, busy, &[(129, 128)]),
        ],
        other: Some(all(0, 0, 0)),
        namespaces: vec![Namespace { residuals: residuals(), ..namespace(HOST, 1_961, 1_961) }],
        losses: BTreeMap::from([("bracket_unmatched".to_owned(), 1), ("listener_map_full".to_owned(), 0)]),
        read_errors: vec![],
        own_cost: own_cost(Some(1_310_720)),
        series: None,
    }
}

/// Trampolines and kprobes refused: tracepoints, a namespace that cannot be read, a closed port, a
/// port with several listeners, and more ports than the map holds.
pub(crate) fn tracepoint() -> Model {
    let known = |established, retransmits, overflows, drops| Handshakes {
        established: Some(established),
        synack_retransmits: Some(retransmits),
        accept_queue_overflows: Overflows { undivided: overflows, ..Overflows::default() },
        listen_drops: drops,
        ..Handshakes::default()
    };
    // One has no series of its own, and another has some for a part of its counts only.
    let mut calm = port(HOST, "10.0.0.2", 443, known(90_210, 4, Some(0), Some(0)), &[(0, 511)]);
    calm.series.own = false;
    let mut busy = port(HOST, "10.0.0.1", 443, known(90_210, 4, Some(37), Some(49)), &[(2, 511), (512, 511)]);
    let late = PortTotals { handshakes: known(90_000, 4, Some(37), Some(49)) };
    busy.series.totals = Some(Box::new(late));
    busy.backlog_recommended = Some(4_096);
    let other = PortTotals { handshakes: known(90_425, 4, Some(0), Some(0)) };
    Model {
        plan: tracepoint_plan(),
        ports: vec![
            port(HOST, "127.0.0.1", 9000, known(7, 0, Some(0), Some(0)), &[]),
            busy,
            calm,
            port(CONTAINER, "fd00::1", 5432, known(12, 0, None, None), &[]),
        ],
        other: Some(known(5, 0, None, None)),
        namespaces: tracepoint_namespaces(),
        losses: BTreeMap::from([("listener_map_full".to_owned(), 5)]),
        read_errors: vec!["/proc/12/ns/net: Permission denied".to_owned()],
        own_cost: own_cost(Some(655_360)),
        series: Some(Series { ports: 4, ports_in_other: 1, other: Some(other) }),
    }
}

fn tracepoint_plan() -> PlanOutcome {
    let refused = "BPF_PROG_LOAD of \"fentry\" refused:\nOperation not permitted\\kprobe: no PMU";
    let states = &["sock:inet_sock_set_state"];
    let retransmits = &["tcp:tcp_retransmit_synack"];
    PlanOutcome {
        hooks: vec![
            skipped("syn_received", "SYNs that reach a listener, and those that it refuses", refused),
            hook("established", "finished handshakes put in the accept queue", states, Variant::Tracepoint),
            hook("synack_retransmits", "SYN-ACKs sent again", retransmits, Variant::Tracepoint),
        ],
        coverage: coverage(false, Accounting::SocketDrops),
    }
}

fn tracepoint_namespaces() -> Vec<Namespace> {
    let mut host = namespace(HOST, 40, 52);
    host.unattributed_overflows = Some(3);
    host.unattributed_drops = Some(0);
    let container = Namespace {
        netns: CONTAINER,
        listen_overflows: None,
        listen_drops: None,
        unattributed_overflows: None,
        unattributed_drops: None,
        residuals: BTreeMap::new(),
        error: Some("setns: Operation not permitted".to_owned()),
    };
    vec![host, container]
}

/// bpf(2) refused altogether.
pub(crate) fn without_bpf() -> Model {
    let refused = "bpf(2) is refused: Operation not permitted; CAP_BPF is missing";
    let nothing = Handshakes::default();
    Model {
        plan: PlanOutcome {
            hooks: vec![
                skipped("syn_received", "SYNs that reach a listener, and those that it refuses", refused),
                skipped("established", "finished handshakes put in the accept queue", refused),
            ],
            coverage: Coverage {
                established: false,
                synack_retransmits: false,
                ..coverage(false, Accounting::None)
            },
        },
        ports: vec![port(HOST, "::1", 631, nothing, &[(0, 4_096)])],
        other: None,
        namespaces: vec![namespace(HOST, 0, 0)],
        losses: BTreeMap::new(),
        read_errors: vec![],
        own_cost: OwnCostSample::default(),
        series: Some(Series { ports: 1, ports_in_other: 0, other: None }),
    }
}

/// The coverage of a full plan, or of the tracepoint plan before `rx_sk`.
fn coverage(full: bool, accounting: Accounting) -> Coverage {
    let base = if full { Coverage::EVERYTHING } else { Coverage::NOTHING };
    Coverage { established: true, synack_retransmits: true, discards_known: false, accounting, ..base }
}

/// A proof in which a counter is right, one is declared as incomplete, one is unknown and one is wrong.
pub(crate) fn proof() -> Proof {
    let row = |step, counter, seen, agreement| Row { step, counter, expected: 7, seen, agreement };
    let overflow = "SYNs meet a full accept queue";
    Proof {
        rows: vec![
            row("accepted", "established", Some(7), Agreement::Exact),
            row(overflow, "syn_received", None, Agreement::NotMeasured),
            row(overflow, "accept_queue_overflows", Some(5), Agreement::Declared),
            row(overflow, "syn_dropped, accept queue full", Some(9), Agreement::Wrong),
        ],
    }
}
