//! Where no hook can be attached the daemon still serves what the kernel tells anybody.
use std::process::Command;

use libtest_mimic::Trial;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::support::{
    daemon::{Daemon, binary, run_arguments},
    metrics::{Metrics, PortNumbers},
    namespace::Namespace,
    sockets::{Client, IPV4, Listener, connect_all, connect_in_turn},
    trials::trials_of,
    verdicts::{Verdicts, wait_for_verdict},
    wait::{ensure, wait_until},
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "no_hooks":
        the_plan_without_hooks,
        root_without_the_capabilities_for_bpf,
        clamps_and_drops_are_told_without_hooks,
        overflows_of_a_listener_that_nobody_saw_are_told
    )
}

/// `--plan none`.
fn the_plan_without_hooks() {
    let namespace = Namespace::new();
    let daemon = Daemon::start(&["--plan", "none"]);
    let (listener, clients) = overflow(&namespace);
    compare(&namespace, &listener, || daemon.scrape());
    drop(clients);
}

/// As root in a container, or in a service whose bounding set is too small: bpf(2) is refused, and
/// so is a look into other namespaces.
fn root_without_the_capabilities_for_bpf() {
    let namespace = Namespace::new();
    namespace.run(|| {
        // What this thread starts has no more than is left here. The thread ends with the test.
        for capability in [CapabilitySet::BPF, CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN] {
            remove_capability_from_bounding_set(capability).expect("a smaller bounding set");
        }
    });
    let mut command = Command::new(binary());
    command.args(run_arguments(&["--plan", "auto"]));
    let daemon = Daemon::start_in(&namespace, command);
    let (listener, clients) = overflow(&namespace);
    compare(&namespace, &listener, || daemon.scrape_in(&namespace));
    let log = daemon.log().text();
    let warnings = log.lines().filter(|line| line.contains("\"WARN\""));
    let explanations = warnings.filter(|line| line.contains("CAP_BPF")).count();
    assert_eq!(explanations, 1, "one warning says what is missing");
    drop(clients);
}

/// By the limit, the drops of the sockets and the counters of the namespace.
fn clamps_and_drops_are_told_without_hooks() {
    let namespace = Namespace::new();
    namespace.set_sysctl("core.somaxconn", BACKLOG);
    namespace.set_sysctl("ipv4.tcp_syncookies", 0);
    let daemon = Daemon::start(&["--plan", "none"]);
    let on = |listener: &Listener| Verdicts::on(&daemon, namespace.inode(), listener.address);
    // Its SYN queue is full: that is no clamp.
    let deferring = Listener::open(&namespace, IPV4, BACKLOG);
    deferring.defer_accept(600);
    let deferred = connect_all(&namespace, deferring.address, CLIENTS);
    let title = wait_for_verdict("packets_dropped", "losing", || on(&deferring));
    assert!(title.ends_with("and not for a full accept queue"), "{title}");
    drop((deferring, deferred));

    let (listener, clients) = overflow(&namespace);
    let title = wait_for_verdict("clamped_by_somaxconn", "losing", || on(&listener));
    assert_eq!(title, "got 4, which is net.core.somaxconn; what it asked for was not seen");
    drop(clients);
}

/// It overflows and closes between two looks.
fn overflows_of_a_listener_that_nobody_saw_are_told() {
    let namespace = Namespace::new();
    let daemon = Daemon::start(&["--plan", "none"]);
    wait_until("overflows of nobody", || {
        // Known with its counters, and then left alone for a moment.
        let there = || Verdicts::in_namespace(&daemon, namespace.inode());
        let title = there().title("overflows_of_nobody", "losing").map(str::to_owned);
        if title.is_err() {
            let listener = Listener::open(&namespace, IPV4, 1);
            drop(connect_all(&namespace, listener.address, CLIENTS));
        }
        title
    });
}

fn overflow(namespace: &Namespace) -> (Listener, Vec<Client>) {
    let listener = Listener::open(namespace, IPV4, BACKLOG);
    let clients = connect_in_turn(namespace, &listener, listener.address, CLIENTS);
    (listener, clients)
}

fn compare(namespace: &Namespace, listener: &Listener, scrape: impl Fn() -> Metrics) {
    wait_until("the queue and the namespace's counters without hooks", || {
        // Not all counters: the scrape itself may be a connection in this namespace.
        let refused = || {
            let kernel = namespace.counters();
            (Some(kernel.listen_overflows), Some(kernel.listen_drops))
        };
        let before = refused();
        let metrics = scrape();
        let kernel = refused();
        ensure(before == kernel && kernel.0 > Some(0), || format!("{before:?}, {kernel:?}"))?;
        // Only what sock_diag gives: everything that needs a hook is absent rather than 0.
        let expected = PortNumbers {
            queue_length: Some(listener.capacity()),
            queue_limit: Some(u64::from(BACKLOG)),
            listeners: Some(1),
            ..PortNumbers::default()
        };
        let seen = metrics.port(namespace.inode(), listener.address);
        ensure(seen == expected, || format!("{seen:?}"))?;
        let of_namespace = |name: &str| {
            metrics.value(&format!("tcp_backlog_netns_{name}"), &[("netns", &namespace.inode().to_string())])
        };
        let seen = (of_namespace("listen_overflows_total"), of_namespace("listen_drops_total"));
        ensure(seen == kernel, || format!("{seen:?}, the kernel has {kernel:?}"))?;
        says_what_is_missing(&metrics)
    });
}

fn says_what_is_missing(metrics: &Metrics) -> Result<(), String> {
    let methods = metrics.label_values("tcp_backlog_accounting_info", "method");
    ensure(methods == ["none"], || format!("accounting is by {methods:?}"))?;
    let reasons = metrics.label_values("tcp_backlog_hook_info", "reason");
    let explained = !reasons.is_empty() && reasons.iter().all(|reason| !reason.is_empty());
    ensure(explained, || format!("the hooks' reasons are {reasons:?}"))
}
