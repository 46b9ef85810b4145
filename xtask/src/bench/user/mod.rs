//! `cargo xtask bench user`: what the daemon takes of a host with few and with many listeners, beside what others take.

mod budget;
mod flood;
mod others;
mod plot;
mod probe;
mod report;
mod simulated;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use self::report::Figures;
use super::stage::{self, Common};
use super::traffic::{Server, listen};

/// Memory, CPU time and scrapes with 1 to 10,000 listeners, beside node_exporter, ss and netstat
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// With how many listeners
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000])]
    listeners: Vec<usize>,
    /// How long CPU time is measured, each time
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// How long CPU time is measured in a flood, at each of its rates
    #[arg(long, default_value_t = 20.0)]
    flood_seconds: f64,
    /// How often is asked
    #[arg(long, default_value_t = 20)]
    scrapes: usize,
    /// How many other processes the host has
    #[arg(long, default_value_t = 100)]
    processes: usize,
    /// Nothing but the daemon
    #[arg(long)]
    alone: bool,
    /// Fails where something is above its budget
    #[arg(long)]
    check: bool,
    /// Do not measure: use the last figures
    #[arg(long)]
    last: bool,
    /// Draw the figures in docs/scale.svg
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn flood_time(&self) -> Duration {
        Duration::from_secs_f64(self.flood_seconds)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let figures = if arguments.last {
        report::last()?
    } else {
        // What can take long is done before anything is started.
        let binary = arguments.common.daemon()?;
        if !arguments.common.inside {
            if !arguments.alone {
                crate::setup::node_exporter()?;
                simulated::build()?;
            }
            return stage::enter();
        }
        let figures = measure(arguments, &binary)?;
        report::keep(&figures)?;
        figures
    };
    report::tell(&figures, arguments.common.style());
    if arguments.record {
        plot::write(&figures)?;
    }
    if !arguments.check {
        return Ok(());
    }
    let broken = budget::broken(&figures);
    for line in &broken {
        println!("bench: {line}");
    }
    if broken.is_empty() { Ok(()) } else { bail!("bench: {} figures are above their budget", broken.len()) }
}

fn measure(arguments: &Arguments, binary: &Path) -> Result<Figures> {
    let most = arguments.listeners.iter().copied().max().unwrap_or_default();
    stage::allow_descriptors(most as u64 + 1_000)?;
    stage::forget_closed_connections()?;
    let _others = stage::other_processes(arguments.processes)?;
    let mut figures = Figures::default();
    for count in &arguments.listeners {
        let _server = Server::start(listen(*count)?)?;
        println!("bench: {count} listeners");
        figures.probe.push(probe::measure(binary, *count, arguments)?);
        if !arguments.alone {
            figures.others.extend(others::measure(*count, arguments)?);
        }
    }
    figures.flood = flood::measure(binary, arguments)?;
    if !arguments.alone {
        figures.simulated = simulated::measure(&arguments.listeners)?;
    }
    Ok(figures)
}
