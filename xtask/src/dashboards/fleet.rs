//! "TCP backlog: fleet": which hosts and ports lose connections now, the worst first.

use serde_json::json;

use super::board::{Board, Row, host_variables, row};
use super::looks::{self, unit, whole};
use super::measures::{FILL, REFUSING, or_zero, refusing, verdicts, where_refused};
use super::panel::{Panel, bar_gauge, stat, text, timeseries};
use super::table::table;

/// The page of one port, from a row of a table.
pub(super) const PORT_PAGE: &str = "/d/tcp-backlog-port?${datasource:queryparam}&${job:queryparam}\
    &var-instance=${__data.fields.instance}&var-netns=${__data.fields.netns}&var-port=${__data.fields.port}\
    &${__url_time_range}";

const PLANS: &str = "Connections, each once, however often its client tries; packets where the plan cannot tell \
    connections apart (tracepoint). Of hosts without hooks there is the kernel's own count, by network namespace and without \
    a port.";

pub(super) fn board() -> Board {
    Board {
        name: "fleet",
        uid: "tcp-backlog-fleet",
        title: "TCP backlog: fleet",
        description: "Which hosts and ports lose TCP connections because a listener's queue is full, the worst first.",
        variables: host_variables(),
        annotations: Vec::new(),
        rows: vec![now(), worst(), over_time(), queues(), limits(), hosts()],
    }
}

fn now() -> Row {
    let refusing = refusing("rate", "EVERY");
    row(
        "Now",
        vec![
            stat("Refused per second", &format!("What all hosts refuse. {PLANS}"), "cps")
                .value(&or_zero(&format!("sum({refusing})")), "")
                .thresholds("green", &[(0.001, "red")]),
            stat("Ports that lose connections", &format!("How many refuse some at this moment. {PLANS}"), "short")
                .value(&or_zero(&format!("count(count by (WHERE) ({refusing}))")), "")
                .thresholds("green", &[(1.0, "red")]),
            stat(
                "Lost some within 15 minutes",
                "Ports with a verdict of the severity losing: what the daemon saw within the last quarter of an hour.",
                "short",
            )
            .value(
                "count(count by (WHERE) (tcp_backlog_advice{HOST, severity=\"losing\"})) or 0 * count(tcp_backlog_build_info{HOST})",
                "",
            )
            .thresholds("green", &[(1.0, "red")]),
            stat("Fullest queue", "The fullest accept queue in the last minute, by its limit; the fullest at this moment \
                where peaks are not seen. A full queue is slightly above 100 %. Needs the recording rules.", "percentunit")
                .value(&format!("max({FILL})"), "")
                .default("noValue", json!("no rules"))
                .thresholds("green", &looks::FILL),
            stat("Clamped listeners", "Ports whose backlog net.core.somaxconn made less than the program had asked for. \
                Needs hooks on listen() (trampoline, kprobe).", "short")
                .value(
                    "count(tcp_backlog_backlog_bound_info{HOST, bound=\"somaxconn\"}) \
                     or 0 * count(tcp_backlog_backlog_bound_info{HOST})",
                    "",
                )
                .thresholds("green", &[(1.0, "orange")]),
            stat("Hosts that do not report", "Daemons that Prometheus knows and could not scrape.", "short")
                .value("sum(up{HOST} == bool 0)", "")
                .thresholds("green", &[(1.0, "red")]),
        ],
    )
}

fn worst() -> Row {
    // The recorded one does not say whose the port is.
    let fill = format!(
        "max by (WHO) (\n  0 * count_over_time({REFUSING}[$__range])\n  \
           + on (job, WHERE) group_left()\n  {FILL}\n)"
    );
    let lost = table(
        "Ports that lost connections in the time range",
        &format!("The worst first; a click on a port opens its page. All but the first column need the recording rules. {PLANS}"),
        "none",
    )
    .column(&refusing("increase", "$__range"), "refused", &[whole()])
    .column(
        &format!("sum by (WHO) ({REFUSING})"),
        "refused per second",
        &with(unit("cps"), looks::red_from(0.001)),
    )
    .column(&fill, "fill, last minute", &looks::fill())
    .column(&where_refused("tcp_backlog_accept_queue_highest", "HOST"), "highest ever", &[whole()])
    .column(&where_refused("tcp_backlog_accept_queue_limit", "HOST"), "limit", &[whole()])
    .column(&where_refused("tcp_backlog_backlog_recommended", "HOST"), "recommended", &[whole()])
    .worst_first("refused")
    .or_else("nothing was refused")
    .link("port", "The port", PORT_PAGE);
    let wrong = table(
        "What is wrong",
        "The verdicts of each daemon on its last quarter of an hour, as `tcp-backlog-probe doctor` on that host explains \
         them, with the remedy. Without a port: it concerns the network namespace or the host.",
        "none",
    )
    .column(&verdicts("HOST"), "how bad", &looks::severity())
    .worst_first("how bad")
    .or_else("nothing is wrong")
    .values_first()
    .link("port", "The port", PORT_PAGE);
    row("The worst first", vec![lost.done(), wrong.done()])
}

fn with(property: looks::Property, mut others: Vec<looks::Property>) -> Vec<looks::Property> {
    others.insert(0, property);
    others
}

fn over_time() -> Row {
    row(
        "When",
        vec![
            timeseries(
                "Refused per second, the ten worst ports",
                &format!("At each time the worst of that time, as the recording rules have it: over two minutes. {PLANS}"),
                "cps",
            )
            .line(&format!("topk(10, sum by (WHO) ({REFUSING}))"), "{{instance}} {{address}} {{port}} {{process}}")
            .default("noValue", json!("nothing is refused, or nothing is recorded")),
            timeseries(
                "The kernel's own count per host",
                "TcpExt ListenDrops and, of them, ListenOverflows of all network namespaces: packets, on every host that \
                 reports, whatever its plan.",
                "pps",
            )
            .line("sum by (instance) (rate(tcp_backlog_netns_listen_drops_total{HOST}[EVERY]))", "{{instance}} drops")
            .line(
                "sum by (instance) (rate(tcp_backlog_netns_listen_overflows_total{HOST}[EVERY]))",
                "{{instance}} overflows",
            )
            .coarse("1m", 240),
            timeseries(
                "Finished handshakes, the ten busiest ports",
                "Connections that were put in an accept queue; on a host without hooks nobody counts them. As the recording \
                 rules have it: over two minutes.",
                "cps",
            )
            .line(
                "max by (WHO) (topk(10, port:tcp_backlog_established:busiest2m{HOST}))",
                "{{instance}} {{address}} {{port}} {{process}}",
            )
            .coarse("1m", 120)
            .size(24, 8),
        ],
    )
}

fn queues() -> Row {
    row(
        "How full the queues are",
        vec![
            bar_gauge(
                "The ten fullest accept queues",
                "The highest length of the last minute by the limit; where peaks are not seen (tracepoint plan before Linux \
                 6.3, no hooks), the length at this moment. Of listeners that share a port the fullest by their mean limit. \
                 Needs the recording rules.",
                "percentunit",
            )
            .value(
                &format!("sort_desc(topk(10, {FILL}))"),
                "{{instance}} {{address}} {{port}}",
            )
            .default("max", json!(1))
            .default("decimals", json!(0))
            .thresholds("green", &looks::FILL),
            timeseries(
                "The ten fullest accept queues over time",
                "The same at each time. From 70 % on a burst of the same kind may overflow the queue.",
                "percentunit",
            )
            .line(&format!("topk(10, {FILL})"), "{{instance}} {{address}} {{port}}")
            .coarse("1m", 120),
        ],
    )
}

fn limits() -> Row {
    let clamped = |metric: &str| {
        format!(
            "max by (WHO) (\n  {metric}{{HOST}}\n  \
               and on (job, WHERE) tcp_backlog_backlog_bound_info{{HOST, bound=\"somaxconn\"}}\n)"
        )
    };
    let listeners = table(
        "Clamped listeners",
        "Ports whose program asked listen() for more than net.core.somaxconn allowed then. Where a restart would give more, \
         somaxconn was raised since. Needs hooks on listen() (trampoline, kprobe), and a listener that is younger than the \
         daemon; tcp_backlog_advice has a word on the others once they lose connections.",
        "short",
    )
    .column(&clamped("tcp_backlog_backlog_requested"), "asked for", &[whole()])
    .column(&clamped("tcp_backlog_accept_queue_limit"), "got", &[whole()])
    .column(&clamped("tcp_backlog_backlog_attainable"), "a restart would give", &[whole()])
    .column(&clamped("tcp_backlog_backlog_recommended"), "recommended", &[whole()])
    .worst_first("recommended")
    .or_else("none, or not measured on these hosts")
    .link("port", "The port", PORT_PAGE)
    .size(24, 8)
    .done();
    row("Limits that are in the way", vec![listeners])
}

fn hosts() -> Row {
    row("Hosts", vec![hosts_table(), meaning()])
}

fn hosts_table() -> Panel {
    table(
        "Hosts",
        "Whether each daemon answers, and what it is. One that Prometheus does not know of is missing here. What each can \
         measure is on the page of the probe itself.",
        "short",
    )
    .column("max by (instance) (up{HOST})", "reports", &looks::yes_or_no())
    .labels("max by (instance, version, kernel) (tcp_backlog_build_info{HOST})")
    .column("max by (instance) (tcp_backlog_ports{HOST})", "ports", &[whole()])
    .column("count by (instance) (tcp_backlog_hook_info{HOST, variant=\"skipped\", reason!~\"not needed.*\"})", "hooks missing", &[whole()])
    .link("instance", "The probe itself", "/d/tcp-backlog-probe?${datasource:queryparam}&${job:queryparam}\
        &var-instance=${__data.fields.instance}&${__url_time_range}")
    .size(16, 8)
    .done()
}

fn meaning() -> Panel {
    text(
        "How to read this page",
        "What the words mean.",
        "A **port** is network namespace, address and port number. A connection is *refused* when its SYN or the last packet \
         of its handshake is dropped, mostly because the accept queue is full.\n\n\
         The row `other` is the sum of ports without series of their own.\n\n\
         What needs the *recording rules* is empty in a Prometheus that has not loaded `rules.yml`: of thousands of ports the \
         worst cannot be found anew each time.\n\n\
         *Not measured* is not zero: the plan of that host cannot tell. **The probe itself** says why.",
    )
    .size(8, 8)
}
