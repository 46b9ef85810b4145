//! A watcher at work: started, attached beyond doubt, and stopped without a trace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::programs;
use super::watchers::Watcher;
use super::workloads::Traffic;
use crate::bench::loaded;
use crate::http;
use crate::processes::Kept;

/// In the machine's own time, where a second is a milliard of instructions.
const PATIENCE: Duration = Duration::from_secs(240);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// That a watcher has to see one after the other.
const CONNECTIONS: u32 = 3;
const ADDRESS: &str = "127.0.0.1:10511";
const LOG: &str = "/tmp/watcher.log";

/// One that is attached.
pub(super) struct Running {
    child: Kept,
    /// The programs that were there before it.
    pub(super) before: BTreeSet<u32>,
    /// From its start until it was ready, in instructions; a wait is as many as would have fitted into it.
    pub(super) took: f64,
    /// Those of its own threads, in the kernel too.
    pub(super) busy: f64,
}

impl Running {
    /// Starts it and waits until its programs see a connection. What goes wrong is told in its own words.
    pub(super) fn start(watcher: &Watcher, traffic: &Traffic) -> Result<Self> {
        let before = loaded::numbers();
        let output = File::create(LOG).with_context(|| format!("bench: cannot write {LOG}"))?;
        let words = watcher.command(ADDRESS);
        let (program, arguments) = words.split_first().context("bench: a watcher without a program")?;
        let mut command = Command::new(program);
        command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("bench: cannot start {program}"))?;
        let mut running = Self { child: Kept(child), before, took: 0.0, busy: 0.0 };
        if watcher.is_daemon() {
            running.wait_for(|_| Ok(says_that_it_is_ready()))?;
            running.note(started);
        }
        programs::keep_statistics(true)?;
        let seen = running.wait_for(|running| running.sees_connections(traffic));
        programs::keep_statistics(false)?;
        seen?;
        if !watcher.is_daemon() {
            running.note(started);
        }
        Ok(running)
    }

    fn note(&mut self, started: Instant) {
        self.took = started.elapsed().as_secs_f64() * 1e9;
        self.busy = busy(self.child.0.id());
    }

    /// Ends it, and waits until the kernel has let go of its programs.
    pub(super) fn stop(self) -> Result<()> {
        let Self { child, before, .. } = self;
        child.stop(PATIENCE)?;
        let started = Instant::now();
        while !loaded::numbers().is_subset(&before) {
            if started.elapsed() > PATIENCE {
                bail!("bench: programs are still loaded after their watcher has ended");
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }

    /// Whether one of its programs ran for each of some connections. That of a mere test goes at once.
    fn sees_connections(&self, traffic: &Traffic) -> Result<bool> {
        let mut before = programs::work(&self.before);
        for _ in 0..CONNECTIONS {
            traffic.connection()?;
            thread::sleep(BETWEEN_LOOKS);
            let mut after = programs::work(&self.before);
            after.retain(|program, work| before.get(program).is_some_and(|before| work.runs > before.runs));
            before = after;
        }
        Ok(!before.is_empty())
    }

    /// Makes sure that it watched to the end.
    pub(super) fn expect_attached(&mut self, traffic: &Traffic) -> Result<()> {
        programs::keep_statistics(true)?;
        let sees = self.sees_connections(traffic);
        programs::keep_statistics(false)?;
        if let Some(status) = self.child.0.try_wait()? {
            bail!("it ended while it was measured ({status}): {}", reason());
        }
        ensure!(sees?, "its programs did not see what it was measured by: {}", reason());
        Ok(())
    }

    fn wait_for(&mut self, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.0.try_wait()? {
                bail!("it ended ({status}): {}", reason());
            }
            if is_so(self)? {
                return Ok(());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        bail!("not ready within {} s: {}", PATIENCE.as_secs(), reason())
    }
}

/// Nanoseconds that a process' threads were on the processor.
fn busy(process: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return 0.0 };
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(Result::ok).filter_map(of_thread).sum()
}

/// The daemon says it itself.
fn says_that_it_is_ready() -> bool {
    http::ask(ADDRESS, ("GET", "/readyz"), Duration::from_secs(60)).is_ok_and(|answer| answer.is_right())
}

/// The first line of its log that looks like an error.
fn reason() -> String {
    reason_in(&String::from_utf8_lossy(&fs::read(LOG).unwrap_or_default()))
}

fn reason_in(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| {
        let line = line.to_lowercase();
        line.contains("error") || line.contains("fail") || line.contains("cannot")
    };
    lines().find(is_error).or_else(|| lines().next()).unwrap_or("it did not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_line_of_error() {
        assert_eq!(
            reason_in("Attaching 1 probe...\nERROR: no such function\nerror: b\n"),
            "ERROR: no such function"
        );
        assert_eq!(reason_in("\nusage: x\nmore\n"), "usage: x");
        assert_eq!(reason_in(""), "it did not say why");
    }
}
