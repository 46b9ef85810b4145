//! The inside of a machine that counts instructions: watchers come and go, and what was found is said line by line.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::lines::Line;
use super::programs::{self, Work};
use super::report::growth_name;
use super::running::Running;
use super::watchers::{NOTHING, PEERS, PEERS_OF_DEBIAN_12, WATCHERS, Watcher};
use super::workloads::{Crowd, Traffic, WORKLOADS, Workload};
use crate::bench::packets::NETWORK;
use crate::bench::stage;
use crate::processes;
use crate::vm::pack::DAEMON;

/// Batches of a workload, after one that warms up.
const BATCHES: u32 = 3;
/// Turns with many listeners: what is looked for is not small.
const GROWTH_ROUNDS: u32 = 2;
/// Listeners that are open at once.
pub(super) const GROWTH: [u16; 3] = [1, 100, 10_000];
/// Those for the growth, and some.
const OPEN_FILES: u64 = 20_000;

/// The whole measurement on one kernel.
pub(super) fn run(rounds: u32) -> Result<()> {
    prepare()?;
    let mut bench = Bench { traffic: Traffic::open()?, slot: 0 };
    let help = processes::output_of(Command::new(DAEMON).args(["run", "--help"]))?;
    let watchers: Vec<&Watcher> = WATCHERS.iter().filter(|watcher| watcher.is_possible(&help)).collect();
    let mut left: Vec<&Watcher> = watchers.clone();
    for _ in 0..rounds {
        left.retain(|watcher| bench.turn(watcher));
    }
    bench.bare()?;
    for watcher in watchers.iter().filter(|watcher| watcher.by_hook) {
        if let Err(error) = bench.hooks(watcher) {
            failed(watcher.name, &error);
        }
    }
    for count in GROWTH {
        let growing = watchers.iter().filter(|watcher| watcher.in_growth);
        growing
            .into_iter()
            .try_for_each(|watcher| bench.growth(watcher, count, rounds.min(GROWTH_ROUNDS)))?;
    }
    Ok(())
}

/// What peers need to find in their root, and clients that do not exist.
fn prepare() -> Result<()> {
    for root in [PEERS, PEERS_OF_DEBIAN_12] {
        let mount = |arguments: [&str; 3], point: &str| {
            let point = format!("{root}{point}");
            fs::create_dir_all(&point)?;
            processes::run(Command::new("mount").args(arguments).arg(point))
        };
        // bpftrace asks a shell for a compiler's folders, and does not expect that there is none.
        fs::copy("/bin/busybox", format!("{root}/usr/bin/sh")).context("bench: no shell for the peers")?;
        mount(["-t", "proc", "proc"], "/proc")?;
        mount(["-o", "rbind", "/sys"], "/sys")?;
        mount(["-o", "rbind", "/dev"], "/dev")?;
    }
    processes::run(Command::new("ip").args(["route", "add", NETWORK, "dev", "lo"]))?;
    stage::allow_descriptors(OPEN_FILES)
}

fn failed(watcher: &str, error: &anyhow::Error) {
    Line::Failed { watcher: watcher.to_owned(), reason: format!("{error:#}") }.say();
}

struct Bench {
    traffic: Traffic,
    slot: u32,
}

impl Bench {
    /// A slot without anybody and one with the watcher. One that cannot be watched by is not tried again.
    fn turn(&mut self, watcher: &Watcher) -> bool {
        let result = self.bare().and_then(|()| {
            let mut running = Running::start(watcher, &self.traffic)?;
            let (instructions, busy) = (running.took, running.busy);
            Line::Ready { watcher: watcher.name.to_owned(), instructions, busy }.say();
            self.workloads(watcher.name)?;
            running.expect_attached(&self.traffic)?;
            running.stop()
        });
        if let Err(error) = &result {
            failed(watcher.name, error);
        }
        result.is_ok()
    }

    /// A slot without anybody.
    fn bare(&mut self) -> Result<()> {
        self.workloads(NOTHING)
    }

    fn workloads(&mut self, watcher: &str) -> Result<()> {
        for workload in WORKLOADS {
            self.traffic.batch(workload)?;
            let batches = (0..BATCHES).map(|_| self.traffic.batch(workload)).collect::<Result<_>>()?;
            self.say(watcher, workload.name(), batches);
        }
        self.slot += 1;
        Ok(())
    }

    fn say(&self, watcher: &str, workload: &str, instructions: Vec<f64>) {
        let (watcher, workload) = (watcher.to_owned(), workload.to_owned());
        Line::Batches { slot: self.slot, watcher, workload, instructions }.say();
    }

    /// What each program of a watcher does for a connection or a packet.
    fn hooks(&mut self, watcher: &Watcher) -> Result<()> {
        let running = Running::start(watcher, &self.traffic)?;
        for program in programs::describe(watcher.name, &running.before) {
            Line::Program(program).say();
        }
        programs::keep_statistics(true)?;
        for workload in [Workload::Accepted, Workload::SynDropped, Workload::SynCookie] {
            say_runs(watcher, workload, &work_in(&running, || self.traffic.batch(workload))?);
        }
        programs::keep_statistics(false)?;
        running.stop()
    }

    /// Connections to some of many listeners: what the watcher's programs do for one of them. What the rest of the kernel
    /// does has modes of its own that last for a batch, more than half a thousand instructions apart on 5.10.
    fn growth(&mut self, watcher: &Watcher, count: u16, rounds: u32) -> Result<()> {
        let crowd = Crowd::open(count)?;
        for _ in 0..rounds {
            let running = Running::start(watcher, &self.traffic)?;
            programs::keep_statistics(true)?;
            let work = work_in(&running, || crowd.batch())?;
            programs::keep_statistics(false)?;
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 instructions")]
            let all = work.values().map(|work| work.nanoseconds as f64).sum::<f64>();
            let instructions = all / Traffic::size(Workload::Accepted);
            let (watcher, workload) = (watcher.name.to_owned(), growth_name(count));
            Line::OfPrograms { watcher, workload, instructions }.say();
            running.stop()?;
        }
        Ok(())
    }
}

/// What a watcher's programs do in a batch, after one that warms up.
fn work_in(running: &Running, mut batch: impl FnMut() -> Result<f64>) -> Result<BTreeMap<u32, Work>> {
    batch()?;
    let before = programs::work(&running.before);
    batch()?;
    Ok(programs::since(&before, programs::work(&running.before)))
}

fn say_runs(watcher: &Watcher, workload: Workload, works: &BTreeMap<u32, Work>) {
    for (program, work) in works {
        #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 instructions")]
        let (runs, nanoseconds) = (work.runs as f64, work.nanoseconds as f64);
        Line::Runs {
            watcher: watcher.name.to_owned(),
            program: *program,
            workload: workload.name().to_owned(),
            runs: runs / Traffic::size(workload),
            instructions: nanoseconds / runs,
        }
        .say();
    }
}
