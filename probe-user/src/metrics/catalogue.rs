//! Every metric once: name, kind, unit, help, labels, and what must be attached for it.
//!
//! A renderer refers to these constants, so a name cannot be misspelt. Every help text names the
//! kernel's source of the number.
use super::{
    Group, Kind, Label,
    Label::{Address, Cause, Counter, Hook, Kernel, Method, Netns, Port, Reason, Stage, Variant, Version},
    Metric, Needs, Unit,
};

const PORT_LABELS: &[Label] = &[Netns, Address, Port];

/// A counter of a listening port: the commonest shape.
const fn port_counter(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: Unit::Number,
        help,
        labels: PORT_LABELS,
        needs,
        group: Group::Port,
    }
}

/// A number that `sock_diag` gives of a port's listeners at the moment of the scrape.
const fn port_gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::Number,
        help,
        labels: PORT_LABELS,
        needs: Needs::Nothing,
        group: Group::Port,
    }
}

/// A counter of a network namespace.
const fn netns_counter(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
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

/// SYNs that reached the listener.
pub const SYN_RECEIVED: Metric = port_counter(
    "tcp_backlog_syn_received_total",
    Needs::FullPlan,
    "SYNs that reached the listeners of the port: calls of tcp_v4_conn_request() and its like. A client that gets \
     no answer sends its SYN again, and each one counts.",
);

/// SYNs put in the SYN queue.
pub const SYN_QUEUED: Metric = port_counter(
    "tcp_backlog_syn_queued_total",
    Needs::FullPlan,
    "SYNs that were put in the SYN queue: calls of inet_csk_reqsk_queue_hash_add(). A SYN that is \
     answered with a SYN cookie is not queued.",
);

/// Finished handshakes put in the accept queue.
pub const ESTABLISHED: Metric = port_counter(
    "tcp_backlog_established_total",
    Needs::AnyPlan,
    "Finished handshakes that were put in the accept queue: inet_csk_reqsk_queue_add(); in the \
     tracepoint plan sock:sk_data_ready, or where the kernel has none sock:inet_sock_set_state.",
);

/// Last ACKs for which a child socket was asked.
pub const LAST_ACK_RECEIVED: Metric = port_counter(
    "tcp_backlog_last_ack_received_total",
    Needs::FullPlan,
    "Last ACKs of a handshake for which a child socket was asked: calls of \
     tcp_v4_syn_recv_sock() and tcp_v6_syn_recv_sock(), each handshake once.",
);

/// SYNs that were dropped.
pub const SYN_DROPPED: Metric = Metric {
    labels: &[Netns, Address, Port, Cause],
    ..port_counter(
        "tcp_backlog_syn_dropped_total",
        Needs::FullPlan,
        "SYNs that were dropped, by cause: accept_queue_full (TcpExt ListenOverflows); syn_queue_full, with \
         SYN cookies off (TCPReqQFullDrop); syn_backlog_reserve, the last quarter of \
         net.ipv4.tcp_max_syn_backlog being kept for known clients while SYN cookies are off; other: no \
         memory, no route, a security module, a broadcast address. Each is one of tcp_backlog_listen_drops_total.",
    )
};

/// SYNs answered with a SYN cookie.
pub const SYNCOOKIES_SENT: Metric = port_counter(
    "tcp_backlog_syncookies_sent_total",
    Needs::FullPlan,
    "SYNs that were answered with a SYN cookie: TcpExt SyncookiesSent. Nothing is lost, and nothing queued.",
);

/// Last ACKs with a good SYN cookie.
pub const SYNCOOKIES_RECEIVED: Metric = port_counter(
    "tcp_backlog_syncookies_received_total",
    Needs::KernelCounters,
    "Last ACKs that carried a good SYN cookie: TcpExt SyncookiesRecv. Such a one may still be refused.",
);

/// ACKs without a good SYN cookie.
pub const SYNCOOKIES_FAILED: Metric = port_counter(
    "tcp_backlog_syncookies_failed_total",
    Needs::KernelCounters,
    "ACKs that carried no good SYN cookie while cookies were expected, and got a reset: TcpExt SyncookiesFailed.",
);

/// SYNs that found the SYN queue full and SYN cookies on.
pub const SYN_QUEUE_FULL_COOKIES: Metric = port_counter(
    "tcp_backlog_syn_queue_full_cookies_total",
    Needs::KernelCounters,
    "SYNs that found the SYN queue full while SYN cookies are on: TcpExt TCPReqQFullDoCookies. With \
     net.ipv4.tcp_syncookies 2 every SYN counts. One that then meets a full accept queue is dropped.",
);

/// Last ACKs for which no child socket was made.
pub const LAST_ACK_REFUSED: Metric = Metric {
    labels: &[Netns, Address, Port, Cause],
    ..port_counter(
        "tcp_backlog_last_ack_refused_total",
        Needs::AnyPlan,
        "Last ACKs of a handshake for which no child socket was made, by cause: accept_queue_full (TcpExt \
         ListenOverflows raised in tcp_check_req() or cookie_v4_check()), other (ListenDrops alone: no memory, \
         no route); in the tracepoint plan undivided, skb:kfree_skb with the reason TCP_LISTEN_OVERFLOW, on \
         kernels that have it. A client that sends its ACK or data again counts again.",
    )
};

/// SYN-ACKs sent again.
pub const SYNACK_RETRANSMITS: Metric = port_counter(
    "tcp_backlog_synack_retransmits_total",
    Needs::AnyPlan,
    "SYN-ACKs that were sent again: the tracepoint tcp:tcp_retransmit_synack. They rise when last \
     ACKs are lost on their way, and when the accept queue is full.",
);

/// Requests ended by an ICMP error.
pub const REQUEST_ERRORS: Metric = port_counter(
    "tcp_backlog_request_errors_total",
    Needs::KernelCounters,
    "Requests in the SYN queue that an ICMP error ended, which the kernel counts as a listen drop: tcp_req_err().",
);

/// Requests ended with a reset.
pub const REQUESTS_ABORTED: Metric = port_counter(
    "tcp_backlog_requests_aborted_total",
    Needs::KernelCounters,
    "Last ACKs that were refused and answered with a reset, because net.ipv4.tcp_abort_on_overflow is set: \
     tcp_check_req(). Each is one of tcp_backlog_last_ack_refused_total as well.",
);

/// Requests given up.
pub const REQUESTS_EXPIRED: Metric = port_counter(
    "tcp_backlog_requests_expired_total",
    Needs::FullPlan,
    "Requests in the SYN queue that were given up after their last SYN-ACK: reqsk_timer_handler() of a \
     listener that still listens. The kernel counts them nowhere.",
);

/// Connections reset with their listener.
pub const CLOSED_UNACCEPTED: Metric = port_counter(
    "tcp_backlog_closed_unaccepted_total",
    Needs::FullPlan,
    "Connections that were reset because their listener was closed before it accepted them: \
     inet_child_forget(). One that moves to another listener (net.ipv4.tcp_migrate_req) is not.",
);

/// Connections that were refused.
pub const CONNECTIONS_REFUSED: Metric = port_counter(
    "tcp_backlog_connections_refused_total",
    Needs::KernelCounters,
    "Connections of which at least one SYN or last ACK was dropped (TcpExt ListenDrops), each of them once, \
     however often its client tries. A client that gives up and connects anew is another connection. Of \
     connections that are refused at the same time 65,536 are remembered; past that a later try may count again.",
);

/// Packets refused because the accept queue was full.
pub const ACCEPT_QUEUE_OVERFLOWS: Metric = Metric {
    labels: &[Netns, Address, Port, Stage],
    ..port_counter(
        "tcp_backlog_accept_queue_overflows_total",
        Needs::AnyPlan,
        "Packets that were refused because the accept queue was full: the increments of TcpExt \
         ListenOverflows on behalf of the port. Stage syn is a refused SYN, ack a refused last ACK; \
         undivided is both, where the method of accounting cannot tell them apart. Packets, not \
         connections: a client that is refused tries again and counts again.",
    )
};

/// Packets that the kernel counted as ListenDrops.
pub const LISTEN_DROPS: Metric = port_counter(
    "tcp_backlog_listen_drops_total",
    Needs::AnyPlan,
    "Packets that the listeners dropped: the increments of TcpExt ListenDrops on behalf of the \
     port. Every overflow is one of them; a SYN queue that is full while SYN cookies are off, or a \
     lack of memory or of a route, are others.",
);

/// Finished handshakes that wait for accept(), over all listeners of the port.
pub const ACCEPT_QUEUE_LENGTH: Metric = port_gauge(
    "tcp_backlog_accept_queue_length",
    "Finished handshakes that wait for accept() at this moment: sk_ack_backlog, which sock_diag \
     gives as idiag_rqueue. It is the sum over the listeners of the port, as is the limit to be \
     held against it: with SO_REUSEPORT every listener has a queue of its own, and one can \
     overflow while the sum looks half empty.",
);

/// The effective backlog, over all listeners of the port.
pub const ACCEPT_QUEUE_LIMIT: Metric = port_gauge(
    "tcp_backlog_accept_queue_limit",
    "The effective backlog, after net.core.somaxconn has cut what listen() asked for: \
     sk_max_ack_backlog, which sock_diag gives as idiag_wqueue. It is the sum over the listeners \
     of the port. A queue is full when its length is above its limit, so each listener holds one \
     connection more than that.",
);

/// Sockets that listen on the port.
pub const LISTENERS: Metric = port_gauge(
    "tcp_backlog_listeners",
    "Sockets that listen on the port at this moment, from a sock_diag dump of its network \
     namespace. More than one: they share the port with SO_REUSEPORT.",
);

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
    name: "tcp_backlog_netns_audit_residual",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "What TcpExt counted in the network namespace and no port did, since the hooks were attached, by \
           the kernel's name of the counter; negative when the ports counted more. Anything but 0 is a defect, \
           or one of the kernel's other users of these counters, which docs/COMPATIBILITY.md names.",
    labels: &[Netns, Counter],
    needs: Needs::KernelCounters,
    group: Group::Namespace,
};

/// Whether a namespace could be read.
pub const NETNS_READABLE: Metric = Metric {
    name: "tcp_backlog_netns_readable",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "1 when the sockets (sock_diag) and the counters (/proc/PID/net/netstat) of the network \
           namespace could be read, 0 when not: what is missing is then absent, and the daemon's \
           log says why.",
    labels: &[Netns],
    needs: Needs::Nothing,
    group: Group::Namespace,
};

/// What became of each hook.
pub const HOOK_INFO: Metric = information(
    "tcp_backlog_hook_info",
    &[Hook, Variant, Reason],
    "What each hook is attached as: trampoline (fentry, fexit), caller, kprobe, tracepoint, or \
     skipped. The reason says why it is no better variant, and is empty for the best.",
);

/// How refused packets are counted.
pub const ACCOUNTING_INFO: Metric = information(
    "tcp_backlog_accounting_info",
    &[Method],
    "How overflows and drops are charged to ports: kernel-counters (the kernel's own TcpExt \
     counters before and after each packet), conditions (the kernel's own comparisons, evaluated \
     again), socket-drops (sk_drops of the listeners and TcpExt of the namespace), or none.",
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
           counters_unreadable and child_map_full (counted nowhere), row_lost (only memory). Their source is the BPF map LOSSES; that of \
           program_skipped (the program was running on the CPU already, counted nowhere) is \
           recursion_misses in /proc/self/fdinfo.",
    labels: &[Reason],
    needs: Needs::AnyPlan,
    group: Group::Probe,
};

/// What could not be read.
pub const READ_ERRORS: Metric = Metric {
    name: "tcp_backlog_read_errors",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "Sources that this reading could not read (BPF maps, lists of network namespaces, \
           /proc/self), apart from single namespaces: what they would tell is absent, and the \
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
    LISTENERS,
    NETNS_LISTEN_OVERFLOWS,
    NETNS_LISTEN_DROPS,
    NETNS_UNATTRIBUTED_OVERFLOWS,
    NETNS_UNATTRIBUTED_DROPS,
    NETNS_AUDIT_RESIDUAL,
    NETNS_READABLE,
    HOOK_INFO,
    ACCOUNTING_INFO,
    BUILD_INFO,
    LOST_EVENTS,
    READ_ERRORS,
    MAPS_MEMORY,
    PROCESS_CPU,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    PROCESS_OPEN_DESCRIPTORS,
];

#[cfg(test)]
mod tests;
