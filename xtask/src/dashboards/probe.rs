//! "TCP backlog: the probe itself": what it can measure, whether its numbers are exact, what it costs.

use serde_json::json;

use super::board::{Board, Row, host_variables, row};
use super::looks::{self, whole};
use super::panel::{Panel, stat, timeseries};
use super::table::table;

pub(super) fn board() -> Board {
    Board {
        name: "probe",
        uid: "tcp-backlog-probe",
        title: "TCP backlog: the probe itself",
        description: "What tcp-backlog-probe can measure on each host and by which hook, whether its numbers agree with the \
            kernel's, what it lost, and what it costs.",
        variables: host_variables(),
        annotations: Vec::new(),
        rows: vec![summary(), plan(), exactness(), room(), cost()],
    }
}

/// Numbers that should be 0: title, description, expression, and the colour of more than 0.
const SHOULD_BE_NONE: [(&str, &str, &str, &str); 6] = [
    ("Do not report", "Daemons that Prometheus could not scrape.", "sum(up{HOST} == bool 0)", "red"),
    (
        "Hosts with missing hooks",
        "Something cannot be measured there: the table of hooks says what, and why.",
        "count(count by (instance) (tcp_backlog_hook_info{HOST, variant=\"skipped\", reason!~\"not needed.*\"})) \
         or 0 * count(tcp_backlog_build_info{HOST})",
        "orange",
    ),
    (
        "Hosts with a residual",
        "The kernel counted something that no port did, or the reverse: a defect, or one of the kernel's other users of \
         these counters.",
        "sum(max by (instance) (abs(tcp_backlog_netns_audit_residual{HOST})) > bool 0)",
        "orange",
    ),
    (
        "Lost events",
        "Events in the time range that could not be counted where they belong.",
        "sum(increase(tcp_backlog_lost_events_total{HOST}[$__range]))",
        "orange",
    ),
    (
        "Namespaces not readable",
        "Network namespaces whose sockets, counters or limits could not be read.",
        "sum(tcp_backlog_netns_readable{HOST} == bool 0)",
        "orange",
    ),
    (
        "Sources not readable",
        "BPF maps, lists of network namespaces, the daemon's own /proc, other processes: what they would tell is absent.",
        "sum(tcp_backlog_read_errors{HOST})",
        "orange",
    ),
];

fn summary() -> Row {
    let numbers = SHOULD_BE_NONE.map(|(title, description, expression, color)| {
        stat(title, description, "short").value(expression, "").thresholds("green", &[(1.0, color)])
    });
    row("Can its numbers be trusted?", numbers.into())
}

fn plan() -> Row {
    let hosts = table(
        "How each host is measured",
        "How packets are charged to ports (accounting), where what is said of accept queues comes from, version and kernel.",
        "none",
    )
    .labels("max by (instance, version, kernel) (tcp_backlog_build_info{HOST})")
    .labels("max by (instance, method) (tcp_backlog_accounting_info{HOST})")
    .labels("max by (instance, source) (tcp_backlog_accept_queue_source_info{HOST})")
    .size(24, 6);
    let hooks = table(
        "Hooks that are not what is best",
        "The way that each hook is attached, where there is a reason for not being the best: a cheaper way that failed, or \
         skipped, and then what it would feed is absent. Without those that are not needed, as another hook does their work. \
         `tcp-backlog-probe check` says the same on the host.",
        "none",
    )
    .labels("max by (instance, hook, variant, reason) (tcp_backlog_hook_info{HOST, reason!~\"|not needed.*\"})")
    .label("instance", &[looks::width(170)])
    .label("hook", &[looks::width(170)])
    .label("variant", &[looks::width(110)])
    .label("reason", &[("custom.wrapText", json!(true))])
    .size(16, 9);
    row(
        "The plan of each host",
        vec![
            hosts.done(),
            hooks.done(),
            timeseries("Hooks by variant", "How many hooks are attached which way, of all hosts.", "short")
                .line("count by (variant) (tcp_backlog_hook_info{HOST})", "{{variant}}")
                .size(8, 9),
        ],
    )
}

fn exactness() -> Row {
    row(
        "Exactness",
        vec![
            timeseries(
                "Audit residual",
                "What TcpExt counted in a network namespace and no port did, since the hooks were attached. Zero, unless a \
                 defect or another user of the counters; docs/COMPATIBILITY.md names these. Accounting kernel-counters only.",
                "short",
            )
            .line(
                "max by (instance, netns, counter) (tcp_backlog_netns_audit_residual{HOST}) != 0",
                "{{instance}} {{netns}} {{counter}}",
            )
            .signed()
            .default("noValue", json!("no residual")),
            timeseries(
                "Lost events",
                "By reason. listener_map_full and listener_unreadable are counted in the row other; what the rest means is \
                 said in docs/METRICS.md.",
                "cps",
            )
            .line("sum by (instance, reason) (rate(tcp_backlog_lost_events_total{HOST}[EVERY]))", "{{instance}} {{reason}}"),
            timeseries(
                "Charged to no port",
                "Overflows and drops that could not be charged to one port with certainty (accounting socket-drops).",
                "pps",
            )
            .line(
                "sum by (instance) (rate(tcp_backlog_netns_unattributed_overflows_total{HOST}[EVERY]))",
                "{{instance}} overflows",
            )
            .line("sum by (instance) (rate(tcp_backlog_netns_unattributed_drops_total{HOST}[EVERY]))", "{{instance}} drops"),
            namespaces(),
        ],
    )
}

fn namespaces() -> Panel {
    table(
        "Network namespaces that cannot be read",
        "Their sockets, counters or limits could not be read: for other network namespaces that takes CAP_SYS_ADMIN. The \
         daemon's log says more.",
        "none",
    )
    .column("min by (instance, netns) (tcp_backlog_netns_readable{HOST}) == 0", "readable", &looks::yes_or_no())
    .or_else("all can be read")
    .size(12, 8)
    .done()
}

fn room() -> Row {
    row(
        "Room",
        vec![
            timeseries(
                "Rows of listeners",
                "Rows of totals in the kernel and how many there may be. Past the limit listeners are counted in the row other.",
                "short",
            )
            .line("max by (instance) (tcp_backlog_listener_rows{HOST})", "{{instance}} rows")
            .line("max by (instance) (tcp_backlog_listener_rows_limit{HOST})", "{{instance}} limit")
            .limit_line(1, "red"),
            timeseries(
                "Ports",
                "Ports that are known, and how many of them have no series of their own: --ports-limit or the configuration.",
                "short",
            )
            .line("max by (instance) (tcp_backlog_ports{HOST})", "{{instance}} ports")
            .line("max by (instance) (tcp_backlog_ports_in_other{HOST})", "{{instance}} in other"),
        ],
    )
}

fn cost() -> Row {
    let of = |metric: &str| format!("max by (instance) ({metric}{{HOST}})");
    row(
        "What it costs",
        vec![
            timeseries(
                "CPU",
                "The daemon's own processor time: 100 % is one processor. What its BPF programs cost in the kernel is not in it.",
                "percentunit",
            )
            .line("sum by (instance) (rate(process_cpu_seconds_total{HOST}[EVERY]))", "{{instance}}"),
            timeseries("Memory", "Resident memory of the daemon, and kernel memory of its BPF maps.", "bytes")
                .line(&of("process_resident_memory_bytes"), "{{instance}} resident")
                .line(&of("tcp_backlog_maps_memory_bytes"), "{{instance}} maps"),
            timeseries(
                "A scrape",
                "How long a scrape takes, as Prometheus sees it: each one reads the kernel anew.",
                "s",
            )
            .line("max by (instance) (scrape_duration_seconds{HOST})", "{{instance}}")
            .size(8, 8),
            timeseries("Series", "How many samples a scrape brings.", "short")
                .line("max by (instance) (scrape_samples_scraped{HOST})", "{{instance}}")
                .size(8, 8),
            table(
                "Running since",
                "How long the daemon has been running and its totals have been counted, which go on over a restart under systemd; and its open files.",
                "short",
            )
                .column(&format!("time() - {}", of("process_start_time_seconds")), "up", &[("unit", json!("dtdurations"))])
                .column(&format!("time() - {}", of("tcp_backlog_counted_since_timestamp_seconds")), "counted for", &[("unit", json!("dtdurations"))])
                .column(&of("process_open_fds"), "open files", &[whole()])
                .size(8, 8)
                .done(),
        ],
    )
}
