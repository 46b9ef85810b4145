//! Metrics of a listening port.
use super::super::{
    Group, Kind,
    Label::{self, Address, Application, Cause, Command, Container, Netns, Pod, Port, Process, Stage, User},
    Metric, Needs, Unit,
};

pub(super) const PORT_LABELS: &[Label] = &[Netns, Address, Port, Process];

/// A counter of a listening port: the commonest shape.
pub(super) const fn port_counter(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..port_gauge(name, needs, help) }
}

/// A number of a listening port that goes up and down.
pub(super) const fn port_gauge(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::Number,
        help,
        labels: PORT_LABELS,
        needs,
        group: Group::Port,
    }
}

/// A number that `sock_diag` gives of a port's listeners at the moment of the scrape.
const fn socket_gauge(name: &'static str, help: &'static str) -> Metric {
    port_gauge(name, Needs::Nothing, help)
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
    labels: &[Netns, Address, Port, Process, Cause],
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
    labels: &[Netns, Address, Port, Process, Cause],
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
    labels: &[Netns, Address, Port, Process, Stage],
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
pub const ACCEPT_QUEUE_LENGTH: Metric = socket_gauge(
    "tcp_backlog_accept_queue_length",
    "Finished handshakes that wait for accept() at this moment: sk_ack_backlog, which sock_diag \
     gives as idiag_rqueue. It is the sum over the listeners of the port, as is the limit to be \
     held against it: with SO_REUSEPORT every listener has a queue of its own, and one can \
     overflow while the sum looks half empty.",
);

/// The effective backlog, over all listeners of the port.
pub const ACCEPT_QUEUE_LIMIT: Metric = socket_gauge(
    "tcp_backlog_accept_queue_limit",
    "The effective backlog, after net.core.somaxconn has cut what listen() asked for: \
     sk_max_ack_backlog, which sock_diag gives as idiag_wqueue. It is the sum over the listeners \
     of the port. A queue is full when its length is above its limit, so each listener holds one \
     connection more than that.",
);

/// Requests in the SYN queues of the port.
pub const SYN_QUEUE_LENGTH: Metric = socket_gauge(
    "tcp_backlog_syn_queue_length",
    "Handshakes that wait for their last ACK: requests in the state TCP_SYN_RECV, which a sock_diag dump lists \
     by their local address and port, as ss -tn state syn-recv does; without connections by Fast Open, which \
     wait in the accept queue already. The sum over the listeners of the port. The dump walks all connections \
     of the host, so it is made when there may be requests, and takes 2 % of the time at most: between two \
     dumps the last length stands.",
);

/// What the SYN queues of the port hold.
pub const SYN_QUEUE_LIMIT: Metric = socket_gauge(
    "tcp_backlog_syn_queue_limit",
    "The limit of the SYN queue, which is the effective backlog (sk_max_ack_backlog) and not \
     net.ipv4.tcp_max_syn_backlog: the sum over the listeners of the port. By inet_csk_reqsk_queue_is_full() of \
     the running kernel each listener holds as many requests, or one more. While net.ipv4.tcp_syncookies is 0, \
     requests of clients that were not here before end at three quarters of tcp_max_syn_backlog as well.",
);

/// Sockets that listen on the port.
pub const LISTENERS: Metric = socket_gauge(
    "tcp_backlog_listeners",
    "Sockets that listen on the port at this moment, from a sock_diag dump of its network \
     namespace. More than one: they share the port with SO_REUSEPORT.",
);

/// Whose the port is.
pub const PORT_OWNER_INFO: Metric = Metric {
    name: "tcp_backlog_port_owner_info",
    kind: Kind::Info,
    unit: Unit::Number,
    help: "The process that the port belongs to while it is open, found by the open files in /proc/PID/fd: its name, \
           the notable part of its command line (of a JVM the main class or jar file, of an interpreter the script), \
           the application server or framework if it is a known one, systemd unit, container and Kubernetes pod by \
           /proc/PID/cgroup, and user. Of several processes it is the one with the lowest number. What a process \
           has not is an empty label.",
    labels: &[Netns, Address, Port, Process, Command, Application, Label::Unit, Container, Pod, User],
    needs: Needs::Nothing,
    group: Group::Port,
};
