//! Three hosts, as the golden files show them.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use tcp_backlog_probe::{
    model::{
        Backlog, Handshakes, Host, LastAckRefused, Listener, Model, Namespace, Overflows, Port, QueueCounts,
        Queues, Rates, Softnet, SynDropped,
        audit::{AuditedCounter, report::AuditReport},
        recent::Recent,
        series::{Exposure, PortTotals, Series},
    },
    plan::outcome::{Accounting, Coverage, HookOutcome, PlanOutcome, Variant},
    prove::{Agreement, Proof, Row},
    render::BuildInfo,
    sample::{LimitsSample, OwnCostSample, OwnerSample, PortId},
};

use super::busy::{episode, full_queues, full_rates};

/// The inode number of the initial network namespace.
pub(crate) const HOST: u32 = 4_026_531_840;
pub(crate) const CONTAINER: u32 = 4_026_532_199;

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

pub(crate) fn port(
    netns: u32,
    address: &str,
    port: u16,
    handshakes: Handshakes,
    queues: &[(u32, u32)],
) -> Port {
    let address: IpAddr = address.parse().unwrap();
    let listener = |(index, &(accept_queue_length, accept_queue_limit)): (usize, &(u32, u32))| {
        let inode = 7000 + u32::from(port) + u32::try_from(index).unwrap();
        Listener {
            accept_queue_length,
            accept_queue_limit,
            backlog: Backlog::default(),
            inode,
            socket_drops: 0,
            owner: None,
            handshakes: Arc::default(),
            queues: Arc::default(),
        }
    };
    Port {
        id: PortId { netns, address, port },
        process: None,
        handshakes,
        queues: Queues::default(),
        rates: Rates::default(),
        listeners: queues.iter().enumerate().map(listener).collect(),
        syn_queue_length: (!queues.is_empty()).then_some(u64::from(port) % 10),
        backlog_recommended: None,
        series: Exposure::default(),
    }
}

/// The same port, whose listeners belong to this process.
pub(crate) fn owned(mut port: Port, owner: OwnerSample) -> Port {
    let owner = Arc::new(owner);
    port.process = Some(owner.process.as_str().into());
    port.listeners.iter_mut().for_each(|listener| listener.owner = Some(Arc::clone(&owner)));
    port
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A service of the system.
pub(crate) fn sshd() -> OwnerSample {
    OwnerSample {
        pid: 812,
        process: "sshd".to_owned(),
        command: text("sshd"),
        unit: text("ssh.service"),
        user: text("root"),
        ..OwnerSample::default()
    }
}

/// A Java server in a pod.
pub(crate) fn tomcat() -> OwnerSample {
    OwnerSample {
        pid: 20_117,
        process: "java".to_owned(),
        command: text("org.apache.catalina.startup.Bootstrap"),
        application: text("tomcat"),
        unit: text("cri-containerd-3b6fa0e1c7d94c8f8f0c9a7b5e4d3c2b1a09f8e7d6c5b4a392817263544536ab.scope"),
        container: text("3b6fa0e1c7d94c8f8f0c9a7b5e4d3c2b1a09f8e7d6c5b4a392817263544536ab"),
        pod: text("1a2b3c4d-0011-2233-4455-66778899aabb"),
        user: text("999"),
    }
}

fn namespace(netns: u32, listen_overflows: u64, listen_drops: u64) -> Namespace {
    Namespace {
        netns,
        listen_overflows: Some(listen_overflows),
        listen_drops: Some(listen_drops),
        limits: limits(4_096),
        syn_queues_age_milliseconds: Some(0),
        ..Namespace::default()
    }
}

/// The sysctls of a kernel without `tcp_migrate_req`.
fn limits(somaxconn: u64) -> LimitsSample {
    LimitsSample {
        somaxconn: Some(somaxconn),
        tcp_max_syn_backlog: Some(512),
        tcp_syncookies: Some(1),
        tcp_abort_on_overflow: Some(0),
        tcp_synack_retries: Some(5),
        tcp_migrate_req: None,
    }
}

/// Two CPUs, one of which has counted past 32 bits.
fn host() -> Host {
    let softnet = |cpu, processed, dropped| Softnet { cpu, processed, dropped, time_squeeze: 7 };
    let softnet = vec![softnet(0, 4_294_967_305, 0), softnet(1, 52_118, 12)];
    Host {
        own_netns: Some(4_026_531_840),
        namespaces_not_found: Some(BTreeSet::new()),
        netdev_max_backlog: Some(1_000),
        softnet: Some(softnet),
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
pub(crate) fn all(syn: u64, queued: u64, refused: u64) -> Handshakes {
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

/// fentry and fexit, but for one function that has too many parameters.
fn trampolines() -> Vec<HookOutcome> {
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
    vec![requests, children]
}

/// Everything attached as fentry and fexit; a Java server that overflows.
pub(crate) fn trampoline() -> Model {
    let (busy, calm) = (all(3_000, 1_420, 381), all(52, 52, 0));
    Model {
        taken: 1_790_000_000.5,
        plan: PlanOutcome { hooks: trampolines(), coverage: coverage(true, Accounting::KernelCounters) },
        ports: vec![
            owned(port(HOST, "0.0.0.0", 22, calm, &[(0, 128)]), sshd()),
            Port {
                queues: full_queues(),
                rates: full_rates(),
                ..owned(port(HOST, "::", 8080, busy, &[(129, 128)]), tomcat())
            },
        ],
        counted_since: Some(1_789_990_000.25),
        other: Some(all(0, 0, 0)),
        other_queues: QueueCounts::default(),
        namespaces: vec![Namespace { residuals: residuals(), ..namespace(HOST, 1_961, 1_961) }],
        host: host(),
        losses: BTreeMap::from([("bracket_unmatched".to_owned(), 1), ("listener_map_full".to_owned(), 0)]),
        read_errors: vec![],
        own_cost: own_cost(Some(1_310_720)),
        series: None,
        episodes: vec![Arc::new(episode())],
        advice: Some(Arc::new(super::advice::diagnosis().advice)),
        recent: Recent::default(),
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
    let late = PortTotals { handshakes: known(90_000, 4, Some(37), Some(49)), ..PortTotals::default() };
    busy.series.totals = Some(Box::new(late));
    busy.backlog_recommended = Some(4_096);
    let other = PortTotals { handshakes: known(90_425, 4, Some(0), Some(0)), ..PortTotals::default() };
    Model {
        taken: 1_790_000_000.5,
        plan: tracepoint_plan(),
        ports: vec![
            // Closed: what is left is the name.
            Port {
                process: Some("php-fpm".into()),
                ..port(HOST, "127.0.0.1", 9000, known(7, 0, Some(0), Some(0)), &[])
            },
            busy,
            calm,
            port(CONTAINER, "fd00::1", 5432, known(12, 0, None, None), &[]),
        ],
        counted_since: Some(1_790_000_001.5),
        other: Some(known(5, 0, None, None)),
        other_queues: QueueCounts::default(),
        namespaces: tracepoint_namespaces(),
        // The initial namespace is out of reach.
        host: Host { netdev_max_backlog: None, ..host() },
        losses: BTreeMap::from([("listener_map_full".to_owned(), 5)]),
        read_errors: vec!["/proc/12/ns/net: Permission denied".to_owned()],
        own_cost: own_cost(Some(655_360)),
        series: Some(Series { ports: 4, ports_in_other: 1, other: Some(other) }),
        episodes: vec![],
        advice: None,
        recent: Recent::default(),
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
        error: Some("setns: Operation not permitted".to_owned()),
        ..Namespace::default()
    };
    vec![host, container]
}

/// bpf(2) refused altogether.
pub(crate) fn without_bpf() -> Model {
    let refused = "bpf(2) is refused: Operation not permitted; CAP_BPF is missing";
    let nothing = Handshakes::default();
    Model {
        taken: 1_790_000_000.5,
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
        counted_since: None,
        other: None,
        other_queues: QueueCounts::default(),
        namespaces: vec![namespace(HOST, 0, 0)],
        host: Host { softnet: None, ..host() },
        losses: BTreeMap::new(),
        read_errors: vec![],
        own_cost: OwnCostSample::default(),
        series: Some(Series { ports: 1, ports_in_other: 0, other: None }),
        episodes: vec![],
        advice: None,
        recent: Recent::default(),
    }
}

/// The coverage of a full plan, or of the tracepoint plan before `rx_sk`.
fn coverage(full: bool, accounting: Accounting) -> Coverage {
    let base = if full { Coverage::EVERYTHING } else { Coverage::NOTHING };
    Coverage { established: true, synack_retransmits: true, discards_known: false, accounting, ..base }
}

/// What a command says of itself, where it found no daemon.
pub(crate) fn own_audit(model: &Model) -> AuditReport {
    AuditReport::of_command(model, "no daemon answers on 127.0.0.1:10511".to_owned())
}

/// A proof in which a counter is right, one is declared as incomplete, one is unknown and one is wrong.
pub(crate) fn proof() -> Proof {
    let row = |step, counter, seen, agreement| Row { step, counter, expected: 7, seen, agreement };
    let overflow = "SYNs meet a full accept queue";
    Proof {
        seconds: 1.9,
        rows: vec![
            row("accepted", "established", Some(7), Agreement::Exact),
            row(overflow, "syn_received", None, Agreement::NotMeasured),
            row(overflow, "accept_queue_overflows", Some(5), Agreement::Declared),
            row(overflow, "syn_dropped, accept queue full", Some(9), Agreement::Wrong),
        ],
    }
}
