//! What does not happen in the play, so that the expressions for it give nothing. One that gives something all the same has to
//! go from here: no entry outlives its reason.

use std::collections::BTreeSet;

/// An expression that gives nothing while all goes well.
pub(super) struct Quiet {
    /// As `Question::place` has it.
    place: &'static str,
    /// Gives something where it happens all the same: what else the host does, and its plan, are not in the play's hands.
    pub(super) unless: &'static str,
}

const fn quiet(place: &'static str, unless: &'static str) -> Quiet {
    Quiet { place, unless }
}

const QUIET: &[Quiet] = &[
    quiet("fleet: table Hosts: D", MISSING_HOOK),
    quiet(
        "port: timeseries Packets refused, by step and cause: B",
        "tcp_backlog_last_ack_refused_total{cause!=\"undivided\"}",
    ),
    quiet("port: timeseries Packets refused, by step and cause: C", "absent(tcp_backlog_syn_dropped_total)"),
    quiet(
        "probe: table Hooks that are not what is best: A",
        "tcp_backlog_hook_info{reason!~\"|not needed.*\"}",
    ),
    quiet("probe: timeseries Audit residual: A", RESIDUAL),
    quiet("probe: table Network namespaces that cannot be read: A", "tcp_backlog_netns_readable == 0"),
    // It was longer than this ago that the play began.
    quiet("rule port:tcp_backlog_accepted:delta3m", "tcp_backlog_established_total offset 3m"),
    quiet("rule TcpBacklogNearOverflow", "port:tcp_backlog_accept_queue_fill:ratio > 0.8"),
    quiet(
        "rule TcpBacklogSynQueueFull",
        "port:tcp_backlog_syn_queue_full_dropped:sum > 0 or tcp_backlog_syn_queue_full_cookies_total > 0",
    ),
    quiet("rule TcpBacklogAcceptorStalled", "tcp_backlog_accept_queue_length > 0"),
    quiet("rule TcpBacklogSoftnetDrops", "increase(tcp_backlog_softnet_dropped_total[1m]) > 0"),
    // Until the first scrape.
    quiet("rule TcpBacklogProbeDown", "up == 0 or absent(up)"),
    quiet(
        "rule TcpBacklogProbeDegraded",
        "tcp_backlog_read_errors > 0 or tcp_backlog_netns_readable == 0 \
         or tcp_backlog_accounting_info{method=\"none\"} or increase(tcp_backlog_lost_events_total[1m]) > 0",
    ),
    quiet("rule TcpBacklogAuditResidual", RESIDUAL),
];

const MISSING_HOOK: &str = "tcp_backlog_hook_info{variant=\"skipped\", reason!~\"not needed.*\"}";
const RESIDUAL: &str = "tcp_backlog_netns_audit_residual != 0";

/// What is listed of a place.
pub(super) fn find(place: &str) -> Option<&'static Quiet> {
    QUIET.iter().find(|quiet| quiet.place == place)
}

/// Places that are listed and that no expression has.
pub(super) fn of_no_place(places: &BTreeSet<&str>) -> Vec<String> {
    let unknown = QUIET.iter().filter(|quiet| !places.contains(quiet.place));
    unknown.map(|quiet| format!("quiet.rs: no expression is at `{}`", quiet.place)).collect()
}
