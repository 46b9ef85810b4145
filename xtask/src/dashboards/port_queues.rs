//! The rows of a port's page that are about its queues: full of what, emptied how fast.

use serde_json::json;

use super::board::{Row, row};
use super::looks::whole;
use super::measures::{of_port, per_second};
use super::panel::{heatmap, timeseries};
use super::port::{LEGEND, legend};
use super::table::table;

pub(super) fn accept_queue() -> Row {
    let highest =
        table("The highest ever", "Since the daemon's hooks were attached, and when it was.", "short")
            .column(&of_port("tcp_backlog_accept_queue_highest", "PORT"), "highest", &[whole()])
            .column(
                &format!("1000 * {}", of_port("tcp_backlog_accept_queue_highest_timestamp_seconds", "PORT")),
                "at",
                &[("unit", json!("dateTimeAsIso"))],
            )
            .worst_first("highest")
            .size(24, 6);
    row(
        "The accept queue",
        vec![
            timeseries(
                "Accept queue: length, peak and limit",
                "Connections that wait for accept(). The peak is the highest length of the last complete second, quarter of \
                 a minute and minute, so that what happens between two scrapes is seen; it is one listener's, while length and limit are sums over the listeners of \
                 the port. A queue is full when it holds one more than its limit. Peaks: not in the tracepoint plan before \
                 Linux 6.3.",
                "short",
            )
            .line(&of_port("tcp_backlog_accept_queue_length", "PORT"), &legend("length"))
            .line(&of_port("tcp_backlog_accept_queue_peak", "PORT"), &legend("peak"))
            .line(&of_port("tcp_backlog_accept_queue_limit", "PORT"), &legend("limit"))
            .line(&of_port("tcp_backlog_backlog_recommended", "PORT"), &legend("recommended"))
            .limit_line(2, "red")
            .limit_line(3, "green")
            .size(14, 10),
            heatmap(
                "How full the queue was when connections came",
                "For each connection that found room, the length of the queue by its limit with itself in it. Much in the top \
                 bucket: it was full to the brim, and others found no room. Absent in the tracepoint plan before Linux 6.3.",
                "percentunit",
            )
            .buckets("sum by (le) (increase(tcp_backlog_accept_queue_fill_ratio_bucket{PORT}[EVERY]))")
            .size(10, 10),
            highest.done(),
        ],
    )
}

pub(super) fn acceptor() -> Row {
    let quantile = |share: &str| {
        format!(
            "histogram_quantile({share}, sum by (WHO, le) (rate(tcp_backlog_accept_wait_seconds_bucket{{PORT}}[EVERY])))"
        )
    };
    row(
        "Does the application accept?",
        vec![
            timeseries(
                "Wait for accept()",
                "How long finished handshakes were in the accept queue: the client believes that it is connected, and nobody \
                 answers. Of those that were accepted. Bucket by bucket, so a line steps. Trampoline and kprobe only.",
                "s",
            )
            .line(&quantile("0.5"), &legend("median"))
            .line(&quantile("0.99"), &legend("99 %"))
            .size(12, 9),
            heatmap(
                "Wait for accept(), connection by connection",
                "How many connections waited how long. Trampoline and kprobe only.",
                "s",
            )
            .buckets("sum by (le) (increase(tcp_backlog_accept_wait_seconds_bucket{PORT}[EVERY]))")
            .size(12, 9),
            timeseries(
                "Put in the queue and taken from it",
                "While less is taken than put, the queue grows. Accepted connections: trampoline and kprobe only.",
                "cps",
            )
            .line(&per_second("tcp_backlog_established_total", "PORT"), &legend("put in"))
            .line(&per_second("tcp_backlog_accepted_total", "PORT"), &legend("taken")),
            timeseries(
                "Time since the last accept()",
                "A line that rises: accept() is not called, or nobody connects. Look at the length of the queue: if it is not \
                 zero meanwhile, the acceptor hangs. Trampoline and kprobe only.",
                "s",
            )
            .line(&format!("time() - {}", of_port("tcp_backlog_last_accept_timestamp_seconds", "PORT")), LEGEND),
        ],
    )
}

pub(super) fn syn_queue() -> Row {
    row(
        "The SYN queue",
        vec![
            timeseries(
                "SYN queue: length, peak and limit",
                "Handshakes that wait for their last ACK. The limit is the effective backlog too, and not \
                 net.ipv4.tcp_max_syn_backlog. Peaks: trampoline and kprobe only.",
                "short",
            )
            .line(&of_port("tcp_backlog_syn_queue_length", "PORT"), &legend("length"))
            .line(&of_port("tcp_backlog_syn_queue_peak", "PORT"), &legend("peak"))
            .line(&of_port("tcp_backlog_syn_queue_limit", "PORT"), &legend("limit"))
            .limit_line(2, "red"),
            timeseries(
                "SYNs queued, and SYN cookies",
                "A SYN that meets a full SYN queue is answered with a cookie while net.ipv4.tcp_syncookies is on: nothing is \
                 lost. Cookies that fail are clients that are refused, or an attack. Trampoline and kprobe only.",
                "pps",
            )
            .line(&per_second("tcp_backlog_syn_queued_total", "PORT"), &legend("queued"))
            .line(&per_second("tcp_backlog_syn_queue_full_cookies_total", "PORT"), &legend("queue full"))
            .line(&per_second("tcp_backlog_syncookies_sent_total", "PORT"), &legend("cookies sent"))
            .line(&per_second("tcp_backlog_syncookies_received_total", "PORT"), &legend("cookies received"))
            .line(&per_second("tcp_backlog_syncookies_failed_total", "PORT"), &legend("cookies failed")),
        ],
    )
}
