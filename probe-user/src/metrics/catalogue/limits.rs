//! Limits that the kernel was told, and the queue before all sockets.
use super::{
    super::{Group, Kind, Label::Cpu, Metric, Needs, Unit},
    netns_gauge,
};

/// A sysctl of a network namespace.
const fn netns_limit(name: &'static str, help: &'static str) -> Metric {
    netns_gauge(name, Needs::Nothing, help)
}

/// A counter of a CPU's network softirq.
const fn softnet_counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: Unit::Number,
        help,
        labels: &[Cpu],
        needs: Needs::Nothing,
        group: Group::Host,
    }
}

/// What listen(2) cuts the backlog to.
pub const NETNS_SOMAXCONN: Metric = netns_limit(
    "tcp_backlog_netns_somaxconn",
    "/proc/sys/net/core/somaxconn of the network namespace: listen() cuts the backlog to it, for listeners \
     that are opened from now on. Absent where the kernel hides it, in network namespaces of other user \
     namespaces.",
);

/// The limit of all SYN queues that counts while SYN cookies are off.
pub const NETNS_TCP_MAX_SYN_BACKLOG: Metric = netns_limit(
    "tcp_backlog_netns_tcp_max_syn_backlog",
    "/proc/sys/net/ipv4/tcp_max_syn_backlog of the network namespace. It matters while tcp_syncookies is 0 \
     only: then clients that were not here before get three quarters of it (tcp_conn_request()).",
);

/// When SYN cookies are sent.
pub const NETNS_TCP_SYNCOOKIES: Metric = netns_limit(
    "tcp_backlog_netns_tcp_syncookies",
    "/proc/sys/net/ipv4/tcp_syncookies of the network namespace: 0 drops a SYN that meets a full SYN queue, \
     1 answers it with a SYN cookie, 2 answers every SYN so.",
);

/// What becomes of a refused last ACK.
pub const NETNS_TCP_ABORT_ON_OVERFLOW: Metric = netns_limit(
    "tcp_backlog_netns_tcp_abort_on_overflow",
    "/proc/sys/net/ipv4/tcp_abort_on_overflow of the network namespace: 1 answers a last ACK that meets a full \
     accept queue with a reset, 0 drops it.",
);

/// How long requests stay.
pub const NETNS_TCP_SYNACK_RETRIES: Metric = netns_limit(
    "tcp_backlog_netns_tcp_synack_retries",
    "/proc/sys/net/ipv4/tcp_synack_retries of the network namespace: how often a SYN-ACK is sent again before its \
     request is given up, after 1, 2, 4 ... seconds.",
);

/// Whether connections outlive their listener.
pub const NETNS_TCP_MIGRATE_REQ: Metric = netns_limit(
    "tcp_backlog_netns_tcp_migrate_req",
    "/proc/sys/net/ipv4/tcp_migrate_req of the network namespace: 1 moves the connections of a closed listener \
     to another one of its port. Absent before Linux 5.14.",
);

/// The limit of the queue before all sockets.
pub const NETDEV_MAX_BACKLOG: Metric = Metric {
    name: "tcp_backlog_netdev_max_backlog",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "/proc/sys/net/core/netdev_max_backlog: how many packets may wait per CPU before the network stack \
           takes them. Absent where the initial network namespace cannot be read, which alone shows it.",
    labels: &[],
    needs: Needs::Nothing,
    group: Group::Host,
};

/// Packets taken by the network softirq.
pub const SOFTNET_PROCESSED: Metric = softnet_counter(
    "tcp_backlog_softnet_processed_total",
    "Packets that the CPU's network softirq has taken off its backlog or off a device: column 1 of \
     /proc/net/softnet_stat, since boot; the kernel's 32 bits are continued where they wrap.",
);

/// Packets dropped before any socket was known.
pub const SOFTNET_DROPPED: Metric = softnet_counter(
    "tcp_backlog_softnet_dropped_total",
    "Packets of any kind that were dropped because more than net.core.netdev_max_backlog waited for the CPU: \
     column 2 of /proc/net/softnet_stat, since boot. No port can be charged with them.",
);

/// Runs of the network softirq that were cut short.
pub const SOFTNET_TIME_SQUEEZE: Metric = softnet_counter(
    "tcp_backlog_softnet_time_squeeze_total",
    "Runs of the CPU's network softirq that ended with packets left, because net.core.netdev_budget or its time \
     was used up: column 3 of /proc/net/softnet_stat, since boot.",
);
