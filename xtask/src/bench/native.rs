//! `cargo xtask bench native`: what the daemon costs the traffic of this machine, and what traffic costs the daemon.
//!
//! The plan is what this machine's kernel allows. Connections are opened, accepted and closed as fast as one client and
//! one server can, with the daemon and without it by turns: whatever else changes on the machine meanwhile changes both
//! of a pair alike.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::process::CpuClock;
use super::spread::{median, quantile};
use super::stage::{self, Common};
use super::table;
use super::traffic::{Client, Flood, Server, listen};
use crate::daemon::Daemon;

/// Connections per second with and without the daemon, and its CPU time in a SYN flood
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many pairs of measurements
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// How long each measurement takes
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long the flood is
    #[arg(long, default_value_t = 20.0)]
    flood_seconds: f64,
    /// SYNs per second of the flood
    #[arg(long, default_value_t = 20_000.0)]
    syns: f64,
    /// Fails where the flood costs the daemon more than nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    common: Common,
}

const LISTENERS: usize = 8;
/// A plan is the same however long the daemon runs, so it is left alone for a while.
const SETTLE: Duration = Duration::from_millis(300);
/// The daemon may use so much more of a CPU in a flood than without: less than can be measured on a machine that is shared.
const MOST_MORE_IN_A_FLOOD: f64 = 0.005;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.daemon()?;
    if !arguments.common.inside {
        return stage::enter();
    }
    stage::allow_descriptors(20_000)?;
    stage::forget_closed_connections()?;
    let pairs = pairs(&binary, arguments)?;
    let flood = flood(&binary, arguments)?;
    report(arguments, &pairs, &flood)?;
    ensure!(
        !arguments.check || flood.during <= flood.before + MOST_MORE_IN_A_FLOOD,
        "bench: a SYN flood costs the daemon {:.2} % of a CPU, {:.2} % without",
        100.0 * flood.during,
        100.0 * flood.before
    );
    Ok(())
}

/// Connections per second.
struct Pair {
    with: f64,
    without: f64,
}

fn pairs(binary: &Path, arguments: &Arguments) -> Result<Vec<Pair>> {
    let _server = Server::start(listen(LISTENERS)?)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let with = || -> Result<f64> {
        let _daemon = Daemon::start(binary, &[])?;
        Ok(rate(time))
    };
    // Warm before the first one counts.
    rate(time);
    (0..arguments.pairs)
        .map(|number| {
            // Which one comes first changes, so that a drift is in neither.
            Ok(if number % 2 == 0 {
                let with = with()?;
                Pair { with, without: rate(time) }
            } else {
                let without = rate(time);
                Pair { with: with()?, without }
            })
        })
        .collect()
}

fn rate(time: Duration) -> f64 {
    thread::sleep(SETTLE);
    let client = Client::start(LISTENERS, None);
    thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), client.connected.load(Ordering::Relaxed));
    thread::sleep(time);
    let connected = client.connected.load(Ordering::Relaxed) - before;
    connected as f64 / begun.elapsed().as_secs_f64()
}

/// Which share of a CPU the daemon uses before a flood and during it.
struct InAFlood {
    before: f64,
    during: f64,
    syns_per_second: f64,
}

fn flood(binary: &Path, arguments: &Arguments) -> Result<InAFlood> {
    let _server = Server::start(listen(LISTENERS)?)?;
    let daemon = Daemon::start(binary, &[])?;
    thread::sleep(Duration::from_secs(3));
    let time = Duration::from_secs_f64(arguments.flood_seconds);
    let mut clock = CpuClock::of(daemon.process.id());
    let before = clock.share_over(time, || {});
    let flood = Flood::start(arguments.syns)?;
    let (begun, sent) = (Instant::now(), flood.sent.load(Ordering::Relaxed));
    let during = clock.share_over(time, || {});
    let sent = flood.sent.load(Ordering::Relaxed) - sent;
    Ok(InAFlood { before, during, syns_per_second: sent as f64 / begun.elapsed().as_secs_f64() })
}

fn report(arguments: &Arguments, pairs: &[Pair], flood: &InAFlood) -> Result<()> {
    let ratios: Vec<f64> = pairs.iter().map(|pair| pair.with / pair.without).collect();
    let of = |value: fn(&Pair) -> f64| median(&pairs.iter().map(value).collect::<Vec<_>>());
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let rows = [
        row("tracepoints, this machine", "median".to_owned()),
        row("connections per second without the daemon", format!("{:.0}", of(|pair| pair.without))),
        row("connections per second with it", format!("{:.0}", of(|pair| pair.with))),
        row("with / without, median of all pairs", format!("{:.3}", median(&ratios))),
        row("half of the pairs lie from", format!("{:.3}", quantile(&ratios, 0.25))),
        row("to", format!("{:.3}", quantile(&ratios, 0.75))),
        row("daemon without a flood, % of a CPU", format!("{:.2}", 100.0 * flood.before)),
        row("daemon in a flood, % of a CPU", format!("{:.2}", 100.0 * flood.during)),
        row("SYNs per second of the flood", format!("{:.0}", flood.syns_per_second)),
    ];
    println!("{}", table::text(&rows, arguments.common.style()));
    let pairs: Vec<_> =
        pairs.iter().map(|pair| json!({ "with": pair.with, "without": pair.without })).collect();
    let figures = json!({
        "machine": stage::machine(),
        "pairs": pairs,
        "ratio_median": median(&ratios),
        "cpu_without_flood": flood.before,
        "cpu_in_flood": flood.during,
        "syns_per_second": flood.syns_per_second,
    });
    stage::write_figures("native", &figures)
}
