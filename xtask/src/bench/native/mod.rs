//! `cargo xtask bench native`: what the daemon costs connections on this machine, in the plan that its kernel allows.
//!
//! Other work goes on here, so what is measured is a ratio, in short slices with the daemon and without it by turns, and
//! what is said of it is an interval. CPU time is the figure to go by: a connection that has to wait for a processor takes
//! longer, but no more of it.

mod load;
mod report;
mod rounds;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use self::load::Load;
use self::rounds::{Figures, Round, Slice, WAITS};
use super::process::CpuClock;
use super::stage::{self, Common};
use super::{loaded, netstat};
use crate::daemon::Daemon;
use crate::{AlreadyReported, http};

/// Connections per second and CPU time per connection with and without the daemon
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many rounds of four slices: without the daemon, twice with it, without it
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// How long a slice is
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// How many threads connect
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The widest interval of a ratio from which something is concluded
    #[arg(long, default_value_t = 0.1)]
    widest: f64,
    /// Fails where the CPU time of a connection is above its budget, or nothing can be concluded
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    common: Common,
}

/// What the figures are of.
#[derive(Serialize)]
struct Run {
    threads: usize,
    programs: Programs,
}

/// What the daemon's programs are and take.
#[derive(Serialize)]
struct Programs {
    /// As the daemon calls it.
    accounting: String,
    /// For each connection.
    microseconds: f64,
}

/// What comes before a slice has no part in it: a scheduler lets those wait who have just had a processor, be it for the
/// start of the daemon.
const SETTLE: Duration = Duration::from_millis(300);
/// For an answer of the daemon.
const PATIENCE: Duration = Duration::from_secs(10);
/// A kernel frees programs when a grace period is over.
const UNTIL_GONE: Duration = Duration::from_secs(20);

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.daemon()?;
    if !arguments.common.inside {
        return stage::enter();
    }
    let load = Load::open(arguments.threads)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    // Warm before the first one counts.
    slice(&load, time)?;
    let rounds: Vec<Round> =
        (0..arguments.rounds).map(|_| round(&binary, &load, time)).collect::<Result<_>>()?;
    let figures = Figures::of(&rounds);
    let programs = programs(&binary, &load, time)?;
    report::tell(&figures, &Run { threads: arguments.threads, programs }, arguments)?;
    let complaints = report::complaints(&figures, arguments.widest);
    for line in &complaints {
        println!("bench: {line}");
    }
    if arguments.check && !complaints.is_empty() { Err(AlreadyReported.into()) } else { Ok(()) }
}

fn round(binary: &Path, load: &Load, time: Duration) -> Result<Round> {
    let first = slice(load, time)?;
    let daemon = Daemon::start(binary, &[])?;
    let programs = loaded::held_by(daemon.process.id())?;
    ensure!(!programs.is_empty(), "bench: the daemon could attach nothing here: there is nothing to measure");
    let mut clock = CpuClock::of(daemon.process.id());
    let mut used = Duration::ZERO;
    let mut beside = || -> Result<Slice> {
        let before = clock.used();
        let slice = slice(load, time)?;
        used += clock.used().saturating_sub(before);
        Ok(slice)
    };
    let with = [beside()?, beside()?];
    drop(daemon);
    loaded::wait_until_gone(&programs, UNTIL_GONE)?;
    let daemon_seconds = used.as_secs_f64();
    Ok(Round { without: [first, slice(load, time)?], with, daemon_seconds })
}

/// A slice in which the kernel notes how long each program runs. That costs by itself, so it is in no round.
fn programs(binary: &Path, load: &Load, time: Duration) -> Result<Programs> {
    let daemon = Daemon::start(binary, &[])?;
    let held = loaded::held_by(daemon.process.id())?;
    let text = http::ask(daemon.address, ("GET", "/metrics"), PATIENCE)?.right()?;
    let info = text.lines().find(|line| line.starts_with("tcp_backlog_accounting_info{")).unwrap_or_default();
    let (work, took) = loaded::run_time_in(&held, || load.run(time))?;
    // Some of it was for the connections by which the load became warm.
    let per_connection = 1e6 * took.as_secs_f64() / work.connections_in_all.max(1.0);
    Ok(Programs { accounting: info.to_owned(), microseconds: per_connection })
}

fn slice(load: &Load, time: Duration) -> Result<Slice> {
    thread::sleep(SETTLE);
    let before = netstat::sum(&WAITS)?;
    let work = load.run(time)?;
    Ok(Slice { work, waits: netstat::sum(&WAITS)?.saturating_sub(before) })
}
