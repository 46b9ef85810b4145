//! A fleet in one real Prometheus, and how long each panel of the fleet's dashboard takes to be answered there.
//!
//! The hosts are made up: one process answers as all of them, with what the daemon's own renderer writes of a host on which
//! everything is measured. Prometheus, its configuration, its rules and the panels' expressions are the real ones.

mod farm;
mod host;
mod http;
mod movement;
mod panels;
mod report;
mod stage;

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::farm::Farm;
use self::host::{Asked, Template};
use self::stage::Stage;
use super::live;
use crate::{processes, setup, workspace};

/// What the daemon's renderer makes of a host with one port: a golden file of its own tests.
const EXPOSITION: &str = "probe-user/tests/golden/full_host.prom";
/// How far back the hosts' samples go when Prometheus first sees them. It takes none that are an hour older than its newest.
const HISTORY: Duration = Duration::from_secs(55 * 60);
/// In this time Prometheus asks every host once for its past.
const SEEDING: Duration = Duration::from_secs(180);
/// What the panels show, so that the past has to be this long when they are asked.
const RANGE: Duration = Duration::from_secs(3600);
/// Each panel is asked so often, with some time in between.
const ROUNDS: usize = 5;

/// Measures the fleet's dashboard on a Prometheus with a thousand made-up hosts: 12 minutes, 8 GB of memory
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many hosts
    #[arg(long, default_value_t = 1000)]
    hosts: u32,
    /// How many listening ports each of them has
    #[arg(long, default_value_t = 20)]
    ports: u16,
    /// The network namespace is there already
    #[arg(long, hide = true)]
    inside: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.inside { measure(arguments) } else { enter(arguments) }
}

/// Runs this command again in a network namespace of its own, which is gone when it ends.
fn enter(arguments: &Arguments) -> Result<()> {
    // What can take long is done before anything is started.
    setup::prometheus()?;
    let busybox = setup::busybox()?;
    let mut command = Command::new(&busybox);
    command.args(["unshare", "-n"]).arg(&busybox);
    command.args(["sh", "-c", "\"$0\" ip link set lo up && exec \"$@\""]).arg(&busybox);
    command.arg(std::env::current_exe()?).args(["dashboards", "scale", "--inside"]);
    command.arg(format!("--hosts={}", arguments.hosts)).arg(format!("--ports={}", arguments.ports));
    processes::run(&mut processes::tied_to_this_process(command))
        .context("dashboards: the fleet was not measured, or is too slow (it needs root)")
}

fn measure(arguments: &Arguments) -> Result<()> {
    let panels = panels::of(&super::fleet::board())?;
    let template = template(arguments.ports, &panels)?;
    let farm = Arc::new(Farm::new(template, arguments.hosts, HISTORY));
    farm::open(&farm)?;
    let stage = Stage::open(&setup::prometheus()?, arguments.hosts, SEEDING)?;
    let outcome = story(&farm, &stage, &panels);
    if outcome.is_err() {
        println!("{}", stage.last_words());
    }
    outcome
}

/// The past is needed of what a panel looks back on; of all else there has to be a series, and what comes from now on.
fn template(ports: u16, panels: &[panels::Panel]) -> Result<Template> {
    let read = |path: &str| {
        fs::read_to_string(workspace::root().join(path))
            .with_context(|| format!("dashboards: cannot read {path}"))
    };
    let asked =
        Asked { by_panels: panels::with_past(panels)?, by_rules: read("dashboards/prometheus/rules.yml")? };
    Template::parse(&read(EXPOSITION)?, &super::catalogue()?, ports, &asked)
}

fn story(farm: &Farm, stage: &Stage, panels: &[panels::Panel]) -> Result<()> {
    let began = Instant::now();
    let told = |what: &str| println!("{:6.0} s: {what}", began.elapsed().as_secs_f64());
    live::wait("Prometheus answers", 60, || Ok(http::get(stage::PROMETHEUS, "/-/ready").is_ok()))?;
    told("Prometheus is there, and asks each host for its past");
    live::wait("every host was asked", 2 * SEEDING.as_secs() + 60, || Ok(farm.unseen() == 0))?;
    farm.go_live();
    stage.go_live()?;
    told("from now on every 15 seconds");
    // What the rules look back on, and what the range of the panels lacks.
    thread::sleep(Duration::from_secs(120).max((RANGE - HISTORY).saturating_sub(began.elapsed())));
    told("the panels are asked");
    let mut times = panels::Times::default();
    for _ in 0..ROUNDS {
        times.ask(panels)?;
        thread::sleep(Duration::from_secs(5));
    }
    told("done");
    report::tell(panels, &times, &stage.facts()?)
}
