//! What else is asked on such hosts: Prometheus' node_exporter, `ss -ltn`, `netstat -ltn`.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Arguments;
use crate::bench::process::{CpuClock, cpu_of_ended_children, kibibytes};
use crate::bench::spread::{median, quantile};
use crate::processes::{self, Kept};
use crate::toolchain_layout::find_on_path;
use crate::{http, setup};

/// What one of them takes each time that it is asked, with so many listeners.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) what: String,
    pub(super) listeners: usize,
    pub(super) median_milliseconds: f64,
    pub(super) slow_milliseconds: f64,
    pub(super) cpu_milliseconds: f64,
    pub(super) bytes: usize,
    /// Of what goes on running.
    pub(super) resident_kibibytes: Option<u64>,
    pub(super) cpu_idle: Option<f64>,
}

const EXPORTER: &str = "127.0.0.1:9100";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(listeners: usize, arguments: &Arguments) -> Result<Vec<Figures>> {
    let mut figures = vec![node_exporter(listeners, arguments)?];
    for (program, flags) in [("ss", "-ltn"), ("netstat", "-ltn")] {
        match find_on_path(program) {
            Some(path) => {
                let mut command = Command::new(path);
                figures.push(listing(command.arg(flags), program, listeners, arguments.scrapes)?);
            }
            None => println!("bench: {program} is not installed: left out"),
        }
    }
    Ok(figures)
}

fn node_exporter(listeners: usize, arguments: &Arguments) -> Result<Figures> {
    let mut command = Command::new(setup::node_exporter()?);
    command.arg(format!("--web.listen-address={EXPORTER}"));
    let mut command = processes::tied_to_this_process(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let exporter = Kept(command.spawn().context("bench: cannot start node_exporter")?);
    wait_for_it()?;
    let process = exporter.0.id();
    let mut clock = CpuClock::of(process);
    let bytes = http::length_of(EXPORTER, "/metrics", false, PATIENCE)?;
    let (mut milliseconds, before) = (Vec::new(), clock.used());
    for _ in 0..arguments.scrapes {
        let begun = Instant::now();
        http::length_of(EXPORTER, "/metrics", false, PATIENCE)?;
        milliseconds.push(1e3 * begun.elapsed().as_secs_f64());
    }
    let used = clock.used().saturating_sub(before);
    Ok(Figures {
        what: "node_exporter".to_owned(),
        listeners,
        median_milliseconds: median(&milliseconds),
        slow_milliseconds: quantile(&milliseconds, 0.99),
        cpu_milliseconds: 1e3 * used.as_secs_f64() / arguments.scrapes.max(1) as f64,
        bytes,
        resident_kibibytes: Some(kibibytes(process, "VmRSS")?),
        cpu_idle: Some(clock.share_over(arguments.time() / 3, || {})),
    })
}

fn wait_for_it() -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(EXPORTER).is_err() {
        if begun.elapsed() > PATIENCE {
            bail!("bench: node_exporter does not answer on {EXPORTER}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn listing(command: &mut Command, what: &str, listeners: usize, times: usize) -> Result<Figures> {
    let (mut milliseconds, before, mut bytes) = (Vec::new(), cpu_of_ended_children()?, 0);
    for _ in 0..times {
        let begun = Instant::now();
        bytes = processes::output_of(command)?.len();
        milliseconds.push(1e3 * begun.elapsed().as_secs_f64());
    }
    let used = cpu_of_ended_children()?.saturating_sub(before);
    Ok(Figures {
        what: format!("{what} -ltn"),
        listeners,
        median_milliseconds: median(&milliseconds),
        slow_milliseconds: quantile(&milliseconds, 0.99),
        cpu_milliseconds: 1e3 * used.as_secs_f64() / times.max(1) as f64,
        bytes,
        resident_kibibytes: None,
        cpu_idle: None,
    })
}
