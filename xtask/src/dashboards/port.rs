//! "TCP backlog: host and port": one port from the symptom to the cause. The queues are in `port_queues.rs`.

use serde_json::{Value, json};

use super::board::{Board, Row, annotation, host_variables, row, variable};
use super::looks::{self, whole};
use super::measures::{fill, of_port, per_second, refused, verdicts};
use super::panel::{Panel, stacked, stat, text, timeseries};
use super::port_queues;
use super::table::table;

/// What tells the series of a port from those of another one.
pub(super) const LEGEND: &str = "{{address}} {{port}} {{process}}";

/// The same with a word of what it is.
pub(super) fn legend(word: &str) -> String {
    format!("{LEGEND} {word}")
}

pub(super) fn board() -> Board {
    let mut variables = host_variables();
    variables.push(variable(
        "netns",
        "Network namespace",
        "label_values(tcp_backlog_netns_readable{HOST}, netns)",
    ));
    variables.push(variable("port", "Port", "label_values(tcp_backlog_accept_queue_limit{NETNS}, port)"));
    Board {
        name: "port",
        uid: "tcp-backlog-port",
        title: "TCP backlog: host and port",
        description: "What happens to the connections of a listening port, from the symptom to the cause: refusals, arrivals, \
            queues, accept(), limits, host.",
        variables,
        annotations: annotations(),
        rows: vec![
            symptom(),
            losses(),
            arrivals(),
            port_queues::accept_queue(),
            port_queues::acceptor(),
            port_queues::syn_queue(),
            limits(),
            below(),
        ],
    }
}

fn annotations() -> Vec<Value> {
    let drops = "sum by (WHO) (rate(tcp_backlog_listen_drops_total{PORT}[EVERY])) > 0";
    let verdict = "max by (instance, netns, address, port, process, rule) (tcp_backlog_advice{PORT, severity=\"losing\"})";
    let place = "{{instance}} {{address}} {{port}}";
    vec![
        annotation("Losing connections", true, drops, "{{process}} loses connections", place),
        annotation("Verdict: losing", false, verdict, "{{rule}}", &format!("{{{{process}}}} {place}")),
    ]
}

fn symptom() -> Row {
    let red = |panel: Panel| panel.thresholds("green", &[(0.001, "red")]);
    let sum = |metric: &str| format!("sum(rate({metric}{{PORT}}[EVERY]))");
    row(
        "Are connections lost?",
        vec![
            red(stat("Refused per second", "Connections, each once, however often its client tries; packets where the plan \
                cannot tell connections apart (tracepoint).", "cps")
                .value(&format!("sum({})", refused("PORT", "rate", "EVERY")), "")),
            red(stat("Overflows per second", "Packets that were refused because the accept queue was full: the port's part of \
                TcpExt ListenOverflows.", "pps")
                .value(&sum("tcp_backlog_accept_queue_overflows_total"), "")),
            stat("Fill", "The highest length of the accept queue in the last minute by its limit; of this moment where peaks \
                are not seen.", "percentunit")
                .value(&format!("max({})", fill("PORT")), "")
                .thresholds("green", &looks::FILL),
            stat("Handshakes per second", "Connections that were put in the accept queue.", "cps")
                .value(&sum("tcp_backlog_established_total"), "")
                .thresholds("blue", &[]),
            stat("Waiting now", "Finished handshakes that wait for accept() at this moment.", "short")
                .value("sum(tcp_backlog_accept_queue_length{PORT})", "")
                .thresholds("blue", &[]),
            stat("Since the last accept()", "How long ago accept() returned a connection of the port. Long, while connections \
                wait: whoever should accept does not. Needs hooks on accept() (trampoline, kprobe).", "s")
                .value("time() - max(tcp_backlog_last_accept_timestamp_seconds{PORT})", "")
                .thresholds("blue", &[]),
            wrong(),
            text("How to read this page", "In which order.", "From top to bottom: what is lost, what arrives, which queue is \
                full, who does not empty it, which limit is in the way.\n\n**Accept queue full** and accept() is called: a \
                burst, or a limit that is too small. **Accept queue full** and accept() is not called often enough: the \
                application; a larger backlog would only hide it.\n\nRed marks: connections were dropped.").size(8, 8),
        ],
    )
}

fn wrong() -> Panel {
    table(
        "What is wrong",
        "The daemon's verdicts on the last quarter of an hour: `tcp-backlog-probe doctor` on that host explains them, with the \
         remedy. Without a port: it concerns the network namespace or the host.",
        "none",
    )
    .column(&verdicts("AROUND"), "how bad", &looks::severity())
    .worst_first("how bad")
    .or_else("nothing is wrong")
    .values_first()
    .size(16, 8)
    .done()
}

fn losses() -> Row {
    row(
        "What is lost, and why",
        vec![
            stacked(
                "Packets refused, by step and cause",
                "SYNs and last ACKs that were dropped, each one of TcpExt ListenDrops. Where the plan cannot tell the causes \
                 apart (tracepoint) there is the sum only: dropped, cause unknown.",
                "pps",
            )
            .line("sum by (cause) (rate(tcp_backlog_syn_dropped_total{PORT}[EVERY]))", "SYN: {{cause}}")
            .line(
                "sum by (cause) (rate(tcp_backlog_last_ack_refused_total{PORT, cause!=\"undivided\"}[EVERY]))",
                "last ACK: {{cause}}",
            )
            .line(
                "sum(sum by (instance, netns, address, port) (rate(tcp_backlog_listen_drops_total{PORT}[EVERY])) \
                 unless on (WHERE) rate(tcp_backlog_syn_dropped_total{PORT}[EVERY]))",
                "dropped, cause unknown",
            ),
            timeseries(
                "Connections and packets refused",
                "A client that is refused tries again: packets are more than connections. Overflows are drops because the accept \
                 queue was full, by step: syn, ack, or undivided where the method of accounting cannot tell. Connections: \
                 trampoline and kprobe only.",
                "cps",
            )
            .line(&per_second("tcp_backlog_connections_refused_total", "PORT"), &legend("connections"))
            .line(&per_second("tcp_backlog_listen_drops_total", "PORT"), &legend("packets"))
            .line(
                "sum by (WHO, stage) (rate(tcp_backlog_accept_queue_overflows_total{PORT}[EVERY]))",
                &legend("overflows: {{stage}}"),
            )
            .of_query(1, &[looks::unit("pps")])
            .of_query(2, &[looks::unit("pps")]),
            other_losses(),
            kernels_count(),
        ],
    )
}

fn other_losses() -> Panel {
    timeseries(
        "Connections lost in other ways",
        "Reset because net.ipv4.tcp_abort_on_overflow is set; given up after the last SYN-ACK; ended by an ICMP error; reset \
         because the listener was closed before it accepted them. Trampoline and kprobe only.",
        "cps",
    )
    .line(&per_second("tcp_backlog_requests_aborted_total", "PORT"), &legend("aborted on overflow"))
    .line(&per_second("tcp_backlog_requests_expired_total", "PORT"), &legend("expired"))
    .line(&per_second("tcp_backlog_request_errors_total", "PORT"), &legend("ICMP error"))
    .line(&per_second("tcp_backlog_closed_unaccepted_total", "PORT"), &legend("closed unaccepted"))
}

fn kernels_count() -> Panel {
    let of_netns = |metric: &str| format!("sum by (instance, netns) (rate({metric}{{NETNS}}[EVERY]))");
    timeseries(
        "The kernel's own count of the network namespace",
        "TcpExt of /proc/PID/net/netstat, for all its ports together, on every host. The two below it are what no port could be \
         charged with (accounting socket-drops).",
        "pps",
    )
    .line(&of_netns("tcp_backlog_netns_listen_drops_total"), "{{instance}} {{netns}} ListenDrops")
    .line(&of_netns("tcp_backlog_netns_listen_overflows_total"), "{{instance}} {{netns}} ListenOverflows")
    .line(&of_netns("tcp_backlog_netns_unattributed_drops_total"), "{{instance}} {{netns}} drops of no port")
    .line(&of_netns("tcp_backlog_netns_unattributed_overflows_total"), "{{instance}} {{netns}} overflows of no port")
}

fn arrivals() -> Row {
    row(
        "What arrives",
        vec![
            timeseries(
                "From SYN to accept()",
                "Each step of a handshake. Where one line is below the one before it, that is where connections stay. In the \
                 tracepoint plan there are finished handshakes only.",
                "cps",
            )
            .line(&per_second("tcp_backlog_syn_received_total", "PORT"), &legend("1 SYNs"))
            .line(&per_second("tcp_backlog_last_ack_received_total", "PORT"), &legend("2 last ACKs"))
            .line(&per_second("tcp_backlog_established_total", "PORT"), &legend("3 put in the accept queue"))
            .line(&per_second("tcp_backlog_accepted_total", "PORT"), &legend("4 accepted"))
            .size(16, 9),
            timeseries(
                "SYN-ACKs sent again",
                "They rise when the last ACKs get lost on their way, and when the accept queue is full: a refused last ACK looks \
                 to the kernel as if it had not come.",
                "pps",
            )
            .line(&per_second("tcp_backlog_synack_retransmits_total", "PORT"), LEGEND)
            .size(8, 9),
        ],
    )
}

fn limits() -> Row {
    let backlogs = table(
        "Backlogs",
        "What listen() was asked for, what it got, what the same call would get now, and what the worst burst of the last 24 \
         hours would have needed. A listener keeps its limit until listen() is called again, mostly by a restart. Asked for \
         and recommended: trampoline and kprobe only.",
        "short",
    )
    .column(&of_port("tcp_backlog_backlog_requested", "PORT"), "asked for", &[whole()])
    .column(&of_port("tcp_backlog_accept_queue_limit", "PORT"), "got", &[whole()])
    .column(&of_port("tcp_backlog_backlog_attainable", "PORT"), "a restart would give", &[whole()])
    .column(&of_port("tcp_backlog_backlog_recommended", "PORT"), "recommended", &[whole()])
    .column(&of_port("tcp_backlog_listeners", "PORT"), "listeners", &[whole()])
    .labels("max by (instance, netns, address, port, process, bound) (tcp_backlog_backlog_bound_info{PORT})")
    .size(24, 7);
    row("Which limit is in the way, and whose the port is", vec![backlogs.done(), sysctls(), owners()])
}

fn sysctls() -> Panel {
    let of = |metric: &str| format!("max by (instance, netns) (tcp_backlog_netns_{metric}{{NETNS}})");
    table(
        "Limits of the network namespace",
        "sysctls, which each network namespace has for itself. somaxconn cuts the backlog of listeners that are opened from \
         now on; tcp_max_syn_backlog matters while tcp_syncookies is 0 only. Empty: hidden by the kernel, or not there before \
         a version.",
        "none",
    )
    .column(&of("somaxconn"), "somaxconn", &[whole()])
    .column(&of("tcp_max_syn_backlog"), "tcp_max_syn_backlog", &[whole()])
    .column(&of("tcp_syncookies"), "tcp_syncookies", &[whole()])
    .column(&of("tcp_abort_on_overflow"), "tcp_abort_on_overflow", &[whole()])
    .column(&of("tcp_synack_retries"), "tcp_synack_retries", &[whole()])
    .column(&of("tcp_migrate_req"), "tcp_migrate_req", &[whole()])
    .size(24, 6)
    .done()
}

fn owners() -> Panel {
    table(
        "Whose the port is",
        "The process that holds the listening socket while it is open: what it runs, its systemd unit, container, pod and user.",
        "none",
    )
    .labels(
        "max by (WHO, command, application, unit, container, pod, user) (tcp_backlog_port_owner_info{PORT})",
    )
    .size(24, 6)
    .done()
}

fn below() -> Row {
    let of_cpus = |metric: &str| format!("sum by (instance, cpu) (rate({metric}{{HOST}}[EVERY]))");
    row(
        "Below TCP: the host",
        vec![
            timeseries(
                "Packets dropped before the network stack",
                "Dropped because more than net.core.netdev_max_backlog waited for the CPU, and runs of the softirq that ended \
                 with packets left. No port can be charged with them: connections get lost that no listener ever saw.",
                "pps",
            )
            .line(&of_cpus("tcp_backlog_softnet_dropped_total"), "{{instance}} CPU {{cpu}} dropped")
            .line(&of_cpus("tcp_backlog_softnet_time_squeeze_total"), "{{instance}} CPU {{cpu}} runs cut short"),
            timeseries(
                "Packets by CPU",
                "What each CPU's network softirq has taken. All on one CPU: that is where they are dropped first.",
                "pps",
            )
            .line(&of_cpus("tcp_backlog_softnet_processed_total"), "{{instance}} CPU {{cpu}}")
            .size(8, 8),
            stat("netdev_max_backlog", "How many packets may wait for each CPU.", "none")
                .value("min by (instance) (tcp_backlog_netdev_max_backlog{HOST})", "{{instance}}")
                .default("decimals", json!(0))
                .thresholds("blue", &[])
                .size(4, 8),
        ],
    )
}
