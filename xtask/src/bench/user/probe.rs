//! The daemon itself, as a service without a load and with one.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Arguments;
use crate::bench::process::{CpuClock, kibibytes, kibibytes_of_maps};
use crate::bench::spread::{median, quantile};
use crate::bench::traffic::Client;
use crate::daemon::Daemon;
use crate::http;

/// What was measured of it with so many listeners.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) listeners: usize,
    pub(super) seconds_to_ready: f64,
    /// Between two scrapes. `mapped_kibibytes` of it are maps: the kernel's memory, which `map_bytes` has too.
    pub(super) resident_kibibytes: u64,
    pub(super) highest_kibibytes: u64,
    pub(super) mapped_kibibytes: u64,
    pub(super) map_bytes: u64,
    pub(super) rows: u64,
    /// Shares of one CPU.
    pub(super) cpu_idle: f64,
    pub(super) cpu_under_load: f64,
    pub(super) scrape: Scrapes,
    pub(super) gzip_scrape: Scrapes,
    pub(super) whole_scrape: Scrapes,
}

/// How long scrapes took and how large they were.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Scrapes {
    pub(super) median_milliseconds: f64,
    pub(super) slow_milliseconds: f64,
    /// What one takes of a CPU: on a machine that others use too it is the figure to go by.
    pub(super) cpu_milliseconds: f64,
    pub(super) bytes: usize,
}

const PATIENCE: Duration = Duration::from_secs(10);
/// What a Prometheus does: every 15 seconds.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);
const CONNECTIONS_PER_SECOND: f64 = 200.0;
/// Whose the sockets are is found out in slices, and after 15 s without a change fewer readings are made: all of that belongs
/// to the start, as the kernel's types do.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn measure(binary: &Path, listeners: usize, arguments: &Arguments) -> Result<Figures> {
    let daemon = Daemon::start(binary, &[])?;
    thread::sleep(SETTLE);
    let process = daemon.process.id();
    let mut clock = CpuClock::of(process);
    let cpu_idle = clock.share_over(arguments.time(), || {});
    let cpu_under_load = under_load(&daemon, &mut clock, listeners, arguments.time());
    let scrape = scrapes(&daemon, false, arguments.scrapes)?;
    let gzip_scrape = scrapes(&daemon, true, arguments.scrapes)?;
    let text = http::ask(daemon.address, ("GET", "/metrics"), PATIENCE)?.right()?;
    // Free memory is given back by the next readings, not after each.
    thread::sleep(SCRAPE_INTERVAL);
    let figures = Figures {
        listeners,
        seconds_to_ready: daemon.time_to_ready.as_secs_f64(),
        resident_kibibytes: kibibytes(process, "VmRSS")?,
        highest_kibibytes: kibibytes(process, "VmHWM")?,
        mapped_kibibytes: kibibytes_of_maps(process)?,
        map_bytes: metric(&text, "tcp_backlog_maps_memory_bytes")?,
        rows: metric(&text, "tcp_backlog_listener_rows_limit")?,
        cpu_idle,
        cpu_under_load,
        scrape,
        gzip_scrape,
        whole_scrape: Scrapes::default(),
    };
    drop(daemon);
    let all = Daemon::start(binary, &["--ports-limit", "16384"])?;
    thread::sleep(Duration::from_secs(2));
    Ok(Figures { whole_scrape: scrapes(&all, false, arguments.scrapes)?, ..figures })
}

fn under_load(daemon: &Daemon, clock: &mut CpuClock, listeners: usize, time: Duration) -> f64 {
    let _client = Client::start(listeners, Some(CONNECTIONS_PER_SECOND));
    let mut next = Instant::now();
    clock.share_over(time, || {
        if next <= Instant::now() {
            next += SCRAPE_INTERVAL;
            // A failure shows in the scrapes that are measured.
            let _ = http::length_of(daemon.address, "/metrics", true, PATIENCE);
        }
    })
}

fn scrapes(daemon: &Daemon, in_gzip: bool, count: usize) -> Result<Scrapes> {
    let mut clock = CpuClock::of(daemon.process.id());
    // The first one is another's: buffers grow.
    let bytes = http::length_of(daemon.address, "/metrics", in_gzip, PATIENCE)?;
    let (mut milliseconds, before) = (Vec::new(), clock.used());
    for _ in 0..count {
        let begun = Instant::now();
        http::length_of(daemon.address, "/metrics", in_gzip, PATIENCE)?;
        milliseconds.push(1e3 * begun.elapsed().as_secs_f64());
    }
    let used = clock.used().saturating_sub(before);
    Ok(Scrapes {
        median_milliseconds: median(&milliseconds),
        slow_milliseconds: quantile(&milliseconds, 0.99),
        cpu_milliseconds: 1e3 * used.as_secs_f64() / count.max(1) as f64,
        bytes,
    })
}

/// A metric without labels, which is a whole number.
fn metric(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("bench: there is no {name}: are no hooks attached?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_b 7\na 1500\n";
        assert_eq!(metric(text, "a").unwrap(), 1_500);
        assert!(metric(text, "b").is_err());
    }
}
