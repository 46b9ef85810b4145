//! `cargo xtask abuse`: the daemon's HTTP side under fuzzed requests and slow connections.

mod attack;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::attack::{MOST_GROWTH, Plan, Report};
use crate::build;
use crate::daemon::Daemon;

/// Sends the daemon what no client should, and fails if it shows
///
/// It is started without hooks on a free port of the loopback interface; that needs no privileges.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many requests are sent, most of them odd
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    requests: usize,
    /// How many connections at a time never finish their request
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    slow_connections: usize,
    /// How many scrapes are made meanwhile
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    scrapes: usize,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A daemon that is built already
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// 99 of 100 scrapes have to be quicker, whoever else is connected.
const SLOWEST_SCRAPE: Duration = Duration::from_millis(50);

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.binary.clone().map_or_else(|| build::daemon(true, false), Ok)?;
    let daemon = Daemon::start(&binary, &["--plan", "none"])?;
    let plan = Plan {
        requests: arguments.requests,
        slow_connections: arguments.slow_connections,
        scrapes: arguments.scrapes,
        seed: arguments.seed,
    };
    let report = attack::run(daemon.address, daemon.process.id(), &plan)?;
    print!("{}", text(&report));
    let panics: Vec<String> = daemon.log.try_iter().filter(|line| line.contains("panicked")).collect();
    ensure!(panics.is_empty(), "abuse: the daemon panicked: {}", panics.join("; "));
    let [before, _, after] = report.memory;
    ensure!(
        after <= before + MOST_GROWTH,
        "abuse: {} KiB of memory did not come back",
        after.saturating_sub(before)
    );
    let high = report.beside_slow.high;
    ensure!(high < SLOWEST_SCRAPE, "abuse: beside slow connections scrapes took {high:.1?}");
    Ok(())
}

fn text(report: &Report) -> String {
    let flooded = &report.flooded;
    let [before, most, after] = report.memory;
    format!(
        "requests      {}, {} answers, {} connections, {:.1?}\n\
         slow          opened {} times\n\
         scrapes       {}\n\
         beside slow   {}\n\
         memory        {before} KiB resident, {most} at most, {after} in the end\n",
        flooded.requests,
        flooded.answers,
        flooded.connections,
        flooded.took,
        report.slow_opened,
        report.quiet,
        report.beside_slow,
    )
}
