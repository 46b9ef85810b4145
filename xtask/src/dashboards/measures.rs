//! Expressions that more than one dashboard needs, with what to fall back on where a plan measures less.

/// How often connections are refused at each port. Where connections cannot be told apart (the tracepoint plan), packets.
///
/// `matchers` is a short word of `shorthand`, `over` a function and `range` its time: `increase`, `$__range`.
pub(super) fn refused(matchers: &str, over: &str, range: &str) -> String {
    format!(
        "sum by (WHO) ({over}(tcp_backlog_connections_refused_total{{{matchers}}}[{range}]))\n\
         or\n\
         sum by (WHO) ({over}(tcp_backlog_listen_drops_total{{{matchers}}}[{range}]))"
    )
}

/// Where in the whole fleet connections are refused, and how often; where none are there is no series. Of hosts without
/// hooks it is the kernel's own count for each network namespace.
///
/// What is 0 is left out before anything else is done: thousands of ports that are well cost the most.
pub(super) fn refusing(over: &str, range: &str) -> String {
    format!(
        "sum by (WHO) (\n  \
           {over}(tcp_backlog_connections_refused_total{{HOST}}[{range}]) > 0\n  \
           or\n  \
           ({over}(tcp_backlog_listen_drops_total{{HOST}}[{range}]) > 0\n    \
             unless on (job, instance) tcp_backlog_accounting_info{{HOST, method=\"kernel-counters\"}})\n  \
           or\n  \
           ({over}(tcp_backlog_netns_listen_drops_total{{HOST}}[{range}]) > 0\n    \
             unless on (job, instance) tcp_backlog_accounting_info{{HOST, method!=\"none\"}})\n\
         )"
    )
}

/// The same per second as Prometheus has recorded it (dashboards/prometheus/rules.yml).
pub(super) const REFUSING: &str = "port:tcp_backlog_refused:rate2m{HOST}";

/// How full the accept queues are, as recorded: without the process.
pub(super) const FILL: &str = "port:tcp_backlog_accept_queue_fill:ratio{HOST}";

/// What a metric is at the ports that have refused connections within the time range.
pub(super) fn where_refused(metric: &str, matchers: &str) -> String {
    format!(
        "max by (WHO) ({metric}{{{matchers}}} and on (job, WHERE) count_over_time(port:tcp_backlog_refused:rate2m{{HOST}}[$__range]))"
    )
}

/// Something that is 0 where nobody has any, and absent where nobody could.
pub(super) fn or_zero(expression: &str) -> String {
    format!("{expression}\nor\n0 * count(tcp_backlog_build_info{{HOST}})")
}

/// How full the fullest queue of each port was in the last minute; where peaks are not seen, how full the port is now.
///
/// A peak is one listener's, a limit the sum over the listeners of a port: it is divided by their number.
pub(super) fn fill(matchers: &str) -> String {
    format!(
        "max by (WHO) (tcp_backlog_accept_queue_peak{{{matchers}}})\n  \
           / (max by (WHO) (tcp_backlog_accept_queue_limit{{{matchers}}} > 0) / max by (WHO) (tcp_backlog_listeners{{{matchers}}} > 0))\n\
         or\n\
         max by (WHO) (tcp_backlog_accept_queue_length{{{matchers}}}) / max by (WHO) (tcp_backlog_accept_queue_limit{{{matchers}}} > 0)"
    )
}

/// A gauge of each port.
pub(super) fn of_port(metric: &str, matchers: &str) -> String {
    format!("max by (WHO) ({metric}{{{matchers}}})")
}

/// Counts per second at each port.
pub(super) fn per_second(metric: &str, matchers: &str) -> String {
    format!("sum by (WHO) (rate({metric}{{{matchers}}}[EVERY]))")
}

/// The verdicts as numbers, so that a table can put the worst first: 3 losing, 2 warning, 1 notice.
pub(super) fn verdicts(matchers: &str) -> String {
    let of = |weight: u8, severity: &str| {
        format!("{weight} * max by (WHO, rule) (tcp_backlog_advice{{{matchers}, severity=\"{severity}\"}})")
    };
    format!("{}\nor\n{}\nor\n{}", of(3, "losing"), of(2, "warning"), of(1, "notice"))
}
