//! Metrics of a port's queues, as the hooks see them.
use super::{
    super::{
        Kind,
        Label::{Address, Bound, Netns, Port, Process, Window},
        Metric, Needs, Unit,
    },
    port::{port_counter, port_gauge},
};

/// Connections that accept() returned.
pub const ACCEPTED: Metric = port_counter(
    "tcp_backlog_accepted_total",
    Needs::FullPlan,
    "Connections that accept() took from the accept queue: inet_csk_accept(); where only kprobes can be had \
     security_sock_graft(), without those that were queued before the hooks were attached.",
);

/// How long connections waited for accept().
pub const ACCEPT_WAIT: Metric = Metric {
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    ..port_gauge(
        "tcp_backlog_accept_wait_seconds",
        Needs::FullPlan,
        "How long finished handshakes were in the accept queue, from the end of the handshake to the return of \
         inet_csk_accept(), connection by connection. Connections that were never accepted are not in it, nor, in the kprobe plan, \
         those that tcp_backlog_lost_events_total{reason=\"accept_wait_map_full\"} counts. The bounds are powers of \
         four from 1/1024 to 64; the JSON snapshot has those of two from 15 microseconds on.",
    )
};

/// How full the accept queue was.
pub const ACCEPT_QUEUE_FILL: Metric = Metric {
    kind: Kind::Histogram,
    unit: Unit::Ratio,
    ..port_gauge(
        "tcp_backlog_accept_queue_fill_ratio",
        Needs::QueueEvents,
        "How full the accept queue was each time that a connection was put in it, that one included: \
         sk_ack_backlog by sk_max_ack_backlog. A queue holds one connection more than its limit, so the last one \
         is above 1. Connections that were refused are not in it.",
    )
};

/// The highest length of the accept queue in a window.
pub const ACCEPT_QUEUE_PEAK: Metric = Metric {
    labels: &[Netns, Address, Port, Process, Window],
    ..port_gauge(
        "tcp_backlog_accept_queue_peak",
        Needs::QueueEvents,
        "The highest length of the accept queue in the last complete window of 1, 15 or 60 seconds, from \
         sk_ack_backlog each time that a connection was put in it. Windows begin at multiples of their length on \
         the monotonic clock of the host: whoever asks within one is told the same, and who asks more often than \
         once in a window misses none. Of several listeners the fullest.",
    )
};

/// The highest length of the accept queue.
pub const ACCEPT_QUEUE_HIGHEST: Metric = port_gauge(
    "tcp_backlog_accept_queue_highest",
    Needs::QueueEvents,
    "The highest length of the accept queue since the hooks were attached, from sk_ack_backlog as in \
     tcp_backlog_accept_queue_peak. Of several listeners the fullest.",
);

/// When that was.
pub const ACCEPT_QUEUE_HIGHEST_TIME: Metric = Metric {
    unit: Unit::Seconds,
    ..port_gauge(
        "tcp_backlog_accept_queue_highest_timestamp_seconds",
        Needs::QueueEvents,
        "When sk_ack_backlog was the highest, in seconds since the Unix epoch; absent while nothing was ever in \
         the accept queue.",
    )
};

/// What listen() was asked for.
pub const BACKLOG_REQUESTED: Metric = port_gauge(
    "tcp_backlog_backlog_requested",
    Needs::FullPlan,
    "What listen() was asked for, before net.core.somaxconn was looked at: __sys_listen(); -1 where a negative number \
     asks for the maximum. Absent for listeners that are older than the daemon. The sum over the listeners of the \
     port, as is tcp_backlog_accept_queue_limit, which is what became of it.",
);

/// What listen() would give now.
pub const BACKLOG_ATTAINABLE: Metric = port_gauge(
    "tcp_backlog_backlog_attainable",
    Needs::FullPlan,
    "What the same call of listen() would give now: what it was asked for, or net.core.somaxconn of the network \
     namespace where that is less. More than tcp_backlog_accept_queue_limit: somaxconn was raised, and the program \
     has to listen again, which mostly means a restart. The sum over the listeners of the port, as __sys_listen() \
     was seen for all of them.",
);

/// Which limit made the backlog what it is.
pub const BACKLOG_BOUND_INFO: Metric = Metric {
    kind: Kind::Info,
    labels: &[Netns, Address, Port, Process, Bound],
    ..port_gauge(
        "tcp_backlog_backlog_bound_info",
        Needs::FullPlan,
        "Which limit made the backlog of the port's listeners what it is: application (the number that the program \
         gave to listen()), somaxconn (net.core.somaxconn cut it in __sys_listen()), maximum (a negative number \
         asked for all that somaxconn allows). Of listeners that are bound differently, each way once.",
    )
};

/// The highest length of the SYN queue in a window.
pub const SYN_QUEUE_PEAK: Metric = Metric {
    labels: &[Netns, Address, Port, Process, Window],
    ..port_gauge(
        "tcp_backlog_syn_queue_peak",
        Needs::FullPlan,
        "The highest length of the SYN queue in the last complete window of 1, 15 or 60 seconds, from \
         icsk_accept_queue.qlen each time that a request was put in it. Windows as in tcp_backlog_accept_queue_peak.",
    )
};

/// When accept() last returned a connection.
pub const LAST_ACCEPT_TIME: Metric = Metric {
    unit: Unit::Seconds,
    ..port_gauge(
        "tcp_backlog_last_accept_timestamp_seconds",
        Needs::FullPlan,
        "When inet_csk_accept() last returned a connection of the port, in seconds since the Unix epoch; absent before the \
         first. Long ago while the queue is not empty: whoever should accept does not.",
    )
};
