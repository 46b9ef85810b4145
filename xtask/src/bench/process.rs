//! What a process uses, by `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// A number of kibibytes in `/proc/PID/status`, by its name: VmRSS, VmHWM.
pub(super) fn kibibytes(process: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    number_in(&status, name).with_context(|| format!("bench: /proc/{process}/status has no {name}"))
}

/// The number on the line of this name.
fn number_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What of the resident memory is BPF maps, which the kernel shares with the process.
pub(super) fn kibibytes_of_maps(process: u32) -> Result<u64> {
    let mappings = fs::read_to_string(format!("/proc/{process}/smaps"))?;
    let (mut sum, mut is_map) = (0, false);
    for line in mappings.lines() {
        let mut fields = line.split_whitespace();
        match fields.next() {
            Some("Rss:") if is_map => {
                sum += fields.next().and_then(|number| number.parse().ok()).unwrap_or(0)
            }
            Some(first) if !first.ends_with(':') => is_map = line.contains("bpf-map"),
            _ => {}
        }
    }
    Ok(sum)
}

/// How often is looked, so that no thread begins and ends in between: tokio keeps those that wait for work for 10 s.
const STEP: Duration = Duration::from_millis(500);

/// Follows how long the threads of a process were on a CPU, in nanoseconds (`/proc/PID/task/TID/schedstat`).
pub(super) struct CpuClock {
    process: u32,
    threads: BTreeMap<String, u64>,
}

impl CpuClock {
    pub(super) fn of(process: u32) -> Self {
        let mut clock = Self { process, threads: BTreeMap::new() };
        clock.look();
        clock
    }

    /// All that was used so far; of threads that have ended, what was seen of them last.
    pub(super) fn used(&mut self) -> Duration {
        self.look();
        Duration::from_nanos(self.threads.values().sum())
    }

    fn look(&mut self) {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.process)) else { return };
        for thread in threads.flatten() {
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let used = text.split_whitespace().next().and_then(|number| number.parse().ok());
            let name = thread.file_name().to_string_lossy().into_owned();
            self.threads.extend(used.map(|used| (name, used)));
        }
    }

    /// What share of a CPU was used in this time; `meanwhile` is done at every look.
    pub(super) fn share_over(&mut self, time: Duration, mut meanwhile: impl FnMut()) -> f64 {
        let (begun, before) = (Instant::now(), self.used());
        while begun.elapsed() < time {
            thread::sleep(STEP.min(time.saturating_sub(begun.elapsed())));
            self.look();
            meanwhile();
        }
        let used = self.used().saturating_sub(before);
        used.as_secs_f64() / begun.elapsed().as_secs_f64()
    }
}

/// CPU time of this process's children that have ended and were waited for, in hundredths of a second as the kernel
/// counts them.
pub(super) fn cpu_of_ended_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("bench: /proc/self/stat is not what it was")?;
    // cutime and cstime are the 16th and the 17th of all, the state is the 3rd.
    let ticks: u64 = fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(10 * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let own = std::process::id();
        // Of one text: what the other tests take moves both from one look to the next.
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(number_in(&status, "VmHWM").unwrap() >= number_in(&status, "VmRSS").unwrap());
        assert!(kibibytes(own, "VmRSS").unwrap() > 0);
        assert!(kibibytes(own, "VmNothing").is_err());
        assert!(CpuClock::of(own).used() > Duration::ZERO);
        cpu_of_ended_children().unwrap();
    }

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let check = |name: &str, number| {
            assert_eq!(number_in("VmHWM:\t  20 kB\nVmRSS:\t  10 kB\nName:\tssh\n", name), number)
        };
        check("VmRSS", Some(10));
        check("VmHWM", Some(20));
        check("Vm", None);
        check("Name", None);
    }
}
