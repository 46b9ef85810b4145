//! Every metric once: name, kind, unit, help, labels, and what must be attached for it.
//!
//! A renderer refers to these constants, so a name cannot be misspelt. Every help text names the
//! kernel's source of the number.
mod limits;
mod port;
mod queue;
mod series;

pub use self::{limits::*, port::*, queue::*, series::*};
use super::{
    Group, Kind, Label,
    Label::{Counter, Hook, Kernel, Method, Netns, Reason, Source, Variant, Version},
    Metric, Needs, Unit,
};

/// A counter of a network namespace.
const fn netns_counter(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..netns_gauge(name, needs, help) }
}

/// A number of a network namespace that goes up and down.
const fn netns_gauge(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::Number,
        help,
        labels: &[Netns],
        needs,
        group: Group::Namespace,
    }
}

/// A constant 1 whose labels are the message.
const fn information(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Info,
        unit: Unit::Number,
        help,
        labels,
        needs: Needs::Nothing,
        group: Group::Probe,
    }
}

/// A number of the daemon's process, under the name that the Prometheus client libraries gave it.
const fn process(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind, unit, help, labels: &[], needs: Needs::Nothing, group: Group::Process }
}

/// The namespace's own count of overflows.
pub const NETNS_LISTEN_OVERFLOWS: Metric = netns_counter(
    "tcp_backlog_netns_listen_overflows_total",
    Needs::Nothing,
    "TcpExt ListenOverflows of /proc/PID/net/netstat, the kernel's own count for all ports of the \
     network namespace since it was made.",
);

/// The namespace's own count of drops.
pub const NETNS_LISTEN_DROPS: Metric = netns_counter(
    "tcp_backlog_netns_listen_drops_total",
    Needs::Nothing,
    "TcpExt ListenDrops of /proc/PID/net/netstat, the kernel's own count for all ports of the \
     network namespace since it was made.",
);

/// Overflows that no port could be charged with.
pub const NETNS_UNATTRIBUTED_OVERFLOWS: Metric = netns_counter(
    "tcp_backlog_netns_unattributed_overflows_total",
    Needs::SocketDrops,
    "Increments of TcpExt ListenOverflows that could not be charged to one port with certainty: \
     several ports dropped packets in one interval, and not every drop was an overflow.",
);

/// Drops that no port could be charged with.
pub const NETNS_UNATTRIBUTED_DROPS: Metric = netns_counter(
    "tcp_backlog_netns_unattributed_drops_total",
    Needs::SocketDrops,
    "Increments of TcpExt ListenDrops that no listener's sk_drops accounts for, such as those of a \
     listener that was opened and closed between two readings.",
);

/// What the kernel counted and no port did.
pub const NETNS_AUDIT_RESIDUAL: Metric = Metric {
    labels: &[Netns, Counter],
    ..netns_gauge(
        "tcp_backlog_netns_audit_residual",
        Needs::KernelCounters,
        "What TcpExt counted in the network namespace and no port did, since the hooks were attached, by \
         the kernel's name of the counter; negative when the ports counted more. Anything but 0 is a defect, \
         or one of the kernel's other users of these counters, which docs/COMPATIBILITY.md names.",
    )
};

/// Whether a namespace could be read.
pub const NETNS_READABLE: Metric = netns_gauge(
    "tcp_backlog_netns_readable",
    Needs::Nothing,
    "1 when the sockets (sock_diag), the counters (/proc/PID/net/netstat) and what the kernel shows of the \
     limits (/proc/sys/net) of the network namespace could be read, 0 when not: what is missing is then \
     absent, and the daemon's log says why.",
);

/// What became of each hook.
pub const HOOK_INFO: Metric = information(
    "tcp_backlog_hook_info",
    &[Hook, Variant, Reason],
    "What each hook is attached as: trampoline (fentry, fexit), caller, kprobe, tracepoint, derived (no \
     program of its own, those of another hook tell), or skipped. The reason says why it is no better variant, and is empty for the best.",
);

/// How refused packets are counted.
pub const ACCOUNTING_INFO: Metric = information(
    "tcp_backlog_accounting_info",
    &[Method],
    "How overflows and drops are charged to ports: kernel-counters (the kernel's own TcpExt \
     counters before and after each packet), conditions (the kernel's own comparisons, evaluated \
     again), socket-drops (sk_drops of the listeners and TcpExt of the namespace), or none.",
);

/// Whether queues are seen between two readings.
pub const ACCEPT_QUEUE_SOURCE_INFO: Metric = information(
    "tcp_backlog_accept_queue_source_info",
    &[Source],
    "Where what is said of accept queues comes from: events (each time that a connection is put in a queue, its \
     length is noted, so that peaks between two readings are seen), or polled (lengths and limits are those of the \
     moment of the reading, by sock_diag, and peaks are absent).",
);

/// What runs, and on what.
pub const BUILD_INFO: Metric = information(
    "tcp_backlog_build_info",
    &[Version, Kernel],
    "Version of the daemon and release of the running kernel, as uname(2) gives it.",
);

/// What is missing in other counters.
pub const LOST_EVENTS: Metric = Metric {
    name: "tcp_backlog_lost_events_total",
    kind: Kind::Counter,
    unit: Unit::Number,
    help: "Events that the BPF programs could not count where they belong, by reason: \
           listener_map_full and listener_unreadable (counted in the row other), bracket_unmatched, \
           counters_unreadable and child_map_full (counted nowhere), row_lost (only memory), accept_wait_map_full (only how long a \
           connection waits for accept()). Their source is the BPF map LOSSES; that of \
           program_skipped (the program, or a kprobe, was running on the CPU already; counted nowhere) is \
           recursion_misses in /proc/self/fdinfo and, from 6.7 on, what the links of kprobes tell. demand_forgotten (a port whose demand had to make room for others') and \
           episode_not_recorded (an episode of the JSON snapshot, because 100 others went on) are the daemon's own.",
    labels: &[Reason],
    needs: Needs::AnyPlan,
    group: Group::Probe,
};

/// When counting began.
pub const COUNTED_SINCE: Metric = Metric {
    name: "tcp_backlog_counted_since_timestamp_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    help: "Start of counting in seconds since the Unix epoch, when the BPF map HANDSHAKE was first read: totals are what was \
           counted from then on. It is earlier than process_start_time_seconds where the daemon went on from one before it.",
    labels: &[],
    needs: Needs::AnyPlan,
    group: Group::Probe,
};

/// What could not be read.
pub const READ_ERRORS: Metric = Metric {
    name: "tcp_backlog_read_errors",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "Sources that this reading could not read (BPF maps, lists of network namespaces, \
           /proc/self, the open files of other processes), apart from single namespaces: what they would tell is absent, and the \
           daemon's log says why.",
    labels: &[],
    needs: Needs::Nothing,
    group: Group::Probe,
};

/// Kernel memory of the BPF maps.
pub const MAPS_MEMORY: Metric = Metric {
    name: "tcp_backlog_maps_memory_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    help: "Kernel memory of the daemon's BPF maps: the sum of memlock in their /proc/self/fdinfo.",
    labels: &[],
    needs: Needs::AnyPlan,
    group: Group::Probe,
};

/// Rows of totals in use.
pub const LISTENER_ROWS: Metric = Metric {
    name: "tcp_backlog_listener_rows",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "Rows of totals in the BPF map HANDSHAKE that belong to a listener, or did until a moment ago.",
    labels: &[],
    needs: Needs::AnyPlan,
    group: Group::Probe,
};

/// How many rows there are.
pub const LISTENER_ROWS_LIMIT: Metric = Metric {
    name: "tcp_backlog_listener_rows_limit",
    help: "Rows of totals in the BPF map HANDSHAKE: past them listeners are counted in the row other.",
    ..LISTENER_ROWS
};

/// Processor time of the daemon.
pub const PROCESS_CPU: Metric = process(
    "process_cpu_seconds_total",
    Kind::Counter,
    Unit::Seconds,
    "Total user and system CPU time of the daemon in seconds: utime and stime of /proc/self/stat. \
     What its BPF programs cost in the kernel is not in it.",
);

/// Resident memory of the daemon.
pub const PROCESS_RESIDENT_MEMORY: Metric = process(
    "process_resident_memory_bytes",
    Kind::Gauge,
    Unit::Bytes,
    "Resident memory of the daemon in bytes: rss of /proc/self/stat times the page size.",
);

/// When the daemon was started.
pub const PROCESS_START_TIME: Metric = process(
    "process_start_time_seconds",
    Kind::Gauge,
    Unit::Seconds,
    "Start of the daemon in seconds since the Unix epoch: starttime of /proc/self/stat after btime \
     of /proc/stat.",
);

/// Open file descriptors of the daemon.
pub const PROCESS_OPEN_DESCRIPTORS: Metric = process(
    "process_open_fds",
    Kind::Gauge,
    Unit::Number,
    "Open file descriptors of the daemon: the entries of /proc/self/fd.",
);

/// Every metric, group by group, in the order in which a reader wants them.
pub const CATALOGUE: &[Metric] = &[
    SYN_RECEIVED,
    SYN_QUEUED,
    SYN_DROPPED,
    SYNCOOKIES_SENT,
    SYNCOOKIES_RECEIVED,
    SYNCOOKIES_FAILED,
    SYN_QUEUE_FULL_COOKIES,
    LAST_ACK_RECEIVED,
    LAST_ACK_REFUSED,
    ESTABLISHED,
    SYNACK_RETRANSMITS,
    REQUEST_ERRORS,
    REQUESTS_ABORTED,
    REQUESTS_EXPIRED,
    CLOSED_UNACCEPTED,
    CONNECTIONS_REFUSED,
    ACCEPT_QUEUE_OVERFLOWS,
    LISTEN_DROPS,
    ACCEPT_QUEUE_LENGTH,
    ACCEPT_QUEUE_LIMIT,
    BACKLOG_REQUESTED,
    BACKLOG_ATTAINABLE,
    BACKLOG_BOUND_INFO,
    ACCEPT_QUEUE_PEAK,
    ACCEPT_QUEUE_HIGHEST,
    ACCEPT_QUEUE_HIGHEST_TIME,
    ACCEPT_QUEUE_FILL,
    ACCEPTED,
    ACCEPT_WAIT,
    LAST_ACCEPT_TIME,
    SYN_QUEUE_PEAK,
    SYN_QUEUE_LENGTH,
    SYN_QUEUE_LIMIT,
    LISTENERS,
    BACKLOG_RECOMMENDED,
    PORT_OWNER_INFO,
    ADVICE,
    NETNS_LISTEN_OVERFLOWS,
    NETNS_LISTEN_DROPS,
    NETNS_UNATTRIBUTED_OVERFLOWS,
    NETNS_UNATTRIBUTED_DROPS,
    NETNS_AUDIT_RESIDUAL,
    NETNS_READABLE,
    NETNS_SOMAXCONN,
    NETNS_TCP_MAX_SYN_BACKLOG,
    NETNS_TCP_SYNCOOKIES,
    NETNS_TCP_ABORT_ON_OVERFLOW,
    NETNS_TCP_SYNACK_RETRIES,
    NETNS_TCP_MIGRATE_REQ,
    NETDEV_MAX_BACKLOG,
    SOFTNET_PROCESSED,
    SOFTNET_DROPPED,
    SOFTNET_TIME_SQUEEZE,
    HOOK_INFO,
    ACCOUNTING_INFO,
    ACCEPT_QUEUE_SOURCE_INFO,
    BUILD_INFO,
    COUNTED_SINCE,
    LOST_EVENTS,
    READ_ERRORS,
    MAPS_MEMORY,
    LISTENER_ROWS,
    LISTENER_ROWS_LIMIT,
    PORTS,
    PORTS_IN_OTHER,
    PROCESS_CPU,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    PROCESS_OPEN_DESCRIPTORS,
];

#[cfg(test)]
mod tests;
