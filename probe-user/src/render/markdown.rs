//! `docs/METRICS.md`, made of the metric catalogue.
use std::io::{self, Write};

use crate::metrics::{Group, Metric, catalogue::CATALOGUE};

/// The first line of the page: what keeps people from editing it.
pub const GENERATED_MARKER: &str = "<!-- Generated from probe-user/src/metrics/catalogue.rs by \
                                    `cargo xtask metrics-docs`. Do not edit. -->";

const INTRODUCTION: &str = "\
# Metrics

Served at `/metrics` in Prometheus' text format. What holds for all of them:

- **Absent is not zero.** What cannot be measured on a host, by its kernel or its permissions, is
  left out. `tcp_backlog_hook_info` says which hook is missing and why; `tcp-backlog-probe check`
  says it in words. A series that can be measured is there from the first scrape on.
- **A port is `netns`, `address`, `port`.** `netns` is the inode number that `ls -l
  /proc/PID/ns/net` shows, `address` the one that the application listens on (`::` takes IPv4
  connections too, as Java's do). The identity stays the same when the application restarts.
  Listeners that share a port with `SO_REUSEPORT` share a row.
- **`process` is whose port it is**, and no part of that identity: the name of the process that holds the listening
  socket, empty when it is not known. A port that is closed keeps the name that it had, and one that another program
  opens gets another. `tcp_backlog_port_owner_info` has more; join it with `* on (instance, netns, address, port)
  group_left (command, unit, container)`.
- **Counters start when the daemon attaches its hooks**, and go on when a listener is closed and
  opened again. Those of a network namespace are the kernel's own, from the birth of the namespace.
- **Nothing resets when it is scraped**: any number of Prometheus servers may scrape. Each scrape
  reads anew.
- **Packets, not connections.** A client that is refused sends again, and counts again.
- **The row `other`** (`netns=\"other\"`, `address=\"other\"`, and so on) is the sum of what was
  counted at ports without series of their own: those past `--ports-limit` (512; the busiest have
  series), those that the configuration excludes, and those that the kernel's map has no room for. It
  exists once there are any. Every count is in one series for good, so the increases over all series
  are those over all ports. A closed or idle port may lose its series to an active one, and goes on
  from where it was when it gets them back. The JSON of `/api/v1/snapshot` has every port whole.
- **Numbers are 64-bit floats**, as everything in Prometheus. A count is exact up to 2^53
  (9,007,199,254,740,992), and above it the nearest number that a float can hold. The JSON of
  `/api/v1/snapshot` keeps every digit.

The column *plans* says what must be attached: *trampoline* (fentry and fexit), *kprobe*,
*tracepoint*, or nothing at all (*every host*).
";

/// Writes the page.
///
/// # Errors
/// Those of the writer.
pub fn write(writer: &mut impl Write) -> io::Result<()> {
    writeln!(writer, "{GENERATED_MARKER}")?;
    write!(writer, "{INTRODUCTION}")?;
    for group in Group::ALL {
        writeln!(writer, "\n## {}\n", group.heading())?;
        writeln!(writer, "| metric | type | labels | meaning | plans |")?;
        writeln!(writer, "| --- | --- | --- | --- | --- |")?;
        for metric in CATALOGUE.iter().filter(|metric| metric.group == group) {
            write_row(metric, writer)?;
        }
    }
    Ok(())
}

fn write_row(metric: &Metric, writer: &mut impl Write) -> io::Result<()> {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{}`", label.name())).collect();
    let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    let (name, kind, plans) = (metric.name, metric.kind.word(), metric.needs.plans());
    writeln!(writer, "| `{name}` | {kind} | {labels} | {} | {plans} |", escape(metric.help))
}

/// Keeps a text in its cell, and its underscores from becoming emphasis.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('_', "\\_").replace('<', "&lt;")
}
