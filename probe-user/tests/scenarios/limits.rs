//! What the kernel was told to allow, and the queue before all sockets.
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use super::{Setup, bench::Bench, support::metrics::Metrics};

/// Limits with values that no kernel begins with.
const FIRST: &[(&str, u32)] = &[
    ("core.somaxconn", 77),
    ("ipv4.tcp_max_syn_backlog", 33),
    ("ipv4.tcp_syncookies", 0),
    ("ipv4.tcp_abort_on_overflow", 1),
    ("ipv4.tcp_synack_retries", 3),
    (MIGRATE, 1),
];

/// The same with other ones.
const SECOND: &[(&str, u32)] = &[
    ("core.somaxconn", 5_000),
    ("ipv4.tcp_max_syn_backlog", 70_000),
    ("ipv4.tcp_syncookies", 2),
    ("ipv4.tcp_abort_on_overflow", 0),
    ("ipv4.tcp_synack_retries", 7),
    (MIGRATE, 0),
];

/// Not every kernel has it.
const MIGRATE: &str = "ipv4.tcp_migrate_req";

/// The sysctls of a namespace are its own, and each scrape has those of now.
pub(crate) fn every_limit_of_a_namespace_is_what_was_set(setup: &Setup) {
    let bench = Bench::new(setup);
    let migrates = bench.namespace.has_sysctl(MIGRATE);
    let exists = |name: &str| name != MIGRATE || migrates;
    for limits in [FIRST, SECOND] {
        limits.iter().filter(|(name, _)| exists(name)).for_each(|(name, value)| {
            bench.namespace.set_sysctl(name, *value);
        });
        let metrics = bench.scrape();
        for (name, value) in limits {
            let expected = exists(name).then_some(u64::from(*value));
            assert_eq!(limit(&metrics, bench.namespace.inode(), name), expected, "{name}");
        }
    }
}

/// `tcp_backlog_netns_<the sysctl's last word>` of the namespace.
fn limit(metrics: &Metrics, netns: u64, sysctl: &str) -> Option<u64> {
    let (_, word) = sysctl.split_once('.').expect("a sysctl of a folder");
    metrics.value(&format!("tcp_backlog_netns_{word}"), &[("netns", &netns.to_string())])
}

/// The counters of every CPU's network softirq are the kernel's, and go on under traffic.
pub(crate) fn the_counters_of_the_network_softirq_only_grow(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut before = shown(&daemon.scrape());
    assert!(!before.is_empty(), "no CPU");
    for _ in 0..3 {
        loopback_traffic();
        let kernel_before = counted();
        let now = shown(&daemon.scrape());
        let kernel_after = counted();
        check_growth(&before, &now);
        for ((shown, low), high) in now.iter().zip(&kernel_before).zip(&kernel_after) {
            assert!(shown.is_between(low, high), "{low:?} <= {shown:?} <= {high:?}");
        }
        before = now;
    }
}

/// Only the initial namespace shows the limit of the queue before all sockets.
pub(crate) fn the_limit_of_the_queue_before_all_sockets(setup: &Setup) {
    let shown = setup.shared_daemon().scrape().value("tcp_backlog_netdev_max_backlog", &[]);
    // The test may be elsewhere, where the daemon finds the initial one all the same.
    if let Ok(text) = fs::read_to_string("/proc/sys/net/core/netdev_max_backlog") {
        assert_eq!(shown, Some(text.trim().parse().expect("a number")));
    }
}

/// What one CPU's network softirq has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Softnet {
    cpu: u64,
    processed: u64,
    dropped: u64,
    time_squeeze: u64,
}

impl Softnet {
    /// Whether what is shown lies between two readings of the kernel's 32-bit counters.
    fn is_between(&self, low: &Self, high: &Self) -> bool {
        let between = |of: fn(&Self) -> u64| {
            let wrapped = of(self) & u64::from(u32::MAX);
            of(high) < of(low) || (of(low) <= wrapped && wrapped <= of(high))
        };
        self.cpu == low.cpu
            && between(|one| one.processed)
            && between(|one| one.dropped)
            && between(|one| one.time_squeeze)
    }
}

fn check_growth(before: &[Softnet], now: &[Softnet]) {
    assert_eq!(now.len(), before.len(), "a CPU came or went");
    for (before, now) in before.iter().zip(now) {
        let grows = now.cpu == before.cpu
            && now.processed >= before.processed
            && now.dropped >= before.dropped
            && now.time_squeeze >= before.time_squeeze;
        assert!(grows, "{before:?}, {now:?}");
    }
    let processed = |of: &[Softnet]| of.iter().map(|cpu| cpu.processed).sum::<u64>();
    assert!(processed(now) > processed(before), "nothing was processed: {before:?}");
}

/// What the daemon shows, by the CPU's number.
fn shown(metrics: &Metrics) -> Vec<Softnet> {
    let labels = metrics.label_values("tcp_backlog_softnet_processed_total", "cpu");
    let of_cpu = |cpu: &str| {
        let count = |name: &str| {
            let name = format!("tcp_backlog_softnet_{name}_total");
            metrics.value(&name, &[("cpu", cpu)]).unwrap_or_else(|| panic!("no {name} of {cpu}"))
        };
        Softnet {
            cpu: cpu.parse().expect("a CPU's number"),
            processed: count("processed"),
            dropped: count("dropped"),
            time_squeeze: count("time_squeeze"),
        }
    };
    let mut cpus: Vec<_> = labels.into_iter().map(of_cpu).collect();
    cpus.sort();
    cpus
}

/// The same from the kernel. Every kernel of the tests has the CPU's number in the 13th column.
fn counted() -> Vec<Softnet> {
    let table = fs::read_to_string("/proc/net/softnet_stat").expect("/proc/net/softnet_stat");
    let row = |line: &str| {
        let column = |index: usize| {
            let text = line.split_whitespace().nth(index).expect("a column");
            u64::from_str_radix(text, 16).expect("a hexadecimal number")
        };
        Softnet { cpu: column(12), processed: column(0), dropped: column(1), time_squeeze: column(2) }
    };
    table.lines().map(row).collect()
}

/// Some packets over the loopback interface.
fn loopback_traffic() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).expect("data");
        bytes.len()
    });
    let mut client = TcpStream::connect(address).expect("a connection");
    client.write_all(&[0; 100_000]).expect("data");
    drop(client);
    assert_eq!(server.join().expect("the server"), 100_000);
}
