//! Metrics of how ports are shared out between series, and of what is concluded from all that was seen of a port.
use super::{
    super::{Group, Kind, Label, Metric, Needs, Unit},
    port::port_gauge,
};

/// The backlog that would have been enough.
pub const BACKLOG_RECOMMENDED: Metric = port_gauge(
    "tcp_backlog_backlog_recommended",
    Needs::KernelCounters,
    "The backlog that the worst burst of the last 24 hours would have needed: the most connections that wanted a \
     place in one listener's accept queue at once (sk_ack_backlog and those refused within a second), and a \
     quarter more, as the next power of two. Absent where nobody wanted a place. 16,384 ports are remembered; \
     tcp_backlog_lost_events_total{reason=\"demand_forgotten\"} counts those that were forgotten for others.",
);

/// What is wrong.
pub const ADVICE: Metric = Metric {
    name: "tcp_backlog_advice",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "1 for each thing that doctor finds wrong by what happened within the last 15 minutes: which rule says so, how bad \
           it is (losing, warning, notice), and where; a label is empty where it is no matter of one port or network \
           namespace. The numbers that it is concluded from, of the BPF hooks, sock_diag and /proc, have metrics of their own.",
    labels: &[Label::Netns, Label::Address, Label::Port, Label::Process, Label::Rule, Label::Severity],
    needs: Needs::Nothing,
    group: Group::Port,
};

/// Ports that are known.
pub const PORTS: Metric = Metric {
    name: "tcp_backlog_ports",
    kind: Kind::Gauge,
    unit: Unit::Number,
    help: "Listening ports that are known: those with a listener in sock_diag, and those with counts of listeners that \
           are closed by now.",
    labels: &[],
    needs: Needs::Nothing,
    group: Group::Probe,
};

/// Ports without series of their own.
pub const PORTS_IN_OTHER: Metric = Metric {
    name: "tcp_backlog_ports_in_other",
    help: "Ports of tcp_backlog_ports that have no series of their own, because there are more than --ports-limit or the \
           configuration excludes them: what is counted there is in the row other.",
    ..PORTS
};
